"""The text classifiers that Firth's defaults are compared with, each run in a process of its own.

Their input is the output of Firth's stage raw: the same train, validation and test rows as Firth's. Each
is tuned by scikit-learn's GridSearchCV: trained on train with every setting of its grid, chosen on
validation, and trained again with the chosen setting on train and validation together. The first of
equally good settings is chosen. The test rows are read only to predict them.

TF-IDF and NBSVM choose their tokens too: scikit-learn's default (words of two letters or more), or all
words and punctuation marks. The latter split Chinese and Japanese text into characters, and fastText,
which splits at white space, always gets them. fastText runs with one thread: with more its runs differ.

    Wang and Manning 2012, "Baselines and Bigrams: Simple, Good Sentiment and Topic Classification"
    Rennie et al. 2003, "Tackling the Poor Assumptions of Naive Bayes Text Classifiers"
    Joulin et al. 2017, "Bag of Tricks for Efficient Text Classification"
"""

import random
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import pyarrow.parquet as pq
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, PredefinedSplit
from sklearn.multiclass import OneVsRestClassifier
from sklearn.naive_bayes import ComplementNB
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.svm import LinearSVC

from stages import TEST, TRAIN, VALIDATION
from stages.lib.files import write_json

WORDS = r"(?u)\b\w\w+\b"  # scikit-learn's default
ALL = r"[\u3040-\u30ff\u3400-\u9fff]|[^\W\u3040-\u30ff\u3400-\u9fff]+|[^\w\s]"
TOKENS = {WORDS: "words", ALL: "all"}
LARGE = 3_000_000  # characters; with more text the grids are smaller
ITERATIONS = 1000  # of logistic regression, at most; also the default of LinearSVC
BUCKETS = 500_000  # of fastText's hashed n-grams
LABEL_PREFIX = "__label__"  # of fastText

Grid = dict[str, list[Any]]


class Rows(NamedTuple):
    """Texts and their label numbers."""

    texts: list[str]
    labels: list[int]


class Nbsvm(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A linear SVM on binary n-grams times their log-count ratios, each label against the rest.

    The weights are interpolated with their mean magnitude: `interpolation` 1 keeps them as they are.
    """

    def __init__(self, C: float = 1.0, interpolation: float = 0.25) -> None:  # noqa: N803
        self.C = C
        self.interpolation = interpolation

    def fit(self, present: Any, labels: Any) -> Self:
        """Trains on binary n-grams (N, F) and labels (N,)."""
        labels = np.asarray(labels)
        self.classes_ = np.unique(labels)
        positive = self.classes_[1:] if len(self.classes_) == 2 else self.classes_
        columns, biases = zip(*(self._one_label(present, labels == label) for label in positive), strict=True)
        self.weights_, self.biases_ = np.stack(columns, 1), np.array(biases)  # (F, O), (O,)
        return self

    def _one_label(self, present: Any, is_label: Any) -> tuple[Any, float]:
        p, q = (np.asarray(present[rows].sum(0)).ravel() + 1.0 for rows in (is_label, ~is_label))  # (F,)
        ratios = np.log(p / p.sum()) - np.log(q / q.sum())
        svm = LinearSVC(C=self.C).fit(present.multiply(ratios).tocsr(), is_label)
        weights = svm.coef_[0]
        share = self.interpolation
        weights = (1 - share) * np.abs(weights).mean() + share * weights
        return weights * ratios, svm.intercept_[0]

    def predict(self, present: Any) -> Any:
        """The labels (N,)."""
        scores = present @ self.weights_ + self.biases_  # (N, O)
        return self.classes_[scores.argmax(1) if scores.shape[1] > 1 else (scores[:, 0] > 0).astype(int)]


class FastText(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """fastText's supervised model on texts, with character n-grams from 2 to `longest`, or none if 0."""

    def __init__(self, lr: float = 0.1, epochs: int = 5, max_n: int = 1, longest: int = 0) -> None:
        self.lr = lr
        self.epochs = epochs
        self.max_n = max_n
        self.longest = longest

    def fit(self, texts: Sequence[str], labels: Sequence[int]) -> Self:
        """Trains on the rows in a fixed random order: fastText would forget the first of sorted labels."""
        import fasttext

        self.classes_ = np.unique(labels)
        self.majority_ = Counter(labels).most_common(1)[0][0]
        lines = [f"{LABEL_PREFIX}{label} {line(text)}\n" for text, label in zip(texts, labels, strict=True)]
        random.Random(1).shuffle(lines)
        with tempfile.NamedTemporaryFile("w", encoding="utf-8", suffix=".txt") as file:
            file.writelines(lines)
            file.flush()
            self.model_ = fasttext.train_supervised(
                file.name, lr=self.lr, epoch=self.epochs, wordNgrams=self.max_n, thread=1, verbose=0,
                minn=2 if self.longest else 0, maxn=self.longest, bucket=BUCKETS,
            )  # fmt: skip
        return self

    def predict(self, texts: Sequence[str]) -> Any:
        """The labels (N,). fastText returns none for a text without known words: the commonest label."""
        found = self.model_.predict([line(text) for text in texts])[0]
        return np.array(
            [int(labels[0].removeprefix(LABEL_PREFIX)) if labels else self.majority_ for labels in found]
        )


def line(text: str) -> str:
    """The tokens of a text, with spaces between.

    >>> line("Good, very good!")
    'good , very good !'
    """
    return " ".join(re.findall(ALL, text.lower()))


def contenders(large: bool = False) -> dict[str, tuple[Any, Grid]]:
    """Each peer and the settings that it is tuned over; `large` corpora are given fewer."""
    patterns = [ALL] if large else list(TOKENS)
    tokens: Grid = {"tokens__token_pattern": patterns}
    penalties: Grid = {"model__C": [1, 0.1, 0.3, 3] if large else [1, 0.03, 0.1, 0.3, 3, 10]}
    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    characters = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True)
    # With many labels this is twenty times as fast as the default solver, and not less accurate.
    logistic = LogisticRegression(solver="liblinear", dual=True, max_iter=ITERATIONS)
    both = FeatureUnion([("words", words), ("characters", characters)])
    present = CountVectorizer(ngram_range=(1, 2), binary=True)
    return {
        "TF-IDF words, LR": (
            Pipeline([("tokens", words), ("model", OneVsRestClassifier(logistic))]),
            tokens | {"model__estimator__C": [1, 3, 10, 30, 100]},
        ),
        "TF-IDF words, SVC": (Pipeline([("tokens", words), ("model", LinearSVC())]), tokens | penalties),
        "TF-IDF words and characters, SVC": (
            Pipeline([("tokens", both), ("model", LinearSVC())]),
            {"tokens__words__token_pattern": patterns} | penalties,
        ),
        "NBSVM": (
            Pipeline([("tokens", present), ("model", Nbsvm())]),
            tokens | {"model__C": [1, 0.001, 0.01, 0.1], "model__interpolation": [0.25, 1]},
        ),
        "complement Naive Bayes": (
            Pipeline([("tokens", words), ("model", ComplementNB())]),
            tokens | {"model__alpha": [1, 0.03, 0.1, 0.3, 3]},
        ),
        "fastText": (
            FastText(),
            {"lr": [0.1, 0.5, 1.0], "epochs": [5, 25], "max_n": [1, 2], "longest": [0] if large else [0, 5]},
        ),
    }


PEERS = tuple(contenders())


def read_rows(raw: Path) -> dict[str, Rows]:
    """The rows of the output of the stage raw, by split."""
    columns = pq.read_table(raw, columns=["text", "label", "split"]).to_pydict()
    splits: dict[str, Rows] = {split: Rows([], []) for split in (TRAIN, VALIDATION, TEST)}
    for text, label, split in zip(columns["text"], columns["label"], columns["split"], strict=True):
        if split in splits:
            splits[split].texts.append(text)
            splits[split].labels.append(label)
    return splits


def described(settings: dict[str, Any]) -> str:
    """Settings in words.

    >>> described({"tokens__token_pattern": WORDS, "model__C": 1})
    'tokens words, C 1'
    """
    names = {key: key.rpartition("__")[2].replace("token_pattern", "tokens") for key in settings}
    return ", ".join(f"{names[key]} {TOKENS.get(value, value)}" for key, value in settings.items())


def tuned(name: str, splits: dict[str, Rows]) -> dict[str, Any]:
    """Tunes a peer and predicts the test rows."""
    train, validation, test = (splits[split] for split in (TRAIN, VALIDATION, TEST))
    texts, labels = train.texts + validation.texts, train.labels + validation.labels
    fold = PredefinedSplit([-1] * len(train.texts) + [0] * len(validation.texts))  # -1: never held out
    model, grid = contenders(sum(map(len, texts)) > LARGE)[name]
    with tempfile.TemporaryDirectory() as cache:
        if isinstance(model, Pipeline):
            model.set_params(memory=cache)  # counts each kind of tokens once
        # A training that fails counts as 0: fastText's ends in NaN with some settings.
        search = GridSearchCV(model, grid, scoring="accuracy", cv=fold, error_score=0.0)
        search.fit(texts, labels)
        predicted = search.predict(test.texts)
    tried = zip(search.cv_results_["params"], search.cv_results_["mean_test_score"], strict=True)
    return {
        "chosen": described(search.best_params_),
        "validation": search.best_score_,
        "fit_seconds": search.refit_time_,
        "tried": {described(settings): float(score) for settings, score in tried},
        "correct": "".join(
            str(int(ours == label)) for ours, label in zip(predicted, test.labels, strict=True)
        ),
    }


def main(name: str, raw: str, out: str) -> None:
    """Runs in the process that the suite starts."""
    write_json(Path(out), tuned(name, read_rows(Path(raw))))


if __name__ == "__main__":
    main(*sys.argv[1:])
