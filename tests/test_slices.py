"""Slices: the division of the test reviews."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from stages import ids
from stages.lib.slices import (
    CONTRAST,
    GROUPS,
    NEGATION,
    ReviewFacts,
    accuracy_of_slices,
    read_tokens,
    slices,
)
from stages.lib.tables import table_writer


@pytest.mark.parametrize(
    ("text", "negated", "contrasted"),
    [
        ("Not bad", True, False),
        ("I didn't laugh", True, False),
        ("I DIDN’T laugh", True, False),
        ("i dont know", True, False),
        ("a knot, a note, different", False, False),
        ("Slow, but good", False, True),
        ("a butler, yes", False, False),
        ("Though never dull", True, True),
        ("", False, False),
    ],
)
def test_negation_and_contrast_are_recognised_by_words(text: str, negated: bool, contrasted: bool) -> None:
    assert bool(NEGATION.search(text)) == negated
    assert bool(CONTRAST.search(text)) == contrasted


def rows_of(count: int, **changed: object) -> ReviewFacts:
    plain: dict[str, Any] = {
        "ids": [str(n) for n in range(count)],
        "hashes": [str(n) for n in range(count)],
        "negated": np.zeros(count, bool),
        "contrasted": np.zeros(count, bool),
        "groups": [None] * count,
        "lengths": np.full(count, 5),
        "unknown": np.zeros(count, int),
    }
    return ReviewFacts(**{**plain, **changed})


def test_slices_by_hand() -> None:
    rows = rows_of(
        4,
        hashes=["a", "b", "a", "c"],
        negated=np.array([True, False, False, False]),
        groups=["x", "y", "x", None],
        lengths=np.array([4, 0, 9, 100]),
        unknown=np.array([1, 0, 0, 1]),
    )
    correct = np.array([True, True, False, True])
    table = list(accuracy_of_slices(correct, slices(rows, kept=np.array([4, 0, 9, 50]))))
    result = {part: (count, accuracy) for _, part, count, accuracy, *_ in table}
    assert result == {
        "all": (4, 0.75),
        "0 to 0 tokens": (1, 1.0),
        "4 to 4 tokens": (1, 1.0),
        "9 to 9 tokens": (1, 0.0),
        "100 to 100 tokens": (1, 1.0),
        "with a negation": (1, 1.0),
        "without a negation": (3, 2 / 3),
        "none unknown": (2, 0.5),
        "up to 1 % unknown": (1, 1.0),
        "over 10 % unknown": (1, 1.0),
        "cut to fit": (1, 1.0),
        "whole": (3, 2 / 3),
        "text is in test again": (2, 0.5),
        "text is in test once": (2, 1.0),
        "x": (2, 0.5),
        "y": (1, 1.0),
        "other groups or none": (1, 1.0),
    }
    assert [row[-1] for row in table] == pytest.approx([row[3] - 0.75 for row in table])
    assert all(low <= accuracy <= high for _, _, _, accuracy, low, high, _ in table)


def test_a_part_with_all_rows_is_left_out() -> None:
    table = list(accuracy_of_slices(np.array([True]), slices(rows_of(1), np.array([5]))))
    assert [row[:2] for row in table] == [("all", "all")]


def test_rare_groups_share_a_slice() -> None:
    count = GROUPS + 3
    groups = [f"g{n:02}" for n in range(count)] + ["g32"]
    parts = slices(rows_of(count + 1, groups=groups), np.full(count + 1, 5))
    named = [part for name, part, _ in parts if name == "group"]
    assert named == ["g32", *(f"g{n:02}" for n in range(GROUPS - 1)), "other groups or none"]


def test_lengths_and_unknown_tokens_are_read_for_each_test_review(tmp_path: Path) -> None:
    path = tmp_path / "ids.parquet"
    groups: list[list[tuple[str, str, list[int]]]] = [
        [("a", "train", [1, 1]), ("b", "test", [2, 1, 1, 3]), ("c", "test", [])],
        [("d", "test", [2]), ("e", "validation", [1]), ("f", "test", [1])],
    ]
    with table_writer(path, ids.SCHEMA) as writer:
        for rows in groups:
            names, splits, tokens = zip(*rows, strict=True)
            spelled = [["word"] * row.count(1) for row in tokens]
            columns = [names, [0] * len(rows), splits, tokens, spelled]
            writer.write_table(pa.table(columns, schema=ids.SCHEMA))
    names_read, lengths, unknown = read_tokens(path)
    assert names_read == ["b", "c", "d", "f"]
    assert lengths.tolist() == [4, 0, 1, 1]
    assert unknown.tolist() == [2, 0, 0, 1]
