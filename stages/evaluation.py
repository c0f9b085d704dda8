"""Evaluation: a number means something beside a baseline.

The test reviews are opened here, once. The classifier is measured beside two that know less: the
majority (the commonest train label, whatever the review says) and Naive Bayes on word counts, which
sees the same tokens and has no vectors. What beats neither has learnt nothing.

    python -m stages.evaluation params.yaml data/tensors.safetensors data/classifier.safetensors \\
        data/ids.parquet data/labels.json data/predictions.parquet \\
        metrics/evaluation.json metrics/evaluation_roc.csv metrics/evaluation_confusion.csv

With two labels, precision, recall, F1 and the areas are those of the second label. With more they
are means over the labels, each against the rest.
"""

from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from pydantic import Field
from scipy.sparse import csr_matrix
from sklearn import metrics as sk
from sklearn.naive_bayes import MultinomialNB

from stages import TEST, TRAIN
from stages.classifier import decide, load, probabilities, score
from stages.lib.command import run
from stages.lib.files import read_json, write_csv, write_json
from stages.lib.params import Section, read_params
from stages.lib.reviews import Reviews, read_split
from stages.lib.tables import read_batches, table_writer
from stages.lib.training import prepare

ROC_POINTS = 200  # of the curve: enough for the eye

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Params(Section):
    threads: int = Field(ge=1, le=1024)  # another count is another order of sums


def measure(truth: Ints, chances: Floats, threshold: float) -> dict[str, float]:
    """All figures of one model on labels (N,) and probabilities (N, L).

    The areas under the curves are left out where a label does not occur: they are undefined.
    """
    labels = np.arange(chances.shape[1])
    two = len(labels) == 2
    guess = decide(torch.from_numpy(chances), threshold).numpy()
    precision, recall, f1, _ = sk.precision_recall_fscore_support(
        truth, guess, labels=labels, zero_division=0.0
    )
    one_hot = (truth[:, None] == labels).astype(np.float64)  # (N, L)
    kept = slice(1, 2) if two else slice(None)  # the second label stands for both
    figures = {
        "accuracy": float((truth == guess).mean()),
        "precision": float(precision[kept].mean()),
        "recall": float(recall[kept].mean()),
        "f1": float(f1[kept].mean()),
        "mcc": float(sk.matthews_corrcoef(truth, guess)),
        "log_loss": float(sk.log_loss(truth, chances, labels=labels)),
        # Of two labels both are off by the same: it is counted once.
        "brier": float(((chances - one_hot) ** 2).sum(1).mean()) / (2 if two else 1),
    }
    if len(np.unique(truth)) == len(labels):
        figures["roc_auc"] = float(sk.roc_auc_score(one_hot[:, kept], chances[:, kept]))
        figures["pr_auc"] = float(sk.average_precision_score(one_hot[:, kept], chances[:, kept]))
    return figures


def majority(train_labels: Ints, labels: int, rows: int) -> Floats:
    """The shares of the train labels, whatever the review: (rows, L)."""
    shares = np.bincount(train_labels, minlength=labels) / len(train_labels)
    return np.tile(shares, (rows, 1))


def word_counts(reviews: Reviews, words: int) -> csr_matrix:
    """How often each review has each word, (N, V), from its real tokens."""
    lengths = reviews.lengths.numpy().astype(np.int64)
    ids = reviews.ids.numpy()
    columns = np.concatenate([row[:n] for row, n in zip(ids, lengths, strict=True)])
    ends = np.concatenate([[0], np.cumsum(lengths)])
    counts = csr_matrix((np.ones(len(columns)), columns, ends), shape=(len(ids), words))
    counts.sum_duplicates()
    return counts


def naive_bayes(train: Reviews, test: Reviews, words: int) -> Floats:
    """Multinomial Naive Bayes on word counts, with one added to every count: (N, L)."""
    model = MultinomialNB(alpha=1.0).fit(word_counts(train, words), train.labels.numpy())
    chances: Floats = model.predict_proba(word_counts(test, words))
    return chances


def roc(truth: Ints, chances: Floats, names: list[str]) -> list[tuple[str, float, float]]:
    """Points (label, false positive rate, true positive rate); of two labels the second alone."""
    points = []
    for label in [1] if len(names) == 2 else range(len(names)):
        mine = truth == label
        if mine.any() and not mine.all():
            false, true, _ = sk.roc_curve(mine, chances[:, label])
            shown = np.unique(np.linspace(0, len(false) - 1, ROC_POINTS).astype(int))
            points += [(names[label], float(false[n]), float(true[n])) for n in shown]
    return points


def confusion(truth: Ints, guess: Ints, names: list[str]) -> list[tuple[str, str, int]]:
    """(label, predicted, reviews) for every pair of labels."""
    table = sk.confusion_matrix(truth, guess, labels=np.arange(len(names)))
    return [(a, b, int(table[i, j])) for i, a in enumerate(names) for j, b in enumerate(names)]


def test_ids(ids: Path) -> list[str]:
    """The ids of the test reviews, in the order of the tensors."""
    return [
        name
        for batch in read_batches(ids, ["id", "split"])
        for name, split in zip(batch["id"].to_pylist(), batch["split"].to_pylist(), strict=True)
        if split == TEST
    ]


def main(
    params: Path,
    tensors: Path,
    classifier: Path,
    ids: Path,
    labels: Path,
    predictions: Path,
    metrics: Path,
    roc_csv: Path,
    confusion_csv: Path,
) -> None:
    choices = read_params(params, "evaluation", Params)
    names: list[str] = read_json(labels)["labels"]
    device = prepare(0, choices.threads, "cpu")
    train, test = read_split(tensors, TRAIN), read_split(tensors, TEST)
    model = load(classifier)
    about = model.about
    chances = probabilities(score(model, test, device), about.temperature).numpy()
    truth = test.labels.numpy().astype(np.int64)
    guess = decide(torch.from_numpy(chances), about.threshold).numpy()
    words = model.embedding.num_embeddings
    contenders = {
        "classifier": chances,
        "naive_bayes": naive_bayes(train, test, words),
        "majority": majority(train.labels.numpy(), len(names), len(truth)),
    }
    write_json(metrics, {name: measure(truth, c, about.threshold) for name, c in contenders.items()})
    write_csv(roc_csv, ["label", "false_positive_rate", "true_positive_rate"], roc(truth, chances, names))
    write_csv(confusion_csv, ["label", "predicted", "reviews"], confusion(truth, guess, names))
    table = {
        "id": test_ids(ids),
        "label": [names[n] for n in truth],
        "predicted": [names[n] for n in guess],
        "probability": chances[np.arange(len(guess)), guess],  # of the predicted label
        **{f"probability_{name}": chances[:, n] for n, name in enumerate(names)},
    }
    rows = pa.table(table)
    with table_writer(predictions, rows.schema) as writer:
        writer.write_table(rows)


if __name__ == "__main__":
    run(main)
