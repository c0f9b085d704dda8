"""Padded reviews in batches of similar length, on the device that trains."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from stages.lib.reviews import Reviews

EVALUATION_BATCH = 256  # reviews in a batch that is not trained on


class Batches:
    """The reviews of a split: `ids` (N, T), `lengths` (N,) and `labels` (N,), and batches of them."""

    def __init__(self, reviews: Reviews, device: torch.device) -> None:
        self.ids, self.lengths, self.labels = (torch.from_numpy(array) for array in reviews[:3])
        self.device = device
        self.pooled: Tensor | None = None  # (N, D): the reviews' vectors, if they do not change

    def batch(self, rows: Tensor) -> Tensor:
        """The ids of some rows, cut to the longest review among them: (B, T)."""
        width = max(1, int(self.lengths[rows].max()))
        return self.ids[rows, :width].to(self.device)

    def shuffled(self, size: int, generator: torch.Generator) -> Iterator[Tensor]:
        """Row numbers of batches in random order.

        Reviews of similar length share a batch, so there is little padding.
        """
        shuffled = torch.randperm(len(self.lengths), generator=generator)
        by_length = shuffled[torch.argsort(self.lengths[shuffled], stable=True)]
        parts = torch.split(by_length, size)
        for part in torch.randperm(len(parts), generator=generator).tolist():
            yield parts[part]

    @torch.no_grad()
    def map(self, function: Callable[[Tensor], Tensor]) -> Tensor:
        """`function` of the row numbers of each batch, in the order of the reviews: (N, ...)."""
        order = torch.argsort(self.lengths, stable=True)
        parts = [function(rows) for rows in torch.split(order, EVALUATION_BATCH)]
        return torch.cat(parts)[torch.argsort(order).to(self.device)]
