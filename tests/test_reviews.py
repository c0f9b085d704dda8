"""Reviews: reading splits, unknown words, removing padding, batches of documents, weights of labels."""

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file
from sklearn.utils.class_weight import compute_sample_weight

from stages.lib import reviews
from stages.lib.reviews import (
    Documents,
    Reviews,
    document_batches,
    inverse_document_frequency,
    logits_for,
    read_split,
    read_train_and_validation,
    sample_weights,
    unpadded,
)

WORD = st.text(max_size=3).filter(lambda word: "\n" not in word)
# Texts whose words are row numbers, or words that are not in the vocabulary.
TEXTS = st.lists(st.lists(st.integers(2, 9) | WORD, max_size=5), max_size=6)


def reviews_of(texts: list[list[int | str]], padding: int = 1, first_label: int = 0) -> Reviews:
    """Reviews, padded by at least `padding`, whose label is their number."""
    width = max(map(len, texts), default=0) + padding
    ids = np.zeros((len(texts), width), np.int32)
    for row, text in zip(ids, texts, strict=True):
        row[: len(text)] = [1 if isinstance(word, str) else word for word in text]
    lengths = np.array([len(text) for text in texts], np.int32)
    labels = np.arange(first_label, first_label + len(texts), dtype=np.int32)
    return Reviews(ids, lengths, labels, [word for text in texts for word in text if isinstance(word, str)])


def texts_of(documents: Documents) -> list[list[int | str]]:
    """The inverse of `reviews_of`."""
    words = [documents.unknown[-1 - code] if code < 0 else code for code in documents.codes.tolist()]
    ends = np.cumsum(documents.lengths).tolist()
    return [words[end - n : end] for end, n in zip(ends, documents.lengths.tolist(), strict=True)]


def write_splits(path: Path, **splits: Reviews) -> Path:
    arrays = {}
    for split, part in splits.items():
        for name, array in zip(("ids", "lengths", "labels"), part, strict=False):
            arrays[f"{split}.{name}"] = array
        spelled = "".join(f"{word}\n" for word in part.unknown)
        arrays[f"{split}.unknown"] = np.frombuffer(spelled.encode(), np.uint8)
    save_file(arrays, path)
    return path


def test_a_split_is_read_as_it_was_written(tmp_path: Path) -> None:
    train = reviews_of([[3], ["é", 5]])
    path = write_splits(tmp_path / "t.safetensors", train=train, test=reviews_of([[4, "zz", ""], ["x", 6]]))
    test = read_split(path, "test")
    assert [array.tolist() for array in test[:3]] == [[[4, 1, 1, 0], [1, 6, 0, 0]], [3, 2], [0, 1]]
    assert {array.dtype for array in test[:3]} == {np.dtype(np.int32)}
    assert test.unknown == ["zz", "", "x"]
    assert test.ids.flags.writeable  # torch.from_numpy warns about read-only arrays
    assert read_split(path, "train").unknown == ["é"]
    assert read_split(write_splits(path, test=reviews_of([[2], []])), "test").unknown == []


def test_train_and_validation_are_read_one_after_the_other(tmp_path: Path) -> None:
    parts = {"train": reviews_of([["a", 3], []]), "validation": reviews_of([["b", "a"]], first_label=2)}
    parts["test"] = reviews_of([["c", 2]])
    reviews, is_validation = read_train_and_validation(write_splits(tmp_path / "t.safetensors", **parts))
    assert is_validation.tolist() == [False, False, True]
    assert reviews.labels.tolist() == [0, 1, 2]
    assert texts_of(reviews.documents) == [["a", 3], [], ["b", "a"]]


@given(texts=TEXTS, padding=st.integers(0, 3))
def test_documents_are_the_reviews_without_padding(texts: list[list[int | str]], padding: int) -> None:
    reviews = reviews_of(texts, padding)
    before = reviews.ids.copy()
    documents = reviews.documents
    assert texts_of(documents) == texts
    assert len(set(documents.unknown)) == len(documents.unknown)
    assert documents.ids.tolist() == [1 if isinstance(word, str) else word for text in texts for word in text]
    assert documents.codes.dtype == documents.ids.dtype == np.int32
    assert (reviews.ids == before).all()


@given(texts=TEXTS, data=st.data())
def test_selected_reviews_keep_their_words(texts: list[list[int | str]], data: st.DataObject) -> None:
    chosen = data.draw(st.lists(st.booleans(), min_size=len(texts), max_size=len(texts)))
    mask, reviews = np.array(chosen, np.bool_), reviews_of(texts)
    expected = [text for text, keep in zip(texts, chosen, strict=True) if keep]
    assert texts_of(reviews.select(mask).documents) == expected
    assert texts_of(reviews.documents.select(mask)) == expected
    assert reviews.select(mask).labels.tolist() == np.flatnonzero(mask).tolist()


@given(texts=TEXTS, data=st.data())
def test_heads_are_the_first_words(texts: list[list[int | str]], data: st.DataObject) -> None:
    kept = data.draw(st.lists(st.integers(0, 6), min_size=len(texts), max_size=len(texts)))
    head = reviews_of(texts).documents.head(np.array(kept, np.int64))
    assert texts_of(head) == [text[:n] for text, n in zip(texts, kept, strict=True)]


def test_a_word_of_every_review_has_the_lowest_idf() -> None:
    ids = reviews_of([[1, 2, 2], [1, 3], [1, 2], []]).ids
    before = ids.copy()
    df = [0, 3, 2, 1, 0]  # padding has none
    assert inverse_document_frequency(ids, 5) == pytest.approx([math.log(5 / (n + 1)) for n in df])
    assert (ids == before).all()


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
