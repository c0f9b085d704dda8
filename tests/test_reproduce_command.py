"""tools.reproduce: a revision is run again from nothing, in a small repository of DVC.

tests/test_reproduce.py runs Firth's own pipeline twice.
"""

import hashlib
import importlib.metadata
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from stages.lib.command import Refusal
from tests.conftest import ROOT, refused
from tools import reproduce
from tools.revisions import find

PIPELINE = """
stages:
  one:
    cmd: cat data/corpora/tiny/* source.txt > data/one.txt
    deps: [source.txt, data/corpora/tiny, data/table.csv]
    outs: [data/one.txt]
  two:
    cmd: >-
      echo '{"length":' $(wc -c < data/one.txt)'}' > metrics.json &&
      (cat data/one.txt; test ! -f once || cat once) > data/two.txt
    deps: [data/one.txt]
    outs: [data/two.txt, metrics.json: {cache: false}]
"""
FILES = {
    "source.txt": "a good film\n",
    "dvc.yaml": PIPELINE,
    "params.yaml": "corpus: tiny\n",
    "requirements.lock": f"pyyaml=={importlib.metadata.version('pyyaml')} \\\n    --hash=sha256:00\n",
    "data/corpora/tiny/reviews.csv": "text,label\n",
    "data/table.csv": "a,b\n",
    ".gitignore": "/data/corpora/tiny\n/data/*.txt\n",
}
WHO = ("-c", "user.name=tester", "-c", "user.email=tester@firth")


def call(folder: Path, *command: str) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def commit(folder: Path) -> None:
    call(folder, "git", "add", "--all")
    call(folder, "git", *WHO, "commit", "--quiet", "--message", "all")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository after a run, committed, with a corpus that git ignores and a table that DVC keeps."""
    folder = tmp_path_factory.mktemp("reproduce") / "repository"
    for path, content in FILES.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(content, encoding="utf-8")
    call(folder, "git", "init", "--quiet")
    dvc = (sys.executable, "-m", "dvc")
    call(folder, *dvc, "init", "--quiet")
    call(folder, *dvc, "add", "--quiet", "data/table.csv")
    call(folder, *dvc, "repro", "--quiet")
    commit(folder)
    return folder


@pytest.fixture
def repository(tmp_path: Path, finished: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "repository"
    shutil.copytree(finished, folder)
    monkeypatch.chdir(folder)
    return folder


Reproduced = Callable[..., tuple[int, list[str]]]


@pytest.fixture
def reproduced(capfd: pytest.CaptureFixture[str]) -> Reproduced:
    """Runs the command with the packages of this interpreter: its exit code and lines, without the times."""

    def run(*arguments: str) -> tuple[int, list[str]]:
        capfd.readouterr()
        code = reproduce.main([*arguments, "--environment", "here"])
        printed = capfd.readouterr()
        return code, [line[10:] for line in printed.out.splitlines()] + printed.err.splitlines()

    return run


def record(old: str, new: str) -> None:
    """Commits a dvc.lock with another hash."""
    lock = Path("dvc.lock").read_text(encoding="utf-8")
    assert old in lock
    Path("dvc.lock").write_text(lock.replace(old, new), encoding="utf-8")
    commit(Path())


def test_a_revision_is_run_from_nothing_with_files_that_git_does_not_have(
    repository: Path, reproduced: Reproduced, tmp_path: Path
) -> None:
    Path("data/table.csv").unlink()  # returns from DVC's cache
    Path("source.txt").write_text("a change\n", encoding="utf-8")
    kept = tmp_path / "kept"
    code, lines = reproduced("--keep", str(kept))
    assert (code, lines[-1]) == (0, "equal: all 3 outputs are those in the dvc.lock of HEAD")
    assert lines[0] == "note: uncommitted changes are not part of HEAD: source.txt"
    assert lines[2:-1] == ["run one", "run two"]
    assert kept.stat().st_mode & 0o777 == 0o700
    assert (kept / "data/one.txt").read_text(encoding="utf-8") == "text,label\na good film\n"
    assert list((kept / ".dvc/cache/runs").rglob("*"))  # it has its own run cache
    assert list((kept / ".dvc/tmp/site/repo").iterdir())  # ... and site cache
    with pytest.raises(Refusal, match="exists already; name a new folder"):
        reproduced("--keep", str(kept))


def test_the_first_difference_is_named_and_the_folder_is_removed(
    repository: Path, reproduced: Reproduced, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # The recorded run had a file that no commit has.
    Path("once").write_text("more\n", encoding="utf-8")
    call(repository, sys.executable, "-m", "dvc", "repro", "--quiet", "--force", "two")
    Path("once").unlink()
    commit(repository)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    code, lines = reproduced()
    assert code == 1
    assert lines[-2].startswith(
        "differs: two: data/two.txt: byte 23: the end of the shorter one; 28 recorded"
    )
    assert lines[-1] == "1 of 3 outputs differ from the dvc.lock of HEAD"
    assert not list((tmp_path / "temporary").iterdir())


def compared(capfd: pytest.CaptureFixture[str]) -> list[str]:
    """What is printed of the outputs in this folder beside those of the last commit."""
    (revision,) = find(["HEAD"])
    capfd.readouterr()
    assert not reproduce.compare(revision, Path())
    return [line[10:] for line in capfd.readouterr().out.splitlines()]


def test_a_number_in_a_file_of_git_is_compared(repository: Path, capfd: pytest.CaptureFixture[str]) -> None:
    right = Path("metrics.json").read_bytes()
    wrong = b'{"length": 24}\n'
    Path("metrics.json").write_bytes(wrong)
    record(hashlib.md5(right).hexdigest(), hashlib.md5(wrong).hexdigest())
    Path("metrics.json").write_bytes(right)
    assert compared(capfd)[0].startswith("differs: two: metrics.json: length: 24 recorded, 23 made (MD5 ")


def test_a_wrong_hash_without_its_file_is_reported_as_a_hash(
    repository: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    md5 = hashlib.md5(Path("data/one.txt").read_bytes()).hexdigest()
    record(md5, "a" * 32)  # data/two.txt is the same
    assert compared(capfd) == [
        f"differs: one: data/one.txt: MD5 {'a' * 32} recorded, {md5} made; "
        "the recorded version is neither in DVC's cache nor in git",
        "  also: two: data/two.txt",
        "2 of 3 outputs differ from the dvc.lock of HEAD",
    ]


def test_code_that_was_changed_after_the_run_is_named_in_a_commit_of_no_branch(
    repository: Path, reproduced: Reproduced
) -> None:
    Path("source.txt").write_text("a bad film\n", encoding="utf-8")
    commit(repository)
    changed = call(repository, "git", "rev-parse", "HEAD").strip()
    call(repository, "git", "reset", "--quiet", "--hard", "HEAD~1")  # as the commit of an experiment
    code, lines = reproduced(changed)
    assert code == 1
    assert "note: dvc.lock was made with other versions of source.txt" in lines
    assert "  also: two: data/two.txt" in lines
    assert lines[-1].startswith("3 of 3 outputs differ")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            lambda: shutil.rmtree("data/corpora"),
            "data/corpora/tiny: missing, though it is in HEAD's dvc.lock",
        ),
        (
            lambda: Path("data/corpora/tiny/reviews.csv").write_text("x", encoding="utf-8"),
            "data/corpora/tiny: not the one in HEAD's dvc.lock",
        ),
        (
            lambda: (Path("data/table.csv").unlink(), shutil.rmtree(".dvc/cache/files")),
            "data/table.csv: neither in this folder nor in DVC's cache",
        ),
    ],
)
def test_a_missing_corpus_is_one_line(
    repository: Path, reproduced: Reproduced, damage: Callable[[], object], message: str
) -> None:
    damage()
    code, lines = reproduced()
    assert code == 2
    assert lines[-1].startswith(f"reproduce: {message}")
    assert not [line for line in lines if line.startswith("run ")]


def test_a_stage_that_fails_is_code_2(repository: Path, reproduced: Reproduced) -> None:
    pipeline = Path("dvc.yaml")
    pipeline.write_text(PIPELINE.replace("cmd: cat", "cmd: no-such-program"), encoding="utf-8")
    commit(repository)
    code, lines = reproduced()
    assert code == 2
    assert lines[-1] == "reproduce: dvc repro failed with exit code 255; its last lines are above"
    assert any("no-such-program" in line for line in lines[:-1])


@pytest.mark.parametrize(
    ("revision", "words"),
    [
        ("no-such-branch", ["expected a commit, branch or tag"]),
        ("workspace", ["expected a commit"]),
        ("HEAD~1", ["no dvc.lock in commit"]),
    ],
)
def test_a_revision_that_cannot_be_compared_is_refused(
    repository: Path, revision: str, words: list[str]
) -> None:
    call(repository, "git", "rm", "--quiet", "--cached", "dvc.lock")
    call(repository, "git", *WHO, "commit", "--quiet", "--message", "without")
    commit(repository)
    command = [sys.executable, "-m", "tools.reproduce", revision]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    assert refused(subprocess.run(command, env=environment, capture_output=True, text=True), *words)


def test_a_stage_without_an_entry_in_dvc_lock_is_refused(repository: Path, reproduced: Reproduced) -> None:
    Path("dvc.yaml").write_text(f"{PIPELINE}  three:\n    cmd: echo\n", encoding="utf-8")
    commit(repository)
    with pytest.raises(Refusal, match=r"dvc\.lock has no stage three; expected a revision after `dvc repro`"):
        reproduced()


def test_other_packages_are_refused(repository: Path, reproduced: Reproduced) -> None:
    Path("requirements.lock").write_text("pyyaml==1.0\n", encoding="utf-8")
    commit(repository)
    with pytest.raises(Refusal, match=r"pyyaml is .* here and 1\.0 in HEAD's requirements\.lock"):
        reproduced()


def test_variables_of_other_environments_are_left_out_and_paths_are_absolute(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("DVC_ROOT", "VIRTUAL_ENV", "GIT_DIR"):
        monkeypatch.setenv(name, "x")
    monkeypatch.setenv("FIRTH_CACHE", "downloads")
    monkeypatch.setenv("FIRTH_MIRROR", "https://example.org/mirror")
    variables = reproduce.environment(tmp_path / "bin")
    assert not {"DVC_ROOT", "VIRTUAL_ENV", "GIT_DIR"} & set(variables)
    assert variables["FIRTH_CACHE"] == str(tmp_path / "downloads")
    assert variables["FIRTH_MIRROR"] == "https://example.org/mirror"
    assert variables["PATH"].startswith(f"{tmp_path / 'bin'}{os.pathsep}")


def test_the_environment_is_made_by_the_rule_of_the_revision(tmp_path: Path) -> None:
    makefile = ".venv/ready: requirements.lock\n\tmkdir -p .venv/bin && echo $(PYTHON) > .venv/ready\n"
    (tmp_path / "Makefile").write_text(makefile, encoding="utf-8")
    (tmp_path / "requirements.lock").touch()
    assert reproduce.install(tmp_path) == tmp_path / ".venv/bin"
    assert (tmp_path / ".venv/ready").read_text(encoding="utf-8") == f"{sys.executable}\n"
