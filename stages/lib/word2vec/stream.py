"""Stream: documents read from disk, subsampled, given windows, and cut into rounds."""

import hashlib
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from stages import TRAIN, UNLABELLED
from stages.lib.portable import sqrt
from stages.lib.tables import open_table
from stages.lib.word2vec.settings import Word2VecParams

Item = TypeVar("Item")


def generator_at(seed: int, *position: int | str) -> torch.Generator:
    """A random generator for one position in the training.

    What it draws depends on the seed and the position only, and not on earlier draws, so training can
    resume at any position with the same result.
    """
    digest = hashlib.sha256(repr((seed, *position)).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little"))


def row_groups(ids: Path) -> int:
    """The number of row groups in data/ids.parquet."""
    with open_table(ids) as file:
        count: int = file.num_row_groups
        return count


def documents(ids: Path, groups: Sequence[int]) -> Iterator[tuple[Tensor, Tensor]]:
    """The train and unlabelled documents of some row groups of data/ids.parquet.

    Yields for each group all row numbers (M,) and the lengths (N,) of its documents.
    """
    with open_table(ids) as file:
        for group in groups:
            table = file.read_row_group(group, columns=["split", "ids"])
            batch = table.filter(np.isin(np.asarray(table["split"]), (TRAIN, UNLABELLED)))
            lists = batch["ids"].combine_chunks()
            flat, offsets = np.asarray(lists.flatten()), np.asarray(lists.offsets)
            yield torch.tensor(flat, dtype=torch.int64), torch.tensor(np.diff(offsets), dtype=torch.int64)


def keep_probability(counts: Tensor, subsample: float) -> Tensor:
    """The probability with which an occurrence of each word stays in the text: (V,) -> (V,).

    For a word whose share of the text is f it is sqrt(t / f) + t / f, as in the code of word2vec, and 0
    for a row with a count of 0. A `subsample` t of 0 keeps everything.
    """
    ratio = subsample * counts.sum() / counts.clamp(min=1)
    probability = (sqrt(ratio) + ratio).clamp(max=1) if subsample else torch.ones(len(counts))
    return (probability * (counts > 0)).float()


def subsampled(
    ids: Tensor, lengths: Tensor, probability: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Documents with frequent words thinned out: (M,), (N,) -> (M',), (N,)."""
    keeps = torch.rand(len(ids), generator=generator) < probability.index_select(0, ids)
    kept_before = nn.functional.pad(keeps.cumsum(0, dtype=torch.int32), (1, 0))  # (M + 1,)
    ends = nn.functional.pad(lengths.cumsum(0), (1, 0))
    return ids[keeps], kept_before[ends].diff().long()


def windows(lengths: Tensor, window: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """How many words each position sees to its left and to its right: (N,) -> (M,), (M,).

    Each position draws its window uniformly from 1 to `window`, which gives nearby words more weight. A
    window ends at the ends of the document.
    """
    left = torch.randint(1, window + 1, (int(lengths.sum()),), generator=generator)
    right = left.clone()
    ends = lengths.cumsum(0)
    for distance in range(window):  # from either end of a document
        long = lengths > distance
        first, last = (ends - lengths)[long] + distance, ends[long] - 1 - distance
        left[first] = left[first].clamp(max=distance)
        right[last] = right[last].clamp(max=distance)
    return left, right


class Position(NamedTuple):
    """A position in the training: an epoch, the number of a row group in its order, a round."""

    epoch: int
    group: int
    round: int


class Round(NamedTuple):
    """The text that one worker processes before the workers are merged."""

    position: Position
    words: int  # of the raw text, before subsampling
    ids: Tensor  # (n,)
    left: Tensor  # (n,) words in the window on the left of each position
    right: Tensor  # (n,)


def rounds(
    ids: Path, probability: Tensor, length: int, params: Word2VecParams, begin: Position
) -> Iterator[Round]:
    """The text of all epochs from `begin` on, in rounds of `length` positions.

    Each epoch draws a new order of the row groups, because corpora are often sorted by label.
    """
    groups = row_groups(ids)
    for epoch in range(begin.epoch, params.epochs):
        order = torch.randperm(groups, generator=generator_at(params.seed, "order", epoch)).tolist()
        first = begin.group if epoch == begin.epoch else 0
        for group, (flat, lengths) in enumerate(documents(ids, order[first:]), first):
            generator = generator_at(params.seed, "text", epoch, group)
            kept, lengths = subsampled(flat, lengths, probability, generator)
            left, right = windows(lengths, params.window, generator)
            edges = [*range(0, len(kept), length), len(kept)]
            words_before = [len(flat) * edge // max(1, len(kept)) for edge in edges]
            for number, start in enumerate(edges[:-1]):
                position = Position(epoch, group, number)
                part = slice(start, edges[number + 1])
                if position >= begin:
                    words = words_before[number + 1] - words_before[number]
                    yield Round(position, words, kept[part], left[part], right[part])


def read_ahead(items: Iterator[Item], count: int) -> Iterator[Item]:
    """The same items in the same order, `count` of them fetched in advance by another thread."""
    pool = ThreadPoolExecutor(1)
    try:
        waiting = deque(pool.submit(next, items, None) for _ in range(count))
        while (item := waiting.popleft().result()) is not None:
            waiting.append(pool.submit(next, items, None))
            yield item
    finally:
        pool.shutdown(cancel_futures=True)
