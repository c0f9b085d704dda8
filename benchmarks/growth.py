"""Seconds and memory of the embeddings stage by the number of words and by the vocabulary.

    make bench-growth

The text is drawn from a seeded generator: word frequencies follow Zipf's law, and each document has a
topic, whose words make up half of it. There are three tables, of one epoch each, with params.yaml
otherwise:

    words         1, 4 and 16 times a million, of 50,000 different words
    vocabulary    50,000, 200,000 and a million different words, in 4 million
    softmax       1,000, 10,000 and 50,000 different words, in 100,000, with the loss over all of them

Figures are medians of three runs. Seconds are of the whole stage. `start` is the time of the stage for a
thousand words of the same vocabulary: Python, imports, tables. Words per second are computed without it.
`tables` are the bytes of the two trained tables of V rows, 2 x 4 V D, for comparison with the peak.
"""

import argparse
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from benchmarks.embeddings import COMMON, changes_of, write_firth_params
from benchmarks.measure import processor
from benchmarks.peers import Settings
from benchmarks.stages import run_stage
from stages import PAD_TOKEN, UNK, UNK_TOKEN, UNLABELLED, ids, vocabulary
from stages.lib.markdown import table
from stages.lib.tables import batch_of, table_writer

MILLION = 1_000_000
DOCUMENT = 1000  # words
GROUP = 1000  # documents a row group
TOPICS = 50
START_WORDS = 1000  # words of the text whose time is the start
HEAD = 2.7  # Zipf-Mandelbrot: the most frequent words are rarer than under Zipf's law

Ids = NDArray[np.int32]
Case = tuple[int, int, str]  # words, rows, loss


def draw(words: int, rows: int, seed: int = 1) -> Ids:
    """A text of word numbers below `rows`, (words,), with each at least once if the text is long enough.

    The words of a topic are those whose number modulo TOPICS is the number of the topic.
    """
    generator = np.random.default_rng(seed)
    cumulative = np.cumsum(1 / (np.arange(rows) + HEAD))
    once = generator.permutation(rows)[:words]
    drawn = np.searchsorted(cumulative / cumulative[-1], generator.random(words - len(once)))
    text = generator.permutation(np.concatenate([once, drawn]))
    topic = np.repeat(generator.integers(TOPICS, size=-(-words // DOCUMENT)), DOCUMENT)[:words]
    of_topic = text - text % TOPICS + topic
    return np.where((generator.random(words) < 0.5) & (of_topic < rows), of_topic, text).astype(np.int32)


def write_ids(folder: Path, text: Ids, rows: int) -> None:
    """Writes ids.parquet and vocabulary.parquet as their stages do: row 2 is the most frequent word."""
    (folder / "data").mkdir(exist_ok=True)
    counts = np.bincount(text, minlength=rows)
    order = np.argsort(-counts, kind="stable")
    row = np.empty(rows, np.int32)
    row[order] = np.arange(rows) + UNK + 1
    names = [PAD_TOKEN, UNK_TOKEN, *(f"w{n}" for n in range(rows))]
    occurrences = [0, 0, *np.maximum(counts[order], 1).tolist()]
    with table_writer(folder / "data/vocabulary.parquet", vocabulary.SCHEMA) as writer:
        writer.write_batch(batch_of([range(len(names)), names, occurrences], vocabulary.SCHEMA))
    with table_writer(folder / "data/ids.parquet", ids.SCHEMA) as writer:
        for start in range(0, len(text), GROUP * DOCUMENT):
            flat = row[text[start : start + GROUP * DOCUMENT]]
            edges = [*range(0, len(flat), DOCUMENT), len(flat)]
            number = len(edges) - 1
            lists = pa.ListArray.from_arrays(pa.array(edges, pa.int32()), pa.array(flat))
            columns = [[str(n) for n in range(number)], [None] * number, [UNLABELLED] * number, lists]
            columns.append([[]] * number)  # unknown words
            writer.write_batch(batch_of(columns, ids.SCHEMA))


def costs(folder: Path, words: int, rows: int, times: int) -> tuple[float, float]:
    """Seconds and megabytes of the embeddings stage on a drawn text: medians of `times` runs."""
    write_ids(folder, draw(words, rows), rows)
    seconds, megabytes = zip(*(run_stage("embeddings", folder) for _ in range(times)), strict=True)
    return statistics.median(seconds), statistics.median(megabytes)


def growth(cases: Sequence[Case], changes: Settings, times: int) -> list[list[str]]:
    """The lines of a table. Words per second are left out if the start dominates the time."""
    lines = []
    for words, rows, loss in cases:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            settings = COMMON | {"epochs": 1, "loss": loss}
            write_firth_params(folder, settings, changes)
            start, _ = costs(folder, min(START_WORDS, words), rows, times)
            seconds, megabytes = costs(folder, words, rows, times)
        work = seconds - start
        rate = f"{words / work / 1000:.0f}" if work > start / 10 else "-"
        tables = 2 * 4 * rows * settings["dim"] / MILLION
        figures = [f"{seconds:.1f}", f"{start:.1f}", rate, f"{megabytes:.0f}", f"{tables:.0f}"]
        lines.append([f"{words:,}", f"{rows:,}", *figures])
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--million", type=int, default=MILLION, help="words in a million; fewer to try it")
    parser.add_argument("--times", type=int, default=3, help="runs that each figure is the median of")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="of Firth's embeddings")
    options = parser.parse_args()
    changes, million = changes_of(options.set), options.million
    sampled = "negative_sampling"
    tables: dict[str, list[Case]] = {
        "Words": [(times * million, million // 20, sampled) for times in (1, 4, 16)],
        "Vocabulary": [(4 * million, million // part, sampled) for part in (20, 5, 1)],
        "Softmax": [(million // 10, million // part, "softmax") for part in (1000, 100, 20)],
    }
    print(processor())
    header = ["words", "vocabulary", "seconds", "start", "1000 words/s", "peak MB", "tables MB"]
    for title, cases in tables.items():
        print(f"\n{title}\n", flush=True)
        print(table(header, growth(cases, changes, options.times)), flush=True)


if __name__ == "__main__":
    main()
