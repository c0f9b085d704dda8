"""NBSVM as an embedding: n-grams with a weight each, which start from what Naive Bayes thinks of them.

Count in how many reviews of each label an n-gram occurs, and take the logarithm of the ratio: that is
Naive Bayes, which trusts every n-gram alone. Multiply an n-gram's input by that ratio and fit a
logistic regression: it learns how far to trust each, beside the others.

    logit = bias + sum of weight[n-gram] * ratio[n-gram] over the n-grams of the review

Where an n-gram stands matters a little, too: a review's verdict comes last, so what starts in its last
tenth may count for more (`ending`).

    Wang and Manning 2012, "Baselines and Bigrams: Simple, Good Sentiment and Topic Classification"
"""

from collections import Counter
from collections.abc import Iterator
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import DTypeLike, NDArray
from pydantic import Field
from scipy.sparse import csr_matrix, vstack
from torch import Tensor, nn
from torch.nn import functional as F

from stages import PAD
from stages.lib.ngrams import ABSENT, Buckets, Finder, Ints, Table, incidence, keys_of, learn
from stages.lib.params import Section
from stages.lib.reviews import Reviews, logits_for, losses_of, unpadded

STEPS = 30  # of L-BFGS, at most, for each logit: the loss has flattened by then
MEMORY = 8  # earlier steps that it remembers; more save no time
TENTH = 10  # a review's last so many-th is its ending

Floats = NDArray[np.float32]


class NGrams(Section):
    longest: int = Field(ge=1, le=8)  # words in a run: 2 tells "not good" from "good"
    least: int = Field(ge=1)  # train reviews that a run must occur in
    limit: int = Field(ge=1, le=2**31 - 1)  # keep so many of the commonest
    buckets: int | None = Field(ge=2, le=2**31 - 1)  # deal runs to so many rows by a hash; null: a row each
    counts: Literal["unique", "counted"]  # is a run that comes twice in a review worth twice as much?
    pool: Literal["mean", "sum"]  # of a review's runs
    ending: float = Field(ge=0, le=100)  # how much more a run says that starts in a review's last tenth
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
        heard = torch.zeros(len(ids), 1)
        for rows, say in self.said(ids.numpy(), lengths.numpy()) if len(self.weight) else []:
            row, each = torch.from_numpy(rows), torch.from_numpy(say)  # (B, R)
            total += F.embedding_bag(row.clamp(min=0), self.weight, mode="sum", per_sample_weights=each)
            heard += each.sum(1, keepdim=True)
        return total / heard.clamp(min=1) if self.about.pool == "mean" else total

    def said(
        self, ids: NDArray[np.int32], lengths: NDArray[np.int32]
    ) -> Iterator[tuple[NDArray[np.signedinteger], Floats]]:
        """The rows of a batch's runs and what each has to say, both (B, R), for each length of run.

        A row is ABSENT, and says nothing, where there is no known run, and where it is told already.
        """
        longest = min(self.about.longest, ids.shape[1])  # torch takes no empty bags
        # A row's number is to be doubled.
        wide: DTypeLike = np.int32 if self.finder.rows < 2**30 else np.int64
        found: list[NDArray[np.signedinteger]] = []
        late: list[NDArray[np.bool_]] = []
        for order, keys in enumerate(keys_of(ids, longest, self.words)):
            absent = ids[:, order:] == PAD  # it ends there
            found.append(np.where(absent, ABSENT, self.finder.find(keys)).astype(wide))
            late.append(np.arange(keys.shape[1]) >= (lengths - lengths // TENTH)[:, None])
        if self.about.buckets:  # where runs of different lengths meet
            found, late = [np.concatenate(found, 1)], [np.concatenate(late, 1)]
        for rows, is_late in zip(found, late, strict=True):
            if self.about.counts == "unique":
                rows = rows * 2 + ~is_late  # the same rows side by side, one of the ending first
                rows.sort(1)
                is_late = rows & 1 == 0
                rows >>= 1
                rows[:, 1:][rows[:, 1:] == rows[:, :-1]] = ABSENT
            yield rows, (rows != ABSENT) * (1 + np.float32(self.about.ending) * is_late)

    def shares(self, ids: Tensor) -> list[Share]:
        """What each known run adds to the logits; one that counts once and occurs twice adds half a
        time at each place."""
        found = [
            (place, place + order, row)
            for order, keys in enumerate(keys_of(ids.numpy(), self.about.longest, self.words), 1)
            for place, row in enumerate(self.finder.find(keys).tolist())
            if row != ABSENT
        ]
        ending = len(ids) - len(ids) // TENTH
        counted = self.about.counts == "counted"
        times = Counter(row for _, _, row in found)
        times_late = Counter(row for start, _, row in found if start >= ending)
        say = [
            1 / (1 if counted else times[row])
            + (start >= ending) * self.about.ending / (1 if counted else max(1, times_late[row]))
            for start, _, row in found
        ]
        heard = max(1.0, sum(say)) if self.about.pool == "mean" else 1.0
        return [
            Share(start, end, self.weight[row] * (each / heard))
            for (start, end, row), each in zip(found, say, strict=True)
        ]


def endings(flat: Ints, lengths: Ints) -> tuple[Ints, Ints]:
    """The last tenth of each review, rounded down: reviews one after the other, and their lengths.

    >>> [part.tolist() for part in endings(np.arange(25), np.array([5, 20]))]
    [[23, 24], [0, 2]]
    """
    short = lengths // TENTH
    left = np.repeat(lengths.cumsum(), lengths) - np.arange(len(flat))  # words to the review's end
    return flat[left <= np.repeat(short, lengths)], short


def pooled_runs(table: csr_matrix, late: csr_matrix | None, about: NGrams) -> csr_matrix:
    """How much each n-gram has to say in each review, (N, F), from how often it occurs in the whole,
    (N, F), and in the ending, (N, F), which None leaves out."""
    said = heard(table, about.counts)
    if late is not None:
        said = said + np.float32(about.ending) * heard(late, about.counts)
    if about.pool == "sum":
        return said
    total = np.asarray(said.sum(1)).ravel()
    share = np.repeat(1 / np.maximum(total, 1), np.diff(said.indptr)).astype(np.float32)
    return csr_matrix((said.data * share, said.indices, said.indptr), said.shape)


def heard(table: csr_matrix, counts: str) -> csr_matrix:
    """How often an n-gram counts, of how often it occurs: each time, or once."""
    if counts == "counted":
        return table
    return csr_matrix((np.ones_like(table.data), table.indices, table.indptr), table.shape)


class Learner:
    """Finds the n-grams of some train reviews, and gives each the weight that explains labels best: those of
    the train reviews, and of others that are added."""

    def __init__(self, train: Reviews, words: int, labels: int, about: NGrams, threads: int) -> None:
        """`words` is V, `labels` L. The threads change no byte."""
        self.words, self.labels, self.about = words, labels, about
        flat, lengths = unpadded(train.ids, train.lengths)
        if about.buckets:
            self.keys = np.zeros(0, np.int64)
            self.finder: Finder = Buckets(about.buckets)
            whole = incidence(flat, lengths, about.longest, words, self.finder)  # (N, F)
        else:
            self.keys, places = learn(flat, lengths, about.longest, words, about.least, about.limit, threads)
            self.finder, whole = Table(self.keys), places.T.tocsr()
        # Of each batch of reviews: how often each has each n-gram, in all and in its ending; their labels;
        # and how much each counts in the ratios.
        self.whole, self.late = [whole], self._late(flat, lengths)
        self.truth, self.heed = [train.labels.numpy()], [np.ones(len(lengths))]

    def _late(self, flat: Ints, lengths: Ints) -> list[csr_matrix]:
        """How often each review has each n-gram in its ending, (N, F), if that counts for more."""
        if not self.about.ending:
            return []
        return [incidence(*endings(flat, lengths), self.about.longest, self.words, self.finder)]

    def add(self, reviews: Reviews, trust: float) -> None:
        """More reviews, whose labels are only believed: in the ratios each counts `trust` times as much as a
        train review. They bring no n-grams of their own."""
        flat, lengths = unpadded(reviews.ids, reviews.lengths)
        self.whole.append(incidence(flat, lengths, self.about.longest, self.words, self.finder))
        self.late += self._late(flat, lengths)
        self.truth.append(reviews.labels.numpy())
        self.heed.append(np.full(len(lengths), trust))

    def weigh(self, weights: Tensor) -> tuple[Runs, Tensor]:
        """The n-grams with their weights, and the bias, (1 or L,). `weights` (N,) says how much each review
        counts, of all in the order in which they came.

        A logistic regression whose inputs are scaled by their ratios: the loss is convex, so the start
        does not matter and there is no learning rate.
        """
        about = self.about
        self.whole = [stacked(self.whole)]  # the batches go: memory has room for them once
        table, late = self.whole[0], stacked(self.late) if self.late else None  # (N, F)
        truth = np.concatenate(self.truth)
        often = np.bincount(table.indices, minlength=self.finder.rows)  # (F,) reviews
        scale = commonness(often, about.rarity) * np.ones((1, logits_for(self.labels)), np.float32)
        if about.ratios == "weights":
            scale *= log_count_ratios(table, truth, self.labels, np.concatenate(self.heed))
        said = pooled_runs(table, late, about)
        # A mean is small: weights that are to reach as far would be punished more than those of a sum.
        typical = np.float32(often.sum() / max(1, len(truth)) if about.pool == "mean" else 1.0)
        said.data *= typical
        found, bias = logistic(said, torch.from_numpy(truth), scale, about.decay, weights)
        weight = torch.from_numpy(found * scale * typical)  # (F, 1 or L)
        return Runs(weight, torch.from_numpy(self.keys), about, self.words), torch.from_numpy(bias)


def stacked(tables: list[csr_matrix]) -> csr_matrix:
    """Tables of the same columns, one on top of the other."""
    return tables[0] if len(tables) == 1 else vstack(tables, "csr")


def commonness(often: NDArray[np.int64], rarity: float) -> Floats:
    """What an n-gram of so many reviews weighs, (F,) -> (F, 1): 1 if it is as common as the mean one."""
    share = np.maximum(often, 1) / max(1.0, float(often.sum()) / max(1, len(often)))
    return (share**-rarity).astype(np.float32)[:, None]


def log_count_ratios(
    table: csr_matrix, labels: NDArray[np.int32], count: int, heed: NDArray[np.float64] | None = None
) -> Floats:
    """How far each n-gram speaks for each label: (N, F) counts, (N,) labels of L -> (F, 1 or L).

    The logarithm of its share among the n-grams of the label's reviews over that among the others',
    each review counted once, or as `heed` (N,) says, and one added to every count. Wang and Manning
    2012, section 2.
    """
    rows = []
    heed = np.ones(len(labels)) if heed is None else heed
    once = csr_matrix((np.ones_like(table.data), table.indices, table.indptr), table.shape)
    for label in [1] if count == 2 else range(count):
        mine = (labels == label) * heed
        here, there = mine @ once + 1.0, (heed - mine) @ once + 1.0  # (F,)
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
    from scipy.optimize import minimize  # takes its time, and who scores does without

    back = said.T.tocsr()
    wide = scale.shape[1]

    def loss(values: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        inner = values[:-wide].reshape(-1, wide).astype(np.float32)
        logits = torch.from_numpy(said @ (scale * inner)).double() + torch.from_numpy(values[-wide:])
        logits.requires_grad_()
        total = (losses_of(logits, labels) * weights).sum()
        (slope,) = torch.autograd.grad(total, logits)  # (N, 1 or L)
        inward = scale * (back @ slope.float().numpy())
        decayed = inward.ravel() + decay * values[:-wide]
        return (
            total.item() + decay / 2 * float(values[:-wide] @ values[:-wide]),
            np.concatenate([decayed, slope.sum(0).numpy()]),
        )

    found = minimize(
        loss,
        np.zeros(scale.size + wide),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": STEPS * wide, "maxcor": MEMORY, "ftol": 1e-10, "gtol": 1e-6},
    ).x.astype(np.float32)
    return found[:-wide].reshape(-1, wide), found[-wide:]
