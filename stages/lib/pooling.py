"""Pooling: a document of T vectors becomes one vector, and padding is not part of it.

`mean_pool` is the definition, in three lines of ordinary code. Word2Vec pools a context with it, and the
classifier a review. `pool` is its fast form.
"""

import math
from typing import Literal

import torch  # noqa: F401, for the doctests
from torch import Tensor
from torch.nn import functional as F

from stages import PAD

Mode = Literal["mean", "sum", "max"]


def mean_pool(vectors: Tensor, mask: Tensor) -> Tensor:
    """The mean of the vectors where `mask` is true: (B, T, D), (B, T) -> (B, D).

    Padding has no influence: neither on the sum nor on the number that it is divided by. A document
    without words becomes zeros, not NaN.

    >>> mean_pool(torch.tensor([[[1.0], [3.0], [8.0]]]), torch.tensor([[True, True, False]]))
    tensor([[2.]])
    """
    mask = mask[:, :, None].to(vectors.dtype)  # (B, T, 1)
    total = (vectors * mask).sum(1)  # (B, D)
    return total / mask.sum(1).clamp(min=1)


def max_pool(vectors: Tensor, mask: Tensor) -> Tensor:
    """The largest value of each dimension where `mask` is true: (B, T, D), (B, T) -> (B, D).

    A document without words becomes zeros.

    >>> max_pool(torch.tensor([[[2.0], [4.0], [9.0]]]), torch.tensor([[True, True, False]]))
    tensor([[4.]])
    """
    largest = vectors.masked_fill(~mask[:, :, None], -math.inf).amax(1)
    return largest.masked_fill(~mask.any(1)[:, None], 0.0)


def pool(
    ids: Tensor, table: Tensor, mode: Mode, weights: Tensor | None = None, sparse: bool = True
) -> Tensor:
    """Lookup and pooling in one operation: (B, T) row numbers, (V, D) table -> (B, D).

    Reference: `mean_pool` and `max_pool` of the rows. Test: tests/test_pooling.py,
    test_pool_equals_lookup_and_pooling. It is faster because the (B, T, D) vectors are never stored.

    Padding is excluded, and a document without words becomes zeros. `weights` (B, T) make a sum or a mean
    weighted. `sparse` makes the table's gradient sparse, which "max" does not support.

    >>> pool(torch.tensor([[1, 2, 0]]), torch.tensor([[0.0], [2.0], [4.0]]), "mean")
    tensor([[3.]])
    """
    if weights is None:
        return F.embedding_bag(ids, table, mode=mode, padding_idx=PAD, sparse=sparse)
    weights = weights * (ids != PAD)
    total = F.embedding_bag(ids, table, mode="sum", sparse=sparse, per_sample_weights=weights)
    return total if mode == "sum" else total / weights.sum(1, keepdim=True).clamp(min=1e-9)
