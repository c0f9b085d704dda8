"""Reviews: reading a split, removing padding, batches of documents, weights of labels."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file
from sklearn.utils.class_weight import compute_sample_weight

from stages.lib import reviews
from stages.lib.reviews import document_batches, logits_for, read_split, sample_weights, unpadded


def test_a_split_is_read_as_it_was_written(tmp_path: Path) -> None:
    arrays = {"ids": np.array([[3, 0], [4, 5]]), "lengths": np.array([1, 2]), "labels": np.array([1, 0])}
    for split, shift in (("train", 0), ("test", 1)):
        arrays |= {
            f"{split}.{name}": (arrays[name] + shift).astype(np.int32)
            for name in ("ids", "lengths", "labels")
        }
    save_file(arrays, tmp_path / "t.safetensors")
    test = read_split(tmp_path / "t.safetensors", "test")
    assert [array.tolist() for array in test] == [[[4, 1], [5, 6]], [2, 3], [2, 1]]
    assert {array.dtype for array in test} == {np.dtype(np.int32)}
    assert test.ids.flags.writeable  # torch.from_numpy warns about read-only arrays


@given(st.lists(st.lists(st.integers(1, 9), max_size=5), max_size=6), st.integers(0, 3))
def test_padding_is_removed(documents: list[list[int]], padding: int) -> None:
    width = max(map(len, documents), default=0) + padding
    ids = np.array([d + [0] * (width - len(d)) for d in documents], np.int32).reshape(len(documents), width)
    flat, lengths = unpadded(ids, np.array([len(d) for d in documents], np.int32))
    assert flat.tolist() == [word for document in documents for word in document]
    assert lengths.tolist() == [len(document) for document in documents]


@given(
    lengths=st.lists(st.integers(0, 9), max_size=30), tokens=st.integers(1, 20), documents=st.integers(1, 5)
)
def test_batches_have_every_document_once_and_are_bounded(
    lengths: list[int], tokens: int, documents: int
) -> None:
    flat = np.arange(sum(lengths), dtype=np.int32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reviews, "BATCH_TOKENS", tokens)
        patch.setattr(reviews, "BATCH_DOCUMENTS", documents)
        batches = list(document_batches(flat, np.array(lengths, np.int32)))
    assert [n for _, part in batches for n in part.tolist()] == lengths
    assert [n for part, _ in batches for n in part.tolist()] == flat.tolist()
    for part, part_lengths in batches:
        assert part_lengths.sum() == len(part)
        assert 1 <= len(part_lengths) <= documents
        assert len(part) <= tokens or len(part_lengths) == 1


def test_two_labels_have_one_logit_and_more_have_one_each() -> None:
    assert [logits_for(labels) for labels in (2, 3, 5)] == [1, 3, 5]


def test_a_rare_label_has_a_higher_weight_if_balanced() -> None:
    labels = np.array([0, 0, 0, 1, 2, 2], np.int32)
    assert sample_weights(labels, 3, "none").tolist() == [1] * 6
    expected = compute_sample_weight("balanced", labels)
    assert sample_weights(labels, 3, "balanced").tolist() == pytest.approx(expected.tolist())
    assert np.isfinite(sample_weights(labels, 4, "balanced")).all()  # label 3 does not occur
