"""The rows of the report's tables, from the files that the stages wrote."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from markupsafe import Markup

from stages.lib.charts.strips import scale_of, strip, strip_axis
from stages.lib.headline import BASELINES
from stages.lib.tables import read_table

MODELS = {"ensemble": "Firth", **BASELINES}
MEASURES = {
    "accuracy": "accuracy",
    "precision": "precision",
    "recall": "recall",
    "f1": "F1",
    "mcc": "Matthews correlation",
    "roc_auc": "ROC AUC",
    "pr_auc": "PR AUC",
    "log_loss": "log loss",
    "brier": "Brier score",
    "mean_absolute_error": "mean absolute error",
    "within_one": "at most one step off",
    "quadratic_kappa": "quadratic kappa",
}
ALTERATIONS = {
    "shuffled": "words shuffled",
    "upper_case": "in upper case",
    "typos": "typing errors in {} % of the letters",
    "first": "first {} tokens only",
    "last": "last {} tokens only",
}

Row = dict[str, Any]


class Marked(NamedTuple):
    """A row of a table with an accuracy, and its dot and whisker."""

    name: str
    metrics: Mapping[str, float]
    mark: Markup


class Slice(NamedTuple):
    """The accuracy on some of the test reviews."""

    slice: str
    part: str
    reviews: int
    accuracy: float
    low: float
    high: float
    difference: float  # to the accuracy on all of them

    @property
    def metrics(self) -> dict[str, float]:
        """The accuracy and its interval."""
        return {"accuracy": self.accuracy, "accuracy_low": self.low, "accuracy_high": self.high}

    @property
    def is_notable(self) -> bool:
        """Whether the accuracy on all reviews is outside the interval of this slice."""
        return not self.low <= self.accuracy - self.difference <= self.high


def alterations(robustness: Mapping[str, Any]) -> list[tuple[str, dict[str, float]]]:
    """What alterations of the test reviews did, with readable names: unaltered, then the least harmful first.

    >>> altered = {"last_9": {"accuracy": 0.1}, "shuffled": {"accuracy": 0.2}}
    >>> [name for name, _ in alterations({"unaltered": {}, "altered": altered})]
    ['unaltered', 'words shuffled', 'last 9 tokens only']
    """
    named = [("unaltered", robustness["unaltered"])]
    for name, metrics in sorted(robustness["altered"].items(), key=lambda item: -item[1]["accuracy"]):
        word, _, number = name.rpartition("_")
        named.append(((ALTERATIONS.get(name) or ALTERATIONS[word]).format(number), metrics))
    return named


def worst_pairs(robustness_pairs: Path, count: int) -> list[Row]:
    """Wrongly predicted minimal pairs, at most `count` of each kind: those with the lowest probability of a
    right label."""
    rows = [row for row in read_table(robustness_pairs).to_pylist() if not row["right"]]
    rows.sort(key=lambda row: (row["kind"], min(row["probability_a"], row["probability_b"]), row["id"]))
    shown: list[Row] = []
    for kind in dict.fromkeys(row["kind"] for row in rows):
        shown += [row for row in rows if row["kind"] == kind][:count]
    return shown


def neighbours_by_word(agreement: Path) -> dict[tuple[str, bool], list[tuple[str, float]]]:
    """The nearest neighbours of each listed word: (word, whether it is in the vocabulary) -> neighbours."""
    table: dict[tuple[str, bool], list[tuple[str, float]]] = {}
    for row in read_table(agreement).to_pylist():
        neighbours = table.setdefault((row["word"], row["known"]), [])
        neighbours.append((row["neighbour"], row["similarity"]))
    return table


def read_rows(path: Path) -> list[dict[str, str]]:
    """The rows of a small CSV file."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def read_slices(path: Path) -> list[Slice]:
    """The rows of metrics/evaluation_slices.csv without the first, which is all reviews."""
    return [
        Slice(row["slice"], row["part"], int(row["reviews"]), *(float(row[f]) for f in Slice._fields[3:]))
        for row in read_rows(path)[1:]
    ]


def marked(
    rows: Sequence[tuple[str, Mapping[str, float]]], reference: float, stand_out: bool = True
) -> tuple[list[Marked], Markup]:
    """Rows with their dots and whiskers on one axis, and the axis. The first row stands out, or none."""
    scale = scale_of([value for _, row in rows for value in (row["accuracy"], *ends(row))])
    marks = [
        Marked(name, row, strip(scale, row["accuracy"], *ends(row), reference, stand_out and not number))
        for number, (name, row) in enumerate(rows)
    ]
    return marks, strip_axis(scale)


def ends(row: Mapping[str, float]) -> tuple[float, float]:
    """The ends of the interval of an accuracy."""
    return row["accuracy_low"], row["accuracy_high"]


def models_by_accuracy(evaluation: Mapping[str, Any]) -> list[tuple[str, dict[str, float]]]:
    """The accuracy of Firth, and of the baselines from the best to the worst."""
    rows = []
    for model in sorted(MODELS, key=lambda name: (name in BASELINES, -evaluation[name]["accuracy"])):
        interval = evaluation["intervals"][model]["accuracy"]
        around = {"accuracy_low": interval["low"], "accuracy_high": interval["high"]}
        rows.append((MODELS[model], {"accuracy": evaluation[model]["accuracy"], **around}))
    return rows


class SliceTable(NamedTuple):
    """All slices by their kind, each with its mark."""

    groups: dict[str, list[tuple[Slice, Markup]]]
    axis: Markup | None
    number: int
    notable: int


def slice_table(slices: Sequence[Slice], overall: float) -> SliceTable:
    """The table of slices, with a line at the accuracy on all reviews."""
    if not slices:
        return SliceTable({}, None, 0, 0)
    rows, axis = marked([(one.part, one.metrics) for one in slices], overall, stand_out=False)
    groups: dict[str, list[tuple[Slice, Markup]]] = {}
    for one, row in zip(slices, rows, strict=True):
        groups.setdefault(one.slice, []).append((one, row.mark))
    return SliceTable(groups, axis, len(slices), sum(one.is_notable for one in slices))
