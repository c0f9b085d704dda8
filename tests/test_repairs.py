"""What `python -m tools.verify --repair` restores, at length: `make torture` alone runs this.

The short forms are in test_verify.py and test_interrupted.py.
"""

import os
import random
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from stages import STAGES
from tests.forked import TORTURE, needs_faults, outputs
from tests.tiny_project import Dvc, project, real_dvc
from tools.verify import md5_of

SEED = 28
ROUNDS, DAMAGES = 8, 8  # of the outputs of all stages
KILLS = 60  # of `dvc exp run`
pytestmark = [
    needs_faults,
    pytest.mark.slow,
    pytest.mark.skipif(not TORTURE, reason="takes minutes: make torture"),
]

PIPELINE = """
stages:
  train:
    cmd: sleep 0.2 && cat params.yaml other.txt > model.txt && sleep 0.2
    params: [lr, seed]
    deps: [other.txt]
    outs: [model.txt]
"""
COMMITTED = {"params.yaml": "lr: 1\nseed: 1\n", "notes.txt": "n\n", "other.txt": "o\n"}
EDITED = {"params.yaml": "lr: 1\nseed: 2\n", "notes.txt": "staged\n", "other.txt": "edited\n"}
UNTRACKED = {"new.txt": "untracked\n"}
# Changed by `dvc exp run` while it moves changes to git's stash, detaches HEAD, and brings the changes back.
WATCHED = (
    *COMMITTED,
    ".git",
    ".git/HEAD",
    ".git/logs/HEAD",
    ".git/refs",
    ".git/refs/exps/exec",
    ".dvc/tmp/exps",
    ".dvc/tmp/exps/run/workspace",
)


def damage(path: Path, draw: random.Random) -> None:
    """Flips a bit, with size and time kept; cuts the file; or removes it."""
    kind = draw.choice(("bit", "bit", "cut", "none"))
    before = path.stat()
    content = bytearray(path.read_bytes())
    path.chmod(0o644)
    if kind == "bit" and content:
        content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    path.write_bytes(content[: len(content) // 2] if kind == "cut" else content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    path.chmod(before.st_mode)
    if kind == "none":
        path.unlink()


def test_damaged_outputs_of_all_stages_are_restored(tmp_path: Path) -> None:
    draw = random.Random(SEED)
    with project(tmp_path) as tiny:
        real = real_dvc(tiny, tmp_path / "real")
    expected = {
        path: md5 for stage in STAGES for path in outputs(stage) if (md5 := md5_of(real.folder / path))
    }
    cache = real.folder / ".dvc/cache/files/md5"
    damages = 0
    for _ in range(ROUNDS):
        for path in draw.sample(sorted(expected), DAMAGES):
            kept = cache / expected[path][:2] / expected[path][2:]
            # Most damages are of both copies, so that the stage must run again.
            for copy in draw.choice(([real.folder / path], [kept], *2 * [[real.folder / path, kept]])):
                if copy.is_file():
                    damage(copy, draw)
                    damages += 1
        code, printed = real.run("tools.verify", "--repair")
        assert code == 0, printed
        assert {path: md5_of(real.folder / path) for path in expected} == expected
        wrong = [one for one in cache.glob("??/*") if md5_of(one) != one.parent.name + one.name]
        assert not wrong
        assert "up to date" in real.run("dvc", "status")[1]
    print(f"{damages} damages in {ROUNDS} rounds")


def git(folder: Path, *words: str, check: bool = True) -> str:
    return subprocess.run(
        ["git", "-c", "user.name=tester", "-c", "user.email=tester@firth", *words],
        cwd=folder,
        check=check,
        capture_output=True,
        text=True,
    ).stdout.strip()


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")


@pytest.fixture
def edited(tmp_path: Path) -> Path:
    """A repository of DVC after a run, with uncommitted changes, one of them staged."""
    folder = tmp_path / "edited"
    folder.mkdir()
    git(folder, "init", "--quiet", "--initial-branch", "main")
    dvc = Dvc(folder)
    assert dvc.run("dvc", "init", "--quiet")[0] == 0
    write(folder, COMMITTED | {"dvc.yaml": PIPELINE})
    assert dvc.run("dvc", "repro", "--quiet")[0] == 0
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "all")
    write(folder, EDITED | UNTRACKED)
    git(folder, "add", "notes.txt")
    return folder


def times(folder: Path) -> list[int]:
    """When each of the watched paths was changed last; 0 for one that does not exist."""
    changed = [0] * len(WATCHED)
    for n, name in enumerate(WATCHED):
        with suppress(FileNotFoundError):
            changed[n] = (folder / name).stat().st_mtime_ns
    return changed


def run_experiment(dvc: Dvc, last: int = sys.maxsize) -> tuple[int, bool]:
    """Runs `dvc exp run`; kills it, and all that it started, when watched paths have changed `last` times.
    Returns how often they changed, and whether it was killed."""
    process = dvc.start("dvc", "exp", "run", "--set-param", "lr=3")
    changes, before = 0, times(dvc.folder)
    while process.poll() is None and changes < last:
        time.sleep(0.001)
        now = times(dvc.folder)
        changes += now != before
        before = now
    killed = process.poll() is None
    with suppress(psutil.NoSuchProcess):
        family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
        for one in family:
            one.kill()
        psutil.wait_procs(family[1:], timeout=10)
    process.communicate()
    return changes, killed


def lost(folder: Path) -> list[str]:
    """The uncommitted changes that are neither in the folder nor in git's stash."""
    stashes = git(folder, "stash", "list", "--format=%H").split()
    missing = []
    for name, text in (EDITED | UNTRACKED).items():
        allowed = {text, text.replace("lr: 1", "lr: 3")} if name == "params.yaml" else {text}
        contents = {(folder / name).read_text(encoding="utf-8")} if (folder / name).is_file() else set()
        if name not in UNTRACKED:
            # The folder after the kill is a stash as well, and a file may be missing in it.
            contents |= {git(folder, "show", f"{stash}:{name}", check=False) + "\n" for stash in stashes}
        if not contents & allowed:
            missing.append(name)
    return missing


def test_a_killed_experiment_loses_no_uncommitted_change(
    edited: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "tester")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", "tester@firth")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent.parent))
    draw = random.Random(SEED)

    def copy() -> Dvc:
        shutil.rmtree(tmp_path / "copy", ignore_errors=True)
        return Dvc(Path(shutil.copytree(edited, tmp_path / "copy", symlinks=True)))

    total, _ = run_experiment(copy())
    kills, repairs, faults = 0, 0, []
    for _ in range(KILLS):
        dvc = copy()
        last = draw.randint(1, total)
        kills += run_experiment(dvc, last)[1]
        if dvc.run("tools.verify", "--state")[0]:
            repairs += 1
            code, printed = dvc.run("tools.verify", "--repair")
            if code:
                faults.append(f"killed at {last}: {printed}")
        branch = git(dvc.folder, "rev-parse", "--abbrev-ref", "HEAD")
        if branch != "main" or lost(dvc.folder):
            faults.append(f"killed at {last} of {total}: on {branch}, {lost(dvc.folder)} lost")
        code, printed = dvc.run("dvc", "exp", "run", "--set-param", "lr=3")
        if code:
            faults.append(f"killed at {last}, run again: {printed}")
    print(f"{kills} kills of `dvc exp run`, {repairs} repairs")
    assert not faults, "\n".join(faults)
    assert kills >= KILLS // 2
    assert repairs
