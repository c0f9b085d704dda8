"""Agreement with people by the number of threads, and the share of time that is spent merging workers.

    make bench-threads WORDSETS=wordsets TEXT=enwiki_100MB.txt.xz ARCHIVE=aclImdb_dev.tar.gz

TEXT, ARCHIVE and WORDSETS are those of benchmarks/embeddings.py. Two threads are trained with every seed,
other counts with the first. A figure that is below the median of two threads by more than their range is
marked with an asterisk. Counts that give the same number of workers give the same vectors, which are
trained once. More threads than cores change the seconds and nothing else.

`merging` is the share of a round that workers spend being merged, if each of them has a core to itself: by
the processor time of the threads, the slower of the two that merge and the slowest worker of each round.
"""

import argparse
import dataclasses
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import pyarrow.parquet as pq
from safetensors.numpy import load_file
from torch import Tensor

from benchmarks.embeddings import COMMON, WORDSETS, Wordsets, agreement, middle, write_firth_params
from benchmarks.measure import processor
from benchmarks.peers import Run
from benchmarks.stages import run_stage
from benchmarks.texts import Documents, from_reviews, from_words, write_text
from stages import UNK, embeddings
from stages.lib.files import read_json
from stages.lib.markdown import table
from stages.lib.params import read_params
from stages.lib.word2vec import trainer, workers
from stages.lib.word2vec.settings import Word2VecParams, schedule, settings_for
from stages.lib.word2vec.tables import InputTable
from stages.lib.wordsets import read_wordset

BASE = 2  # threads that other counts are compared with
OUTPUTS = ("embeddings.safetensors", "embeddings.json", "embeddings_metrics.json", "embeddings_loss.csv")


class Trained(NamedTuple):
    """What one run of the stage gave."""

    workers: int
    agreement: list[float]
    merging: float  # share of time


class Clock:
    """The processor seconds of the threads that train and merge."""

    def __init__(self) -> None:
        self.merging = self.training = 0.0
        self.round: list[float] = []  # of the workers since the last merge

    def share(self) -> float:
        """The share of a round that is spent merging, if every worker has a core to itself."""
        return self.merging / (self.merging + self.training)


class TimedPool(Executor):
    """Runs what is submitted in another pool and records its processor seconds."""

    def __init__(self, pool: Executor) -> None:
        self.pool = pool
        self.seconds: list[float] = []

    def submit(self, function: Callable[..., Any], /, *args: Any, **named: Any) -> Future[Any]:
        """Submits it to the other pool."""
        return self.pool.submit(timed, self.seconds, function, *args, **named)


def timed(seconds: list[float], function: Callable[..., Any], *args: Any, **named: Any) -> Any:
    """Calls a function and appends the processor seconds of this thread."""
    start = time.thread_time()
    result = function(*args, **named)
    seconds.append(time.thread_time() - start)
    return result


@contextmanager
def clock() -> Iterator[Clock]:
    """Measures the trainings in the block."""
    measured = Clock()
    train, merge = workers.Worker.train, workers.merge_workers

    def timed_train(*args: Any) -> workers.RoundResult:
        result: workers.RoundResult = timed(measured.round, train, *args)
        return result

    def timed_merge(
        merged: Sequence[workers.Worker],
        inputs: InputTable,
        out: Tensor,
        average_from: float,
        executor: Executor,
    ) -> None:
        pool = TimedPool(executor)
        merge(merged, inputs, out, average_from, pool)
        measured.merging += max(pool.seconds)
        measured.training += max(measured.round)
        measured.round.clear()

    with (
        mock.patch.object(workers.Worker, "train", timed_train),
        mock.patch.object(trainer, "merge_workers", timed_merge),
    ):
        yield measured


def trained(folder: Path, wordsets: Wordsets) -> Trained:
    """Runs the embeddings stage on the ids in `folder`, in this process."""
    data = folder / "data"
    inputs = [folder / "params.yaml", data / "ids.parquet", data / "vocabulary.parquet", data / "pretrained"]
    with clock() as measured, mock.patch.dict(os.environ, DVC_ROOT=str(folder)):
        embeddings.main(*inputs, *(data / name for name in OUTPUTS))
    words = pq.read_table(inputs[2], columns=["token"])["token"].to_pylist()
    vectors = load_file(data / OUTPUTS[0])["embeddings"]
    run = Run(0.0, 0.0, words[UNK + 1 :], vectors[UNK + 1 :], lambda word: None)
    return Trained(read_json(data / OUTPUTS[1])["workers"], agreement(run, wordsets), measured.share())


def number_of_workers(folder: Path) -> int:
    """The number of workers that the stage would train with in `folder`."""
    section = read_params(folder / "params.yaml", "embeddings", embeddings.Params)
    names = [field.name for field in dataclasses.fields(Word2VecParams)]
    params = Word2VecParams(**{name: getattr(section, name) for name in names})
    counts = pq.read_table(folder / "data/vocabulary.parquet", columns=["count"])["count"].to_pylist()
    return schedule(sum(counts), params, settings_for(params.objective, params.device)).workers


def cell(figures: Sequence[float], base: Sequence[float]) -> str:
    """Figures of one count, marked if they are below the median of the `base` by more than its range.

    >>> cell([0.5], [0.6, 0.62, 0.64]), cell([0.585], [0.6, 0.62, 0.64])
    ('0.500*', '0.585')
    """
    low = statistics.median(base) - (max(base) - min(base))
    return middle(figures, 3) + ("*" if statistics.median(figures) < low else "")


def rows_of(objective: str, folder: Path, options: argparse.Namespace, wordsets: Wordsets) -> list[list[str]]:
    """The lines of an objective, one for each number of threads."""
    settings = COMMON | {"objective": objective, "epochs": options.epochs, "char_ngrams": None}
    by_workers: dict[tuple[int, int], Trained] = {}  # (workers, seed)
    results: dict[int, list[Trained]] = {}
    for threads in sorted(options.threads, key=lambda count: (count != BASE, count)):
        for seed in options.seeds if threads == BASE else options.seeds[:1]:
            write_firth_params(folder, settings | {"threads": threads, "seed": seed}, {})
            count = number_of_workers(folder)
            if (count, seed) not in by_workers:
                by_workers[count, seed] = trained(folder, wordsets)
            results.setdefault(threads, []).append(by_workers[count, seed])
            print(objective, threads, seed, by_workers[count, seed], file=sys.stderr, flush=True)
    base = list(zip(*(run.agreement for run in results[BASE]), strict=True))
    rows = []
    for threads, runs in sorted(results.items()):
        figures = zip(*(run.agreement for run in runs), strict=True)
        cells = [cell(one, two) for one, two in zip(figures, base, strict=True)]
        merging = middle([100 * run.merging for run in runs], 0)
        rows.append([f"{objective}, {threads}", str(runs[0].workers), *cells, merging])
    return rows


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("wordsets", type=Path)
    parser.add_argument("--text", type=Path)
    parser.add_argument("--archive", type=Path)
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2, 4, 8, 16, 32])
    parser.add_argument("--objectives", nargs="+", default=["skipgram", "cbow"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--documents", type=int, help="of a text, the first so many; for a quick look")
    options = parser.parse_args()
    if not options.text and not options.archive:
        parser.error("nothing to learn from: --text or --archive is needed")
    options.threads = {BASE, *options.threads}
    return options


def limited(groups: Iterator[Documents], documents: int | None) -> Iterator[Documents]:
    """The groups of the first so many documents, or all.

    >>> list(limited(iter([[["a"], ["b"]], [["c"]]]), 1))
    [[['a']]]
    """
    for group in groups:
        if documents is not None and documents <= 0:
            break
        yield group[:documents]
        documents = None if documents is None else documents - len(group)


def main() -> None:
    options = arguments()
    wordsets = {name: read_wordset(options.wordsets / file) for name, file in WORDSETS.items()}
    print(f"{options.epochs} epochs, seeds {options.seeds} with two threads; {processor()}", flush=True)
    for path, documents_of in ((options.text, from_words), (options.archive, from_reviews)):
        if path is None:
            continue
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            documents, words = write_text(limited(documents_of(path.resolve()), options.documents), folder)
            write_firth_params(folder, COMMON | {"char_ngrams": None}, {})
            for stage in ("vocabulary", "ids"):
                run_stage(stage, folder)
            print(f"\n## {path.name}: {documents:,} documents, {words:,} words\n", flush=True)
            rows = [row for one in options.objectives for row in rows_of(one, folder, options, wordsets)]
            print(table(["threads", "workers", *wordsets, "merging %"], rows), flush=True)


if __name__ == "__main__":
    main()
