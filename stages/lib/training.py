"""What every training has in common: a seed, a number of threads, a device, and the same bytes."""

import os
from typing import Literal

import torch

from stages.lib.command import Refusal

Device = Literal["cpu", "cuda"]


def prepare(seed: int, threads: int, device: Device) -> torch.device:
    """Makes torch repeatable and returns the device to work on.

    Sums depend on their order, and so on the number of threads: it is set, not found. Raises Refusal
    where cuda is asked for and absent.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise Refusal("device: found cuda, but torch sees no GPU here; set it to cpu")
    if device == "cuda":  # cuBLAS repeats itself only with a workspace of its own
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.set_num_threads(threads)
    # The same as use_deterministic_algorithms(True), which imports the compiler: a second and a half.
    torch.set_deterministic_debug_mode("error")
    # Else every new tensor is first filled, which small steps feel; no code here reads one unwritten.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.manual_seed(seed)
    return torch.device(device)
