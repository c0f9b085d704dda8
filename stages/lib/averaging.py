"""The mean of classifiers as one classifier.

The logits of a linear layer on pooled vectors are a sum over dimensions. So the mean of k models is one
model with their vectors side by side, (V, k D), and their linear layers side by side, divided by k.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from stages.lib.word_model import Pool

State = dict[str, Tensor]  # parameters of stages.classifier.Classifier


def mean_model(states: Sequence[State], pool: Pool, same_vectors: bool) -> State:
    """The parameters of the model whose logits are the mean of those of the models.

    Models with the same vectors (frozen ones) share them, and only their linear layers are averaged.
    """
    if same_vectors or len(states) == 1:
        return states[0] | {
            name: torch.stack([state[name] for state in states]).mean(0)
            for name in ("linear.weight", "linear.bias")
        }
    parts = 2 if pool == "mean_max" else 1  # of the linear layer: for maxima, for means
    layers = [torch.chunk(state["linear.weight"], parts, 1) for state in states]
    return states[0] | {
        "embedding.weight": torch.cat([state["embedding.weight"] for state in states], 1),
        "linear.weight": torch.cat([layer[part] for part in range(parts) for layer in layers], 1)
        / len(states),
        "linear.bias": torch.stack([state["linear.bias"] for state in states]).mean(0),
    }
