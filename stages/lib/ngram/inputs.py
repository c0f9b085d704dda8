"""The inputs of a linear model: blocks side by side, some of them products of sparse matrices.

The counts of character n-grams in documents are `words in documents (N, W) @ n-grams in words (W, F)`. The
product has far more entries than its factors, so it is not computed: (A B) w = A (B w).
"""

from collections.abc import Sequence

import numpy as np
from scipy.sparse import csr_matrix

from stages.lib.arrays import Float32

SAMPLE = 1000  # documents whose inputs `mean_square` computes


class Inputs:
    """The (N, F) matrix of all blocks; each block is a sequence of factors.

    >>> inputs = Inputs([[csr_matrix(np.eye(2))], [csr_matrix([[1.0], [0.0]]), csr_matrix([[2.0]])]])
    >>> inputs.dot(np.array([[1.0], [10], [100]], np.float32)).tolist()
    [[201.0], [10.0]]
    """

    def __init__(self, blocks: Sequence[Sequence[csr_matrix]]) -> None:
        self.blocks = [list(block) for block in blocks]
        self.transposed = [[factor.T.tocsr() for factor in reversed(block)] for block in self.blocks]
        self.ends = np.cumsum([block[-1].shape[1] for block in self.blocks])

    def dot(self, weight: Float32) -> Float32:
        """The inputs times weights: (F, O) -> (N, O)."""
        parts = np.split(weight, self.ends[:-1])
        result: Float32 = sum(  # type: ignore[assignment]
            product(block, part) for block, part in zip(self.blocks, parts, strict=True)
        )
        return result

    def transposed_dot(self, residuals: Float32) -> Float32:
        """The transposed inputs times residuals: (N, O) -> (F, O)."""
        return np.concatenate([product(block, residuals) for block in self.transposed])


def product(factors: Sequence[csr_matrix], right: Float32) -> Float32:
    """The factors times `right`, multiplied from the right."""
    for factor in reversed(factors):
        right = factor @ right
    return right


def mean_square(factors: Sequence[csr_matrix], scale: Float32) -> float:
    """The mean over documents and outputs of the squared length of a document's scaled inputs.

    `scale` is (F, O). At most `SAMPLE` documents are used, at equal distances.

    >>> mean_square([csr_matrix([[3.0, 4.0], [0.0, 0.0]])], np.ones((2, 1), np.float32))
    12.5
    """
    step = -(-factors[0].shape[0] // SAMPLE) or 1
    rows = factors[0][::step]
    for factor in factors[1:]:
        rows = rows @ factor
    squares = rows.multiply(rows) @ np.square(scale.astype(np.float64))  # (n, O)
    return float(squares.mean()) if squares.size else 0.0
