"""Stages run hundreds of times with faults and kills: in forks of a process that has imported everything.

`python -m tests.forked` is that process, which reads requests as lines of JSON; `Stages` starts it with the
library of faults.c. A fork runs a stage as `python -m stages.NAME` does, from the command line to the exit
code, below another fork that stands for DVC if `dvc` is true.
"""

import ctypes
import errno
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from stages import STAGES
from tests.conftest import ROOT

SOURCE = ROOT / "tests/faults.c"
MODES = ("none", "fail", "fail from here on", "short", "kill", "report")  # in the order of faults.c
PIPELINE: dict[str, Any] = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
COMPILER = shutil.which("cc")
TORTURE = "TORTURE" in os.environ  # `make torture`: every operation of every stage
# In the suite one test has all stages, since the processes of pytest would each make the project again.
GROUPS = [[stage] for stage in STAGES] if TORTURE else [list(STAGES)]
needs_faults = pytest.mark.skipif(
    sys.platform != "linux" or not COMPILER, reason="faults.c needs Linux and a C compiler"
)


class Ended(NamedTuple):
    """How a run of a stage ended."""

    code: int  # of the stage; negative if a signal ended it
    errors: list[str]  # the lines on standard error
    operations: int  # how often it changed something in its folder, if it was not killed
    dead: int  # nanoseconds since 1970 when the stage, or DVC, was dead; 0 if nothing was killed


class Stages:
    """A process that runs stages."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process

    def run(
        self,
        folder: Path,
        stage: str,
        mode: str = "none",
        at: int = 0,
        error: int = errno.ENOSPC,
        victim: str = "",
        delay: float = 0.0,
        dvc: bool = False,
    ) -> Ended:
        """Runs a stage in a folder. `mode` is what happens at the operation number `at`. With "report",
        `victim` is killed `delay` seconds later: the "stage", its parent "dvc", or the "group" of both."""
        request = {"folder": str(folder), "stage": stage, "mode": MODES.index(mode), "at": at, "error": error}
        request |= {"victim": victim, "delay": delay, "dvc": dvc}
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return Ended(*json.loads(self.process.stdout.readline()))


@contextmanager
def stages(folder: Path) -> Iterator[Stages]:
    """The process, with the library compiled into `folder`."""
    library = folder / "faults.so"
    command = [str(COMPILER), "-O1", "-shared", "-fPIC", "-o", str(library), str(SOURCE), "-ldl"]
    subprocess.run(command, check=True)
    with subprocess.Popen(
        [sys.executable, "-m", "tests.forked"],
        cwd=ROOT,
        env=os.environ | {"LD_PRELOAD": str(library)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield Stages(process)
        process.communicate()


def outputs(stage: str) -> list[str]:
    """The paths that a stage writes."""
    entries = [out for kind in ("outs", "metrics", "plots") for out in PIPELINE[stage].get(kind, [])]
    return [next(iter(entry)) if isinstance(entry, dict) else entry for entry in entries]


def serve() -> None:
    """Answers requests until standard input ends."""
    for name in STAGES:
        import_module(f"stages.{name}")
    for name in ("dvc.repo", "polars", "psutil", "scipy.optimize", "matplotlib.backends.backend_agg"):
        import_module(name)
    for line in sys.stdin:
        print(json.dumps(ended(json.loads(line))), flush=True)


def ended(request: dict[str, Any]) -> tuple[int, list[str], int, int]:
    """Runs a stage as requested."""
    dead = 0
    read, write = os.pipe()
    top = os.fork()
    if not top:
        os.close(read)
        os.setpgid(0, 0)
        code = 1
        try:
            code = waited_for(request, write) if request["dvc"] else run(request, write)
        finally:
            os._exit(code)
    os.close(write)
    with os.fdopen(read, "rb", buffering=0) as pipe:
        stage = int(pipe.read(8))
        if request["victim"] and pipe.read(1) == b"!":
            time.sleep(request["delay"])
            kill(request["victim"], stage, top)
            if request["victim"] == "dvc" or not request["dvc"]:
                os.waitid(os.P_PID, top, os.WEXITED | os.WNOWAIT)
                dead = time.time_ns()
        rest = b"".join(iter(lambda: pipe.read(100), b""))  # ends with the stage
    _, status = os.waitpid(top, 0)
    errors = errors_of(request).read_text(encoding="utf-8").splitlines()
    return os.waitstatus_to_exitcode(status), errors, int(rest.lstrip(b"!") or 0), dead


def kill(victim: str, stage: int, top: int) -> None:
    """Kills the stage, the process that stands for DVC, or both."""
    try:
        if victim == "group":
            os.killpg(top, signal.SIGKILL)
        else:
            os.kill(stage if victim == "stage" else top, signal.SIGKILL)
    except ProcessLookupError:  # it has ended
        pass


def waited_for(request: dict[str, Any], write: int) -> int:
    """Runs the stage in a fork, as DVC does; returns its exit code."""
    if stage := os.fork():
        os.close(write)
        code = os.waitstatus_to_exitcode(os.waitpid(stage, 0)[1])
        return code if code >= 0 else 255
    code = 1
    try:
        os.environ["DVC_STAGE"] = request["stage"]
        code = run(request, write)
    finally:
        os._exit(code)


def errors_of(request: dict[str, Any]) -> Path:
    """The file that has what the stage printed."""
    return Path(f"{request['folder']}.errors")


def run(request: dict[str, Any], write: int) -> int:
    """Runs the stage in this process; returns its exit code."""
    os.write(write, b"%8d" % os.getpid())
    stage, folder = request["stage"], request["folder"]
    with errors_of(request).open("w") as file:
        for number in (1, 2):
            os.dup2(file.fileno(), number)
    os.chdir(folder)
    os.environ |= {"DVC_ROOT": folder, "TMPDIR": folder}
    params = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))
    words = shlex.split(PIPELINE[stage]["cmd"].replace("${corpus}", params["corpus"]))[3:]
    sys.argv = [f"stages/{stage}.py", *words]
    module = import_module(f"stages.{stage}")
    warnings.simplefilter("error")  # as PYTHONWARNINGS=error does: no run of a stage warns of anything
    library = ctypes.CDLL(None)
    library.faults_arm(
        f"{folder}/".encode(), request["mode"], ctypes.c_long(request["at"]), request["error"], write
    )
    try:
        module.run(module.main)
        code = 0
    except SystemExit as end:
        code = int(end.code or 0)
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stderr.flush()
    os.write(write, b"%d" % library.faults_count())
    return code


if __name__ == "__main__":
    serve()
