"""Seconds and peak memory of a command, and a table of what was measured."""

import os
import runpy
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent


class Cost(NamedTuple):
    """What one process took."""

    seconds: float
    megabytes: float  # of memory at its peak, files that are only mapped included


def measured(module: str, *arguments: str | Path, **environment: str) -> Cost:
    """Runs a module of this repository as DVC does. Exits with its output where it fails."""
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
    """Megabytes of memory that this process has held at its peak.

    Not getrusage: what a parent held when it started a child counts as the child's there.
    """
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def processor() -> str:
    """The machine in a few words: figures of different machines are not to be compared."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "?")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{len(os.sched_getaffinity(0))} cores of {model}, {memory:.0f} GiB, Python {sys.version.split()[0]}"
    )


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table whose columns line up.

    >>> print(table(["stage", "s"], [["raw", "8.0"]]))
    | stage |   s |
    |-------|----:|
    | raw   | 8.0 |
    """
    cells = [header, *rows]
    widths = [max(len(row[n]) for row in cells) for n in range(len(header))]

    def line(row: Sequence[str]) -> str:
        first, *rest = zip(row, widths, strict=True)
        return "| " + " | ".join([first[0].ljust(first[1]), *(c.rjust(w) for c, w in rest)]) + " |"

    rule = f"|{'-' * (widths[0] + 2)}|" + "".join(f"{'-' * (w + 1)}:|" for w in widths[1:])
    return "\n".join([line(header), rule, *map(line, rows)])


if __name__ == "__main__":  # MODULE ARGUMENTS...: runs it and tells its peak
    del sys.argv[0]
    try:
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    finally:
        print(own_peak())
