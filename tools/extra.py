"""Installs one of pyproject.toml's extras into this environment, with the versions of requirements.lock.

    python -m tools.extra bench

pip installs an extra only together with its package, and Firth is not installed.
"""

import subprocess
import sys
import tomllib
from pathlib import Path


def packages(extra: str) -> list[str]:
    """What an extra asks for, as pyproject.toml has it."""
    project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
    found: list[str] = project["optional-dependencies"][extra]
    return found


def main(extra: str) -> None:
    """Installs. Exits as pip does."""
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    done = subprocess.run([*pip, "--constraint", "requirements.lock", *packages(extra)], check=False)
    sys.exit(done.returncode)


if __name__ == "__main__":
    main(*sys.argv[1:])
