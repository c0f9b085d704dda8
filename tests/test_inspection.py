"""What is unusual about a corpus, from a table to the sentences."""

from pathlib import Path
from typing import Any

import pytest

from tests.test_raw import SPLIT_COLUMNS, corpus, csv_bytes, made

ROWS: list[tuple[str, str]] = [(f"a fine film {n}", ("bad", "good")[n % 2]) for n in range(2000)]


def warnings(folder: Path, rows: list[Any], **source: Any) -> dict[str, str]:
    header = tuple(source.get("columns", {"text": 0, "label": 0}))
    found: dict[str, str] = made(corpus(folder, csv_bytes(rows, header), **source))[2]["warnings"]
    return found


def test_a_usual_corpus_has_no_warnings(tmp_path: Path) -> None:
    assert warnings(tmp_path, ROWS) == {}


@pytest.mark.parametrize(
    ("extra", "key", "sentence"),
    [
        ([("", "good"), (" ", "bad")], "empty", "2 of 2,002 texts are empty and were dropped"),
        ([("x", "N/A"), ("y", "NaN")], "missing_labels", "2 rows have the label 'N/A', 'NaN'"),
        (
            [(f"x {n}", "GOOD ") for n in range(20)],
            "label_variants",
            "may be the same; to merge them: `labels: {'GOOD': 'good'}`",
        ),
        ([(f"x {n}", ("1", "1.0")[n % 2]) for n in range(50)], "label_variants", "{'1.0': '1'}"),
        ([(f"x {n}", "odd") for n in range(9)], "rare_labels", "fewer than 10 rows have the label 'odd' (9)"),
        ([ROWS[0]] * 3, "duplicates", "3 rows repeat a text of their own split"),
        ([(ROWS[0][0], "good")], "contradictions", "1 texts have two different labels"),
        ([("word " * 1000, "good")], "long", "the longest text has 5,000 characters"),
        ([(f"<b>x</b> {n}", "good") for n in range(30)], "html", "30 texts contain HTML"),
        ([(f"https://x.org {n}", "good") for n in range(30)], "addresses", "30 texts contain web addresses"),
        ([(f"很好吃 {n}", "good") for n in range(3000)], "no_spaces", "set tokens.unit: characters"),
    ],
)
def test_what_is_unusual_is_said(tmp_path: Path, extra: list[Any], key: str, sentence: str) -> None:
    assert sentence in warnings(tmp_path, [*ROWS, *extra])[key]


@pytest.mark.parametrize(("label", "key"), [("{}", "numbers_as_labels"), ("order {}", "many_labels")])
def test_a_label_that_looks_like_an_amount_or_an_id_is_said(tmp_path: Path, label: str, key: str) -> None:
    rows = [(f"text {n}", label.format(n % 100), "train") for n in range(300)]
    rows += [("in validation", label.format(0), "validation"), ("in test", label.format(0), "test")]
    assert "100 " in warnings(tmp_path, rows, columns=SPLIT_COLUMNS)[key]


def test_small_and_overlapping_splits_are_said(tmp_path: Path) -> None:
    splits = ("train", "train", "validation", "test")
    rows = [(text, label, splits[n % 4]) for n, (text, label) in enumerate(ROWS[:200])]
    rows += [(ROWS[0][0], "bad", "test"), (ROWS[2][0], "bad", "test")]
    found = warnings(tmp_path, rows, columns=SPLIT_COLUMNS)
    assert found["small_test"] == (
        "test has 52 of the reviews: an accuracy on so few is off by up to 14 points by chance"
    )
    assert found["small_validation"].startswith("validation has 50 ")
    assert found["duplicates_across"].startswith("1 train or unlabelled texts are in validation or test too")
    assert found["duplicates_held_out"] == "1 texts are in both validation and test"


def test_control_characters_of_labels_are_escaped(tmp_path: Path) -> None:
    found = warnings(tmp_path, [*ROWS, ("x", "\x1b[31mred"), ("y", "\x1b[31mred")])
    assert "'\\x1b[31mred' (2)" in found["rare_labels"]
