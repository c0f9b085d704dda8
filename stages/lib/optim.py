"""Adam in forty lines.

Reference: torch.optim.AdamW and torch.optim.SparseAdam. Test: tests/test_optim.py,
test_adam_steps_equal_those_of_torch. The first step of an optimiser of torch imports torch's compiler,
which takes two seconds, longer than training on the sample.
"""

import math

import torch
from torch import Tensor


class Adam:
    """Adam with decoupled weight decay for one tensor.

    Kingma and Ba 2015, "Adam: a method for stochastic optimization", algorithm 1; Loshchilov and Hutter
    2019, "Decoupled weight decay regularization". If the gradient is sparse, only its rows are updated,
    and only their moments decay, as in torch.optim.SparseAdam.
    """

    BETA1, BETA2 = 0.9, 0.999  # decay of the two moments
    EPSILON = 1e-8  # added to the divisor

    def __init__(self, parameter: Tensor, lr: float, weight_decay: float = 0.0) -> None:
        self.parameter, self.lr, self.weight_decay = parameter, lr, weight_decay
        self.moment1, self.moment2 = torch.zeros_like(parameter), torch.zeros_like(parameter)
        self.steps = 0

    @torch.no_grad()
    def step(self) -> None:
        """Updates the parameter by its gradient, (V, D), which is dense or sparse by rows."""
        gradient = self.parameter.grad
        if gradient is None:
            return
        self.steps += 1
        correction1, correction2 = 1 - self.BETA1**self.steps, 1 - self.BETA2**self.steps
        rows: Tensor | slice = slice(None)
        epsilon = self.EPSILON * math.sqrt(correction2)
        if gradient.is_sparse:
            gradient = gradient.coalesce()
            rows, gradient = gradient.indices()[0], gradient.values()
            epsilon = self.EPSILON  # torch.optim.SparseAdam does not correct it
        self.moment1[rows] = moment1 = torch.lerp(self.moment1[rows], gradient, 1 - self.BETA1)
        self.moment2[rows] = moment2 = torch.lerp(self.moment2[rows], gradient * gradient, 1 - self.BETA2)
        # torch.sqrt calls MKL, whose rounding depends on the processor; these two do not.
        root = moment2.rsqrt().reciprocal()
        update = moment1 / (root + epsilon) * (-self.lr * math.sqrt(correction2) / correction1)
        self.parameter[rows] = self.parameter[rows] * (1 - self.lr * self.weight_decay) + update
