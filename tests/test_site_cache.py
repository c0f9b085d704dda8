"""The site cache of DVC: a folder that no other user can enter, for every command in the repository."""

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from dvc.config import Config
from dvc.repo import Repo

from stages.lib.command import Refusal
from tests.conftest import ROOT
from tools import site_cache


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the private folder belongs. The current folder is a repository with the shipped configuration."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("DVC_SITE_CACHE_DIR", raising=False)
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    subprocess.run(["git", "init", "--quiet"], check=True)
    Path(".dvc").mkdir()
    for name in (".dvc/config", ".dvc/.gitignore"):
        shutil.copy(ROOT / name, name)
    return tmp_path / "cache/firth/dvc"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_dvc_keeps_its_site_cache_where_no_other_user_can_write(cache: Path) -> None:
    site_cache.main()
    with Repo() as repo:
        assert Path(repo.site_cache_dir).parent == cache / "repo"
    assert mode(cache) == mode(cache / "repo") == 0o700
    ignored = subprocess.run(["git", "check-ignore", "--quiet", ".dvc/config.local"], check=False)
    assert ignored.returncode == 0


def test_it_is_used_in_the_folders_below_and_in_the_copies_of_experiments(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site_cache.main()
    Path("dvc.yaml").write_text(
        "stages: {one: {cmd: env > seen.txt; pwd >> seen.txt, outs: [seen.txt]}}", encoding="utf-8"
    )
    for command in ("add .", "-c user.name=a -c user.email=a@b commit --quiet -m one"):
        subprocess.run(["git", *command.split()], check=True)
    Path("below").mkdir()
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    dvc = [sys.executable, "-m", "dvc"]
    options = {"env": os.environ | {"PATH": programs}, "check": True, "capture_output": True}
    subprocess.run([*dvc, "status"], cwd="below", **options)  # type: ignore[call-overload]
    assert list(Path("below").iterdir()) == []
    count = len(list((cache / "repo").iterdir()))
    assert count == 1
    subprocess.run([*dvc, "exp", "run", "--quiet", "--temp"], **options)  # type: ignore[call-overload]
    assert len(list((cache / "repo").iterdir())) > count


def test_a_folder_that_was_chosen_before_stays(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Config(".dvc").edit("local") as local:
        local["cache"] = {"dir": "elsewhere"}
    site_cache.main()
    first = Path(".dvc/config.local").read_text(encoding="utf-8")
    assert "elsewhere" in first
    shutil.rmtree(cache)
    site_cache.main()  # somebody has emptied the cache
    assert mode(cache) == 0o700
    assert Path(".dvc/config.local").read_text(encoding="utf-8") == first
    with Config(".dvc").edit("local") as local:
        local["core"]["site_cache_dir"] = "/mine"
    shutil.rmtree(cache)
    site_cache.main()
    assert Config(".dvc")["core"]["site_cache_dir"] == "/mine"
    Path(".dvc/config.local").unlink()
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", "/theirs")
    site_cache.main()
    assert not Path(".dvc/config.local").exists()
    assert not cache.exists()


def test_an_open_folder_is_closed_and_a_link_refused(cache: Path, tmp_path: Path) -> None:
    cache.mkdir(parents=True)
    cache.chmod(0o777)
    site_cache.main()
    assert mode(cache) == 0o700
    shutil.rmtree(cache)
    cache.symlink_to(tmp_path)
    with pytest.raises(Refusal, match=r"firth/dvc: is a link or another user's; remove it"):
        site_cache.main()


def test_a_damaged_configuration_is_refused_in_one_line(cache: Path) -> None:
    Path(".dvc/config").write_text("[core", encoding="utf-8")
    with pytest.raises(Refusal, match=r"^\.dvc: .*config"):
        site_cache.main()
