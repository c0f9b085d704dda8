"""Blocks: a text as blocks of neighbouring positions, and both objectives as batched predictions.

Reference: `skipgram` and `cbow` in stages/embeddings.py, which yield one prediction at a time. Tests:
tests/test_word2vec.py, test_blocks_make_the_predictions_of_the_reference and
test_gradients_equal_autograd_of_the_reference.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from stages import PAD
from stages.lib.word2vec.rows import lookup


class Blocks(NamedTuple):
    """B blocks of P neighbouring positions, with `window` more words on each side: C = P + 2 window."""

    centres: Tensor  # (B, P) row numbers
    contexts: Tensor  # (B, C) row numbers of the same positions and of those beside them
    window_mask: Tensor  # (B, P, C) 1.0 where the context is in the centre's window and document, else 0.0


class Predictions(NamedTuple):
    """What is predicted from what, in B blocks of P positions."""

    inputs: Tensor  # (B, I) rows of the input table
    context_weights: Tensor | None  # (B, P, I) of the mean of the inputs; None: position i has input i alone
    targets: Tensor  # (B, R) rows of the output table
    positives: Tensor  # (B, P, R) 1.0 where the position predicts the target; or (B, P, 1): target i alone


def has_single_target(positives: Tensor) -> bool:
    """Whether position i predicts target i alone, so that no product of all with all is needed."""
    return positives.shape[2] == 1


def skipgram(blocks: Blocks) -> Predictions:
    """Each centre predicts each of its context words."""
    return Predictions(blocks.centres, None, blocks.contexts, blocks.window_mask)


def cbow(blocks: Blocks) -> Predictions:
    """The mean of the context words predicts the centre."""
    count = blocks.window_mask.sum(-1, keepdim=True)  # (B, P, 1)
    mean = blocks.window_mask * count.clamp(min=1).reciprocal()  # (B, P, C)
    return Predictions(blocks.contexts, mean, blocks.centres, (count > 0).to(mean))


OBJECTIVES = {"skipgram": skipgram, "cbow": cbow}


def make_blocks(ids: Tensor, left: Tensor, right: Tensor, window: int, length: int, group: int = 1) -> Blocks:
    """A text (n,) and the windows of its positions (n,), (n,) as blocks of `length` positions.

    <pad> fills up the last group of `group` blocks. No window reaches beyond the text.
    """
    position = torch.arange(len(ids), device=ids.device)
    left, right = torch.minimum(left, position), torch.minimum(right, position.flip(0))
    missing = -len(ids) % (length * group)
    padded = nn.functional.pad(ids, (window, missing + window), value=PAD)
    left, right = (nn.functional.pad(x, (0, missing)).view(-1, length) for x in (left, right))
    # The mask is 1.0 where -left <= offset < 0 or 0 < offset <= right. Each half is a lookup by
    # the width of the window, which is faster than comparing.
    inside = torch.arange(length, device=ids.device)  # (P,)
    offset = torch.arange(length + 2 * window, device=ids.device) - window - inside[:, None]  # (P, C)
    widths = torch.arange(window + 1, device=ids.device)[:, None, None]
    before = ((offset < 0) & (offset >= -widths)).float().flatten(0, 1)  # (window + 1) P, C
    after = ((offset > 0) & (offset <= widths)).float().flatten(0, 1)
    mask = lookup(before, left * length + inside).add_(lookup(after, right * length + inside))
    centres = padded[window : len(padded) - window].view(-1, length)
    return Blocks(centres, padded.unfold(0, length + 2 * window, length), mask)
