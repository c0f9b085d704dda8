"""Shared fixtures: a small corpus, valid params, and a stage run as DVC would run it."""

import inspect
import os
import re
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from hypothesis import settings

pytest_plugins = ["tests.browser"]
ROOT = Path(__file__).parent.parent
Params = dict[str, Any]
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")
# No test depends on the speed of the machine.
settings.register_profile("firth", deadline=None)
settings.load_profile("firth")
DEVICES = ["cpu", pytest.param("cuda", marks=needs_gpu)]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Runs the tests that take minutes first, so that one worker is not left with them at the end."""
    items.sort(key=lambda item: item.path.name != "test_reproduce.py")


@pytest.fixture(autouse=True)
def work_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A separate folder for the checkpoints and locks of stages in each test."""
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    return tmp_path / ".work"


@pytest.fixture
def params() -> Params:
    """The contents of the shipped params.yaml, which a test may change."""
    content: Params = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    return content


@pytest.fixture
def write_params(tmp_path: Path, params: Params) -> Callable[..., Path]:
    """Writes params.yaml with some sections changed: `write_params(raw={"salt": "x"})`."""

    def write(**sections: Params) -> Path:
        path = tmp_path / "params.yaml"
        changed = {**params, **{name: {**params[name], **keys} for name, keys in sections.items()}}
        path.write_text(yaml.safe_dump(changed), encoding="utf-8")
        return path

    return write


@pytest.fixture
def stage() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs `python -m stages.NAME` with paths in the order of its main's parameters, from the repository's
    root, and returns how it ended."""

    def run(name: str, *paths: Path | str, **environment: str) -> subprocess.CompletedProcess[str]:
        names = inspect.signature(import_module(f"stages.{name}").main).parameters
        flags = [
            word
            for parameter, path in zip(names, paths, strict=True)
            for word in (f"--{parameter.replace('_', '-')}", str(path))
        ]
        return subprocess.run(
            [sys.executable, "-m", f"stages.{name}", *flags],
            cwd=ROOT,
            env=os.environ | environment,
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def without_code(pipeline: Path) -> str:
    """The text of dvc.yaml without the deps that are code, for tests that change no code.

    DVC reads and writes dvc.lock for every stage, in Python, which takes twice as long with these deps.
    """
    return re.sub(r"      - stages/.*\n", "", pipeline.read_text(encoding="utf-8"))


def refused(ended: subprocess.CompletedProcess[str], *words: str) -> bool:
    """Whether a run ended with exit code 1 and one line on standard error that contains `words`."""
    line = ended.stderr.rstrip("\n")
    assert ended.returncode == 1, f"exit code {ended.returncode}: {ended.stderr}"
    assert "\n" not in line, f"more than one line: {ended.stderr}"
    missing = [word for word in words if word not in line]
    assert not missing, f"{missing} is not in: {line}"
    return True
