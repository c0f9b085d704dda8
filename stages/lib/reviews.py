"""Labelled reviews as arrays, padded or one after the other."""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from safetensors import safe_open

from stages.lib.arrays import Float64, Int32, Int64

BATCH_DOCUMENTS = 1024  # documents, and
BATCH_TOKENS = 1 << 18  # tokens that `document_batches` puts into one batch


class Reviews(NamedTuple):
    """One split of data/tensors.safetensors."""

    ids: Int32  # (N, T)
    lengths: Int32  # (N,)
    labels: Int32  # (N,)


def read_split(tensors: Path, split: str) -> Reviews:
    """One split of data/tensors.safetensors."""
    with safe_open(tensors, "np") as file:
        return Reviews(*(file.get_tensor(f"{split}.{name}") for name in Reviews._fields))


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
