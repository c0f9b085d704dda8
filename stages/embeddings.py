"""Embeddings: a lookup is a one-hot matmul done cheaply; meaning is the company kept.

An embedding is a table with a row of D numbers for each of V words. To look a word up is to
multiply its one-hot vector (1, V) with the table (V, D); since all but one of the products are with
zero, taking the row gives the same, bit for bit. `nn.Embedding` is that table.

The rows are learnt from company. Two objectives, mirror images of each other:

    skip-gram   the centre's row predicts each of its context words     in[centre]        -> out[context]
    CBOW        the mean of the context's rows predicts the centre      mean in[context]  -> out[centre]

Each word has a row in two tables, `in` (kept) and `out` (of the predictions, thrown away). And two
losses: the softmax over all V words is the textbook's linear + softmax, and costs V products a
word. Negative sampling asks an easier question instead: is this the true word, or one of K drawn
from the noise distribution count ** noise_power?

    loss = - log sigmoid(in . out_true) - sum over K noise words of log sigmoid(- in . out_noise)

    Mikolov et al. 2013, "Distributed Representations of Words and Phrases and their Compositionality"

    python -m stages.embeddings params.yaml data/ids.parquet data/vocabulary.parquet \\
        data/embeddings.safetensors metrics/embeddings.json metrics/embeddings_loss.csv

Speed comes from the shape of the work, not from another mathematics. Text is taken in blocks of
BLOCK neighbouring positions. All pairs in a block are scored by one matrix product and those
outside a centre's window masked out; a block shares SHARED noise words, each weighted so that the
expected gradient is that of K drawn for every pair. Many blocks make one step, and the gradients,
three more matrix products, are written out below rather than left to autograd.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import pyarrow.parquet as pq
import torch
from pydantic import Field
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.functional import softplus

from stages import PAD, TRAIN, UNLABELLED
from stages.lib.command import Refusal, run
from stages.lib.files import atomic, write_csv, write_json
from stages.lib.params import Section, read_params
from stages.lib.progress import progress
from stages.lib.tables import open_table
from stages.lib.training import Device, prepare

BLOCK = 16  # P: positions scored together; longer blocks waste products outside the windows
SHARED = 48  # noise words that a block shares; fewer are faster and estimate more coarsely
STEP = 32  # S: blocks a step; longer steps are faster and use staler rows
DAMPING = -0.25  # power of a row's count in a step; -0.5 learnt markedly less in as many epochs
MOST = 8.0  # gradients that a row may take in one step; text of few different words needs the limit
CHUNK = 4096  # blocks prepared at a time, so that small operations become few
NOISE_ENTRIES = 1 << 22  # of the table that noise words are drawn from, at least
CURVE = 100  # points of the loss curve
LOSS_EVERY = 8  # steps; the loss itself is only for show, so it is taken now and then
FLOOR = 1e-4  # of the learning rate, at the end


class Params(Section):
    objective: Literal["skipgram", "cbow"]  # skip-gram is better on rare words, CBOW is faster
    loss: Literal["negative_sampling", "softmax"]  # softmax is exact, and for small vocabularies
    dim: int = Field(ge=1, le=10_000)  # D: more room for shades of meaning, more to learn
    window: int = Field(ge=1, le=100)  # C: near words tell grammar, far ones topic
    negatives: int = Field(ge=1, le=1000)  # K: noise words a pair
    noise_power: float = Field(ge=0, le=2)  # 1 draws noise as often as text has it, 0 all alike
    subsample: float = Field(ge=0, le=1)  # words above this share are thinned out: they say little
    epochs: int = Field(ge=1, le=10_000)
    lr: float = Field(gt=0, le=10)
    seed: int = Field(ge=0, lt=2**63)
    threads: int = Field(ge=1, le=1024)  # another count is another order of sums, and other bytes
    device: Device


class Blocks(NamedTuple):
    """S blocks of P neighbouring positions, with `window` more words on each side: C = P + 2 window."""

    centres: Tensor  # (S, P) row numbers
    contexts: Tensor  # (S, C) row numbers of the same positions and of those beside them
    near: Tensor  # (S, P, C) 1.0 where the context is in the centre's window and document, else 0.0
    noise: Tensor  # (S, K) row numbers, K = SHARED


class Update(NamedTuple):
    """The gradient of the loss with respect to some rows of a table; a row may come repeatedly."""

    rows: Tensor  # (S, R)
    gradient: Tensor  # (S, R, D)
    words: Tensor | None = None  # (S, R) how many words' gradients are in each sum; None: one


# A loss takes hidden (S, P, D), the out table (V, D), the rows of the true words (S, R), how often
# each is true of each position (S, P, R), the noise rows and K; it returns the gradient of hidden,
# the update of the out table, and the loss itself if it is asked for.
Loss = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor, int, bool], tuple[Tensor, Update, Tensor]]


def skipgram(
    table: Tensor, out: Tensor, blocks: Blocks, loss: Loss, negatives: int, watch: bool = False
) -> tuple[Update, Update, Tensor]:
    """Each centre predicts each of its context words. Returns the updates of both tables."""
    hidden = rows_of(table, blocks.centres)  # (S, P, D)
    d_hidden, d_out, value = loss(hidden, out, blocks.contexts, blocks.near, blocks.noise, negatives, watch)
    return Update(blocks.centres, d_hidden), d_out, value


def cbow(
    table: Tensor, out: Tensor, blocks: Blocks, loss: Loss, negatives: int, watch: bool = False
) -> tuple[Update, Update, Tensor]:
    """The mean of the context words predicts the centre. Returns the updates of both tables."""
    count = blocks.near.sum(-1, keepdim=True)  # (S, P, 1)
    share = blocks.near / count.clamp(min=1)  # (S, P, C)
    hidden = share @ rows_of(table, blocks.contexts)  # (S, P, D)
    itself = torch.eye(blocks.centres.shape[1]).to(count) * (count > 0)  # (S, P, P)
    d_hidden, d_out, value = loss(hidden, out, blocks.centres, itself, blocks.noise, negatives, watch)
    return Update(blocks.contexts, share.transpose(1, 2) @ d_hidden), d_out, value


def negative_sampling(
    hidden: Tensor, out: Tensor, rows: Tensor, true: Tensor, noise: Tensor, negatives: int, watch: bool
) -> tuple[Tensor, Update, Tensor]:
    """Tells true words from noise: binary logistic regression, `negatives` to one."""
    both = torch.cat([rows, noise], 1)  # (S, R + K)
    targets = rows_of(out, both)  # (S, R + K, D)
    scores = hidden @ targets.transpose(1, 2)  # (S, P, R + K)
    # A position with n true words is owed n * negatives noise words, spread over the shared ones.
    owed = true.sum(-1, keepdim=True) * (negatives / noise.shape[1])  # (S, P, 1)
    split = rows.shape[1]
    value = scores.new_zeros(())
    if watch:
        value = (softplus(-scores[..., :split]) * true).sum() + (softplus(scores[..., split:]) * owed).sum()
    slope = scores.sigmoid_()  # d softplus(s) / ds; the sign of s tells true from noise
    slope[..., :split].sub_(1).mul_(true)
    slope[..., split:].mul_(owed)
    return slope @ targets, Update(both, slope.transpose(1, 2) @ hidden), value


def softmax(
    hidden: Tensor, out: Tensor, rows: Tensor, true: Tensor, noise: Tensor, negatives: int, watch: bool
) -> tuple[Tensor, Update, Tensor]:
    """Cross-entropy against all V words: exact, V products a position. Noise plays no part."""
    scores = hidden @ out.T  # (S, P, V)
    scores[..., PAD] = -torch.inf  # nothing is never the answer
    owed = true.sum(-1, keepdim=True)  # (S, P, 1)
    value = scores.new_zeros(())
    wanted = rows[:, None, :].expand(true.shape)  # (S, P, R)
    if watch:
        logs = scores.log_softmax(-1).gather(-1, wanted)
        value = -torch.where(true > 0, logs * true, 0.0).sum()
    slope = scores.softmax(-1).mul_(owed)
    guessed = slope.sum((0, 1))  # (V,)
    slope.scatter_add_(-1, wanted, -true)
    seen = torch.zeros_like(guessed).scatter_add_(0, rows.flatten(), true.sum(1).flatten())  # (V,)
    everything = torch.arange(len(out), device=out.device)  # (V,)
    gradient = slope.flatten(0, 1).T @ hidden.flatten(0, 1)  # (V, D)
    words = torch.maximum(guessed, seen).clamp_(min=1)
    return slope @ out, Update(everything[None], gradient[None], words[None]), value


def rows_of(table: Tensor, rows: Tensor) -> Tensor:
    """The lookup: table[rows], (S, R) -> (S, R, D)."""
    return nn.functional.embedding(rows, table)


def descend(table: Tensor, update: Update, lr: float, tally: Tensor) -> None:
    """One step of gradient descent on the rows in `update`.

    A row that comes c times in a step has c gradients that do not know of each other. Their sum
    overshoots, their mean is timid: the sum is multiplied by c ** -0.25, and cut where it would
    still count for more than MOST gradients. `tally` is V zeros.
    """
    rows, gradient = update.rows.flatten(), update.gradient.flatten(0, -2)
    words = tally.new_ones(len(rows)) if update.words is None else update.words.flatten()
    tally.scatter_add_(0, rows, words)
    count = tally[rows]  # (S R,)
    damped = torch.minimum(count.pow(DAMPING), MOST / count)
    tally[rows] = 0
    add_rows(table, rows, gradient.mul_(damped.mul_(-lr)[:, None]))


def add_rows(table: Tensor, rows: Tensor, values: Tensor) -> None:
    """table[rows] += values, repeated rows and all, in the same order on every run."""
    if table.is_cuda:
        table.index_add_(0, rows, values)
    else:  # the same sum, and several times faster there
        table.scatter_add_(0, rows[:, None].expand_as(values), values)


def keep_chance(counts: Tensor, subsample: float) -> Tensor:
    """With what probability a word of each row stays in the text, (V,).

    For a word of share f of the text this is sqrt(t / f) + t / f, as word2vec has it.
    """
    if not subsample:
        return torch.ones(len(counts))
    ratio = subsample * counts.sum() / counts.clamp(min=1)
    return (ratio.sqrt() + ratio).clamp(max=1).float()


def noise_table(counts: Tensor, power: float) -> Tensor:
    """Row numbers, each as often as noise shall have it: a uniform draw from them is a noise word."""
    weights = counts.double().pow(power) * (counts > 0)
    entries = max(NOISE_ENTRIES, 32 * len(counts))
    edges = weights.cumsum(0) / weights.sum()
    middles = (torch.arange(entries, dtype=torch.float64) + 0.5) / entries
    return torch.searchsorted(edges, middles).clamp(max=len(counts) - 1)


def windows(lengths: Tensor, window: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """How far each position of some documents sees to the left and to the right.

    Each centre draws its own window from 1 to `window`, which weights near words more; none sees
    beyond its document.
    """
    total = int(lengths.sum())
    start = (lengths.cumsum(0) - lengths).repeat_interleave(lengths)
    place = torch.arange(total) - start
    after = lengths.repeat_interleave(lengths) - 1 - place
    reach = torch.randint(1, window + 1, (total,), generator=generator)
    return torch.minimum(reach, place), torch.minimum(reach, after)


def blocks_of(
    ids: Tensor, lengths: Tensor, window: int, noise: Tensor, generator: torch.Generator
) -> Iterator[Blocks]:
    """The documents `ids`, laid one after the other, as steps of at most STEP blocks."""
    if not len(ids):
        return
    left, right = windows(lengths, window, generator)
    short = -len(ids) % BLOCK
    padded = nn.functional.pad(ids, (window, short + window), value=PAD)
    left, right = (nn.functional.pad(x, (0, short)).view(-1, BLOCK, 1) for x in (left, right))
    centres = padded[window : len(padded) - window].view(-1, BLOCK)
    contexts = padded.unfold(0, BLOCK + 2 * window, BLOCK)
    # How far the context in column c is from the centre in line p.
    offset = torch.arange(BLOCK + 2 * window) - window - torch.arange(BLOCK)[:, None]  # (P, C)
    for chunk in range(0, len(centres), CHUNK):
        part = slice(chunk, chunk + CHUNK)
        near = ((offset >= -left[part]) & (offset <= right[part]) & (offset != 0)).float()
        drawn = torch.randint(len(noise), (len(near), SHARED), generator=generator)
        prepared = Blocks(centres[part], contexts[part], near, noise[drawn])
        yield from map(Blocks._make, zip(*(torch.split(tensor, STEP) for tensor in prepared), strict=True))


def documents(ids: Path, order: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
    """(ids, lengths) of the train and unlabelled documents, one row group at a time, in an order
    drawn anew: a corpus often has all of one kind before all of the other."""
    with open_table(ids) as file:
        for group in torch.randperm(file.num_row_groups, generator=order).tolist():
            table = file.read_row_group(group, columns=["split", "ids"])
            batch = table.filter(np.isin(np.asarray(table["split"]), (TRAIN, UNLABELLED)))
            lists = batch["ids"].combine_chunks()
            if len(lists):
                flat = np.asarray(lists.flatten())
                lengths = np.diff(np.asarray(lists.offsets))
                yield torch.tensor(flat, dtype=torch.int64), torch.tensor(lengths, dtype=torch.int64)


def thin_out(
    ids: Tensor, lengths: Tensor, chance: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Documents without the words that chance has taken out of them."""
    stays = torch.rand(len(ids), generator=generator) < chance[ids]
    document = torch.arange(len(lengths)).repeat_interleave(lengths)
    return ids[stays], torch.bincount(document[stays], minlength=len(lengths))


class Curve:
    """The mean loss a prediction, as the words go by."""

    def __init__(self, words: int) -> None:
        self.spacing = max(1, words // CURVE)
        self.rows: list[tuple[int, float]] = []
        self.loss = self.pairs = 0.0

    def add(self, seen: int, loss: float, pairs: float) -> None:
        """Adds what one step lost; every so many words a point is made of it.

        Raises Refusal when the training has diverged.
        """
        if not np.isfinite(loss):
            raise Refusal(f"diverged after {seen:,} words: the loss is {loss}; lower embeddings.lr")
        self.loss, self.pairs = self.loss + loss, self.pairs + pairs
        if seen >= self.spacing * (len(self.rows) + 1):
            self.close(seen)

    def close(self, seen: int) -> None:
        """Makes a point of what was added since the last."""
        if self.pairs:
            self.rows.append((seen, self.loss / self.pairs))
            self.loss = self.pairs = 0.0


def train(ids: Path, counts: Tensor, params: Params) -> tuple[Tensor, Curve]:
    """The `in` table (V, D), float32, row 0 zeros, and its loss curve.

    `counts` (V,) are the occurrences of each row in the text that is learnt from. Raises Refusal on
    text without a pair of words, and when the training diverges.
    """
    device = prepare(params.seed, params.threads, params.device)
    generator = torch.Generator().manual_seed(params.seed)
    embedding = nn.Embedding(len(counts), params.dim, padding_idx=PAD)  # (V, D)
    table = embedding.weight.data
    table.uniform_(-0.5 / params.dim, 0.5 / params.dim, generator=generator)
    table[PAD] = 0
    table = table.to(device)
    out = torch.zeros_like(table)
    tally = torch.zeros(len(counts), device=device)
    chance = keep_chance(counts, params.subsample)
    noise = noise_table(counts, params.noise_power)
    objective = {"skipgram": skipgram, "cbow": cbow}[params.objective]
    loss = {"negative_sampling": negative_sampling, "softmax": softmax}[params.loss]
    words = int(counts.sum()) * params.epochs
    curve = Curve(words)
    seen = steps = 0
    with progress("embeddings", "words", words) as bar, torch.no_grad():
        for _ in range(params.epochs):
            for flat, lengths in documents(ids, generator):
                kept, left = thin_out(flat, lengths, chance, generator)
                each = len(flat) / max(1, -(-len(kept) // (BLOCK * STEP)))  # words read a step
                for number, blocks in enumerate(blocks_of(kept, left, params.window, noise, generator)):
                    now = seen + each * number
                    lr = params.lr * max(FLOOR, 1 - now / words)
                    watch = steps % LOSS_EVERY == 0 or not curve.pairs
                    steps += 1
                    blocks = Blocks._make(tensor.to(device) for tensor in blocks)
                    d_in, d_out, value = objective(table, out, blocks, loss, params.negatives, watch)
                    descend(table, d_in, lr, tally)
                    descend(out, d_out, lr, tally)
                    if watch:
                        true = blocks.near.sum() if objective is skipgram else blocks.near.any(-1).sum()
                        curve.add(int(now), value.item(), true.item())
                seen += len(flat)
                bar.update(len(flat))
    curve.close(seen)
    if not curve.rows:
        raise Refusal("no two known words stand side by side in the train texts; lower vocabulary.min_count")
    return table.cpu(), curve


def main(params: Path, ids: Path, vocabulary: Path, embeddings: Path, metrics: Path, curve: Path) -> None:
    choices = read_params(params, "embeddings", Params)
    counts = torch.tensor(pq.read_table(vocabulary, columns=["count"])["count"].to_numpy())
    table, losses = train(ids, counts, choices)
    with atomic(embeddings) as temporary:
        save_file({"embeddings": table}, temporary)
    write_csv(curve, ["words", "loss"], losses.rows)
    norms = table[1:].norm(dim=1)
    write_json(
        metrics,
        {
            "final_loss": losses.rows[-1][1],
            "mean_norm": norms.mean().item(),
            "words_a_pass": int(counts.sum()),
        },
    )


if __name__ == "__main__":
    run(main)
