"""Measures the seconds and the peak memory of a command."""

import os
import runpy
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent


class Cost(NamedTuple):
    """The cost of one process."""

    seconds: float
    megabytes: float  # peak memory, with files that are only mapped


def measured(module: str, *arguments: str | Path, **environment: str) -> Cost:
    """Runs a module of this repository as DVC does. Exits with its output if it fails."""
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.measure", module, *map(str, arguments)],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    seconds = time.perf_counter() - start
    if done.returncode:
        sys.exit(f"{module} failed:\n{done.stderr}")
    return Cost(seconds, float(done.stdout.splitlines()[-1]))


def own_peak() -> float:
    """The peak memory of this process in megabytes.

    getrusage would also count the memory that the parent held when it started this process.
    """
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def processor() -> str:
    """A description of the machine: measurements of different machines cannot be compared."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "?")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{len(os.sched_getaffinity(0))} cores of {model}, {memory:.0f} GiB, Python {sys.version.split()[0]}"
    )


if __name__ == "__main__":  # MODULE ARGUMENTS...: runs it and prints its peak memory
    del sys.argv[0]
    try:
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    finally:
        print(own_peak())
