"""Tensors: truncation of longer reviews, padding of shorter ones, and the metrics of both."""

import json
import re
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.numpy import load_file
from torch.nn.utils.rnn import pad_sequence

from stages.ids import SCHEMA as IDS
from stages.lib.arrays import Int32
from stages.lib.command import Refusal
from stages.lib.reviews import read_split
from stages.lib.tables import table_writer
from stages.tensors import auto_width, kept_words, main, rectangle, truncate
from tests.conftest import refused

Review = tuple[str, int | None, list[int]]
Result = tuple[dict[str, Int32], dict[str, object]]
Made = Callable[..., Result]

REVIEWS: list[Review] = [
    ("train", 1, [2, 3, 4]),
    ("unlabelled", None, [9] * 20),
    ("train", 0, []),
    ("test", 1, [5, 1, 5, 1, 5, 1]),
    ("validation", 0, [6, 7]),
    ("train", 2, [8, 2, 3, 4, 5]),
    ("test", 0, [2, 3, 4, 5]),
]
TEXTS = st.lists(st.lists(st.integers(1, 99), max_size=9), max_size=6)


def ragged(texts: list[list[int]]) -> tuple[Int32, Int32]:
    flat = np.array([n for text in texts for n in text], np.int32)
    return flat, np.array([len(text) for text in texts], np.int32)


def rows_of(texts: list[list[int]], width: int, keep: str) -> tuple[list[list[int]], list[int]]:
    rows, lengths = rectangle(*ragged(texts), width, keep)
    assert rows.dtype == lengths.dtype == np.int32
    return rows.tolist(), lengths.tolist()


def kept_of(text: list[int], width: int, keep: str) -> list[int]:
    if len(text) <= width:
        return text
    first = {"head": width, "tail": 0, "both": width - width // 2}[keep]
    return text[:first] + text[len(text) - (width - first) :]


def unknown_of(text: list[int]) -> list[str]:
    """A spelling of each 1 that tells its position, with letters of one to four bytes."""
    return [f"é{position}🙃{len(text)}" for position, number in enumerate(text) if number == 1]


def write_ids(path: Path, reviews: Sequence[Review] = REVIEWS, rows_in_group: int = 3) -> Path:
    with table_writer(path, IDS) as writer:
        for first in range(0, len(reviews), rows_in_group):
            splits, labels, ids = zip(*reviews[first : first + rows_in_group], strict=True)
            unknown = [unknown_of(row) for row in ids]
            columns = ([str(n) for n in range(len(splits))], labels, splits, ids, unknown)
            arrays = [pa.array(c, f.type) for c, f in zip(columns, IDS, strict=True)]
            writer.write_batch(pa.record_batch(arrays, IDS))
    return path


@pytest.fixture
def made(tmp_path: Path, write_params: Callable[..., Path]) -> Made:
    def make(reviews: Sequence[Review] = REVIEWS, rows_in_group: int = 3, **choices: object) -> Result:
        ids = write_ids(tmp_path / "ids.parquet", reviews, rows_in_group)
        tensors, metrics = tmp_path / "tensors.safetensors", tmp_path / "metrics.json"
        main(write_params(tensors=choices), ids, tensors, metrics)
        return load_file(tensors), json.loads(metrics.read_text())

    return make


@pytest.mark.parametrize(
    ("width", "keep", "expected"),
    [
        (4, "head", [[1, 2, 0, 0], [3, 4, 5, 6]]),
        (4, "tail", [[1, 2, 0, 0], [5, 6, 7, 8]]),
        (4, "both", [[1, 2, 0, 0], [3, 4, 7, 8]]),
        (3, "both", [[1, 2, 0], [3, 4, 8]]),
        (5, "both", [[1, 2, 0, 0, 0], [3, 4, 5, 7, 8]]),
        (1, "head", [[1], [3]]),
        (1, "tail", [[2], [8]]),
        (1, "both", [[1], [3]]),
        (2, "both", [[1, 2], [3, 8]]),
    ],
)
def test_truncation_keeps_the_head_the_tail_or_both(width: int, keep: str, expected: list[list[int]]) -> None:
    texts = [[1, 2], [3, 4, 5, 6, 7, 8]]
    assert rows_of(texts, width, keep) == (expected, [min(2, width), width])


@pytest.mark.parametrize("keep", ["head", "tail", "both"])
def test_a_review_that_fits_is_not_truncated(keep: str) -> None:
    assert rows_of([[1, 2, 3], [], [4]], 3, keep) == ([[1, 2, 3], [0, 0, 0], [4, 0, 0]], [3, 0, 1])


@pytest.mark.parametrize("keep", ["head", "tail", "both"])
def test_no_reviews_give_no_rows(keep: str) -> None:
    assert rows_of([], 3, keep) == ([], [])
    assert rows_of([[], []], 2, keep) == ([[0, 0], [0, 0]], [0, 0])


@given(texts=TEXTS, width=st.integers(1, 12), keep=st.sampled_from(["head", "tail", "both"]))
@settings(deadline=None, max_examples=200)
def test_rows_hold_the_truncated_text_followed_by_padding(
    texts: list[list[int]], width: int, keep: str
) -> None:
    rows, lengths = rows_of(texts, width, keep)
    assert lengths == [min(len(text), width) for text in texts]
    assert all(len(row) == width for row in rows)
    for row, length, text in zip(rows, lengths, texts, strict=True):
        assert row[:length] == kept_of(text, width, keep)
        assert row[length:] == [0] * (width - length)


@given(texts=TEXTS, width=st.integers(1, 12), keep=st.sampled_from(["head", "tail", "both"]))
@settings(deadline=None)
def test_truncate_equals_slicing_each_text(texts: list[list[int]], width: int, keep: str) -> None:
    flat, lengths = truncate(*ragged(texts), width, keep)
    assert flat.dtype == lengths.dtype == np.int32
    expected = [kept_of(text, width, keep) for text in texts]
    assert flat.tolist() == [n for text in expected for n in text]
    assert lengths.tolist() == [len(text) for text in expected]


@given(texts=TEXTS.filter(any), keep=st.sampled_from(["head", "tail", "both"]))
@settings(deadline=None)
def test_without_truncation_rows_equal_pad_sequence(texts: list[list[int]], keep: str) -> None:
    padded = pad_sequence([torch.tensor(text, dtype=torch.int32) for text in texts], batch_first=True)
    assert rows_of(texts, max(map(len, texts)), keep)[0] == padded.tolist()


def test_each_split_has_int32_ids_lengths_and_labels(made: Made) -> None:
    tensors, _ = made()
    parts, splits = ("ids", "lengths", "labels"), ("train", "validation", "test")
    assert {str(tensors.pop(f"{split}.unknown").dtype) for split in splits} == {"uint8"}
    assert set(tensors) == {f"{split}.{part}" for split in splits for part in parts}
    assert {str(array.dtype) for array in tensors.values()} == {"int32"}
    assert [tensors[f"{split}.ids"].shape for split in ("train", "validation", "test")] == [
        (3, 6), (1, 6), (2, 6),
    ]  # fmt: skip


@pytest.mark.parametrize("rows_in_group", [1, 3, 100])
def test_rows_and_labels_keep_the_order_of_the_ids(made: Made, rows_in_group: int) -> None:
    tensors, _ = made(rows_in_group=rows_in_group, max_length=4, keep="tail")
    assert tensors["train.ids"].tolist() == [[2, 3, 4, 0], [0, 0, 0, 0], [2, 3, 4, 5]]
    assert tensors["train.lengths"].tolist() == [3, 0, 4]
    assert tensors["train.labels"].tolist() == [1, 0, 2]
    assert tensors["validation.ids"].tolist() == [[6, 7, 0, 0]]
    assert tensors["test.ids"].tolist() == [[5, 1, 5, 1], [2, 3, 4, 5]]
    assert tensors["test.labels"].tolist() == [1, 0]


@pytest.mark.parametrize("keep", ["head", "tail", "both"])
@pytest.mark.parametrize("rows_in_group", [1, 3, 100])
def test_the_spelling_of_unknown_words_is_cut_as_the_ids_are(
    made: Made, tmp_path: Path, keep: str, rows_in_group: int
) -> None:
    made(rows_in_group=rows_in_group, max_length=3, keep=keep)
    test = read_split(tmp_path / "tensors.safetensors", "test")
    assert test.ids.tolist()[0] == {"head": [5, 1, 5], "tail": [1, 5, 1], "both": [5, 1, 1]}[keep]
    expected = {"head": ["é1🙃6"], "tail": ["é3🙃6", "é5🙃6"], "both": ["é1🙃6", "é5🙃6"]}[keep]
    assert test.unknown == expected
    assert read_split(tmp_path / "tensors.safetensors", "train").unknown == []


@given(
    texts=st.lists(st.lists(st.sampled_from([1, 2, 3]), max_size=9), max_size=6),
    width=st.integers(1, 12),
    keep=st.sampled_from(["head", "tail", "both"]),
)
@settings(deadline=None, max_examples=200)
def test_kept_words_equal_those_of_cut_lists(texts: list[list[int]], width: int, keep: str) -> None:
    spelled = [[f"{n} {p}" if number == 1 else "" for p, number in enumerate(t)] for n, t in enumerate(texts)]
    unknown = pa.array([word for text in spelled for word in text if word], pa.string())
    positions = [kept_of(list(range(len(text))), width, keep) for text in texts]
    expected = [row[p] for row, kept in zip(spelled, positions, strict=True) for p in kept if row[p]]
    assert kept_words(unknown, *ragged(texts), width, keep).to_pylist() == expected


def test_unlabelled_reviews_are_left_out_and_do_not_change_the_width(made: Made) -> None:
    with_them, _ = made()
    without, _ = made([review for review in REVIEWS if review[0] != "unlabelled"])
    assert with_them["train.ids"].shape[1] == 6
    assert all(np.array_equal(with_them[name], without[name]) for name in with_them)


def test_metrics_give_the_shares_of_padding_and_of_truncated_reviews(made: Made) -> None:
    _, metrics = made(max_length=4)
    assert metrics == {
        "width": 4,
        "padded": {"train": pytest.approx(5 / 12, abs=1e-6), "validation": 0.5, "test": 0},
        "truncated": {"train": pytest.approx(1 / 3, abs=1e-6), "validation": 0, "test": 0.5},
    }


def test_with_longest_no_review_is_truncated(made: Made) -> None:
    _, metrics = made(max_length="longest")
    assert metrics["width"] == 6
    assert metrics["truncated"] == {"train": 0, "validation": 0, "test": 0}


def test_auto_cuts_what_is_far_longer_than_the_others_and_stores_the_width(
    made: Made, tmp_path: Path
) -> None:
    def stored() -> object:
        with safe_open(tmp_path / "tensors.safetensors", "numpy") as file:
            return json.loads(file.metadata()["tensors"])["max_length"]

    tensors, metrics = made(max_length="auto")
    assert (metrics["width"], stored()) == (6, "longest")
    as_longest = made(max_length="longest")[0]
    assert all(np.array_equal(tensors[name], as_longest[name]) for name in as_longest)
    one_long: list[Review] = [*REVIEWS * 5, ("train", 1, [2] * 1000)]
    tensors, metrics = made(one_long, max_length="auto")
    assert (metrics["width"], stored()) == (24, 24)  # four times six
    assert tensors["train.lengths"].max() == 24


@pytest.mark.parametrize(
    ("lengths", "width"), [([], 1), ([0, 0], 1), ([1, 9], 4), ([50] * 99 + [100_000], 200), ([9, 10], 10)]
)
def test_the_automatic_width_of_some_lengths(lengths: list[int], width: int) -> None:
    assert auto_width(np.array(lengths, np.int32)) == width


def test_empty_reviews_still_have_one_column(made: Made) -> None:
    tensors, metrics = made([(split, 0, []) for split in ("train", "validation", "test")])
    assert tensors["train.ids"].tolist() == [[0]]
    assert metrics["padded"] == {"train": 1, "validation": 1, "test": 1}


def test_two_runs_give_the_same_bytes(made: Made, tmp_path: Path) -> None:
    paths = tmp_path / "tensors.safetensors", tmp_path / "metrics.json"
    made(keep="both", max_length=3)
    first = [path.read_bytes() for path in paths]
    made(keep="both", max_length=3)
    assert [path.read_bytes() for path in paths] == first


@pytest.mark.parametrize("value", [0, -1, 2.5, "long", True, None])
def test_an_invalid_max_length_is_refused(made: Made, value: object) -> None:
    message = re.escape(f"params.yaml: tensors.max_length: found {value!r};")
    with pytest.raises(Refusal, match=message) as refusal:
        made(max_length=value)
    assert "longest" in str(refusal.value)
    assert re.search("integer|number|greater", str(refusal.value))


def test_tensors_larger_than_memory_are_refused_before_allocation(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = psutil.virtual_memory()._replace(available=4 * 6 * 6)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: free)
    made(max_length="longest")  # six labelled reviews of six tokens fit to the byte
    with pytest.raises(Refusal, match=r"max_length: found 7, which for 6 reviews needs .* lower number"):
        made(max_length=7)


def test_an_unknown_value_of_keep_is_refused_in_one_line(
    tmp_path: Path, write_params: Callable[..., Path], stage: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    ids, params = write_ids(tmp_path / "ids.parquet"), write_params(tensors={"keep": "middle"})
    ended = stage("tensors", params, ids, tmp_path / "tensors.safetensors", tmp_path / "metrics.json")
    assert refused(ended, "tensors.keep: found 'middle'", "'head', 'tail' or 'both'")
