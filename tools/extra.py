"""Installs a group of pyproject.toml into this environment, with the versions of requirements.lock.

    python -m tools.extra bench

It is a group of packages that `make` leaves out.
"""

import subprocess
import sys
import tomllib
from pathlib import Path


def packages(extra: str) -> list[str]:
    """The requirements of a dependency group in pyproject.toml."""
    content = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))
    requirements: list[str] = content["dependency-groups"][extra]
    return requirements


def main(extra: str) -> None:
    """Installs. Exits as pip does."""
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    done = subprocess.run([*pip, "--constraint", "requirements.lock", *packages(extra)], check=False)
    sys.exit(done.returncode)


if __name__ == "__main__":
    main(*sys.argv[1:])
