"""NBSVM as an embedding: n-grams with a weight each, which start from what Naive Bayes thinks of them.

Count in how many reviews of each label an n-gram occurs, and take the logarithm of the ratio: that is
Naive Bayes, which trusts every n-gram alone. Multiply an n-gram's input by that ratio and fit a
logistic regression: it learns how far to trust each, beside the others.

    logit = bias + sum of weight[n-gram] * ratio[n-gram] over the n-grams of the review

    Wang and Manning 2012, "Baselines and Bigrams: Simple, Good Sentiment and Topic Classification"
"""

from collections import Counter
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from scipy.sparse import csr_matrix
from torch import Tensor, nn
from torch.nn import functional as F

from stages import PAD
from stages.lib.ngrams import ABSENT, Buckets, Finder, Table, incidence, keys_of, learn
from stages.lib.params import Section
from stages.lib.reviews import Reviews, logits_for, losses_of, unpadded

STEPS = 40  # of L-BFGS, at most: the loss has flattened long before

Floats = NDArray[np.float32]


class NGrams(Section):
    longest: int = Field(ge=1, le=8)  # words in a run: 2 tells "not good" from "good"
    least: int = Field(ge=1)  # train reviews that a run must occur in
    limit: int = Field(ge=1, le=2**31 - 1)  # keep so many of the commonest
    buckets: int | None = Field(ge=2, le=2**31 - 1)  # deal runs to so many rows by a hash; null: a row each
    counts: Literal["unique", "counted"]  # is a run that comes twice in a review worth twice as much?
    pool: Literal["mean", "sum"]  # of a review's runs
    ratios: Literal["weights", "none"]  # how far does Naive Bayes think that a run speaks for a label?
    rarity: float = Field(ge=0, le=1)  # a run in n reviews weighs n ** -rarity: common ones say less
    decay: float = Field(ge=0)  # of the squared weights; more of it trusts single reviews less


class Share(NamedTuple):
    """What tokens `start` to `end` (exclusive) of a review add to its logits."""

    start: int
    end: int
    logits: Tensor  # (1 or L,)


class Runs(nn.Module):
    """Runs of words that were learnt, with a weight each: an embedding of one number a logit.

    `weight` is (F, 1 or L), `keys` are those (F,) of the runs, or none where they are hashed.
    """

    weight: Tensor
    keys: Tensor

    def __init__(self, weight: Tensor, keys: Tensor, about: NGrams, words: int) -> None:
        super().__init__()
        self.about, self.words = about, words
        self.register_buffer("weight", weight)
        self.register_buffer("keys", keys)
        self.finder: Finder = Buckets(about.buckets) if about.buckets else Table(keys.numpy())

    def forward(self, ids: Tensor, lengths: Tensor) -> Tensor:
        """(B, T), (B,) -> (B, 1 or L)."""
        total = torch.zeros(len(ids), self.weight.shape[1])
        known = torch.zeros(len(ids), 1)
        for rows in self.rows_of(ids.cpu().numpy()) if len(self.weight) else []:
            row = torch.from_numpy(rows)  # (B, R)
            one = (row != ABSENT).float()
            weight = self.weight.cpu()
            total += F.embedding_bag(row.clamp(min=0), weight, mode="sum", per_sample_weights=one)
            known += one.sum(1, keepdim=True)
        logits = total / known.clamp(min=1) if self.about.pool == "mean" else total
        return logits.to(ids.device)

    def rows_of(self, ids: NDArray[np.int32]) -> list[NDArray[np.int32]]:
        """The rows of a batch's runs, (B, T) -> (B, R) for each length of run: ABSENT where there is none,
        and where it is told already."""
        longest = min(self.about.longest, ids.shape[1])  # torch takes no empty bags
        found = [
            np.where(ids[:, order:] == PAD, ABSENT, self.finder.find(keys)).astype(np.int32)  # it ends there
            for order, keys in enumerate(keys_of(ids, longest, self.words))
        ]
        if self.about.buckets:  # where runs of different lengths meet
            found = [np.concatenate(found, 1)]
        if self.about.counts == "unique":
            for rows in found:
                rows.sort(1)
                rows[:, 1:][rows[:, 1:] == rows[:, :-1]] = ABSENT
        return found

    def shares(self, ids: Tensor) -> list[Share]:
        """What each known run adds to the logits; one that counts once and occurs twice adds half a
        time at each place."""
        found = [
            (place, place + order, row)
            for order, keys in enumerate(keys_of(ids.numpy(), self.about.longest, self.words), 1)
            for place, row in enumerate(self.finder.find(keys).tolist())
            if row != ABSENT
        ]
        times = Counter(row for _, _, row in found)
        counted = self.about.counts == "counted"
        heard = len(found) if counted else len(times)
        total = heard if self.about.pool == "mean" else 1
        return [
            Share(start, end, self.weight[row] / (total if counted else total * times[row]))
            for start, end, row in found
        ]


def pooled_runs(table: csr_matrix, about: NGrams) -> csr_matrix:
    """How much each n-gram has to say in each review, from how often it occurs: (N, F) -> (N, F)."""
    said = (
        table
        if about.counts == "counted"
        else csr_matrix((np.ones_like(table.data), table.indices, table.indptr), table.shape)
    )
    if about.pool == "sum":
        return said
    total = np.asarray(said.sum(1)).ravel()
    share = np.repeat(1 / np.maximum(total, 1), np.diff(said.indptr)).astype(np.float32)
    return csr_matrix((said.data * share, said.indices, said.indptr), said.shape)


def learn_ngrams(
    train: Reviews, words: int, labels: int, about: NGrams, weights: Tensor, threads: int
) -> tuple[Runs, Tensor]:
    """Finds the train reviews' n-grams and gives each the weight that explains the labels best; and the
    bias, (1 or L,).

    A logistic regression whose inputs are scaled by their ratios: the loss is convex, so the start
    does not matter and there is no learning rate. `words` is V, `labels` L, and `weights` (N,) says
    how much each review counts.
    """
    flat, lengths = unpadded(train.ids, train.lengths)
    if about.buckets:
        keys = np.zeros(0, np.int64)
        present = incidence(flat, lengths, about.longest, words, Buckets(about.buckets)).T.tocsr()
    else:
        keys, present = learn(flat, lengths, about.longest, words, about.least, about.limit, threads)
    often = np.diff(present.indptr)  # (F,) reviews
    scale = commonness(often, about.rarity) * np.ones((1, logits_for(labels)), np.float32)  # (F, 1 or L)
    if about.ratios == "weights":
        scale *= log_count_ratios(present, train.labels.numpy(), labels)
    said = pooled_runs(present.T.tocsr(), about)  # (N, F)
    # A mean is small: weights that are to reach as far would be punished more than those of a sum.
    typical = np.float32(often.sum() / max(1, len(lengths)) if about.pool == "mean" else 1.0)
    said.data *= typical
    found, bias = logistic(said, train.labels, scale, about.decay, weights)
    weight = torch.from_numpy(found * scale * typical)
    return Runs(weight, torch.from_numpy(keys), about, words), torch.from_numpy(bias)


def commonness(often: NDArray[np.int64], rarity: float) -> Floats:
    """What an n-gram of so many reviews weighs, (F,) -> (F, 1): 1 if it is as common as the mean one."""
    share = np.maximum(often, 1) / max(1.0, float(often.sum()) / max(1, len(often)))
    return (share**-rarity).astype(np.float32)[:, None]


def log_count_ratios(present: csr_matrix, labels: NDArray[np.int32], count: int) -> Floats:
    """How far each n-gram speaks for each label: (F, N) counts, (N,) labels of L -> (F, 1 or L).

    The logarithm of its share among the n-grams of the label's reviews over that among the others',
    each review counted once and one added to every count. Wang and Manning 2012, section 2.
    """
    rows = []
    once = csr_matrix((np.ones_like(present.data), present.indices, present.indptr), present.shape)
    for label in [1] if count == 2 else range(count):
        mine = (labels == label).astype(np.float32)
        here, there = once @ mine + 1.0, once @ (1 - mine) + 1.0  # (F,)
        rows.append(np.log(here / here.sum()) - np.log(there / there.sum()))
    return np.stack(rows, 1).astype(np.float32)


def logistic(
    said: csr_matrix, labels: Tensor, scale: Floats, decay: float, weights: Tensor
) -> tuple[Floats, Floats]:
    """The v (F, 1 or L) and bias (1 or L,) of the least loss, the logits being said @ (scale * v) + bias,
    with `said` (N, F).

    The loss is the weighted sum of cross-entropies and decay / 2 times the sum of squares of v. Its
    gradient is two sparse products, which sum in one order whatever the threads; L-BFGS does the rest.
    """
    back = said.T.tocsr()
    wide = scale.shape[1]
    flat = torch.zeros(scale.size + wide, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS(
        [flat], max_iter=STEPS, tolerance_change=1e-7, line_search_fn="strong_wolfe"
    )

    def loss() -> float:
        values = flat.detach()
        inner = values[:-wide].view(-1, wide).float().numpy()
        logits = torch.from_numpy(said @ (scale * inner)).double() + values[-wide:]
        logits.requires_grad_()
        total = (losses_of(logits, labels) * weights).sum()
        (slope,) = torch.autograd.grad(total, logits)  # (N, 1 or L)
        inward = torch.from_numpy(scale * (back @ slope.float().numpy())).double().flatten()
        flat.grad = torch.cat([inward + decay * values[:-wide], slope.sum(0)])
        return total.item() + decay / 2 * float(values[:-wide] @ values[:-wide])

    optimiser.step(loss)  # type: ignore[no-untyped-call]
    found = flat.detach().float().numpy()
    return found[:-wide].reshape(-1, wide), found[-wide:]
