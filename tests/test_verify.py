"""tools.verify: damage that DVC does not see, in a small repository of DVC."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from stages.lib.command import Refusal
from tests.conftest import ROOT
from tools import verify
from tools.dvc_state import keep_lock

PIPELINE = """
stages:
  one:
    cmd: cp source.txt data/one.txt
    deps: [source.txt]
    outs: [data/one.txt]
  two:
    cmd: tr a-z A-Z < data/one.txt > data/two.txt && sort -r data/two.txt source.txt > two.csv
    deps: [data/one.txt]
    outs: [data/two.txt, two.csv: {cache: false}]
"""
RWLOCK = Path(".dvc/tmp/rwlock")
STATE = ("rwlock", "exps/rwlock", "exps/run/workspace/workspace.run")  # in .dvc/tmp


def call(folder: Path, *command: str) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def dvc(folder: Path, *arguments: str) -> str:
    return call(folder, sys.executable, "-m", "dvc", *arguments)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository after a run, committed."""
    folder = tmp_path_factory.mktemp("verify") / "repository"
    (folder / "data/folder").mkdir(parents=True)
    for path, content in (
        ("source.txt", "a good film\n"),
        ("dvc.yaml", PIPELINE),
        ("params.yaml", "corpus: sample\n"),
        ("data/table.csv", "text,label\n"),
        ("data/folder/a.txt", "first"),
        ("data/folder/b.txt", "second"),
    ):
        (folder / path).write_text(content, encoding="utf-8")
    call(folder, "git", "init", "--quiet")
    dvc(folder, "init", "--quiet")
    dvc(folder, "add", "--quiet", "data/table.csv", "data/folder")
    dvc(folder, "repro", "--quiet")
    call(folder, "git", "add", "--all")
    who = ("-c", "user.name=tester", "-c", "user.email=tester@firth")
    call(folder, "git", *who, "commit", "--quiet", "--message", "all")
    return folder


@pytest.fixture
def repository(tmp_path: Path, finished: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "repository"
    shutil.copytree(finished, folder)
    monkeypatch.chdir(folder)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    return folder


@pytest.fixture
def verified(capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, list[str]]]:
    """Runs the tool: its exit code and the lines it prints."""

    def run(*arguments: str) -> tuple[int, list[str]]:
        capfd.readouterr()
        return verify.main(arguments), capfd.readouterr().out.splitlines()

    return run


Verified = Callable[..., tuple[int, list[str]]]


def cached(path: str) -> Path:
    """The file in the cache of an output that is right."""
    md5 = verify.md5_of(Path(path))
    assert md5
    return Path(".dvc/cache/files/md5") / md5[:2] / md5[2:]


def damage(path: Path) -> None:
    """Flips a bit, and keeps size, time and permissions."""
    before = path.stat()
    content = bytearray(path.read_bytes())
    content[0] ^= 1
    path.chmod(0o644)
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    path.chmod(before.st_mode)


def everything() -> dict[str, bytes]:
    """The files of the folder and of the cache."""
    paths = [*Path().glob("*.*"), *Path("data").rglob("*"), *Path(".dvc/cache/files").rglob("*")]
    return {str(path): path.read_bytes() for path in paths if path.is_file()}


def test_a_right_run_has_no_faults(repository: Path, verified: Verified) -> None:
    before = everything()
    assert verified() == (0, ["7 files of workspace: 0 damaged or missing"])
    assert verified("--repair")[0] == verified("HEAD")[0] == 0
    assert everything() == before


PLACES = {
    "output": ["data/one.txt"],
    "cache": ["cache of data/one.txt"],
    "both": ["data/one.txt", "cache of data/one.txt"],
    "uncached": ["two.csv"],
    "data": ["data/table.csv"],
    "folder": ["data/folder/b.txt"],
    "file of a folder in the cache": ["cache of data/folder/b.txt"],
    "listing of a folder": ["cache of data/folder"],
}


@pytest.mark.parametrize(
    ("place", "missing"),
    [*((place, False) for place in PLACES), *((place, True) for place in ("output", "cache", "folder"))],
)
def test_damage_is_seen_and_repaired(repository: Path, verified: Verified, place: str, missing: bool) -> None:
    before = everything()
    Path("data/unlisted.txt").write_text("mine", encoding="utf-8")
    Path(".dvc/cache/files/md5/00").mkdir(exist_ok=True)
    Path(".dvc/cache/files/md5/00/unlisted").write_text("mine", encoding="utf-8")
    paths = [
        cached(name.removeprefix("cache of ")) if name.startswith("cache") else Path(name)
        for name in PLACES[place]
    ]
    for path in paths:
        if missing:
            path.unlink()
        else:
            damage(path)
    name = PLACES[place][0].removeprefix("cache of ")
    code, lines = verified()
    assert code == 1
    assert lines[-1].endswith("; run `python -m tools.verify --repair`")
    assert [line for line in lines if line.startswith(f"{name}: ")]
    code, lines = verified("--repair")
    assert code == 0, lines
    after = everything()
    assert after.pop("data/unlisted.txt") == after.pop(".dvc/cache/files/md5/00/unlisted") == b"mine"
    aside = {path: after.pop(path) for path in list(after) if path.endswith(".damaged")}
    assert len(aside) == (place in ("data", "folder") and not missing)
    assert after == before
    assert verified()[0] == 0


def test_a_damaged_copy_of_an_uncached_output_is_not_brought_back(
    repository: Path, verified: Verified
) -> None:
    """DVC keeps copies of metrics and plots that are no outputs of its cache, for the run cache."""
    before = everything()
    pipeline = Path("dvc.yaml").read_text(encoding="utf-8")
    plots = pipeline.replace(", two.csv: {cache: false}]", "]\n    plots: [two.csv: {cache: false}]")
    Path("dvc.yaml").write_text(plots, encoding="utf-8")
    dvc(repository, "repro", "--quiet", "--force", "two")
    copy = cached("two.csv")
    assert copy.is_file()
    damage(copy)
    assert verified()[1][0] == "two.csv: damaged in DVC's cache"
    damage(Path("two.csv"))
    assert verified("--repair")[0] == 0
    assert Path("two.csv").read_bytes() == before["two.csv"]
    assert verified()[0] == 0


def test_dvc_does_not_see_the_damage_that_is_seen_here(repository: Path, verified: Verified) -> None:
    dvc(repository, "status")  # remembers sizes and times
    damage(Path("data/one.txt"))
    damage(cached("data/two.txt"))
    assert "up to date" in dvc(repository, "status")
    code, lines = verified()
    assert (code, len(lines)) == (1, 3)
    assert lines[0] == "data/one.txt: damaged"
    assert lines[1] == "data/two.txt: damaged in DVC's cache"


def test_a_damaged_file_of_another_run_is_removed(repository: Path, verified: Verified) -> None:
    other = Path(".dvc/cache/files/md5/ab/" + "0" * 30)
    other.parent.mkdir(exist_ok=True)
    other.write_text("not its hash", encoding="utf-8")
    assert verified()[1][0] == f"{other.resolve()}: damaged, of another run"
    assert other.is_file()
    assert verified("--repair")[0] == 0
    assert not other.exists()


def test_the_files_of_a_commit_are_verified_in_the_cache(repository: Path, verified: Verified) -> None:
    kept = cached("data/one.txt")
    damage(kept)
    assert verified("HEAD")[1][0] == "data/one.txt: damaged in DVC's cache"
    assert verified("HEAD", "--repair")[0] == 0
    damage(kept)
    damage(Path("data/one.txt"))
    code, lines = verified("HEAD", "--repair")
    assert code == 1
    assert "data/one.txt: damaged in DVC's cache; removed; it is not in DVC's cache; `git che" in lines[0]
    assert not kept.exists()


@pytest.mark.parametrize("content", [b"", b'{"read": {"/a', b"[]", b"\xff"])
@pytest.mark.parametrize("name", STATE)
def test_an_unreadable_file_of_processes_is_moved_aside(
    repository: Path, verified: Verified, name: str, content: bytes
) -> None:
    path = RWLOCK.parent / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    code, lines = verified("--state")
    assert (code, len(lines)) == (1, 1)
    assert f"{name}: unreadable, cut by a full disk or a kill; run `python -m tools.verify --re" in lines[0]
    assert verified("--repair")[0] == 0
    assert not path.exists()
    assert path.with_name(f"{path.name}.damaged").read_bytes() == content
    assert verified("--state")[0] == 0


def test_dvc_runs_again_after_its_files_were_moved_aside(repository: Path, verified: Verified) -> None:
    for path in map(RWLOCK.parent.joinpath, STATE):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert verified("--repair")[0] == 0
    assert "up to date" in dvc(repository, "repro")
    dvc(repository, "exp", "run", "--quiet", "--set-param", "corpus=other")


@pytest.mark.parametrize("length", [0, 9, -90])
def test_a_cut_dvc_lock_is_replaced_by_that_of_the_last_commit(
    repository: Path, verified: Verified, length: int
) -> None:
    lock = Path("dvc.lock")
    content = lock.read_bytes()
    lock.write_bytes(content[:length] + b"    - path: 'x" * (length < 0))
    cut = lock.read_bytes()
    assert verified()[0] == verified("--state")[0] == 1
    code, lines = verified("--repair")
    assert code == 0
    assert lines[0].endswith("moved to dvc.lock.damaged, replaced by that of the last commit")
    assert lock.read_bytes() == content
    assert Path("dvc.lock.damaged").read_bytes() == cut


def test_the_kept_copy_of_dvc_lock_is_preferred_if_it_describes_the_outputs(
    repository: Path, verified: Verified
) -> None:
    Path("source.txt").write_text("another film\n", encoding="utf-8")
    dvc(repository, "repro", "--quiet")
    keep_lock()
    lock = Path("dvc.lock")
    content = lock.read_bytes()
    for _ in range(2):
        lock.write_bytes(content[:9])
        assert "replaced by that of .work/dvc.lock" in verified("--repair")[1][0]
        assert lock.read_bytes() == content
    assert Path("dvc.lock.damaged.2").read_bytes() == content[:9]


def test_without_a_good_copy_the_broken_dvc_lock_is_kept(repository: Path, verified: Verified) -> None:
    shutil.rmtree(".git")
    dvc_lock = Path("dvc.lock")
    dvc_lock.write_bytes(b"schema")
    Path(".dvc/config").write_text("[core]\n    no_scm = true\n", encoding="utf-8")
    assert verified("--repair")[1][0].endswith("dvc.lock.damaged; there is no good copy")
    assert Path("dvc.lock.damaged").read_bytes() == b"schema"


def test_nothing_is_repaired_while_dvc_is_at_work(repository: Path) -> None:
    entry = {"pid": os.getpid(), "cmd": "dvc repro"}
    RWLOCK.write_text(json.dumps({"write": {"/a": entry}, "read": {}}), encoding="utf-8")
    damage(Path("data/one.txt"))
    with pytest.raises(Refusal, match=rf"process {os.getpid()} \(dvc repro\) is running here"):
        verify.main(["--repair"])
    assert verify.main([]) == 1  # may be looked at


def test_a_killed_experiment_is_named_and_resumed(repository: Path, verified: Verified) -> None:
    branch = call(repository, "git", "symbolic-ref", "--short", "HEAD").strip()
    Path("params.yaml").write_text("corpus: mine\n", encoding="utf-8")
    call(repository, "git", "update-ref", "refs/exps/exec/EXEC_MERGE", "HEAD")
    head = call(repository, "git", "rev-parse", "HEAD").strip()
    call(repository, "git", "checkout", "--quiet", head)
    code, lines = verified("--state")
    assert (code, lines) == (
        1,
        [
            f"`dvc exp run` was killed: HEAD is detached from {branch}; "
            "run `python -m tools.verify --repair`, which loses nothing"
        ],
    )
    code, lines = verified("--repair")
    assert (code, len(lines)) == (0, 2)
    assert f"HEAD is on {branch} again" in lines[0]
    assert call(repository, "git", "symbolic-ref", "--short", "HEAD").strip() == branch
    assert Path("params.yaml").read_text(encoding="utf-8") == "corpus: mine\n"
    record = Path(".dvc/tmp/exps/run/workspace/workspace.json")
    record.parent.mkdir(parents=True)
    record.write_text(json.dumps({"pid": os.getpid()}), encoding="utf-8")
    with pytest.raises(Refusal, match=rf"process {os.getpid()} runs an experiment here"):
        verify.main(["--repair"])


def test_a_folder_without_dvc_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Refusal, match="run this in a repository of DVC"):
        verify.main([])


def test_make_repro_names_a_broken_file_of_dvc() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert "dvc repro || { $(RUN) python -m tools.verify --state; exit 1; }" in makefile
