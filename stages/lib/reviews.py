"""Labelled reviews as arrays, padded or one after the other."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from safetensors import safe_open

from stages import PAD, TRAIN, UNK, VALIDATION
from stages.lib.arrays import Bool, Float64, Int32, Int64, whole_arrays

BATCH_DOCUMENTS = 1024  # documents, and
BATCH_TOKENS = 1 << 18  # tokens that `document_batches` puts into one batch


class Reviews(NamedTuple):
    """One split of data/tensors.safetensors."""

    ids: Int32  # (N, T)
    lengths: Int32  # (N,)
    labels: Int32  # (N,)
    unknown: list[str]  # (U,) the words behind each UNK, in order

    def select(self, mask: Bool) -> "Reviews":
        """The reviews for which `mask` (N,) is true."""
        counts = (self.ids == UNK).sum(1)  # (N,) unknown words
        kept = np.repeat(mask, counts)
        unknown = [word for word, keep in zip(self.unknown, kept.tolist(), strict=True) if keep]
        return Reviews(self.ids[mask], self.lengths[mask], self.labels[mask], unknown)

    @property
    def documents(self) -> "Documents":
        """The reviews without padding."""
        flat, lengths = unpadded(self.ids, self.lengths)
        numbers = {word: number for number, word in enumerate(dict.fromkeys(self.unknown))}
        flat[flat == UNK] = [-1 - numbers[word] for word in self.unknown]
        return Documents(flat, lengths, list(numbers))


class Documents(NamedTuple):
    """Documents one after the other, with the spelling of unknown words.

    The code of a known word is its row number. Unknown words have negative codes: that of `unknown[0]` is
    -1, that of `unknown[1]` is -2, ...
    """

    codes: Int32  # (M,)
    lengths: Int32 | Int64  # (N,)
    unknown: Sequence[str]

    @property
    def ids(self) -> Int32:
        """Row numbers, (M,), in which every unknown word is UNK."""
        return np.where(self.codes < 0, np.int32(UNK), self.codes)

    def rows(self, known: int) -> Int32:
        """The rows, (M,), of a table of `known` words of the vocabulary and then the unknown words."""
        return np.where(self.codes < 0, np.int32(known - 1) - self.codes, self.codes)

    def select(self, mask: Bool) -> "Documents":
        """The documents for which `mask` (N,) is true."""
        return Documents(self.codes[np.repeat(mask, self.lengths)], self.lengths[mask], self.unknown)

    def head(self, tokens: Int32 | Int64) -> "Documents":
        """The first tokens of each document, at most as many as `tokens` (N,) says."""
        starts = np.cumsum(self.lengths, dtype=np.int64) - self.lengths.astype(np.int64)
        position = np.arange(len(self.codes)) - np.repeat(starts, self.lengths)
        kept = position < np.repeat(tokens, self.lengths)
        return Documents(self.codes[kept], np.minimum(self.lengths, tokens), self.unknown)


def read_split(tensors: Path, split: str) -> Reviews:
    """One split of data/tensors.safetensors."""
    with whole_arrays(tensors), safe_open(tensors, "np") as file:
        ids, lengths, labels, unknown = (file.get_tensor(f"{split}.{name}") for name in Reviews._fields)
        return Reviews(ids, lengths, labels, unknown.tobytes().decode().split("\n")[:-1])


def read_train_and_validation(tensors: Path) -> tuple[Reviews, Bool]:
    """The train and the validation reviews, one after the other, and which are of validation, (N,)."""
    parts = [read_split(tensors, split) for split in (TRAIN, VALIDATION)]
    ids, lengths, labels = (np.concatenate(arrays) for arrays in zip(*(p[:3] for p in parts), strict=True))
    reviews = Reviews(ids, lengths, labels, [word for part in parts for word in part.unknown])
    return reviews, np.arange(len(labels)) >= len(parts[0].labels)


def unpadded(ids: Int32, lengths: Int32) -> tuple[Int32, Int32]:
    """Documents one after the other, without padding: (N, T), (N,) -> (M,), (N,).

    >>> unpadded(np.array([[2, 3], [4, 0]]), np.array([2, 1]))[0].tolist()
    [2, 3, 4]
    """
    return ids[np.arange(ids.shape[1]) < lengths[:, None]], lengths


def document_batches(flat: Int32, lengths: Int32 | Int64) -> Iterator[tuple[Int32, Int32 | Int64]]:
    """Consecutive documents, (M,) and (N,), in batches of bounded size; at least one document each."""
    ends = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
    start = 0
    while start < len(lengths):
        full = int(np.searchsorted(ends, ends[start] + BATCH_TOKENS, side="right")) - 1
        stop = max(start + 1, min(full, start + BATCH_DOCUMENTS))
        yield flat[ends[start] : ends[stop]], lengths[start:stop]
        start = stop


def logits_for(labels: int) -> int:
    """O: two labels need one logit, the log-odds of the second; more labels need one logit each."""
    return 1 if labels == 2 else labels


def sample_weights(labels: Int32, count: int, class_weight: Literal["none", "balanced"]) -> Float64:
    """The weight of each document in the loss, (N,) -> (N,), as scikit-learn's compute_sample_weight.

    Balanced weights are inversely proportional to the frequency of the label, of `count` labels.

    >>> sample_weights(np.array([0, 0, 0, 1], np.int32), 2, "balanced").round(2).tolist()
    [0.67, 0.67, 0.67, 2.0]
    """
    if class_weight == "none":
        return np.ones(len(labels))
    frequency = np.bincount(labels, minlength=count).clip(min=1)
    return (len(labels) / (count * frequency))[labels]


def inverse_document_frequency(ids: Int32, words: int) -> Float64:
    """log((N + 1) / (df + 1)) of each of the V words, df being its document frequency: (N, T) -> (V,).

    Spärck Jones 1972, "A statistical interpretation of term specificity and its application in retrieval".

    >>> inverse_document_frequency(np.array([[2, 2, 0], [2, 3, 3]]), 4).round(2).tolist()
    [1.1, 1.1, 0.0, 0.41]
    """
    rows = np.sort(ids, 1)
    rows[:, 1:][rows[:, 1:] == rows[:, :-1]] = PAD  # each word of a review counts once
    df = np.bincount(rows.ravel(), minlength=words)
    df[PAD] = 0
    result: Float64 = np.log((len(rows) + 1) / (df + 1))
    return result
