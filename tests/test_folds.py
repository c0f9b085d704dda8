"""Folds: every document is held out once, labels are spread evenly, logits are kept by document."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from stages.lib.arrays import Float64
from stages.lib.command import Refusal
from stages.lib.folds import (
    AUTO_FOLDS,
    CUTS,
    FEW_DOCUMENTS,
    FEW_LABELS,
    HeldOut,
    cut_lengths,
    fold_count,
    held_out,
    rank_within_label,
)
from stages.lib.reviews import Documents

LABELS = st.lists(st.integers(0, 3), max_size=40).map(lambda labels: np.array(labels, np.int32))


def test_auto_makes_folds_of_few_documents_with_few_labels() -> None:
    assert fold_count("auto", FEW_DOCUMENTS, FEW_LABELS) == AUTO_FOLDS
    assert fold_count("auto", FEW_DOCUMENTS + 1, FEW_LABELS) == 0
    assert fold_count("auto", FEW_DOCUMENTS, FEW_LABELS + 1) == 0


def test_one_fold_is_none() -> None:
    assert [fold_count(folds, 10, 2) for folds in (0, 1, 2, 20)] == [0, 0, 2, 20]


@given(labels=LABELS)
def test_the_rank_counts_earlier_documents_of_the_label(labels: np.ndarray) -> None:
    expected = [labels[:n].tolist().count(label) for n, label in enumerate(labels.tolist())]
    assert rank_within_label(labels).tolist() == expected


@given(labels=LABELS, folds=st.integers(2, 20))
def test_each_document_is_held_out_once_and_labels_are_spread_evenly(labels: np.ndarray, folds: int) -> None:
    masks = list(held_out(labels, np.zeros(len(labels), np.bool_), folds, {"labels": range(4)}))
    assert len(masks) == folds
    assert (np.sum(masks, 0) == 1).all()
    for label in range(4):
        sizes = [int((labels[mask] == label).sum()) for mask in masks]
        assert max(sizes) - min(sizes) <= 1


def test_without_folds_the_validation_split_is_held_out() -> None:
    labels, is_validation = np.array([0, 1, 0, 1], np.int32), np.array([False, False, True, True])
    for folds in (0, 1):
        (mask,) = held_out(labels, is_validation, folds, {"labels": "ab"})
        assert (mask == is_validation).all()
    assert len(list(held_out(labels, is_validation, "auto", {"labels": "ab"}))) == AUTO_FOLDS


def test_a_corpus_with_groups_keeps_its_validation_split() -> None:
    labels, is_validation = np.zeros(20, np.int32), np.arange(20) >= 15
    facts = {"labels": "ab", "grouped": True}
    (mask,) = held_out(labels, is_validation, "auto", facts)
    assert mask.tolist() == is_validation.tolist()
    assert len(list(held_out(labels, is_validation, 4, facts))) == 4


def test_cut_lengths_take_turns() -> None:
    counts = Counter(cut_lengths(100).tolist())
    assert counts == dict.fromkeys(CUTS, 20)
    assert cut_lengths(3).tolist() == [1, 2, 5]
    assert cut_lengths(0).tolist() == []


DOCUMENTS = Documents(np.arange(2, 32, dtype=np.int32), np.array([0, 3, 20, 7]), [])


def sums_and_lengths(documents: Documents) -> Float64:
    """Logits (N, 2): the sum of the codes, and the number of tokens."""
    parts = np.split(documents.codes, np.cumsum(documents.lengths)[:-1])
    return np.array([[part.sum(), len(part)] for part in parts], np.float64).reshape(-1, 2)


def test_logits_are_filled_in_the_order_of_the_documents() -> None:
    held = HeldOut.empty(4, 2)
    assert not held.there.any()
    held.fill(np.array([False, True, False, True]), sums_and_lengths, DOCUMENTS)
    assert held.there.tolist() == [False, True, False, True]
    assert held.whole[[1, 3]].tolist() == [[2 + 3 + 4, 3], [sum(range(25, 32)), 7]]
    assert held.cut[[1, 3]].tolist() == [[2 + 3, 2], [sum(range(25, 32)), 7]]  # of 2 and of 10 tokens
    assert np.isnan(held.whole[[0, 2]]).all()
    held.fill(np.array([True, False, True, False]), sums_and_lengths, DOCUMENTS)
    assert held.there.all()
    assert held.cut[[0, 2]].tolist() == [[0, 0], [sum(range(5, 10)), 5]]
    assert held.whole[1].tolist() == [9, 3]


def test_what_was_seen_are_the_held_out_documents_with_their_labels() -> None:
    held = HeldOut.empty(4, 2)
    held.fill(np.array([False, True, False, True]), sums_and_lengths, DOCUMENTS)
    logits, labels = held.seen(np.array([0, 1, 2, 3], np.int32))
    assert logits.tolist() == held.whole[[1, 3]].tolist()
    assert labels.tolist() == [1, 3]


@given(rows=st.lists(st.one_of(st.none(), st.floats(-9, 9)), max_size=9), outputs=st.integers(1, 3))
@settings(deadline=None, max_examples=30)
def test_saved_logits_are_loaded_as_they_were(
    tmp_path_factory: pytest.TempPathFactory, rows: list[float | None], outputs: int
) -> None:
    path = tmp_path_factory.mktemp("made") / "held.safetensors"
    held = HeldOut.empty(len(rows), outputs)
    for number, value in enumerate(rows):
        if value is not None:
            held.whole[number], held.cut[number] = value, value / 2
    held.save(path)
    loaded = HeldOut.load(path)
    assert np.array_equal(loaded.whole, held.whole, equal_nan=True)
    assert np.array_equal(loaded.cut, held.cut, equal_nan=True)
    content = path.read_bytes()
    loaded.save(path)
    assert path.read_bytes() == content


OTHERS = {
    "other tensors": {"whole": np.zeros((1, 1)), "x": np.zeros(1)},
    "one tensor less": {"whole": np.zeros((1, 1))},
    "one dimension less": {"whole": np.zeros(3), "cut": np.zeros((3, 1))},
    "other shapes": {"whole": np.zeros((3, 1)), "cut": np.zeros((2, 1))},
    "no logits": {"whole": np.zeros((3, 0)), "cut": np.zeros((3, 0))},
}


@pytest.mark.parametrize("content", ["text", *OTHERS])
def test_other_files_are_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "held.safetensors"
    if content == "text":
        path.write_text("no", encoding="utf-8")
    else:
        save_file(OTHERS[content], path)
    with pytest.raises(Refusal, match=r"held.safetensors: damaged, or of another version; run .*--repair`$"):
        HeldOut.load(path)
