"""Processes: a stage ends with DVC and publishes nothing after it; one process at a time for one output."""

import ast
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
import yaml

from stages import STAGES
from stages.lib.files import atomic
from stages.lib.processes import exclusive
from tests.conftest import ROOT, refused

TRIES = 20  # of each kind
WRITING = 0.06  # seconds between the start of the output and its publication

STAGE = f"""
import os, sys, time
from pathlib import Path
sys.path.insert(0, {str(ROOT)!r})
Path("begun").write_text(str(os.getpid()))
time.sleep(float(os.environ.get("IMPORTS", 0)))
from stages.lib.command import run
from stages.lib.files import atomic

def main(source: Path, made: Path) -> None:
    with atomic(made) as temporary:
        temporary.write_text("new")
        Path("writing").touch()
        time.sleep({WRITING})

run(main)
"""
# What DVC does: the stage's name in the environment, the command through a shell, and waiting.
DVC = """
import os, subprocess, sys
subprocess.run([*sys.argv[1:]], env=os.environ | {"DVC_STAGE": "toy"})
"""
PATHS = "--source a.txt --made out.txt"


def dvc(folder: Path, shell_waits: bool = False, **environment: str) -> subprocess.Popen[bytes]:
    """A process that stands for DVC and runs the stage `toy` in a folder."""
    folder.mkdir(exist_ok=True)
    (folder / "toy.py").write_text(STAGE)
    command = f"{sys.executable} toy.py {PATHS}" + ("; exit $?" if shell_waits else "")
    return subprocess.Popen(
        [sys.executable, "-S", "-c", DVC, "/bin/sh", "-c", command],
        cwd=folder,
        env={"PATH": "/usr/bin:/bin"} | environment,
        stderr=(folder / "errors").open("wb"),
        process_group=0,  # as a shell with job control starts it
    )


def wait_for(path: Path) -> str:
    end = time.monotonic() + 20
    while not (path.exists() and (path.name == "writing" or path.read_text())):
        assert time.monotonic() < end, f"no {path.name}"
        time.sleep(0.002)
    return path.read_text()


def ended(pid: int) -> None:
    """Waits until a process has ended, which may be no child of this one."""
    end = time.monotonic() + 10
    with suppress(psutil.NoSuchProcess):
        while psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
            assert time.monotonic() < end, "the stage goes on"
            time.sleep(0.01)


def published_after_death(folder: Path, shell_waits: bool, delay: float) -> bool:
    """Whether the stage publishes its output after DVC was killed, `delay` seconds into the writing."""
    process = dvc(folder, shell_waits)
    wait_for(folder / "writing")
    time.sleep(delay)
    process.kill()
    process.wait()
    dead = time.time_ns()
    ended(int((folder / "begun").read_text()))
    made = folder / "out.txt"
    return made.exists() and made.stat().st_ctime_ns > dead


@pytest.mark.skipif(sys.platform != "linux", reason="the parent's death is a signal on Linux only")
@pytest.mark.parametrize("shell_waits", [False, True])
def test_a_stage_publishes_nothing_after_the_death_of_dvc(tmp_path: Path, shell_waits: bool) -> None:
    draw = random.Random(23)
    delays = [draw.uniform(0, 1.5 * WRITING) for _ in range(TRIES)]
    with ThreadPoolExecutor(4) as pool:
        late = pool.map(
            lambda case: published_after_death(tmp_path / str(case[0]), shell_waits, case[1]),
            enumerate(delays),
        )
        assert sum(late) == 0


def test_a_stage_whose_dvc_died_while_it_was_imported_writes_nothing(tmp_path: Path) -> None:
    process = dvc(tmp_path, IMPORTS="0.3")
    pid = int(wait_for(tmp_path / "begun"))
    process.kill()
    process.wait()
    ended(pid)
    assert not (tmp_path / "out.txt").exists()
    assert not (tmp_path / "writing").exists()
    assert (tmp_path / "errors").read_text() == (
        "toy: DVC ended before this stage began; nothing was written, run `dvc repro`\n"
    )


@pytest.mark.parametrize("shell_waits", [False, True])
def test_a_stage_whose_dvc_lives_publishes(tmp_path: Path, shell_waits: bool) -> None:
    assert dvc(tmp_path, shell_waits).wait() == 0
    assert (tmp_path / "out.txt").read_text() == "new"
    assert (tmp_path / "errors").read_text() == ""
    assert not list((tmp_path / ".work/locks").iterdir())


def test_a_stage_run_by_hand_outlives_its_parent(tmp_path: Path) -> None:
    (tmp_path / "toy.py").write_text(STAGE)
    subprocess.run(["/bin/sh", "-c", f"{sys.executable} toy.py {PATHS} &"], cwd=tmp_path, check=True)
    assert wait_for(tmp_path / "out.txt") == "new"


def test_a_second_process_is_refused_and_the_first_publishes(tmp_path: Path) -> None:
    script = STAGE.replace(f"time.sleep({WRITING})", "time.sleep(0.8)")
    (tmp_path / "toy.py").write_text(script.replace("run(main)", ""))
    for name, patience in (("first", 5), ("second", 0.1)):
        text = f"import stages.lib.processes as p\np.PATIENCE = {patience}\nrun(main)\n"
        (tmp_path / f"{name}.py").write_text(script.replace("run(main)", "sys.argv[0] = 'toy.py'\n" + text))
    command = [sys.executable, "first.py", *PATHS.split()]
    first = subprocess.Popen(command, cwd=tmp_path)
    wait_for(tmp_path / "writing")
    second = subprocess.run(
        [sys.executable, "second.py", *PATHS.split()],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert refused(second, f"toy: process {first.pid} is running this stage; wait until it ends, or stop it")
    assert first.wait() == 0
    assert (tmp_path / "out.txt").read_text() == "new"


def test_other_outputs_and_other_folders_are_not_locked(tmp_path: Path) -> None:
    with exclusive(tmp_path / "one/lock", 0), exclusive(tmp_path / "other/lock", 0):
        pass
    with (
        exclusive(tmp_path / "one/lock", 0),
        pytest.raises(BlockingIOError),
        exclusive(tmp_path / "one/lock", 0),
    ):
        pass


def test_a_lock_left_by_a_killed_process_is_free(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text("1\n")
    with exclusive(tmp_path / "lock", 0):
        pass
    assert not (tmp_path / "lock").exists()


def test_where_files_cannot_be_locked_the_stage_runs(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with exclusive(tmp_path / "file/lock", 0):
        pass


def test_leftovers_of_dead_processes_are_removed(tmp_path: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-S", "-c", ""])
    dead.wait()
    kept = [".a.txt.1.part", f".b.txt.{dead.pid}.part", ".a.txt.x.part"]
    for name in kept:
        (tmp_path / name).touch()
    (tmp_path / f".a.txt.{dead.pid}.part").mkdir()
    (tmp_path / f".a.txt.{dead.pid}.part/a.txt").touch()
    with atomic(tmp_path / "a.txt") as temporary:
        temporary.touch()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*kept, "a.txt"])


def test_the_leftover_of_a_process_that_nobody_has_waited_for_is_removed(tmp_path: Path) -> None:
    """In a container the first process may not wait for the processes that are left to it."""
    zombie = subprocess.Popen([sys.executable, "-S", "-c", ""])
    ended(zombie.pid)
    (tmp_path / f".a.txt.{zombie.pid}.part").touch()  # of an earlier version, without a folder
    with atomic(tmp_path / "a.txt") as temporary:
        temporary.touch()
    zombie.wait()
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_runs_through_command_run_and_its_last_path_is_an_output(stage: str) -> None:
    assert (ROOT / f"stages/{stage}.py").read_text().endswith('if __name__ == "__main__":\n    run(main)\n')
    entry = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"][stage]
    outputs = [out for kind in ("outs", "metrics", "plots") for out in entry.get(kind, [])]
    names = [next(iter(out)) if isinstance(out, dict) else out for out in outputs]
    assert entry["cmd"].split()[-1] in names


WRITERS = {
    "write_text",
    "write_bytes",
    "save_file",
    "savefig",
    "save_png",
    "ParquetWriter",
    "copyfile",
    "open",
}
NO_OUTPUTS = {"save_png", "fetch", "_locked"}  # called with a temporary path; a lock


def unguarded(node: ast.AST) -> Iterator[str]:
    """The calls that write a file outside of a `with atomic(...)`."""
    match node:
        case ast.With() if any("atomic(" in ast.unparse(item) for item in node.items):
            return
        case ast.FunctionDef(name=name) if name in NO_OUTPUTS:
            return
        case ast.Call(func=ast.Name(id="write_text")):  # that of lib/files.py
            pass
        case ast.Call(func=ast.Attribute(attr=name) | ast.Name(id=name)) if name in WRITERS:
            modes = [a.value for a in node.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]
            if name != "open" or any(set("wax+") & set(mode) and len(mode) < 4 for mode in modes):
                yield f"{node.lineno}: {ast.unparse(node)}"
    for child in ast.iter_child_nodes(node):
        yield from unguarded(child)


@pytest.mark.parametrize("path", sorted((ROOT / "stages").rglob("*.py")), ids=lambda path: path.stem)
def test_outputs_are_written_under_a_temporary_name(path: Path) -> None:
    assert list(unguarded(ast.parse(path.read_text(encoding="utf-8")))) == []
