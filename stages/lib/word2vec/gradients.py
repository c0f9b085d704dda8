"""Gradients: both losses with their derivatives written out as matrix products, and the SGD step.

Reference: `Word2Vec`, `negative_sampling` and `softmax` in stages/embeddings.py, differentiated by
autograd. Test: tests/test_word2vec.py, test_gradients_equal_autograd_of_the_reference.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import softplus

from stages import PAD
from stages.lib.word2vec.blocks import has_single_target
from stages.lib.word2vec.rows import lookup, row_scale
from stages.lib.word2vec.settings import LossName
from stages.lib.word2vec.steps import Step, split_steps


class Update(NamedTuple):
    """Changes to add to some rows of a table; a row may occur repeatedly."""

    rows: Tensor  # (S, R)
    change: Tensor  # (S, R, D)


# A loss takes the hidden vectors (S, P, D), the output table (V, D), the step, and whether its value is
# needed. It returns the gradient of the hidden vectors, the updates of the output table, and the value.
Loss = Callable[[Tensor, Tensor, Step, bool], tuple[Tensor, list[Update], Tensor]]


def negative_sampling(
    hidden: Tensor, out: Tensor, step: Step, with_loss: bool
) -> tuple[Tensor, list[Update], Tensor]:
    """Binary logistic regression of targets against shared noise words."""
    groups = hidden.view(len(step.noise), -1, hidden.shape[2])  # (G, S P / G, D)
    targets, noise = lookup(out, step.targets), lookup(out, step.noise)  # (S, R, D), (G, K, D)
    single = has_single_target(step.positives)
    scores = (hidden * targets).sum(-1, keepdim=True) if single else hidden.bmm(targets.transpose(1, 2))
    noise_scores = groups.bmm(noise.transpose(1, 2))  # (G, S P / G, K)
    value = hidden.new_zeros(()) if not with_loss else (
        (softplus(-scores) * step.positives).sum() + (softplus(noise_scores) * step.noise_weight).sum()
    ) / step.rate  # fmt: skip
    d_scores = scores.sigmoid_().sub_(1).mul_(step.positives)  # d softplus(-s) / ds
    d_noise_scores = noise_scores.sigmoid_().mul_(step.noise_weight)  # d softplus(s) / ds
    d_hidden = d_scores * targets if single else d_scores.bmm(targets)
    d_hidden.view_as(groups).baddbmm_(d_noise_scores, noise)
    if step.target_scale is not None and step.noise_scale is not None:
        d_scores.mul_(step.target_scale)
        d_noise_scores.mul_(step.noise_scale)
    d_targets = d_scores * hidden if single else d_scores.transpose(1, 2).bmm(hidden)
    d_noise = d_noise_scores.transpose(1, 2).bmm(groups)
    return d_hidden, [Update(step.targets, d_targets), Update(step.noise, d_noise)], value


def softmax(
    hidden: Tensor, out: Tensor, step: Step, with_loss: bool, cells: int = 1 << 22
) -> tuple[Tensor, list[Update], Tensor]:
    """Cross-entropy over all V words, exact, without noise words.

    Positions are processed in parts, so that at most about `cells` scores are in memory.
    """
    positives = step.positives / step.rate  # (S, P, R) or (S, P, 1)
    targets = step.targets.unsqueeze(2 if has_single_target(positives) else 1)
    d_hidden = torch.empty_like(hidden)
    d_out = torch.zeros_like(out)
    value = hidden.new_zeros(())
    predicted, occurring = out.new_zeros(2, len(out))  # number of gradients in the sum of each row
    labels = targets.expand(positives.shape).flatten(0, 1)  # (S P, R) or (S P, 1)
    positives = positives.flatten(0, 1)
    total_weight = positives.sum(-1, keepdim=True)  # (S P, 1)
    flat = hidden.flatten(0, 1)  # (S P, D)
    for start in range(0, len(flat), max(1, cells // len(out))):
        part = slice(start, start + max(1, cells // len(out)))
        scores = flat[part] @ out.T  # (p, V)
        scores[:, PAD] = -torch.inf  # padding is never the target
        if with_loss:
            logs = scores.log_softmax(-1).gather(-1, labels[part])
            value = value - torch.where(positives[part] > 0, logs * positives[part], 0.0).sum()
        d_scores = scores.softmax(-1).mul_(total_weight[part])
        predicted += d_scores.sum(0)
        occurring.index_add_(0, labels[part].flatten(), positives[part].flatten())
        d_scores.scatter_add_(-1, labels[part], -positives[part]).mul_(step.rate)
        d_hidden.flatten(0, 1)[part] = d_scores @ out
        d_out.addmm_(d_scores.T, flat[part])
    counts = torch.maximum(predicted, occurring).clamp_(min=1)
    d_out.mul_(row_scale(counts, 0.0, step.max_row_gradients)[:, None])
    rows = torch.arange(len(out), device=out.device)  # (V,)
    return d_hidden, [Update(rows[None], d_out[None])], value


def loss_named(name: LossName, softmax_cells: int) -> Loss:
    """The loss of this name."""
    return negative_sampling if name == "negative_sampling" else partial(softmax, cells=softmax_cells)


def gradients(
    table: Tensor, out: Tensor, step: Step, loss: Loss, with_loss: bool = False
) -> tuple[Update, list[Update], Tensor]:
    """The gradients of the loss times `step.rate` for both tables, and the loss if it is needed."""
    rows = lookup(table, step.inputs)  # (S, I, D)
    weights = step.context_weights
    hidden = rows if weights is None else weights.bmm(rows)  # (S, P, D)
    d_hidden, out_updates, value = loss(hidden, out, step, with_loss)
    d_inputs = d_hidden if weights is None else weights.transpose(1, 2).bmm(d_hidden)  # (S, I, D)
    return Update(step.inputs, d_inputs.mul_(step.input_scale)), out_updates, value


def sgd_step(table: Tensor, out: Tensor, step: Step, loss: Loss, with_loss: bool = False) -> Tensor:
    """Updates both tables in place, and returns the loss before the update if it is needed, else 0."""
    in_update, out_updates, value = gradients(table, out, step, loss, with_loss)
    for copy, update in ((table, in_update), *((out, update) for update in out_updates)):
        copy.index_add_(0, update.rows.flatten(), update.change.flatten(0, -2))
    return value


def run_steps(
    table: Tensor, out: Tensor, chunk: Step, count: int, loss: Loss, with_loss: bool = False
) -> Tensor:
    """Takes all steps of `count` blocks in a chunk, and returns the loss of the first if it is needed."""
    first, *others = split_steps(chunk, count)
    value = sgd_step(table, out, first, loss, with_loss)
    for step in others:
        sgd_step(table, out, step, loss)
    return value
