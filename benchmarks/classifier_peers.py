"""The programs that Firth's classifier is measured beside, each run in a process of its own.

They get the words of Firth's own tokens stage, uncut, a review a line: `__label__1 a fine film`. The
seconds go from that file to a trained model; Python's start and imports are not counted. After the
clock has stopped the model is asked the validation and the test reviews.

fastText's table is left as the memory was in part: see benchmarks/peers.py, whose MALLOC helps here
too. With two threads its runs differ from each other.

    Joulin et al. 2017, "Bag of Tricks for Efficient Text Classification"
    Mesnil et al. 2014, "Ensemble of Generative and Discriminative Techniques for Sentiment Analysis"
"""

import json
import random
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow.compute as pc

from benchmarks.measure import measured, own_peak
from benchmarks.peers import MALLOC
from stages import LABELLED, TEST, TRAIN, VALIDATION
from stages.lib.tables import read_batches

MARK = "__label__"  # what a label begins with
# Words stand between spaces, as they are.
AS_THEY_ARE: dict[str, Any] = {"tokenizer": str.split, "token_pattern": None, "lowercase": False}
STEPS = 10_000  # of a line's optimiser, at most

Settings = dict[str, Any]
Predict = Callable[[list[str]], Sequence[str]]


class Run(NamedTuple):
    """What one training took, and how many reviews it then had right."""

    seconds: float
    megabytes: float
    validation: int
    test: int


class Trained(NamedTuple):
    """A model, and what it took."""

    seconds: float
    predict: Predict


def write_lines(folder: Path) -> None:
    """data/tokens.parquet as a file of lines for each split, in an order drawn once.

    The reviews lie sorted by label, and fastText learns from one line after the other: as they lie it
    would forget the first label over the last.
    """
    lines: dict[str, list[str]] = {split: [] for split in LABELLED}
    for batch in read_batches(folder / "data/tokens.parquet", ["label", "split", "tokens"]):
        texts = pc.binary_join(batch["tokens"], " ").to_pylist()
        for split, label, text in zip(
            batch["split"].to_pylist(), batch["label"].to_pylist(), texts, strict=True
        ):
            if split in lines:
                lines[split].append(f"{MARK}{label} {text}\n")
    for split, found in lines.items():
        random.Random(1).shuffle(found)
        lines_of(folder, split).write_text("".join(found), encoding="utf-8")


def lines_of(folder: Path, split: str) -> Path:
    """The file of a split."""
    return folder / "data" / f"{split}.txt"


def read_lines(path: Path) -> tuple[list[str], list[str]]:
    """Labels and texts."""
    lines = path.read_text(encoding="utf-8").split("\n")[:-1]
    parts = [line.partition(" ") for line in lines]
    return [label for label, _, _ in parts], [text for _, _, text in parts]


def peer(program: str, folder: Path, settings: Settings) -> Run:
    """Trains a program on the train lines in `folder` and asks it the others."""
    out = folder / "peer.json"
    environment = MALLOC if program == "fastText" else {}
    measured("benchmarks.classifier_peers", program, folder, json.dumps(settings), out, **environment)
    return Run(**json.loads(out.read_text(encoding="utf-8")))


def train_fasttext(train: Path, settings: Settings) -> Trained:
    """Words or n-grams in its own buckets, their vectors' mean, and a line; `save` keeps the model."""
    import fasttext

    start = time.perf_counter()
    model = fasttext.train_supervised(
        str(train), lr=settings["lr"], epoch=settings["epochs"], wordNgrams=settings["longest"],
        thread=settings["threads"], verbose=0,
    )  # fmt: skip
    seconds = time.perf_counter() - start
    if "save" in settings:
        model.save_model(settings["save"])

    def predict(texts: list[str]) -> list[str]:
        # It says nothing of a text without a word that it knows.
        return [labels[0] if labels else f"{MARK}0" for labels in model.predict(texts)[0]]

    return Trained(seconds, predict)


def train_nbsvm(train: Path, settings: Settings) -> Trained:
    """Two labels: a line through the n-grams that a review has, times their log-count ratios."""
    from scipy.sparse import diags
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression

    start = time.perf_counter()
    labels, texts = read_lines(train)
    counter = CountVectorizer(binary=True, ngram_range=(1, settings["longest"]), **AS_THEY_ARE)
    present = counter.fit_transform(texts)  # (N, F)
    second = np.asarray(labels) == max(labels)
    here, there = (np.asarray(present[rows].sum(0)).ravel() + 1 for rows in (second, ~second))  # (F,)
    ratios = diags(np.log(here / here.sum()) - np.log(there / there.sum()))
    line = LogisticRegression(C=settings["C"], solver="liblinear", dual=True, max_iter=STEPS)
    line.fit(present @ ratios, labels)
    return Trained(
        time.perf_counter() - start, lambda asked: line.predict(counter.transform(asked) @ ratios).tolist()
    )


def train_tfidf(train: Path, settings: Settings) -> Trained:
    """A line through n-grams, weighed by how rare they are."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    start = time.perf_counter()
    labels, texts = read_lines(train)
    counter = TfidfVectorizer(ngram_range=(1, settings["longest"]), **AS_THEY_ARE)
    line = LogisticRegression(C=settings["C"], solver="liblinear", dual=True, max_iter=STEPS)
    line.fit(counter.fit_transform(texts), labels)
    return Trained(time.perf_counter() - start, lambda asked: line.predict(counter.transform(asked)).tolist())


PROGRAMS = {"fastText": train_fasttext, "NBSVM": train_nbsvm, "TF-IDF": train_tfidf}


def right(predict: Predict, path: Path) -> int:
    """How many reviews of a file get their own label."""
    labels, texts = read_lines(path)
    return sum(said == label for said, label in zip(predict(texts), labels, strict=True))


def main(program: str, folder: str, settings: str, out: str) -> None:
    """What the process that `peer` starts runs."""
    train, validation, test = (lines_of(Path(folder), split) for split in (TRAIN, VALIDATION, TEST))
    seconds, predict = PROGRAMS[program](train, json.loads(settings))
    megabytes = own_peak()
    run = Run(seconds, megabytes, right(predict, validation), right(predict, test))
    Path(out).write_text(json.dumps(run._asdict()), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
