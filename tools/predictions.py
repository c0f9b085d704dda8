"""The predictions of one run, or of several that differ in their seeds, on the same test rows."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from stages.lib.arrays import Float64, Int32, Int64
from stages.lib.command import Refusal
from stages.lib.intervals import Metrics
from stages.lib.scores import LabelSet
from stages.lib.tables import open_table
from tools.revisions import Revision, check_seeds, find

PREDICTIONS = "data/predictions.parquet"
PROBABILITY = "probability_"  # and the name of a label: the column of its probabilities
COLUMNS = ("id", "label", "predicted")
TEXT = "text_hash"  # not in predictions of older runs


class Predictions(NamedTuple):
    """The predictions of one run for the N test rows, ordered by id."""

    ids: list[str]
    texts: list[str] | None  # a hash of each
    names: list[str]  # of the L labels
    labels: Int64  # (N,) label numbers
    predicted: Int64  # (N,)
    probabilities: Float64  # (N, L)
    known: LabelSet  # the positive label and the order, which older runs do not name


class Side(NamedTuple):
    """One side of the comparison: a run, or several that differ in their seeds only."""

    revisions: list[Revision]
    runs: list[Predictions]

    def metrics(self, areas: bool) -> Metrics[str]:
        """The mean of the runs' metrics as a function of weights (Q, N)."""
        of_runs = [
            run.known.metrics(run.labels, run.probabilities, run.predicted, areas) for run in self.runs
        ]

        def means(weights: Int32) -> dict[str, Float64]:
            values = [metrics(weights) for metrics in of_runs]
            return {name: np.mean([part[name] for part in values], 0) for name in values[0]}

        return means

    def probabilities(self) -> Float64:
        """The mean of the runs' probabilities: (N, L)."""
        mean: Float64 = np.mean([run.probabilities for run in self.runs], 0)
        return mean

    def predicted(self) -> Int64:
        """The label that most runs predict; on a tie, the one with the higher mean probability: (N,)."""
        labels = np.arange(len(self.runs[0].names))
        votes = np.sum([run.predicted[:, None] == labels for run in self.runs], 0)  # (N, L)
        # A mean probability is at most 1: half of it decides a tie and outweighs no vote.
        majority: Int64 = np.argmax(votes + self.probabilities() / 2, 1)
        return majority


def read(path: Path, where: str) -> Predictions:
    """A run's data/predictions.parquet. Raises Refusal, with `where`, on any other table."""
    with open_table(path) as file:
        rows: pa.Table = file.read()
        described = json.loads((file.schema_arrow.metadata or {}).get(b"labels", "{}"))
    if missing := [name for name in COLUMNS if name not in rows.column_names]:
        raise Refusal(f"{where}: {PREDICTIONS} has no column {missing[0]!r}; run `dvc repro`")
    rows = rows.sort_by("id")
    names = [name.removeprefix(PROBABILITY) for name in rows.column_names if name.startswith(PROBABILITY)]
    number = {name: n for n, name in enumerate(names)}
    ids, labels, predicted = (rows[name].to_pylist() for name in COLUMNS)
    if not ids or len(set(ids)) < len(ids) or not {*labels, *predicted} <= set(names):
        raise Refusal(
            f"{where}: {PREDICTIONS} has no rows, a repeated id, or a label without probabilities; expected "
            "one row per test review"
        )
    return Predictions(
        ids,
        rows[TEXT].to_pylist() if TEXT in rows.column_names else None,
        names,
        np.array([number[name] for name in labels]),
        np.array([number[name] for name in predicted]),
        np.column_stack([rows[PROBABILITY + name].to_numpy() for name in names]).astype(np.float64),
        LabelSet.of(names, described.get("positive"), described.get("order")),
    )


def side(names: Sequence[str]) -> Side:
    """The runs of these names. Raises Refusal if several differ in more than their seeds, or not at all."""
    revisions = find(names)
    runs = [read(revision.file(PREDICTIONS), revision.name) for revision in revisions]
    check_seeds(revisions, PREDICTIONS)
    return Side(revisions, runs)


def check_rows(runs: Sequence[tuple[str, Predictions]]) -> None:
    """Raises Refusal unless all runs, given with their names, have the same rows and labels."""
    (name, first), *others = runs
    for other_name, other in others:
        if first.names != other.names:
            both = ((name, first), (other_name, other))
            listed = " and ".join(f"{n} {', '.join(run.names)}" for n, run in both)
            raise Refusal(f"different labels: {listed}; only runs with the same labels can be compared")
        rows, other_rows = (dict(zip(run.ids, range(len(run.ids)), strict=True)) for run in (first, other))
        common = [(rows[row], other_rows[row]) for row in first.ids if row in other_rows]
        counts = {
            f"only in {name}": len(rows) - len(common),
            f"only in {other_name}": len(other_rows) - len(common),
            "with another label": sum(first.labels[a] != other.labels[b] for a, b in common),
        }
        if first.texts is not None and other.texts is not None:
            counts["with another text"] = sum(first.texts[a] != other.texts[b] for a, b in common)
        if any(counts.values()):
            listed = ", ".join(f"{count:,} {how}" for how, count in counts.items() if count)
            raise Refusal(
                f"{name} and {other_name} have different test rows: {listed}; {len(common):,} have the same "
                "id. Only runs on the same rows can be compared: the same corpus and parameters of raw"
            )
