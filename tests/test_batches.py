"""Batches: every review once, similar lengths together, results in the order of the reviews."""

from itertools import pairwise

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.lib.batches import Batches
from stages.lib.reviews import Reviews

CPU = torch.device("cpu")


def batches_of(lengths: list[int]) -> Batches:
    """Reviews whose first id is their row number, from 1."""
    ids = np.zeros((len(lengths), max(lengths, default=0) + 1), np.int32)
    for row, length in enumerate(lengths):
        ids[row, :length] = row + 1
    labels = np.zeros(len(lengths), np.int32)
    return Batches(Reviews(ids, np.array(lengths, np.int32), labels, []), CPU)


LENGTHS = st.lists(st.integers(0, 50), min_size=1, max_size=60)


@given(lengths=LENGTHS, size=st.integers(1, 9))
@settings(deadline=None)
def test_batches_contain_every_review_once_and_similar_lengths(lengths: list[int], size: int) -> None:
    parts = list(batches_of(lengths).shuffled(size, torch.Generator().manual_seed(0)))
    assert sorted(torch.cat(parts).tolist()) == list(range(len(lengths)))
    assert all(len(part) <= size for part in parts)
    ranges = sorted((min(lengths[n] for n in part), max(lengths[n] for n in part)) for part in parts)
    assert all(a[1] <= b[0] for a, b in pairwise(ranges))


def test_batches_are_reshuffled_each_time_and_reproducible() -> None:
    batches = batches_of([3] * 40)
    generator = torch.Generator().manual_seed(0)
    first, second = (torch.cat(list(batches.shuffled(8, generator))) for _ in range(2))
    again = torch.cat(list(batches.shuffled(8, torch.Generator().manual_seed(0))))
    assert not torch.equal(first, second)
    assert torch.equal(first, again)


@given(lengths=LENGTHS)
@settings(deadline=None)
def test_a_batch_is_as_wide_as_its_longest_review(lengths: list[int]) -> None:
    batches = batches_of(lengths)
    for rows in batches.shuffled(4, torch.Generator().manual_seed(0)):
        ids = batches.batch(rows)
        assert ids.shape == (len(rows), max(1, max(lengths[n] for n in rows)))
        assert (ids != 0).sum(1).tolist() == [lengths[n] for n in rows]


@given(lengths=LENGTHS)
@settings(deadline=None)
def test_results_are_in_the_order_of_the_reviews(lengths: list[int]) -> None:
    assert batches_of(lengths * 10).map(lambda rows: rows).tolist() == list(range(10 * len(lengths)))
