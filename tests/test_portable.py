"""Portable: results independent of vector instructions, and deterministic torch."""

import os
import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import nn

from stages.lib import portable
from stages.lib.command import Refusal
from stages.lib.portable import MANY_OUTPUTS, linear, prepare, product, sqrt
from tests.conftest import ROOT

DIGEST_OF = """
import hashlib, torch
from torch import nn
from stages.lib.portable import linear, prepare, sqrt
prepare(0, 1, "cpu")
layer, vectors = nn.Linear(100, 3), torch.randn(64, 100)
linear(layer, vectors).sigmoid().sum().backward()
parts = [linear(layer, vectors).detach(), layer.weight.grad, sqrt(torch.rand(10_000))]
print(hashlib.sha256(torch.cat([part.flatten() for part in parts]).numpy().tobytes()).hexdigest())
"""


def output_of(code: str, **environment: str) -> str:
    command = [sys.executable, "-c", code]
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | environment, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_linear_and_sqrt_do_not_depend_on_the_instructions_that_mkl_selects() -> None:
    digests = {output_of(DIGEST_OF, MKL_ENABLE_INSTRUCTIONS=kind) for kind in ("SSE4_2", "AVX2", "AVX512")}
    assert len(digests) == 1
    assert len(digests.pop()) == 64


def test_linear_equals_the_layer_in_value_and_gradient() -> None:
    torch.manual_seed(0)
    layer, vectors = nn.Linear(7, 3).double(), torch.randn(2, 5, 7, dtype=torch.float64)
    torch.testing.assert_close(linear(layer, vectors), layer(vectors))
    torch.testing.assert_close(product(vectors, layer.weight), layer(vectors) - layer.bias)
    gradients = [
        torch.autograd.grad(outputs.square().sum(), list(layer.parameters()))
        for outputs in (linear(layer, vectors), layer(vectors))
    ]
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize(("outputs", "products"), [(MANY_OUTPUTS, 1), (MANY_OUTPUTS + 1, 0)])
def test_many_outputs_are_one_product_of_matrices(
    outputs: int, products: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    monkeypatch.setattr(portable, "product", lambda *both: calls.append(1) or product(*both))
    layer, vectors = nn.Linear(7, outputs).double(), torch.randn(5, 7, dtype=torch.float64)
    torch.testing.assert_close(linear(layer, vectors), layer(vectors))
    assert len(calls) == products


def test_sqrt_is_correctly_rounded() -> None:
    values = torch.rand(1000, generator=torch.Generator().manual_seed(0))
    for value, root in zip(values.numpy(), sqrt(values).numpy(), strict=True):
        below, above = (np.nextafter(root, np.float32(end)) for end in (0, 2))
        middles = [(Fraction(float(root)) + Fraction(float(other))) / 2 for other in (below, above)]
        assert middles[0] ** 2 <= Fraction(float(value)) <= middles[1] ** 2


def test_importing_the_module_does_not_import_torch() -> None:
    assert output_of("import sys, stages.lib.portable; print('torch' in sys.modules)") == "False"


def test_prepare_does_not_import_the_compiler() -> None:
    code = "import sys; from stages.lib.portable import prepare; prepare(0, 1, 'cpu'); "
    assert output_of(code + "print('torch._dynamo' in sys.modules)") == "False"


def test_prepare_fixes_seed_threads_and_determinism() -> None:
    threads = torch.get_num_threads()
    first, second = ((prepare(3, 1, "cpu"), torch.rand(2)) for _ in range(2))
    assert first[0] == torch.device("cpu")
    assert torch.equal(first[1], second[1])
    assert torch.get_num_threads() == 1
    assert torch.are_deterministic_algorithms_enabled()
    assert not torch.utils.deterministic.fill_uninitialized_memory
    torch.set_num_threads(threads)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_cuda_without_a_gpu_is_refused() -> None:
    with pytest.raises(Refusal, match="found cuda"):
        prepare(0, 1, "cuda")
