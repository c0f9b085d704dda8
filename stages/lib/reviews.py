"""Labelled reviews as tensors, and the cross-entropy between their labels and a model's logits."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from torch import Tensor
from torch.nn import functional as F


class Reviews(NamedTuple):
    """One split of data/tensors.safetensors."""

    ids: Tensor  # (N, T) int32
    lengths: Tensor  # (N,) int32
    labels: Tensor  # (N,) int32


def read_split(tensors: Path, split: str) -> Reviews:
    """One split of data/tensors.safetensors, mapped into memory rather than read."""
    with safe_open(tensors, "pt") as file:
        return Reviews(*(file.get_tensor(f"{split}.{name}") for name in Reviews._fields))


def unpadded(ids: Tensor, lengths: Tensor) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The row numbers of a batch one after the other, without padding, and how many each review has."""
    real = torch.arange(ids.shape[1]) < lengths[:, None]
    return ids[real].numpy().astype(np.int64), lengths.numpy().astype(np.int64)


def logits_for(labels: int) -> int:
    """One logit tells two labels apart; more labels need one each."""
    return 1 if labels == 2 else labels


def losses_of(logits: Tensor, labels: Tensor) -> Tensor:
    """The cross-entropy of each review, in nats: (N, 1 or L), (N,) -> (N,)."""
    if logits.shape[1] == 1:
        return F.binary_cross_entropy_with_logits(logits[:, 0], labels.to(logits.dtype), reduction="none")
    return F.cross_entropy(logits, labels.long(), reduction="none")
