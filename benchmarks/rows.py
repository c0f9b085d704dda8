"""Processor seconds per million rows, and peak memory, of the text stages as a table of short rows grows.

    make bench-rows

Each row has ten words, drawn from 20,000 by Zipf's law with a seed, and one of two labels. Ten million rows
are a file of 600 MB, and take as much space again for the temporary database of `raw` and for the outputs.
"""

import argparse
import csv
import resource
import sys
import tempfile
from pathlib import Path

import numpy as np
import yaml

from benchmarks.measure import ROOT, processor
from benchmarks.stages import TEXT_STAGES, run_stage
from stages.lib.markdown import table
from stages.lib.params import Loader

MILLION = 1_000_000
WORDS, WIDTH = 20_000, 10  # different words, and words of a row
CHUNK = 100_000  # rows drawn at a time
SOURCE = "origin: drawn\nlicence: none\nfile: rows.csv\ncolumns: {text: text, label: label}\n"


def write_corpus(folder: Path, rows: int, seed: int = 1) -> None:
    """Writes a corpus of short rows."""
    folder.mkdir(parents=True)
    (folder / "source.yaml").write_text(SOURCE, encoding="utf-8")
    generator = np.random.default_rng(seed)
    cumulative = np.cumsum(1 / np.arange(1, WORDS + 1))
    with (folder / "rows.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        for start in range(0, rows, CHUNK):
            size = min(CHUNK, rows - start), WIDTH
            words = np.searchsorted(cumulative / cumulative[-1], generator.random(size))
            labels = generator.integers(2, size=size[0])
            lines = (" ".join(map("w{}".format, line)) for line in words.tolist())
            writer.writerows(zip(lines, map("ab".__getitem__, labels.tolist()), strict=True))


def processor_seconds() -> float:
    """The processor time of all processes that this one has run: other work on the machine adds little."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def costs(rows: int) -> list[str]:
    """A line of the table."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_corpus(folder / "data/corpora/rows", rows)
        params = yaml.load((ROOT / "params.yaml").read_text(encoding="utf-8"), Loader) | {"corpus": "rows"}
        (folder / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
        run_stage("check", folder, "rows")
        cells = []
        for stage in TEXT_STAGES:
            before = processor_seconds()
            cost = run_stage(stage, folder, "rows")
            each = (processor_seconds() - before) / rows * MILLION
            cells.append(f"{each:.1f} s, {cost.megabytes:.0f} MB")
    return [f"{rows:,}", *cells]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", nargs="*", type=int, default=[MILLION, 3 * MILLION, 10 * MILLION])
    options = parser.parse_args()
    lines = []
    for rows in options.rows:
        lines.append(costs(rows))
        print(*lines[-1], sep="; ", file=sys.stderr, flush=True)
    print(f"{processor()}\n")
    print(table(["rows", *TEXT_STAGES], lines))


if __name__ == "__main__":
    main()
