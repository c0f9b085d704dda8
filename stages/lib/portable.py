"""Equal bits on every processor, run after run, once torch is imported.

Settings that must precede the import of torch are in `lib/startup.py`. This module holds the rest, and
replaces the operations of torch that call Intel's MKL: MKL selects its code by the processor at hand, and
each selection rounds differently.

torch is imported inside the functions, so that a stage that does not train can read `Device`.
"""

import os
from typing import TYPE_CHECKING, Literal

from stages.lib.command import Refusal

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

Device = Literal["cpu", "cuda"]

# Outputs up to which `product` sums. It takes time for each: a training step of 32 documents with 1,000
# outputs took 36 ms, and 1.5 ms by MKL, which may round differently on another processor.
MANY_OUTPUTS = 32


def require_device(device: Device) -> None:
    """Raises Refusal if cuda is requested and not available."""
    if device == "cuda":
        import torch

        if not torch.cuda.is_available():
            raise Refusal("device: found cuda, but torch finds no GPU on this machine; set it to cpu")


def prepare(seed: int, threads: int, device: Device) -> "torch.device":
    """Makes torch deterministic, seeds it, and returns the device to work on.

    The number of threads decides the order of sums and thereby the bits, so it is a parameter and not
    the number of cores. Raises Refusal if cuda is requested and not available.
    """
    import torch

    require_device(device)
    if device == "cuda":  # cuBLAS is deterministic only with a workspace of fixed size
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.set_num_threads(threads)
    # Same as torch.use_deterministic_algorithms(True), which imports the compiler and takes 1.5 s.
    torch.set_deterministic_debug_mode("error")
    # Deterministic mode would fill every new tensor, which slows small operations; no code here reads
    # an element before it is written.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.manual_seed(seed)
    return torch.device(device)


def sqrt(values: "Tensor") -> "Tensor":
    """The square root of a tensor on the CPU, correctly rounded as IEEE 754 requires.

    torch.sqrt calls MKL, whose last bit depends on the processor. numpy uses the processor's own
    instruction, which is exact. The result has no gradient.

    >>> import torch
    >>> sqrt(torch.tensor([4.0, 2.0]))
    tensor([2.0000, 1.4142])
    """
    import numpy as np
    import torch

    return torch.from_numpy(np.sqrt(values.numpy()))


def product(vectors: "Tensor", weight: "Tensor") -> "Tensor":
    """vectors @ weight.T: (..., D), (O, D) -> (..., O). For a small number of outputs O.

    torch passes a matrix product to MKL, whose order of summation depends on the processor. Here torch
    sums the products itself.

    >>> import torch
    >>> product(torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 4.0], [0.0, 1.0]]))
    tensor([[11.,  2.]])
    """
    import torch

    return torch.stack([(vectors * row).sum(-1) for row in weight], -1)


def linear(layer: "nn.Linear", vectors: "Tensor") -> "Tensor":
    """layer(vectors): (..., D) -> (..., O), by `product` unless there are more than MANY_OUTPUTS."""
    if len(layer.weight) > MANY_OUTPUTS:
        result: Tensor = layer(vectors)
        return result
    return product(vectors, layer.weight) + layer.bias
