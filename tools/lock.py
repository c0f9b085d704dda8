"""Installs what pyproject.toml asks for into this environment and pins all of it.

    make lock

requirements.lock then names every package, needed directly or not, at the version that was found.
"""

import subprocess
import sys
import tomllib
from pathlib import Path

from stages.lib.files import atomic

LOCK = Path("requirements.lock")
HEADER = "# Made by `make lock` from pyproject.toml: every package at the version it was tested with.\n"


def wanted() -> list[str]:
    """What the project and its development need, as pyproject.toml has it."""
    project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
    return [*project["dependencies"], *project["optional-dependencies"]["dev"]]


def pinned(frozen: str) -> str:
    """The lines of `pip freeze` without the build (+cpu) that only some machines have.

    >>> pinned("torch==2.13.0+cpu")
    'torch==2.13.0'
    """
    return "\n".join(line.partition("+")[0] for line in frozen.splitlines())


def main() -> None:
    """Installs, and writes requirements.lock."""
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    subprocess.run([*pip, "install", "--quiet", *wanted()], check=True)
    frozen = subprocess.run([*pip, "freeze"], check=True, capture_output=True, text=True).stdout
    with atomic(LOCK) as temporary:
        temporary.write_text(HEADER + pinned(frozen) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
