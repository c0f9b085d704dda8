"""Evaluation: a number means something beside a baseline and an interval.

The test reviews are used here, once. The model is measured beside four that use less
(`stages.lib.baselines`): the majority label, Naive Bayes on word counts, NBSVM, and logistic regression on
TF-IDF. A model that beats none of them has learned nothing from word vectors. `best_baseline` is the one
with the highest accuracy on these test reviews. That favours the baselines, so a lead over it is not luck.

Each metric has an interval that contains the true value in 95 of 100 test sets; so has each difference to a
baseline, measured on the same resamples. With two labels, precision, recall, F1 and the areas under the
curves are those of the positive label. With more they are means over the labels, each against the rest.
Labels with an order also have the distance between label and prediction.

    Dror et al. 2018, "The Hitchhiker's Guide to Testing Statistical Significance in NLP"

    python -m stages.evaluation --help
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from pydantic import Field

from stages import TEST, TRAIN, VALIDATION
from stages.lib.arrays import Float64, Int32, Int64
from stages.lib.baselines import majority, naive_bayes, nbsvm, tfidf
from stages.lib.calibration import by_length, calibration_errors, confidence, coverage, reliability
from stages.lib.command import run
from stages.lib.files import read_labels, write_csv, write_json
from stages.lib.folds import CUTS
from stages.lib.intervals import Metrics, bootstrap, mcnemar, wilson
from stages.lib.model import Model, decide
from stages.lib.params import Section, read_params
from stages.lib.reviews import Reviews, read_split
from stages.lib.scores import RANKED, LabelSet, on_all_documents, ratio, roc_points, weighted_metrics
from stages.lib.slices import ReviewFacts, accuracy_of_slices, read_rows, slices
from stages.lib.tables import table_writer

MODEL = "ensemble"
BASELINES = ("naive_bayes", "nbsvm", "tfidf", "majority")
# Differences are reported in one metric of each kind: predictions, their balance, ranking, probabilities, and
# distances on a scale.
COMPARED = ("accuracy", "f1", "roc_auc", "log_loss", "mean_absolute_error")
BY_THRESHOLD = ("accuracy", "precision", "recall", "f1", "mcc")  # metrics that a threshold changes
BY_TEMPERATURE = ("log_loss", "brier")  # metrics that a temperature changes
ROC_POINTS = 200  # of the curve: enough for the eye
ALL_PAIRS = 100  # labels; of more, only the pairs that occur are listed as confusions

Key = tuple[str, ...]  # of a metric in metrics/evaluation.json


class Params(Section):
    resamples: int = Field(ge=100, le=100_000)  # bootstrap resamples: more give steadier intervals
    seed: int = Field(ge=0, lt=2**32)  # of the resamples


class Predictions(NamedTuple):
    """What a model predicts for the test rows."""

    probabilities: Float64  # (N, L)
    predicted: Int64  # (N,)


def predict(probabilities: Float64, threshold: float = 0.5) -> Predictions:
    """The predictions of a model with probabilities (N, L). The threshold applies to two labels."""
    return Predictions(probabilities, decide(probabilities, threshold))


def at_key(path: Key, metrics: Metrics[str], names: Sequence[str] = ()) -> Metrics[Key]:
    """The metrics, all or some `names`, under a path in metrics/evaluation.json."""

    def placed(weights: Int32) -> dict[Key, Float64]:
        values = metrics(weights)
        return {(*path, name): values[name] for name in names or values}

    return placed


def by_label(labels: Int64, predicted: Int64, names: Sequence[str]) -> Metrics[Key]:
    """Precision, recall and F1 of each label, their means, and their means weighted by frequency."""
    numbers = np.arange(len(names))
    is_label, is_predicted = labels[:, None] == numbers, predicted[:, None] == numbers  # (N, L)
    columns = np.concatenate([is_label, is_predicted, is_label & is_predicted], 1).astype(np.float64)

    def metrics(weights: Int32) -> dict[Key, Float64]:
        labelled, predictions, correct = np.split(weights @ columns, 3, axis=1)  # (Q, L)
        results: dict[Key, Float64] = {}
        for kind, values in {
            "precision": ratio(correct, predictions),
            "recall": ratio(correct, labelled),
            "f1": ratio(2 * correct, labelled + predictions),
        }.items():
            results |= {("labels", name, kind): values[:, n] for n, name in enumerate(names)}
            results["averages", "macro", kind] = values.mean(1)
            results["averages", "weighted", kind] = (values * labelled).sum(1) / labelled.sum(1)
        return results

    return metrics


def with_differences(parts: Sequence[Metrics[Key]]) -> Metrics[Key]:
    """The metrics of all parts, and the differences between the model and each baseline."""

    def metrics(weights: Int32) -> dict[Key, Float64]:
        results = {path: values for part in parts for path, values in part(weights).items()}
        for baseline in BASELINES:
            for name in COMPARED:
                if (MODEL, name) in results:
                    difference = results[MODEL, name] - results[baseline, name]
                    results["differences", baseline, name] = difference
        return results

    return metrics


def tree(metrics: Mapping[Key, Any]) -> dict[str, Any]:
    """Metrics by path as nested mappings.

    >>> tree({("a", "b"): 1, ("a", "c"): 2})
    {'a': {'b': 1, 'c': 2}}
    """
    root: dict[str, Any] = {}
    for path, value in metrics.items():
        branch = root
        for name in path[:-1]:
            branch = branch.setdefault(name, {})
        branch[path[-1]] = value
    return root


def roc(labels: Int64, probabilities: Float64, known: LabelSet) -> list[tuple[str, float, float]]:
    """Points (label, false positive rate, true positive rate); of two labels, those of the positive one."""
    points = []
    for number in [known.positive] if len(known.names) == 2 else range(len(known.names)):
        positive = labels == number
        if positive.any() and not positive.all():
            curve = roc_points(positive, probabilities[:, number], ROC_POINTS)
            points += [(known.names[number], x, y) for x, y in curve]
    return points


def confusion(labels: Int64, predicted: Int64, names: Sequence[str]) -> list[tuple[str, str, int]]:
    """(label, predicted, reviews) for every pair of labels; of many labels for the pairs that occur."""
    count = len(names)
    table = np.bincount(labels * count + predicted, minlength=count * count).reshape(count, count)
    listed = (table > 0) | np.eye(count, dtype=bool) | (count <= ALL_PAIRS)
    return [(names[i], names[j], int(table[i, j])) for i, j in np.argwhere(listed)]


def discordant(labels: Int64, models: Mapping[str, Predictions]) -> dict[Key, float]:
    """How many rows only the model or only a baseline predicts correctly, and McNemar's p."""
    results: dict[Key, float] = {}
    model_correct = models[MODEL].predicted == labels
    for name in BASELINES:
        baseline_correct = models[name].predicted == labels
        only_model = int((model_correct & ~baseline_correct).sum())
        only_baseline = int((baseline_correct & ~model_correct).sum())
        results["differences", name, f"only_{MODEL}_right"] = only_model
        results["differences", name, "only_baseline_right"] = only_baseline
        results["differences", name, "mcnemar_p"] = mcnemar(only_model, only_baseline)
    return results


def all_metrics(
    labels: Int64, models: Mapping[str, Predictions], before: Float64, known: LabelSet, areas: bool
) -> Metrics[Key]:
    """Every metric of every model as a function of weights (Q, N).

    `before` are the model's probabilities (N, L) at temperature 1.
    """
    model = models[MODEL]
    parts = [at_key((name,), known.metrics(labels, *m, areas)) for name, m in models.items()]
    for name, probabilities in {"before": before, "after": model.probabilities}.items():
        metrics = weighted_metrics(labels, *predict(probabilities), areas=False)
        parts.append(at_key(("calibration", name), metrics, BY_TEMPERATURE))
    if len(known.names) == 2:
        at_half = known.metrics(labels, *predict(model.probabilities), areas=False)
        parts.append(at_key(("at_half",), at_half, BY_THRESHOLD))
    else:
        parts.append(by_label(labels, model.predicted, known.names))
    return with_differences(parts)


def evaluate(
    labels: Int64,
    models: Mapping[str, Predictions],
    before: Float64,
    known: LabelSet,
    params: Params,
) -> dict[str, Any]:
    """All metrics, and under `intervals` their intervals at the same paths."""
    rows, names = len(labels), known.names
    results = on_all_documents(all_metrics(labels, models, before, known, areas=True), rows)
    resampled = all_metrics(labels, models, before, known, areas=len(names) <= RANKED)
    intervals = bootstrap(resampled, rows, params.resamples, params.seed)
    for path, value in results.items():
        if path[-1] == "accuracy" and path[0] != "differences":
            intervals[path] = wilson(round(value * rows), rows)
    probabilities = {"before": before, "after": models[MODEL].probabilities}
    results |= calibration_errors(labels, probabilities, params.seed) | discordant(labels, models)
    if len(names) > 2:
        support = np.bincount(labels, minlength=len(names)).tolist()
        results |= {("labels", name, "support"): n for name, n in zip(names, support, strict=True)}
    shown = {path: interval._asdict() for path, interval in intervals.items() if path in results}
    best = max(BASELINES, key=lambda name: results[name, "accuracy"])
    extra = {"best_baseline": best} | ({"positive": names[known.positive]} if len(names) == 2 else {})
    return tree(results) | {"intervals": tree(shown)} | extra


def baselines(
    train: Reviews, validation: Reviews, test: Reviews, words: int, labels: int
) -> dict[str, Predictions]:
    """The predictions of the baselines for the test rows."""
    return {
        "naive_bayes": predict(naive_bayes(train, test, words, labels)),
        "nbsvm": predict(nbsvm(train, test, words, labels)),
        "tfidf": predict(tfidf(train, validation, test, words, labels)),
        "majority": predict(majority(train.labels, labels, len(test.labels))),
    }


def of_beginnings(model: Model, reviews: Reviews, tokens: int) -> Float64:
    """The probabilities (N, L) of the first words of the reviews: is a short text's probability right too?"""
    beginnings = reviews.documents.head(np.full(len(reviews.labels), tokens))
    return model.probabilities(model.logits(beginnings))


def predictions_table(
    rows: ReviewFacts, y_true: Int64, model: Predictions, facts: Mapping[str, Any]
) -> pa.Table:
    """One row per test review. `facts` is the content of data/labels.json."""
    names, probabilities = facts["labels"], model.probabilities
    columns = {
        "id": rows.ids,
        "label": [names[n] for n in y_true],
        "predicted": [names[n] for n in model.predicted],
        "probability": probabilities[np.arange(len(y_true)), model.predicted],  # of the predicted label
        **{f"probability_{name}": probabilities[:, n] for n, name in enumerate(names)},
        "text_hash": rows.hashes,
    }
    kept = json.dumps({key: facts.get(key) for key in ("positive", "order")})
    return pa.table(columns, metadata={"labels": kept})


def main(
    params: Path,
    tensors: Path,
    labels: Path,
    ensemble: Path,
    ids: Path,
    raw: Path,
    predictions: Path,
    metrics: Path,
    roc_csv: Path,
    confusion_csv: Path,
    reliability_csv: Path,
    coverage_csv: Path,
    slices_csv: Path,
) -> None:
    choices = read_params(params, "evaluation", Params)
    train, validation, test = (read_split(tensors, split) for split in (TRAIN, VALIDATION, TEST))
    rows = read_rows(raw, ids)
    model, described = Model.load(ensemble), read_labels(labels)
    names, y_true = model.labels, test.labels.astype(np.int64)
    known = LabelSet.of(names, described.get("positive"), described.get("order"))
    logits = model.logits(test.documents)
    before, after = model.probabilities(logits, temperature=1.0), model.probabilities(logits)
    predicted = model.predicted(after)
    models = {
        MODEL: Predictions(after, predicted),
        **baselines(train, validation, test, model.words.rows, len(names)),
    }
    lengths = {
        "by_length": by_length(y_true, after, test.lengths),
        "cut_to": [{"tokens": n} | confidence(y_true, of_beginnings(model, test, n)) for n in CUTS],
    }
    write_json(metrics, evaluate(y_true, models, before, known, choices) | lengths)
    write_csv(roc_csv, ["label", "false_positive_rate", "true_positive_rate"], roc(y_true, after, known))
    write_csv(confusion_csv, ["label", "predicted", "reviews"], confusion(y_true, predicted, names))
    header = ["calibration", "probability", "accuracy", "low", "high", "reviews"]
    write_csv(reliability_csv, header, reliability(y_true, {"before": before, "after": after}))
    header = ["threshold", "coverage", "accuracy", "low", "high", "reviews"]
    write_csv(coverage_csv, header, coverage(y_true, predicted, after))
    header = ["slice", "part", "reviews", "accuracy", "low", "high", "difference"]
    write_csv(slices_csv, header, accuracy_of_slices(predicted == y_true, slices(rows, test.lengths)))
    table = predictions_table(rows, y_true, models[MODEL], described)
    with table_writer(predictions, table.schema) as writer:
        writer.write_table(table)


if __name__ == "__main__":
    run(main)
