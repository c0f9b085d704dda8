"""The lock files: every package pinned, with the hashes of its files, and no address of an index."""

import re
from importlib import metadata

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.conftest import ROOT
from tools import lock

TEXT = (ROOT / lock.LOCK).read_text(encoding="utf-8")
CUDA_TEXT = (ROOT / lock.CUDA_LOCK).read_text(encoding="utf-8")
ENTRY = re.compile(
    r"^([A-Za-z0-9._-]+)==(\S+)( ; .*)? \\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", re.MULTILINE
)


def names(text: str) -> set[str]:
    return {name.lower() for name, *_ in ENTRY.findall(text)}


@pytest.mark.parametrize(
    ("text", "header"), [(TEXT, lock.HEADER), (CUDA_TEXT, lock.CUDA_HEADER)], ids=["all", "cuda"]
)
def test_every_line_belongs_to_a_pinned_package_with_hashes(text: str, header: str) -> None:
    assert ENTRY.sub("", text) == header
    assert ENTRY.search(text)
    assert "://" not in text


def test_every_requirement_of_pyproject_is_locked() -> None:
    assert {re.split("[=>]=", requirement)[0].lower() for requirement in lock.requirements()} <= names(TEXT)


def test_every_locked_package_is_required() -> None:
    direct = {name_of(requirement) for requirement in lock.requirements()}
    of_packages = {name_of(one) for name in names(TEXT) for one in metadata.requires(name) or []}
    assert {canonicalize_name(name) for name in names(TEXT)} <= direct | of_packages
    assert "plotly" not in names(TEXT)


def name_of(requirement: str) -> str:
    return canonicalize_name(Requirement(requirement).name)


def test_cuda_libraries_are_in_their_own_lock_and_for_linux_only() -> None:
    assert all(map(lock.CUDA.match, names(CUDA_TEXT)))
    assert not any(map(lock.CUDA.match, names(TEXT)))
    assert {marker for _, _, marker, _ in ENTRY.findall(CUDA_TEXT)} == {' ; platform_system == "Linux"'}


def test_pip_and_local_builds_and_cuda_libraries_are_not_pinned() -> None:
    frozen = "a==1\npip==26.0\ntorch==2.13.0+cpu\n-e .\nnvidia-cudnn-cu13==9.20.0.48\ntriton==3.7.1"
    assert lock.pins(frozen) == {"a": "1", "torch": "2.13.0"}


def test_hashes_are_those_of_the_version_and_of_every_platform() -> None:
    files = ["a_b-1.0-py3-none-any.whl", "a_b-1.0.tar.gz", "a_b-1.1.tar.gz", "a_b-1.0.exe", "odd-name.whl"]
    listed = [{"filename": name, "hashes": {"sha256": str(n)}} for n, name in enumerate(files)]
    assert lock.hashes_in(listed, "1.0") == ["0", "1"]
