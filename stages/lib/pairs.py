"""Minimal pairs: two short texts that differ in one thing, and the label that each should get.

negation     "The jokes land."  /  "The jokes don't land."         the label changes
intensity    "I liked it."  /  "I loved it."                       the label stays, with more confidence
contrast     "Great premise. Terrible execution, though."  / ...   the last clause decides
irrelevant   "We saw it on a Tuesday."  /  "... on a Friday."      nothing changes

Gardner et al. 2020, "Evaluating Models' Local Decision Boundaries via Contrast Sets"
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from stages.lib import rows
from stages.lib.command import Refusal
from stages.lib.intervals import wilson
from stages.lib.params import nearest
from stages.lib.user_files import find_file

KINDS = ("negation", "intensity", "contrast", "irrelevant")
CHANGING = ("negation", "contrast")  # kinds whose two texts have different labels


class Pair(NamedTuple):
    """Two texts that differ in one thing, and the label of each."""

    id: str
    kind: str
    text_a: str
    text_b: str
    label_a: str
    label_b: str


def read_pairs(folder: Path, names: Sequence[str]) -> list[Pair]:
    """The minimal pairs of some files in a folder. Raises Refusal on a row that is no pair."""
    pairs: list[Pair] = []
    for name in names:
        path = find_file(name, folder, "robustness.pairs")
        with path.open("rb") as file:
            for number, row in enumerate(rows.read(file, name, str(path)), 1):
                where = f"{path}, pair {number}"
                rows.require(Pair._fields, row, where)
                pair = Pair(*(rows.text_of(row[column]) or "" for column in Pair._fields))
                check_pair(pair, where)
                pairs.append(pair)
    ids = [pair.id for pair in pairs]
    if len(set(ids)) < len(ids):
        repeated = next(name for n, name in enumerate(sorted(ids)) if name in sorted(ids)[:n])
        raise Refusal(f"robustness.pairs: two pairs have the id {repeated!r}; ids must be unique")
    return pairs


def check_pair(pair: Pair, where: str) -> None:
    """Raises Refusal if a cell is empty, the kind is unknown, or the labels do not fit the kind."""
    if empty := [column for column, value in pair._asdict().items() if not value]:
        raise Refusal(f"{where}: {empty[0]} is empty; a pair needs {', '.join(Pair._fields)}")
    if pair.kind not in KINDS:
        raise Refusal(f"{where}: unknown kind {pair.kind!r}{nearest(pair.kind, list(KINDS))}")
    if (pair.label_a != pair.label_b) != (pair.kind in CHANGING):
        expected = "two different labels" if pair.kind in CHANGING else "the same label twice"
        raise Refusal(f"{where}: found {pair.label_a!r} and {pair.label_b!r}; {pair.kind} needs {expected}")


def metrics_by_kind(answers: pa.Table) -> dict[str, dict[str, float]]:
    """For each kind the share of pairs with both texts classified correctly, and its interval.

    `sides` is the share of single texts classified correctly, `changed` that of pairs whose texts are
    predicted differently.
    """
    table = {name: np.array(answers[name].to_pylist()) for name in answers.column_names}
    correct = [table[f"label_{side}"] == table[f"predicted_{side}"] for side in "ab"]
    changed = table["predicted_a"] != table["predicted_b"]
    metrics = {}
    for kind in KINDS:
        of_kind = table["kind"] == kind
        if n := int(of_kind.sum()):
            right = int(table["right"][of_kind].sum())
            low, high = wilson(right, n)
            metrics[kind] = {
                "pairs": n,
                "right": right / n,
                "right_low": low,
                "right_high": high,
                "sides": float(np.mean([side[of_kind].mean() for side in correct])),
                "changed": float(changed[of_kind].mean()),
            }
    return metrics
