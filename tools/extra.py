"""Installs an extra of pyproject.toml into this environment, with the versions of requirements.lock.

    python -m tools.extra bench

pip can install an extra only together with its package, and Firth is not installed as one.
"""

import subprocess
import sys
import tomllib
from pathlib import Path


def packages(extra: str) -> list[str]:
    """The requirements of an extra in pyproject.toml."""
    project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
    requirements: list[str] = project["optional-dependencies"][extra]
    return requirements


def main(extra: str) -> None:
    """Installs. Exits as pip does."""
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    done = subprocess.run([*pip, "--constraint", "requirements.lock", *packages(extra)], check=False)
    sys.exit(done.returncode)


if __name__ == "__main__":
    main(*sys.argv[1:])
