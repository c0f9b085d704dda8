"""Installs what pyproject.toml asks for and pins every package, with the hashes of its files.

    make lock INDEX=URL        # URL of a package index with the simple API (PEP 691)

requirements.lock then names every package, needed directly or not, at the version that was installed, and
the SHA-256 of all files of that version in the index, so that it installs on every platform and pip refuses
a file that was changed. FILES=... adds the hashes of files from elsewhere, such as a CPU build of torch.

requirements-cuda.lock does the same for the CUDA libraries that torch's wheels from the index need on Linux.
They are several gigabytes, and a CPU build of torch does not need them, hence a file of their own.
"""

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import requests
from packaging.utils import canonicalize_name, parse_sdist_filename, parse_wheel_filename

from stages.lib.command import Refusal, exit_on_refusal
from stages.lib.files import atomic, sha256

LOCK = Path("requirements.lock")
CUDA_LOCK = Path("requirements-cuda.lock")
HEADER = """\
# Made by `make lock` from pyproject.toml: every package at the version it was tested with, and the hashes of
# its files. `make` installs torch first, from the wheel that pip selects on the machine, then the rest, all
# with --require-hashes --no-deps. torch's CUDA libraries are in requirements-cuda.lock.
"""
CUDA_HEADER = """\
# Made by `make lock`: the CUDA libraries that torch's wheels for Linux need, with the hashes of their files.
# `make` installs them if the installed torch declares them; a CPU build of torch does not.
"""
PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check")
CUDA = re.compile(r"(cuda|nvidia)[-_]|triton$")  # packages that torch needs on Linux only
SIMPLE_API = "application/vnd.pypi.simple.v1+json"


def requirements() -> list[str]:
    """What the pipeline and its development need, from pyproject.toml."""
    content = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))
    groups = content["dependency-groups"]
    return [*content["project"]["dependencies"], *groups["pipeline"], *groups["dev"]]


def pins(frozen: str) -> dict[str, str]:
    """The version of each package in the output of `pip freeze --all`, without local builds such as +cpu.

    pip itself and torch's CUDA libraries are left out.

    >>> pins("pip==26.0\\ntorch==2.13.0+cpu")
    {'torch': '2.13.0'}
    """
    pairs = (line.partition("+")[0].partition("==") for line in frozen.splitlines() if "==" in line)
    return {
        name: version for name, _, version in pairs if name not in ("pip", "wheel") and not CUDA.match(name)
    }


def version_of(filename: str) -> str | None:
    """The version in the name of a wheel or a source archive, or None for any other file.

    >>> version_of("polars-2.1.0-cp39-abi3-macosx_11_0_arm64.whl"), version_of("dvc-3.67.1.tar.gz")
    ('2.1.0', '3.67.1')
    """
    if filename.endswith(".whl"):
        return str(parse_wheel_filename(filename)[1])
    if filename.endswith((".tar.gz", ".zip")):
        return str(parse_sdist_filename(filename)[1])
    return None


def hashes_in(files: Iterable[Mapping[str, Any]], version: str) -> list[str]:
    """The sorted hashes of the files of a version, from the answer of a package index."""
    hashes = set()
    for file in files:
        try:
            if version_of(file["filename"]) == version:
                hashes.add(file["hashes"]["sha256"])
        except ValueError:  # a file name that follows no standard
            continue
    return sorted(hashes)


def files_of(name: str, index: str) -> list[dict[str, Any]]:
    """The entries of the index for all files of a package, of all versions."""
    url = f"{index.rstrip('/')}/{canonicalize_name(name)}/"
    answer = requests.get(url, headers={"Accept": SIMPLE_API}, timeout=60)
    answer.raise_for_status()
    files: list[dict[str, Any]] = answer.json()["files"]
    return files


def hashes_of(name: str, version: str, index: str) -> list[str]:
    """The hashes of all files of a package's version. Raises Refusal if the index has none."""
    hashes = hashes_in(files_of(name, index), version)
    if not hashes:
        raise Refusal(f"the index has no file of {name} {version}")
    return hashes


def cuda_pins(torch: str, index: str) -> dict[str, str]:
    """The packages that torch's wheel from the index needs beside those installed, as pip resolves them.

    On Linux these are the CUDA libraries, elsewhere none. pip's settings are left out, so that no CPU build
    from another source is selected.
    """
    settings = {name: value for name, value in os.environ.items() if name == "PIP_CERT" or name[:4] != "PIP_"}
    command = [*PIP, "install", "--quiet", "--dry-run", "--report", "-", "--index-url", index]
    printed = subprocess.run(
        [*command, "--ignore-installed", f"torch=={torch}"],
        env={**settings, "PIP_CONFIG_FILE": os.devnull},
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    resolved = (package["metadata"] for package in json.loads(printed)["install"])
    return {package["name"]: package["version"] for package in resolved if CUDA.match(package["name"])}


def entry(name: str, version: str, hashes: Sequence[str], marker: str = "") -> str:
    """The lines of a package in a lock file.

    >>> print(entry("dvc", "3.67.1", ["aa", "bb"]))
    dvc==3.67.1 \\
        --hash=sha256:aa \\
        --hash=sha256:bb
    """
    return " \\\n    ".join([f"{name}=={version}{marker}", *(f"--hash=sha256:{digest}" for digest in hashes)])


def write(path: Path, header: str, entries: Iterable[str]) -> None:
    """Writes a lock file."""
    text = header + "\n".join(entries) + "\n"
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def parse(arguments: Sequence[str]) -> list[str]:
    """The index and the files. Raises Refusal unless the index is a URL."""
    parser = argparse.ArgumentParser(
        "python -m tools.lock", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("index", nargs="?", metavar="URL", help="a package index with the simple API")
    parser.add_argument("files", nargs="*", metavar="FILE", help="of packages that the index does not have")
    options = parser.parse_args(arguments)
    if not re.match("https?://", options.index or ""):
        given = "nothing" if options.index is None else repr(options.index)
        raise Refusal(f"found {given}, expected the URL of a package index: make lock INDEX=URL")
    return [options.index, *options.files]


def main(index: str, *files: str) -> None:
    """Installs, and writes both lock files. requirements-cuda.lock is only written on Linux."""
    subprocess.run([*PIP, "install", "--quiet", *requirements()], check=True)
    frozen = subprocess.run([*PIP, "freeze", "--all"], check=True, capture_output=True, text=True).stdout
    extra: dict[str, list[str]] = {}
    for file in map(Path, files):
        extra.setdefault(canonicalize_name(file.name.partition("-")[0]), []).append(sha256(file))
    entries = []
    for name, version in pins(frozen).items():
        more = extra.get(canonicalize_name(name), [])
        entries.append(entry(name, version, sorted({*hashes_of(name, version, index), *more})))
    write(LOCK, HEADER, entries)
    if platform.system() == "Linux":
        cuda = sorted(cuda_pins(pins(frozen)["torch"], index).items())
        linux = ' ; platform_system == "Linux"'
        write(CUDA_LOCK, CUDA_HEADER, [entry(n, v, hashes_of(n, v, index), linux) for n, v in cuda])


if __name__ == "__main__":
    with exit_on_refusal("lock"):
        main(*parse(sys.argv[1:]))
