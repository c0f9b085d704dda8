"""Steps: blocks of predictions, their noise words and the scales of their gradients."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from stages.lib.word2vec.blocks import Predictions, has_single_target
from stages.lib.word2vec.rows import gather, row_scale


class Step(NamedTuple):
    """S blocks of predictions in G groups, with their noise.

    A chunk is a `Step` of many blocks, which `split_steps` divides into steps taken one after the other.
    `rate`, minus the learning rate in training, is multiplied into the weights already. So gradients come
    out as changes to add to the tables, and no further pass over them is needed.
    """

    inputs: Tensor  # (S, I) rows of the input table
    context_weights: Tensor | None  # (S, P, I)
    targets: Tensor  # (S, R) rows of the output table
    noise: Tensor  # (G, K) rows of the output table
    positives: Tensor  # (S, P, R) or (S, P, 1), times rate
    noise_weight: Tensor  # (G, S P / G, 1) the weight of each noise word, times rate
    input_scale: Tensor  # (S, I, 1) that each input's gradient is multiplied by
    target_scale: Tensor | None  # (S, 1, R) or (S, P, 1) like positives; None: all are 1
    noise_scale: Tensor | None  # (G, 1, K)
    rate: Tensor  # ()
    max_row_gradients: float

    def tensors(self) -> dict[str, Tensor]:
        """The fields that are tensors, by name."""
        return {name: field for name, field in self._asdict().items() if isinstance(field, Tensor)}


def input_scale(inputs: Tensor, count: int, power: float, max_gradients: float) -> Tensor:
    """`row_scale` of all inputs, by the occurrences of their row in its step: (B, I) -> (B, I, 1)."""
    step = torch.arange(len(inputs), device=inputs.device) // count  # (B,)
    key = inputs + (step * (int(inputs.max()) + 1))[:, None]
    counts = gather(torch.bincount(key.flatten()), key)
    scales = row_scale(
        torch.arange(int(counts.max()) + 1, device=inputs.device).float(), power, max_gradients
    )
    return gather(scales, counts)[..., None]


def output_scale(targets: Tensor, noise: Tensor, share: float, max_gradients: float) -> Tensor | None:
    """The factor of the gradients of each output row (U,), if some row exceeds `max_gradients` in a step.

    A step is `share` of all blocks. Output rows are capped and not damped. A noise word counts once for
    each block that shares it. Returns None if no row exceeds the cap.
    """
    shared = noise.repeat_interleave(len(targets) // len(noise), 0)  # (B, K)
    counts = torch.bincount(torch.cat([targets.flatten(), shared.flatten()])).mul(share)
    return (max_gradients / counts).clamp(max=1) if (counts > max_gradients).any() else None


def make_chunk(
    predictions: Predictions,
    noise: Tensor,
    negatives: int,
    rate: float,
    count: int,
    damping: float,
    max_gradients: float,
) -> Step:
    """Predictions of B blocks with the noise (G, K) of their groups, for steps of `count` blocks."""
    inputs, context_weights, targets, positives = predictions
    # A position with n targets has n * negatives noise words, whose weight the K shared ones divide.
    noise_weight = positives.sum(-1, keepdim=True) * (rate * negatives / noise.shape[1])
    scale = output_scale(targets, noise, count / len(inputs), max_gradients)
    target_scale = noise_scale = None
    if scale is not None:
        target_scale = gather(scale, targets).unsqueeze(2 if has_single_target(positives) else 1)
        noise_scale = gather(scale, noise).unsqueeze(1)
    return Step(
        inputs,
        context_weights,
        targets,
        noise,
        positives * rate,
        noise_weight.view(len(noise), -1, 1),
        input_scale(inputs, count, damping, max_gradients),
        target_scale,
        noise_scale,
        positives.new_tensor(rate),  # a captured graph of a GPU would keep a Python number constant
        max_gradients,
    )


def split_steps(chunk: Step, count: int) -> Iterator[Step]:
    """The parts of a chunk that have `count` blocks each, the last perhaps fewer."""
    groups = count * len(chunk.noise) // len(chunk.inputs)  # in a part
    for number in range(-(-len(chunk.inputs) // count)):
        blocks_part = slice(number * count, (number + 1) * count)
        groups_part = slice(number * groups, (number + 1) * groups)
        parts: dict[str, Any] = {
            name: field[groups_part if name in ("noise", "noise_weight", "noise_scale") else blocks_part]
            for name, field in chunk.tensors().items()
            if name != "rate"
        }
        yield chunk._replace(**parts)
