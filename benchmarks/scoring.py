"""From the text of the test reviews to probabilities, by Firth and fastText in processes of their own.

Firth reads raw text. fastText reads the words from Firth's tokens stage, as in training: its seconds do
not include tokenisation.
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
    """The cost of scoring all reviews."""

    reviews: int
    loading: float  # seconds
    scoring: float  # seconds
    whole: float  # seconds of the process, with Python's start and the reading of the texts
    megabytes: float


def scored(program: str, folder: Path, model: Path) -> Run:
    """Scores the test reviews in `folder` with the model of a program."""
    out = folder / "scoring.json"
    cost = measured("benchmarks.scoring", program, folder, model, out)
    return Run(whole=cost.seconds, megabytes=cost.megabytes, **json.loads(out.read_text(encoding="utf-8")))


def score_firth(folder: Path, model: Path) -> tuple[int, float, float]:
    """(reviews, seconds of loading, seconds of scoring) with the artefacts in `folder`."""
    from stages.predictor import Predictor

    data = folder / "data"
    raw = pq.read_table(data / "raw.parquet", columns=["text"], filters=[("split", "=", TEST)])
    texts = raw["text"].to_pylist()
    start = time.perf_counter()
    predictor = Predictor.load(data / "tokeniser.json", data / "vocabulary.parquet", model)
    loaded = time.perf_counter()
    probabilities = predictor.probabilities(texts)
    return len(probabilities), loaded - start, time.perf_counter() - loaded


def score_fasttext(folder: Path, model: Path) -> tuple[int, float, float]:
    """The same for fastText, which scores on one thread."""
    import fasttext

    texts = read_lines(lines_of(folder, TEST))[1]
    start = time.perf_counter()
    loaded_model = fasttext.load_model(str(model))
    loaded = time.perf_counter()
    labels, _ = loaded_model.predict(texts)
    return len(labels), loaded - start, time.perf_counter() - loaded


PROGRAMS = {"Firth": score_firth, "fastText": score_fasttext}


def main(program: str, folder: str, model: str, out: str) -> None:
    """Runs in the process that `scored` starts."""
    reviews, loading, scoring = PROGRAMS[program](Path(folder), Path(model))
    result = {"reviews": reviews, "loading": loading, "scoring": scoring}
    Path(out).write_text(json.dumps(result), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
