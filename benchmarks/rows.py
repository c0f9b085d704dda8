"""Processor seconds per million rows, and peak memory, of the text stages as a table of short rows grows.

    make bench-rows
    make bench-rows OPTIONS="--rows 10000 --labels 1000"    # of all stages

Each row has ten words, drawn from 20,000 by Zipf's law with a seed, and one of two labels. Ten million rows
are a file of 600 MB, and take as much space again for the temporary database of `raw` and for the outputs.
With `--labels`, three words in ten are drawn from a dozen of the row's label instead, so that there is
something to learn, and words are made of syllables, so that they have letters in common.
"""

import argparse
import csv
import resource
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import yaml

from benchmarks.measure import ROOT, processor
from benchmarks.stages import TEXT_STAGES, run_stage
from stages.lib.arrays import Int64
from stages.lib.markdown import table
from stages.lib.params import Loader

MILLION = 1_000_000
WORDS, WIDTH = 20_000, 10  # different words, and words of a row
CHUNK = 100_000  # rows drawn at a time
OWN, OWN_SHARE = 12, 0.3  # words of a label, if there are many labels, and their share of a row's words
SYLLABLES = [consonant + vowel for consonant in "bdfgklmnprst" for vowel in "aeiou"]
SOURCE = "origin: drawn\nlicence: none\nfile: rows.csv\ncolumns: {text: text, label: label}\n"


def write_corpus(folder: Path, lines: Iterable[tuple[str, str]]) -> None:
    """Writes a folder with a corpus, of texts and labels, and params.yaml for it."""
    home = folder / "data/corpora/rows"
    home.mkdir(parents=True)
    (home / "source.yaml").write_text(SOURCE, encoding="utf-8")
    with (home / "rows.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        writer.writerows(lines)
    params = yaml.load((ROOT / "params.yaml").read_text(encoding="utf-8"), Loader) | {"corpus": "rows"}
    (folder / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")


def drawn_words(generator: np.random.Generator, rows: int) -> Int64:
    """The words of short rows: (rows, WIDTH)."""
    cumulative = np.cumsum(1 / np.arange(1, WORDS + 1))
    return np.searchsorted(cumulative / cumulative[-1], generator.random((rows, WIDTH)))


def plain_lines(rows: int, seed: int = 1) -> Iterator[tuple[str, str]]:
    """Short rows, with one of two labels."""
    generator = np.random.default_rng(seed)
    for start in range(0, rows, CHUNK):
        words = drawn_words(generator, min(CHUNK, rows - start))
        labels = generator.integers(2, size=len(words))
        lines = (" ".join(map("w{}".format, line)) for line in words.tolist())
        yield from zip(lines, map("ab".__getitem__, labels.tolist()), strict=True)


def spelled(number: int) -> str:
    """A word of syllables.

    >>> spelled(0), spelled(20_000)
    ('ba', 'bumika')
    """
    rest, last = divmod(number, len(SYLLABLES))
    return (spelled(rest - 1) if rest else "") + SYLLABLES[last]


def labelled_lines(rows: int, count: int, seed: int = 1) -> Iterator[tuple[str, str]]:
    """Short rows with `count` labels, as many rows of each."""
    generator = np.random.default_rng(seed)
    words = drawn_words(generator, rows)
    labels = generator.permutation(rows) % count
    own = generator.integers(WORDS, size=(count, OWN))  # labels have some of these words in common
    drawn = own[labels[:, None], generator.integers(OWN, size=words.shape)]
    words = np.where(generator.random(words.shape) < OWN_SHARE, drawn, words)
    lines = (" ".join(map(spelled, line)) for line in words.tolist())
    return zip(lines, map("intent {}".format, labels.tolist()), strict=True)


def labelled_costs(rows: int, labels: int) -> dict[str, str]:
    """The processor seconds and the peak memory of each stage."""
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    costs = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_corpus(folder, labelled_lines(rows, labels))
        for stage in stages:
            before = processor_seconds()
            cost = run_stage(stage, folder, "rows")
            costs[stage] = f"{processor_seconds() - before:.1f} s, {cost.megabytes:.0f} MB"
            print(f"{rows:,} rows, {labels:,} labels: {stage} {costs[stage]}", file=sys.stderr, flush=True)
    return costs


def processor_seconds() -> float:
    """The processor time of all processes that this one has run: other work on the machine adds little."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def costs(rows: int) -> list[str]:
    """A line of the table."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_corpus(folder, plain_lines(rows))
        run_stage("check", folder, "rows")
        cells = []
        for stage in TEXT_STAGES:
            before = processor_seconds()
            cost = run_stage(stage, folder, "rows")
            each = (processor_seconds() - before) / rows * MILLION
            cells.append(f"{each:.1f} s, {cost.megabytes:.0f} MB")
            print(f"{rows:,} rows, {stage}: {cells[-1]}", file=sys.stderr, flush=True)
    return [f"{rows:,}", *cells]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", nargs="*", type=int, default=[MILLION, 3 * MILLION, 10 * MILLION])
    parser.add_argument("--labels", type=int)
    options = parser.parse_args()
    if options.labels:
        columns = [labelled_costs(rows, options.labels) for rows in options.rows]
        print(f"{processor()}\n\n{options.labels:,} labels\n")
        lines = [[stage, *(column[stage] for column in columns)] for stage in columns[0]]
        print(table(["stage", *(f"{rows:,} rows" for rows in options.rows)], lines))
        return
    lines = [costs(rows) for rows in options.rows]
    print(f"{processor()}\n")
    print(table(["rows", *TEXT_STAGES], lines))


if __name__ == "__main__":
    main()
