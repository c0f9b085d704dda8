"""Processor seconds that each stage takes to start: Python, and the import of its libraries.

    make bench-startup                  # the table of benchmarks/stages.md
    make bench-startup OPTIONS="--times 9"

Each stage is started with `--help`, which imports everything and runs nothing. Stages take turns, and the
median is printed. Processor seconds are less sensitive than elapsed ones to what else the machine does.
"""

import argparse
import resource
import statistics
import subprocess
import sys
from collections.abc import Sequence

from benchmarks.measure import ROOT
from stages import STAGES
from stages.lib.markdown import table

HEAVY = ("torch", "scipy", "sklearn", "pandas", "polars", "pyarrow", "matplotlib", "tokenizers")


def seconds(*command: str) -> float:
    """The processor seconds of a command."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *command], cwd=ROOT, stdout=subprocess.DEVNULL, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def libraries(stage: str) -> list[str]:
    """The large libraries that a stage has imported before its main runs."""
    code = (
        "import sys; from importlib import import_module; from stages.lib.startup import block_pandas;"
        f"import_module('stages.{stage}'); print(*(name for name in {HEAVY!r} if name in sys.modules))"
    )
    printed = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return printed.stdout.split()


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser("startup", description=__doc__.partition("\n")[0])
    parser.add_argument("--times", type=int, default=5, help="starts of each stage")
    times = parser.parse_args(arguments).times
    commands = {"python": ("-c", "pass")} | {stage: ("-m", f"stages.{stage}", "--help") for stage in STAGES}
    runs: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(times):
        for name, command in commands.items():
            runs[name].append(seconds(*command))
    medians = {name: statistics.median(values) for name, values in runs.items()}
    rows = [
        [name, f"{median:.2f}", "" if name == "python" else ", ".join(libraries(name))]
        for name, median in medians.items()
    ]
    rows.append(["all stages", f"{sum(medians.values()) - medians['python']:.2f}", ""])
    print(table(["stage", "seconds", "libraries"], rows))


if __name__ == "__main__":
    main()
