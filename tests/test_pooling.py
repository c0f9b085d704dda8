"""Pooling: padding is excluded, and the fast form equals the reference in values and gradients."""

from collections.abc import Callable
from typing import Literal

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from stages import PAD
from stages.lib.pooling import Mode, max_pool, mean_pool, pool

V, D = 11, 4


def random_batch(lengths: list[int], seed: int = 0) -> tuple[Tensor, Tensor]:
    """Row numbers of documents of these lengths, padded to the longest and one more; and a table."""
    generator = torch.Generator().manual_seed(seed)
    width = max(lengths) + 1
    ids = torch.randint(1, V, (len(lengths), width), generator=generator)
    ids[torch.arange(width) >= torch.tensor(lengths)[:, None]] = PAD
    table = torch.randn(V, D, generator=generator, dtype=torch.float64)
    table[PAD] = 0
    return ids, table


def reference(ids: Tensor, table: Tensor, mode: Mode) -> Tensor:
    vectors, mask = table[ids], ids != PAD
    if mode == "sum":
        return mean_pool(vectors, mask) * mask.sum(1, keepdim=True)
    return (max_pool if mode == "max" else mean_pool)(vectors, mask)


@pytest.mark.parametrize("mode", ["mean", "sum", "max"])
@pytest.mark.parametrize("sparse", [True, False])
@given(lengths=st.lists(st.integers(0, 6), min_size=1, max_size=5), seed=st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_pool_equals_lookup_and_pooling(mode: Mode, sparse: bool, lengths: list[int], seed: int) -> None:
    ids, values = random_batch(lengths, seed)
    sparse = sparse and mode != "max"
    table, expected_table = (values.clone().requires_grad_() for _ in range(2))
    pooled, expected = pool(ids, table, mode, sparse=sparse), reference(ids, expected_table, mode)
    torch.testing.assert_close(pooled, expected)
    pooled.square().sum().backward()
    expected.square().sum().backward()
    assert table.grad is not None
    assert table.grad.is_sparse == sparse
    gradient = table.grad.to_dense()[PAD + 1 :]  # the gradient of padding is never used
    torch.testing.assert_close(gradient, expected_table.grad[PAD + 1 :])


@pytest.mark.parametrize("mode", ["mean", "sum"])
def test_equal_weights_do_not_change_the_result(mode: Literal["mean", "sum"]) -> None:
    ids, table = random_batch([3, 0, 5])
    weights = torch.full(ids.shape, 1.0, dtype=table.dtype)
    torch.testing.assert_close(pool(ids, table, mode, weights), pool(ids, table, mode))


def test_a_weighted_mean_by_hand() -> None:
    table = torch.tensor([[0.0], [2.0], [6.0]])
    ids, weights = torch.tensor([[1, 2, 0]]), torch.tensor([[1.0, 3.0, 9.0]])
    assert pool(ids, table, "mean", weights).tolist() == [[5.0]]
    assert pool(ids, table, "sum", weights).tolist() == [[20.0]]


def test_the_mean_equals_embedding_bag_of_torch() -> None:
    ids, table = random_batch([3, 1, 6])
    bag = torch.nn.EmbeddingBag.from_pretrained(table, mode="mean", padding_idx=PAD)
    torch.testing.assert_close(mean_pool(table[ids], ids != PAD), bag(ids))


@pytest.mark.parametrize("function", [mean_pool, max_pool])
def test_padding_does_not_change_the_result(function: Callable[[Tensor, Tensor], Tensor]) -> None:
    ids, table = random_batch([3, 1, 6])
    mask = ids != PAD
    vectors = table[ids]
    vectors[~mask] = 100.0
    assert torch.equal(function(vectors, mask), function(table[ids][:, :6], mask[:, :6]))


@pytest.mark.parametrize("function", [mean_pool, max_pool])
def test_a_document_without_words_is_pooled_to_zeros(function: Callable[[Tensor, Tensor], Tensor]) -> None:
    assert function(torch.ones(2, 3, D), torch.zeros(2, 3, dtype=torch.bool)).eq(0).all()
