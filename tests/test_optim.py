"""Adam: steps equal to those of torch's optimisers."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from stages.lib.optim import Adam

V, D = 11, 4


@pytest.mark.parametrize("weight_decay", [0.0, 0.3])
@given(seed=st.integers(0, 10_000))
@settings(max_examples=20, deadline=None)
def test_adam_steps_equal_those_of_torch(weight_decay: float, seed: int) -> None:
    """For dense gradients, and for sparse ones with repeated and missing rows."""
    generator = torch.Generator().manual_seed(seed)
    start = torch.randn(V, D, generator=generator)
    dense, torch_dense, sparse, torch_sparse = (nn.Parameter(start.clone()) for _ in range(4))
    optimisers = [
        Adam(dense, 0.02, weight_decay),
        torch.optim.AdamW([torch_dense], 0.02, weight_decay=weight_decay),
        Adam(sparse, 0.02),
        torch.optim.SparseAdam([torch_sparse], 0.02),
    ]
    for _ in range(5):
        dense.grad = torch.randn(V, D, generator=generator)
        torch_dense.grad = dense.grad.clone()
        rows = torch.randint(V, (1, 4), generator=generator)
        values = torch.randn(4, D, generator=generator)
        sparse.grad = torch.sparse_coo_tensor(rows, values, (V, D), check_invariants=True)
        torch_sparse.grad = sparse.grad.clone()
        for optimiser in optimisers:
            optimiser.step()
    assert torch.allclose(dense, torch_dense, atol=1e-6)
    assert torch.allclose(sparse, torch_sparse, atol=1e-6)


def test_a_parameter_without_gradient_is_not_changed() -> None:
    parameter = nn.Parameter(torch.ones(3))
    Adam(parameter, 0.1).step()
    assert parameter.tolist() == [1, 1, 1]
