"""Rows: operations on the rows of a table that several modules of the engine share."""

import torch
from torch import Tensor, nn


def lookup(table: Tensor, rows: Tensor) -> Tensor:
    """table[rows]: (V, D), (S, R) -> (S, R, D)."""
    return nn.functional.embedding(rows, table)


def gather(values: Tensor, index: Tensor) -> Tensor:
    """values[index], in a quarter of the time: (V,), (S, R) -> (S, R)."""
    return values.index_select(0, index.flatten()).view_as(index)


def row_scale(counts: Tensor, power: float, max_gradients: float) -> Tensor:
    """The factor of each of the `counts` gradients that a row receives in one step.

    The gradients of a step are computed from the same rows, so their sum overshoots, while their mean
    learns too slowly. The sum is multiplied by count ** power (damping), and reduced further if it would
    still be more than `max_gradients` gradients (the cap).

    >>> row_scale(torch.tensor([1.0, 16.0, 256.0]), -0.25, 16.0)
    tensor([1.0000, 0.5000, 0.0625])
    """
    return torch.minimum(counts.pow(power), max_gradients / counts)
