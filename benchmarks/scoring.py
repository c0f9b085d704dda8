"""Test reviews from text to probability, by Firth and by fastText, each in a process of its own.

Firth gets texts as they are. fastText gets the words that Firth's tokens stage made of them, as it
was trained on those: cutting texts into words is not in its seconds.
"""

import json
import sys
import time
from pathlib import Path
from typing import NamedTuple

import pyarrow.parquet as pq

from benchmarks.classifier_peers import lines_of, read_lines
from benchmarks.measure import measured
from stages import TEST


class Run(NamedTuple):
    """What it took to score all reviews."""

    reviews: int
    loading: float  # seconds
    scoring: float  # seconds
    whole: float  # seconds of the process, from Python's start, the reading of the texts included
    megabytes: float


def scored(program: str, folder: Path, model: Path, threads: int) -> Run:
    """Scores the test reviews in `folder` with the model of a program."""
    out = folder / "scoring.json"
    cost = measured("benchmarks.scoring", program, folder, model, str(threads), out)
    return Run(whole=cost.seconds, megabytes=cost.megabytes, **json.loads(out.read_text(encoding="utf-8")))


def score_firth(folder: Path, model: Path, threads: int) -> tuple[int, float, float]:
    """(reviews, seconds of loading, seconds of scoring) with the artefacts in `folder`."""
    from stages.lib.training import prepare
    from stages.robustness import Chain

    data = folder / "data"
    raw = pq.read_table(data / "raw.parquet", columns=["text"], filters=[("split", "=", TEST)])
    texts = raw["text"].to_pylist()
    prepare(1, threads, "cpu")
    start = time.perf_counter()
    chain = Chain.load(data / "tokeniser.json", data / "vocabulary.parquet", model, data / "labels.json")
    loaded = time.perf_counter()
    chances = chain.probabilities(texts)
    return len(chances), loaded - start, time.perf_counter() - loaded


def score_fasttext(folder: Path, model: Path, threads: int) -> tuple[int, float, float]:
    """The same. It scores on one thread."""
    import fasttext

    texts = read_lines(lines_of(folder, TEST))[1]
    start = time.perf_counter()
    loaded_model = fasttext.load_model(str(model))
    loaded = time.perf_counter()
    labels, _ = loaded_model.predict(texts)
    return len(labels), loaded - start, time.perf_counter() - loaded


PROGRAMS = {"Firth": score_firth, "fastText": score_fasttext}


def main(program: str, folder: str, model: str, threads: str, out: str) -> None:
    """What the process that `scored` starts runs."""
    reviews, loading, scoring = PROGRAMS[program](Path(folder), Path(model), int(threads))
    found = {"reviews": reviews, "loading": loading, "scoring": scoring}
    Path(out).write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
