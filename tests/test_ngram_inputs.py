"""Inputs: blocks of factored sparse matrices equal the matrix of their products side by side."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix, random_array

from stages.lib.arrays import Float32
from stages.lib.ngram import inputs as inputs_module
from stages.lib.ngram.inputs import Inputs, mean_square, product


def sparse(rows: int, columns: int, seed: int) -> csr_matrix:
    generator = np.random.default_rng(seed)
    return csr_matrix(random_array((rows, columns), density=0.4, rng=generator, dtype=np.float32))


def some_blocks(rows: int, kinds: list[int]) -> tuple[list[list[csr_matrix]], Float32]:
    """Blocks of one to three factors, and their products side by side."""
    blocks, dense = [], [np.zeros((rows, 0), np.float32)]
    for number, factors in enumerate(kinds):
        widths = [rows, *range(3 + number, 3 + number + factors)]
        block = [sparse(a, b, 10 * number + n) for n, (a, b) in enumerate(pairwise(widths))]
        blocks.append(block)
        dense.append(np.linalg.multi_dot([f.toarray() for f in block]) if factors > 1 else block[0].toarray())
    return blocks, np.concatenate(dense, 1)


@given(
    rows=st.integers(0, 7),
    kinds=st.lists(st.integers(1, 3), min_size=1, max_size=4),
    outputs=st.integers(1, 3),
)
@settings(deadline=None)
def test_products_equal_those_of_the_dense_matrix(rows: int, kinds: list[int], outputs: int) -> None:
    blocks, dense = some_blocks(rows, kinds)
    generator, inputs = np.random.default_rng(1), Inputs(blocks)
    weight = generator.normal(size=(dense.shape[1], outputs)).astype(np.float32)
    residuals = generator.normal(size=(rows, outputs)).astype(np.float32)
    assert np.allclose(inputs.dot(weight), dense @ weight, atol=1e-5)
    assert np.allclose(inputs.transposed_dot(residuals), dense.T @ residuals, atol=1e-5)
    assert inputs.dot(weight).dtype == inputs.transposed_dot(residuals).dtype == np.float32


def test_a_block_without_columns_adds_nothing() -> None:
    block, empty = sparse(4, 3, 1), csr_matrix((4, 0), dtype=np.float32)
    weight = np.ones((3, 1), np.float32)
    for blocks in ([[block], [empty]], [[empty], [block]]):
        assert np.allclose(Inputs(blocks).dot(weight), block @ weight)
        assert Inputs(blocks).transposed_dot(np.ones((4, 1), np.float32)).shape == (3, 1)


def test_factors_are_multiplied_from_the_right() -> None:
    first, second = sparse(3, 4, 1), sparse(4, 5, 2)
    right = np.ones((5, 2), np.float32)
    assert np.allclose(product([first, second], right), first.toarray() @ second.toarray() @ right)


@given(
    rows=st.integers(1, 12), factors=st.integers(1, 3), outputs=st.integers(1, 3), sample=st.integers(1, 12)
)
@settings(deadline=None)
def test_the_mean_square_equals_that_of_the_dense_sample(
    rows: int, factors: int, outputs: int, sample: int
) -> None:
    blocks, dense = some_blocks(rows, [factors])
    scale = np.random.default_rng(2).normal(size=(dense.shape[1], outputs)).astype(np.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inputs_module, "SAMPLE", sample)
        result = mean_square(blocks[0], scale)
    step = -(-rows // sample)
    used = dense[::step]
    assert len(used) <= sample
    squares = ((used[:, :, None].astype(np.float64) * scale) ** 2).sum(1)
    assert result == pytest.approx(squares.mean(), rel=1e-4)


def test_no_documents_and_no_columns_have_a_mean_square_of_0() -> None:
    assert mean_square([csr_matrix((0, 3), dtype=np.float32)], np.ones((3, 1), np.float32)) == 0
    assert mean_square([csr_matrix((3, 0), dtype=np.float32)], np.ones((0, 2), np.float32)) == 0
