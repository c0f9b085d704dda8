"""Rounds of training in which some documents are held out, so that every choice is made on unseen ones.

With few documents, a validation split is too small to choose anything by. Then train and validation
documents are divided into folds, and each fold is held out once (cross-validation). With many, the
validation split is held out, once.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
from pydantic import Field
from safetensors.numpy import load_file, save_file

from stages.lib.arrays import Bool, Float64, Int32, Int64, whole_arrays
from stages.lib.files import atomic
from stages.lib.reviews import Documents

Folds = Literal["auto"] | Annotated[int, Field(ge=0, le=20)]  # 0: hold out the validation split

# `auto` makes folds if there are few train and validation documents, and few labels: with many, training
# takes long.
FEW_DOCUMENTS, FEW_LABELS = 6000, 10
AUTO_FOLDS = 4

# The logits of the beginnings of held-out documents are kept as well, so that the probabilities of short
# texts can be calibrated: each document is cut to one of these numbers of tokens, in turn.
CUTS = (1, 2, 5, 10, 20)


def fold_count(folds: Folds, documents: int, labels: int, grouped: bool = False) -> int:
    """The number of folds; 0: the validation split is held out.

    >>> fold_count("auto", 2000, 2), fold_count("auto", 25_000, 2), fold_count(10, 25_000, 2)
    (4, 0, 10)
    """
    if folds == "auto":
        small = documents <= FEW_DOCUMENTS and labels <= FEW_LABELS
        return AUTO_FOLDS if small and not grouped else 0
    return 0 if folds == 1 else folds


def held_out(labels: Int32, is_validation: Bool, folds: Folds, facts: Mapping[str, Any]) -> Iterator[Bool]:
    """Which documents each round holds out, (N,): those of one of the folds, or the validation split.

    The documents of each label go to the folds in turn, so all folds have the same mixture of labels. `facts`
    is the content of data/labels.json. Folds would divide the documents of an author or a film, so `auto`
    keeps the validation split of a corpus with groups.

    >>> masks = held_out(np.array([0, 0, 1, 1]), np.zeros(4, bool), 2, {"labels": ["bad", "good"]})
    >>> [mask.tolist() for mask in masks]
    [[True, False, True, False], [False, True, False, True]]
    """
    count = fold_count(folds, len(labels), len(facts["labels"]), facts.get("grouped", False))
    if not count:
        yield is_validation
        return
    fold = rank_within_label(labels) % count
    for number in range(count):
        yield fold == number


def rank_within_label(labels: Int32) -> Int64:
    """How many earlier documents have the same label: (N,) -> (N,)."""
    order = np.argsort(labels, kind="stable")
    sizes = np.bincount(labels)
    starts = np.repeat(np.cumsum(sizes) - sizes, sizes)
    rank = np.empty(len(labels), np.int64)
    rank[order] = np.arange(len(labels)) - starts
    return rank


class HeldOut(NamedTuple):
    """The logits of each document by a model that was not trained on it; NaN if there is none."""

    whole: Float64  # (N, O)
    cut: Float64  # (N, O) of the first `cut_lengths` tokens

    @classmethod
    def empty(cls, documents: int, outputs: int) -> "HeldOut":
        """No logits yet."""
        return cls(*np.full((2, documents, outputs), np.nan))

    def fill(self, mask: Bool, logits: Callable[[Documents], Float64], documents: Documents) -> None:
        """Sets the logits of the documents in `mask` (N,)."""
        chosen = documents.select(mask)
        self.whole[mask] = logits(chosen)
        self.cut[mask] = logits(chosen.head(cut_lengths(len(mask))[mask]))

    def seen(self, labels: Int32) -> tuple[Float64, Int32]:
        """The logits of the documents that were held out, and their labels of `labels` (N,)."""
        there = self.there
        return self.whole[there], labels[there]

    @property
    def there(self) -> Bool:
        """Which documents were held out, (N,)."""
        return np.isfinite(self.whole[:, 0])

    def save(self, path: Path) -> None:
        """Writes the logits as safetensors."""
        with atomic(path) as temporary:
            save_file(self._asdict(), temporary)

    @classmethod
    def load(cls, path: Path) -> "HeldOut":
        """Reads what `save` wrote. Raises Refusal if the file is something else."""
        with whole_arrays(path):
            loaded = cls(**load_file(path))
            if loaded.whole.ndim != 2 or loaded.whole.shape[1] == 0 or loaded.whole.shape != loaded.cut.shape:
                raise ValueError("expected two tables of the same shape")
            return loaded


def cut_lengths(documents: int) -> Int64:
    """The number of tokens, (N,), that each document is cut to.

    >>> cut_lengths(6).tolist()
    [1, 2, 5, 10, 20, 1]
    """
    return np.resize(np.array(CUTS), documents)
