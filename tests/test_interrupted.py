"""States that a killed `dvc exp run` leaves, made by hand: nothing of the uncommitted changes is lost."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tools.interrupted import EXECUTION, EXPERIMENT_HEAD, MERGE, QUEUE, git, interrupted, resume

TEMPORARY = Path(".dvc/tmp")
COMMITTED = {"params.yaml": "lr: 1\nseed: 1\n", "notes.txt": "n\n", "other.txt": "o\n"}
EDITED = {"params.yaml": "lr: 1\nseed: 2\n", "notes.txt": "staged\n", "other.txt": "edited\n"}
EXPERIMENT = EDITED | {"params.yaml": "lr: 3\nseed: 2\n"}  # `dvc exp run -S lr=3`


def run(*words: str) -> None:
    subprocess.run(["git", *words], check=True, capture_output=True)


def write(files: dict[str, str]) -> None:
    for name, text in files.items():
        Path(name).write_text(text, encoding="utf-8")


def content() -> dict[str, str]:
    return {name: Path(name).read_text(encoding="utf-8") for name in COMMITTED}


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with uncommitted changes, one of them staged."""
    monkeypatch.chdir(tmp_path)
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "tester")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", "tester@firth")
    run("init", "--quiet", "--initial-branch", "main")
    write(COMMITTED | {".gitignore": "/.dvc/tmp\n"})
    run("add", "--all")
    run("commit", "--quiet", "--message", "all")
    write(EDITED)
    run("add", "notes.txt")
    Path("new.txt").write_text("untracked", encoding="utf-8")
    (TEMPORARY / "exps/run/workspace").mkdir(parents=True)
    return tmp_path


@pytest.fixture
def dead() -> int:
    process = subprocess.Popen([sys.executable, "-S", "-c", ""])
    process.wait()
    return process.pid


def at_work(pid: int, *names: str) -> None:
    """What DVC writes about a process that changes something."""
    rwlock = {"write": {name: {"pid": pid, "cmd": "dvc exp run"} for name in names}, "read": {}}
    (TEMPORARY / "exps/rwlock").write_text(json.dumps(rwlock), encoding="utf-8")


def prepared(pid: int, files: dict[str, str]) -> None:
    """Killed after the changes were stashed and HEAD was detached, with these files in the folder."""
    at_work(pid, "workspace", QUEUE)
    run("stash", "push", "--quiet")
    run("checkout", "--quiet", git("rev-parse", "HEAD"))
    write(files)
    Path(".git/index.lock").touch()


def started(pid: int) -> None:
    """Killed after the experiment was applied on a detached HEAD."""
    write(EXPERIMENT)
    run("update-ref", MERGE, subprocess.check_output(["git", "stash", "create"], text=True).strip())
    run("update-ref", EXPERIMENT_HEAD, "HEAD")
    run("checkout", "--quiet", git("rev-parse", "HEAD"))
    record = TEMPORARY / "exps/run/workspace/workspace.json"
    record.write_text(json.dumps({"pid": pid}), encoding="utf-8")


def resumed() -> str:
    """What is repaired; asserts that there is nothing left to repair."""
    state = interrupted(TEMPORARY)
    assert state
    done = resume(state, TEMPORARY)
    assert interrupted(TEMPORARY) is None
    assert git("symbolic-ref", "HEAD") == "refs/heads/main"
    assert Path("new.txt").read_text(encoding="utf-8") == "untracked"
    assert not git("for-each-ref", MERGE, QUEUE)
    return f"{state.line}; {done}"


@pytest.mark.parametrize("files", [{}, {"notes.txt": "stag"}, EDITED], ids=["reset", "half", "back"])
def test_changes_return_from_the_stash(repository: Path, dead: int, files: dict[str, str]) -> None:
    prepared(dead, files)
    said = resumed()
    assert said.startswith("`dvc exp run` was killed: HEAD is detached from main; HEAD is on main again")
    assert content() == EDITED
    assert git("diff", "--cached", "--name-only") == "notes.txt"
    kept = git("stash", "list", "--format=%gs").splitlines()
    assert kept == ([] if files in ({}, EDITED) else ["The folder after a killed experiment"])


def test_edits_after_the_kill_are_kept_in_a_stash(repository: Path, dead: int) -> None:
    prepared(dead, {"other.txt": "written after the kill"})
    assert "`git stash show -p` has: The folder after a killed experiment" in resumed()
    assert content() == EDITED
    assert git("show", "stash@{0}:other.txt") == "written after the kill"


def test_edits_of_other_files_after_the_kill_are_kept_in_a_stash(repository: Path, dead: int) -> None:
    prepared(dead, EDITED)
    Path(".gitignore").write_text("/.dvc/tmp\n/mine\n", encoding="utf-8")
    assert "`git stash show -p` has: The folder after a killed experiment" in resumed()
    assert content() == EDITED
    assert git("show", "stash@{0}:.gitignore") == "/.dvc/tmp\n/mine"


def test_a_stash_of_the_user_is_left_alone(repository: Path, dead: int) -> None:
    run("stash", "push", "--quiet")
    stash = git("rev-parse", "refs/stash")
    at_work(dead, "workspace", QUEUE)
    os.utime(TEMPORARY / "exps/rwlock", (2e9, 2e9))
    assert interrupted(TEMPORARY) is None
    run("checkout", "--quiet", git("rev-parse", "HEAD"))  # before it stashed anything: there were no changes
    resumed()
    assert git("rev-parse", "refs/stash") == stash


def test_the_folder_stays_as_it_is_while_the_stages_ran(repository: Path, dead: int) -> None:
    started(dead)
    assert "HEAD is on main again; uncommitted changes are in the folder" in resumed()
    assert content() == EXPERIMENT
    assert git("stash", "list") == ""


def test_a_file_that_was_not_reached_and_one_that_a_stage_changed(repository: Path, dead: int) -> None:
    started(dead)
    write({"params.yaml": COMMITTED["params.yaml"], "other.txt": "of a stage"})
    Path("notes.txt").unlink()
    assert "Uncommitted changes before a killed experiment" in resumed()
    assert content() == EXPERIMENT | {"other.txt": "of a stage"}
    assert git("show", "stash@{0}:other.txt") == "edited"


def test_an_experiment_that_was_being_applied_is_applied(repository: Path, dead: int) -> None:
    started(dead)
    at_work(dead, EXECUTION)
    run("symbolic-ref", "HEAD", "refs/heads/main")
    run("reset", "--hard", "--quiet")
    write({"other.txt": "edi"})
    assert "uncommitted changes may be in a stash alone" in resumed()
    assert content() == EXPERIMENT


def test_after_the_commit_of_the_experiment(repository: Path, dead: int) -> None:
    started(dead)
    run("commit", "--quiet", "--all", "--message", "dvc: commit experiment 123")
    run("update-ref", "-d", MERGE)
    resumed()
    assert content() == EXPERIMENT
    assert git("log", "--format=%s") == "all"


@pytest.mark.parametrize("lock", ["index.lock", "HEAD.lock", "refs/stash.lock", "logs/refs/stash.lock"])
def test_a_queued_experiment_and_a_lock_are_removed(repository: Path, dead: int, lock: str) -> None:
    run("update-ref", QUEUE, "HEAD")
    assert "still queued" in resumed()
    started(dead)
    run("symbolic-ref", "HEAD", "refs/heads/main")
    run("update-ref", "-d", MERGE)
    path = Path(".git") / lock
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    assert "git is locked" in resumed()
    assert not path.exists()
    assert content() == EXPERIMENT


def test_what_is_of_the_user_or_of_a_running_experiment_is_no_fault(repository: Path, dead: int) -> None:
    assert interrupted(TEMPORARY) is None
    run("checkout", "--quiet", git("rev-parse", "HEAD"))
    assert interrupted(TEMPORARY) is None
    run("checkout", "--quiet", "main")
    started(os.getpid())
    assert interrupted(TEMPORARY) is None
    started(dead)
    assert interrupted(TEMPORARY)
