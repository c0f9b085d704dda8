"""The programs that Firth's model is compared with, each run in a process of its own.

Their input is the output of Firth's tokens stage, not truncated, one review per line:
`__label__1 a fine film`. The time is from that file to a trained model, without Python's start and
imports. The validation and test reviews are predicted after that.

fastText does not initialise all of its memory: see benchmarks/peers.py, whose MALLOC is used here too.
With two threads its runs differ from each other.

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

LABEL_PREFIX = "__label__"  # of fastText
# Tokens are separated by spaces and are not changed.
SPLIT_AT_SPACES: dict[str, Any] = {"tokenizer": str.split, "token_pattern": None, "lowercase": False}
ITERATIONS = 10_000  # of logistic regression, at most

Settings = dict[str, Any]
Predict = Callable[[list[str]], Sequence[str]]


class Run(NamedTuple):
    """The cost of one training, and how many reviews are then classified correctly."""

    seconds: float
    megabytes: float
    validation: int
    test: int


class Trained(NamedTuple):
    """A model, and the seconds it took."""

    seconds: float
    predict: Predict


def write_lines(folder: Path) -> None:
    """Writes data/tokens.parquet as one text file per split, in a fixed random order.

    The reviews are sorted by label, and fastText trains on one line after the other, so in that order it
    would forget the first label.
    """
    lines: dict[str, list[str]] = {split: [] for split in LABELLED}
    for batch in read_batches(folder / "data/tokens.parquet", ["label", "split", "tokens"]):
        texts = pc.binary_join(batch["tokens"], " ").to_pylist()
        for split, label, text in zip(
            batch["split"].to_pylist(), batch["label"].to_pylist(), texts, strict=True
        ):
            if split in lines:
                lines[split].append(f"{LABEL_PREFIX}{label} {text}\n")
    for split, texts_of_split in lines.items():
        random.Random(1).shuffle(texts_of_split)
        lines_of(folder, split).write_text("".join(texts_of_split), encoding="utf-8")


def lines_of(folder: Path, split: str) -> Path:
    """The file of a split."""
    return folder / "data" / f"{split}.txt"


def read_lines(path: Path) -> tuple[list[str], list[str]]:
    """Labels and texts."""
    lines = path.read_text(encoding="utf-8").split("\n")[:-1]
    parts = [line.partition(" ") for line in lines]
    return [label for label, _, _ in parts], [text for _, _, text in parts]


def peer(program: str, folder: Path, settings: Settings) -> Run:
    """Trains a program on the train reviews in `folder` and predicts the others."""
    out = folder / "peer.json"
    environment = MALLOC if program == "fastText" else {}
    measured("benchmarks.classifier_peers", program, folder, json.dumps(settings), out, **environment)
    return Run(**json.loads(out.read_text(encoding="utf-8")))


def train_fasttext(train: Path, settings: Settings) -> Trained:
    """The mean of the vectors of words and hashed n-grams, and a linear layer; `save` writes the model."""
    import fasttext

    start = time.perf_counter()
    model = fasttext.train_supervised(
        str(train), lr=settings["lr"], epoch=settings["epochs"], wordNgrams=settings["max_n"],
        thread=settings["threads"], verbose=0,
    )  # fmt: skip
    seconds = time.perf_counter() - start
    if "save" in settings:
        model.save_model(settings["save"])

    def predict(texts: list[str]) -> list[str]:
        # It returns no label for a text without known words.
        return [labels[0] if labels else f"{LABEL_PREFIX}0" for labels in model.predict(texts)[0]]

    return Trained(seconds, predict)


def train_nbsvm(train: Path, settings: Settings) -> Trained:
    """Logistic regression on binary n-grams times their log-count ratios, for two labels."""
    from scipy.sparse import diags
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression

    start = time.perf_counter()
    labels, texts = read_lines(train)
    counter = CountVectorizer(binary=True, ngram_range=(1, settings["max_n"]), **SPLIT_AT_SPACES)
    present = counter.fit_transform(texts)  # (N, F)
    second = np.asarray(labels) == max(labels)
    p, q = (np.asarray(present[rows].sum(0)).ravel() + 1 for rows in (second, ~second))  # (F,)
    ratios = diags(np.log(p / p.sum()) - np.log(q / q.sum()))
    model = LogisticRegression(C=settings["C"], solver="liblinear", dual=True, max_iter=ITERATIONS)
    model.fit(present @ ratios, labels)
    return Trained(
        time.perf_counter() - start, lambda texts: model.predict(counter.transform(texts) @ ratios).tolist()
    )


def train_tfidf(train: Path, settings: Settings) -> Trained:
    """Logistic regression on TF-IDF of n-grams."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    start = time.perf_counter()
    labels, texts = read_lines(train)
    counter = TfidfVectorizer(ngram_range=(1, settings["max_n"]), **SPLIT_AT_SPACES)
    model = LogisticRegression(C=settings["C"], solver="liblinear", dual=True, max_iter=ITERATIONS)
    model.fit(counter.fit_transform(texts), labels)
    return Trained(
        time.perf_counter() - start, lambda texts: model.predict(counter.transform(texts)).tolist()
    )


PROGRAMS = {"fastText": train_fasttext, "NBSVM": train_nbsvm, "TF-IDF": train_tfidf}


def correct(predict: Predict, path: Path) -> int:
    """How many reviews of a file are classified correctly."""
    labels, texts = read_lines(path)
    return sum(predicted == label for predicted, label in zip(predict(texts), labels, strict=True))


def main(program: str, folder: str, settings: str, out: str) -> None:
    """Runs in the process that `peer` starts."""
    train, validation, test = (lines_of(Path(folder), split) for split in (TRAIN, VALIDATION, TEST))
    seconds, predict = PROGRAMS[program](train, json.loads(settings))
    megabytes = own_peak()
    run = Run(seconds, megabytes, correct(predict, validation), correct(predict, test))
    Path(out).write_text(json.dumps(run._asdict()), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
