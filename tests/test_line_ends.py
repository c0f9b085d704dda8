"""Line ends: git gives every file of the repository the same bytes on every machine."""

import shutil
import subprocess
from pathlib import Path

from tests.conftest import ROOT

FILES = (
    ".gitattributes",
    "dvc.yaml",
    "params.yaml",
    "stages",
    "data/corpora/sample",
    "metrics/projection.png",
)


def git(folder: Path, *arguments: str) -> None:
    settings = ("user.name=tester", "user.email=tester@firth", "core.autocrlf=true", "core.safecrlf=false")
    options = [word for setting in settings for word in ("-c", setting)]
    subprocess.run(["git", *options, *arguments], cwd=folder, check=True, capture_output=True)


def contents(folder: Path) -> dict[str, bytes]:
    """The bytes of all files but git's own."""
    paths = [path for path in folder.rglob("*") if path.is_file() and ".git" not in path.parts]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def test_a_clone_with_autocrlf_has_the_same_bytes(tmp_path: Path) -> None:
    one = tmp_path / "one"
    for name in FILES:
        path, copy = ROOT / name, one / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            shutil.copytree(path, copy, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(path, copy)
    (one / "data/corpora/sample/windows.csv").write_bytes(b"text,label\r\nfine,good\r\nmixed,bad\n")
    git(one, "init", "--quiet")
    git(one, "add", "--all", "--force")
    git(one, "commit", "--quiet", "--message", "all")
    git(tmp_path, "clone", "--quiet", str(one), "other")
    assert contents(tmp_path / "other") == contents(one)
    assert b"\r\n" not in (tmp_path / "other/params.yaml").read_bytes()
