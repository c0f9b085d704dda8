"""Installs a group of pyproject.toml into this environment, with the versions of requirements.lock.

    python -m tools.extra bench

It is a group of packages that `make` leaves out.
"""

import argparse
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from pathlib import Path

from stages.lib.command import exit_on_refusal


def extras() -> dict[str, list[str]]:
    """The dependency groups in pyproject.toml and their requirements."""
    content = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))
    by_name: dict[str, list[str]] = content["dependency-groups"]
    return by_name


def pinned() -> list[str]:
    """The versions in requirements.lock, without hashes: with one, pip wants those of the extra too."""
    lock = Path("requirements.lock").read_text(encoding="utf-8")
    return re.findall(r"^[\w.-]+==[\w.+!]+", lock, re.MULTILINE)


def main(arguments: Sequence[str] | None = None) -> None:
    """Installs. Exits as pip does, or with 2 if there is no such extra."""
    known = extras()
    parser = argparse.ArgumentParser(
        "python -m tools.extra", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("extra", choices=sorted(known))
    extra = parser.parse_args(arguments).extra
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    with tempfile.TemporaryDirectory() as folder:
        versions = Path(folder) / "versions.txt"
        versions.write_text("\n".join(pinned()), encoding="utf-8")
        done = subprocess.run([*pip, "--constraint", versions, *known[extra]], check=False)
    sys.exit(done.returncode)


if __name__ == "__main__":
    with exit_on_refusal("extra"):
        main()
