"""Classifier: a review is the mean of its words.

Look up the vectors of a review's words, take their mean, and draw a line (a hyperplane) through the
space of means: on one side lies praise. It knows nothing of word order, and is hard to beat by much.

    ids (B, T) -> nn.Embedding -> (B, T, D) -> mean of the words -> (B, D) -> nn.Linear -> (B, 1)

The mean is taken over the real words only: padding is nothing, and counts for nothing. With two
labels there is one logit, the log-odds of the second, and binary cross-entropy; with more there is
one logit a label, and cross-entropy over their softmax.

A mean cannot tell "not good" from "good, not". Beside it stands a second, simpler embedding, of runs
of words with one number a logit each (stages/lib/nbsvm.py). Each part is trained alone and they are
added, each with its say: learnt together, the runs would explain the train reviews before the vectors
had to. All of it is a sum, so that every word's and run's share of a logit is known (`shares`).

    logit = say * line(mean of vectors) + say * mean of run weights + bias

Where there are unlabelled reviews the model may teach itself: it labels them, and weighs its runs anew by
these labels as well. That is kept if validation is told better for it.

    Iyyer et al. 2015, "Deep Unordered Composition Rivals Syntactic Methods for Text Classification"
    Lee 2013, "Pseudo-Label: The Simple and Efficient Semi-Supervised Learning Method"

    python -m stages.classifier --help

After every epoch the validation reviews are scored. The best epoch is kept; the test reviews are
not looked at. Where all validation reviews have one label nothing else is chosen by them: both parts
have half a say, the temperature is 1 and the threshold 0.5.
"""

import copy
import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel

from stages import PAD, TRAIN, UNLABELLED, VALIDATION
from stages.lib.command import Refusal, run
from stages.lib.files import atomic, read_json, sha256, write_csv, write_json
from stages.lib.nbsvm import Learner, NGrams, Runs, Share
from stages.lib.params import Section, read_params
from stages.lib.progress import progress
from stages.lib.reviews import Reviews, logits_for, losses_of, read_split
from stages.lib.training import Device, prepare

SCORED = 256  # reviews scored at a time
CELLS = 1 << 18  # words of a batch, padding included, that get a gradient each
HOTTEST = 100.0  # temperature that is tried, and its inverse
CPU = torch.device("cpu")  # where all that is not training is done

Pool = Literal["mean", "sum", "max", "mean_max", "idf_mean"]


class Params(Section):
    start: Literal["trained", "random"]  # is what the embeddings learnt worth anything here?
    tuning: Literal["fine_tuned", "frozen"]  # may the vectors move, or only the line?
    pool: Pool  # of a review's vectors
    word_dropout: float = Field(ge=0, lt=1)  # share of a review's words that a step does not see
    batch: int = Field(ge=1, le=100_000)  # B: reviews a step
    epochs: int = Field(ge=1, le=10_000)  # at most
    patience: int = Field(ge=1, le=10_000)  # epochs to wait for a better validation loss
    lr: float = Field(gt=0, le=10)  # of the line
    vectors_lr: float = Field(gt=0, le=10)  # of the vectors: a smaller one keeps them closer to their start
    weight_decay: float = Field(ge=0, le=10)  # of the line
    averaging: bool  # is the mean of the weights of all epochs better than the last?
    class_weight: Literal["none", "balanced"]  # does a rare label count as much as a common one?
    ngrams: NGrams | None  # runs of words with a weight each, beside the words' vectors; null: none
    blend: Literal["validation"] | Annotated[float, Field(ge=0, le=1)]  # share of the n-grams' say; or chosen
    self_training: float = Field(ge=0, le=1)  # how much an unlabelled review counts, by the label it is given
    seed: int = Field(ge=0, lt=2**63)
    threads: int = Field(ge=1, le=1024)  # another count is another order of sums, and other bytes
    device: Device
    calibration: Literal["temperature", "none"]  # is a review told at 0.9 right nine times in ten?
    # Probability of the second label, if there are two, from which it is predicted; or chosen.
    threshold: Literal["validation"] | Annotated[float, Field(gt=0, lt=1)]


class About(Section):
    """What a classifier's file tells beside its weights: how a text is made ready, and a logit read."""

    vocabulary: str  # SHA-256 of data/vocabulary.parquet: another vocabulary numbers other words
    width: int | None  # tokens that a review was cut to
    keep: Literal["head", "tail", "both"]  # of a longer one
    pool: Pool = "mean"
    ngrams: NGrams | None = None
    temperature: float = 1.0  # that logits are divided by
    threshold: float = 0.5  # probability of the second of two labels from which it is predicted


class Line(nn.Linear):
    """nn.Linear, (..., D) -> (..., 1 or L), summed by torch itself. MKL, which else would, adds up in an
    order that depends on the processor."""

    def forward(self, vectors: Tensor) -> Tensor:
        """The logits."""
        return self.along(vectors) + self.bias

    def along(self, vectors: Tensor) -> Tensor:
        """The logits without the bias."""
        return torch.stack([(vectors * direction).sum(-1) for direction in self.weight], -1)


class Classifier(nn.Module):
    """Embedding, pooled, linear: (B, T) row numbers and (B,) lengths -> (B, 1 or L) logits.

    With n-grams, their weights are looked up and pooled in the same way, and added.
    """

    idf: Tensor | None
    ngrams: Runs | None

    def __init__(self, vectors: Tensor, labels: int, frozen: bool, about: About) -> None:
        """`vectors` is (V, D); its row 0 shall be zeros."""
        super().__init__()
        self.about = about
        self.labels = labels
        # A review touches few of the V rows: their gradient is kept sparse.
        words, dim = vectors.shape
        self.embedding = nn.Embedding(words, dim, padding_idx=PAD, sparse=True)
        self.embedding.weight = nn.Parameter(vectors, requires_grad=not frozen)
        self.linear = Line(2 * dim if about.pool == "mean_max" else dim, logits_for(labels))
        self.register_buffer("idf", torch.ones(words) if about.pool == "idf_mean" else None)
        self.ngrams = None

    def forward(self, ids: Tensor, lengths: Tensor) -> Tensor:
        """The logits of a batch."""
        logits: Tensor = self.linear(self.pooled(ids, lengths))  # (B, 1 or L)
        return logits if self.ngrams is None else logits + self.ngrams(ids, lengths)

    def pooled(self, ids: Tensor, lengths: Tensor) -> Tensor:
        """Each review of a batch as one vector: (B, D), or (B, 2 D) for mean_max."""
        pool, idf, table = self.about.pool, self.idf, self.embedding.weight
        # A gradient of few words has a row for each; one of very many is less as a whole table.
        few = ids.numel() <= max(CELLS, len(table))
        parts = []
        if "max" in pool:
            parts.append(max_pool(self.embedding(ids), lengths) if few else bag(ids, table, "max", few=few))
        if pool != "max":
            weights = None if idf is None else idf[ids]  # (B, T)
            parts.append(bag(ids, table, "sum" if pool == "sum" else "mean", weights, few))
        return torch.cat(parts, 1)

    @torch.no_grad()
    def folded(self) -> Callable[[Tensor, Tensor], Tensor]:
        """The same function of (ids, lengths), for many reviews: a line through a mean of vectors is the
        mean of the line through each, so every word's is worked out once, and D numbers become one."""
        if "max" in self.about.pool:
            return self
        table = self.linear.along(self.embedding.weight)  # (V, 1 or L)
        mode: Literal["mean", "sum"] = "sum" if self.about.pool == "sum" else "mean"
        # Weights of one, too: torch sums with weights many times faster than around a padding index.
        each = table.new_ones(len(table)) if self.idf is None else self.idf  # (V,)

        def logits(ids: Tensor, lengths: Tensor) -> Tensor:
            words = bag(ids, table, mode, each[ids])  # (B, 1 or L)
            words += self.linear.bias
            return words if self.ngrams is None else words + self.ngrams(ids, lengths)

        return logits

    def bias(self) -> Tensor:
        """The logits of a review that says nothing: (1 or L,)."""
        return self.linear.bias.detach()

    @torch.no_grad()
    def shares(self, ids: Tensor) -> list[Share]:
        """What each token and n-gram of a review, (T,) row numbers, adds to its logits.

        A mean is a sum and the line is straight, so the shares and the bias sum to the logits. Raises
        ValueError where the vectors' maximum is taken, of which no word has a share of its own.
        """
        if "max" in self.about.pool:
            raise ValueError(f"a classifier that pools by {self.about.pool} has no shares")
        weights = torch.ones(len(ids)) if self.idf is None else self.idf[ids]
        if self.about.pool != "sum":
            weights = weights / weights.sum().clamp(min=1e-9)
        parts = weights[:, None] * self.linear.along(self.embedding(ids))  # (T, 1 or L)
        words = [Share(place, place + 1, part) for place, part in enumerate(parts)]
        return words if self.ngrams is None else words + self.ngrams.shares(ids)


def bag(
    ids: Tensor,
    table: Tensor,
    mode: Literal["mean", "sum", "max"],
    weights: Tensor | None = None,
    few: bool = True,
) -> Tensor:
    """The vectors of each review's words, added up or averaged: (B, T), (V, D) -> (B, D).

    Padding counts for nothing, and a review without words is zeros. With `weights`, (B, T), a weighted
    sum or mean. torch looks up and adds in one go: the (B, T, D) vectors are never laid out. The
    table's gradient is sparse if there are `few` words, which a maximum cannot have.

    >>> bag(torch.tensor([[1, 2, 0]]), torch.tensor([[0.0], [2.0], [4.0]]), "mean")
    tensor([[3.]])
    """
    if weights is None:
        return F.embedding_bag(ids, table, mode=mode, padding_idx=PAD, sparse=few)
    weights = weights * (ids != PAD)
    total = F.embedding_bag(ids, table, mode="sum", sparse=few, per_sample_weights=weights)
    return total if mode == "sum" else total / weights.sum(1, keepdim=True).clamp(min=1e-9)


def max_pool(vectors: Tensor, lengths: Tensor) -> Tensor:
    """The largest number in each dimension among a review's first `lengths` vectors, zeros of none.

    >>> max_pool(torch.tensor([[[2.0], [4.0], [9.0]]]), torch.tensor([2]))
    tensor([[4.]])
    """
    padding = torch.arange(vectors.shape[1], device=vectors.device) >= lengths[:, None]  # (B, T)
    highest = vectors.masked_fill(padding[:, :, None], -math.inf).amax(1)
    return highest.masked_fill((lengths == 0)[:, None], 0.0)


def blended(words: Tensor, runs: Tensor, labels: Tensor) -> tuple[float, float]:
    """What to multiply two models' logits (N, 1 or L) by, so that their sum has the least cautious loss
    on labels (N,): how far each is to be trusted beside the other. Neither is trusted less than not."""
    from scipy.optimize import minimize  # takes its time, and who scores does without

    both = torch.stack([words, runs]).double()  # (2, N, 1 or L)

    def loss(scales: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        say = torch.tensor(scales, requires_grad=True)
        total = cautious_loss((say[:, None, None] * both).sum(0), labels)
        (slope,) = torch.autograd.grad(total, say)
        return total.item(), slope.numpy()

    scales, least = np.ones(2), math.inf
    while True:
        found = minimize(
            loss,
            scales,
            jac=True,
            method="L-BFGS-B",
            bounds=[(0, HOTTEST)] * 2,
            options={"ftol": 1e-12, "gtol": 1e-9},
        )
        # Where it has met a bound it may stop too soon: then it gets further from where it is.
        if not found.fun < least - 1e-9:
            break
        scales, least = found.x, found.fun
    first, second = scales.tolist()
    return first, second


def label_weights(labels: Tensor, count: int, balance: Literal["none", "balanced"]) -> Tensor:
    """How much each review counts, (N,) -> (N,): one each, or each label as much as the others."""
    if balance == "none":
        return torch.ones(len(labels))
    often = torch.bincount(labels.long(), minlength=count).clamp(min=1)
    return (len(labels) / (count * often))[labels.long()]


def loss_of(logits: Tensor, labels: Tensor) -> Tensor:
    """The mean cross-entropy of a batch, in nats."""
    return losses_of(logits, labels).mean()


def cautious_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """The mean cross-entropy of logits (N, 1 or L) where labels (N,) are not taken for certain.

    Of a few reviews that are all told apart the cross-entropy is the less the surer the logits, without
    end. So the n reviews of a label are wanted to have it with probability (n + 1) / (n + L), which is
    Laplace's rule. Platt 1999, "Probabilistic Outputs for Support Vector Machines", section 2.2.
    """
    told = F.pad(logits, (1, 0)) if logits.shape[1] == 1 else logits  # (N, L)
    often = torch.bincount(labels.long(), minlength=told.shape[1])[labels.long()][:, None]  # (N, 1)
    wanted = (often * F.one_hot(labels.long(), told.shape[1]) + 1.0) / (often + told.shape[1])  # (N, L)
    return -(wanted * told.log_softmax(1)).sum(1).mean()


def probabilities(logits: Tensor, temperature: float = 1.0) -> Tensor:
    """(N, 1 or L) logits -> (N, L) probabilities of the labels, each row summing to one."""
    scaled = logits.double() / temperature
    if logits.shape[1] == 1:
        second = scaled.sigmoid()
        return torch.cat([1 - second, second], 1)
    return scaled.softmax(1)


def decide(chances: Tensor, threshold: float) -> Tensor:
    """The predicted label of each row of (N, L) probabilities. The threshold is for two labels.

    >>> decide(torch.tensor([[0.6, 0.4], [0.3, 0.7]]), 0.4).tolist()
    [1, 1]
    """
    if chances.shape[1] == 2:
        return (chances[:, 1] >= threshold).long()
    return chances.argmax(1)


def temperature_for(logits: Tensor, labels: Tensor) -> float:
    """The number to divide logits (N, 1 or L) by for the least cautious loss on labels (N,).

    One number stretches or shrinks every logit and changes no order: Guo et al. 2017, "On Calibration
    of Modern Neural Networks", section 4.2. Found by halving a range of its logarithm, in which the
    loss has one minimum.
    """
    low, high = math.log(1 / HOTTEST), math.log(HOTTEST)
    while high - low > 1e-4:
        third = (high - low) / 3
        pair = (low + third, high - third)
        cold, hot = (cautious_loss(logits.double() / math.exp(t), labels) for t in pair)
        low, high = low + third * bool(hot <= cold), high - third * bool(cold <= hot)
    return math.exp((low + high) / 2)


def cooled_loss(logits: Tensor, labels: Tensor) -> float:
    """The cautious loss of logits (N, 1 or L) at the temperature that suits them best: so two models are
    compared by what they know, not by how sure they are."""
    return cautious_loss(logits.double() / temperature_for(logits, labels), labels).item()


def threshold_for(chances: Tensor, labels: Tensor) -> float:
    """The threshold between two labels, (N, 2) probabilities and (N,) labels, of most right decisions;
    of several the middle of those nearest to 0.5.

    >>> threshold_for(torch.tensor([[0.8, 0.2], [0.7, 0.3], [0.6, 0.4]]), torch.tensor([0, 0, 1]))
    0.35
    """
    second, order = chances[:, 1].double().sort()
    truth = labels[order].long()
    # Cut before place n: those below are the first label, the others the second.
    below, above = F.pad((1 - truth).cumsum(0), (1, 0)), F.pad(truth.flip(0).cumsum(0).flip(0), (0, 1))
    edges = torch.cat([second.new_zeros(1), second, second.new_ones(1)])
    cuts = (edges[:-1] + edges[1:]) / 2  # (N + 1,)
    right = torch.where(edges[:-1] < edges[1:], below + above, -1)  # no cut between equal ones
    best = cuts[right == right.max()]
    return round(float(best[(best - 0.5).abs().argmin()]), 6)


def batches(lengths: Tensor, count: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Row numbers of batches of reviews of about the same length, which need little padding, in an
    order drawn anew."""
    shuffled = torch.randperm(len(lengths), generator=generator)
    by_length = shuffled[torch.argsort(lengths[shuffled], stable=True)]
    parts = torch.split(by_length, count)
    for part in torch.randperm(len(parts), generator=generator).tolist():
        yield parts[part]


def gather(reviews: Reviews, rows: Tensor, device: torch.device) -> Reviews:
    """Some rows of a split, cut to the longest among them."""
    lengths = reviews.lengths[rows]
    width = max(1, int(lengths.max()))
    ids = reviews.ids[rows, :width]
    return Reviews(ids.to(device), lengths.to(device), reviews.labels[rows].to(device))


@torch.no_grad()
def score(model: Callable[[Tensor, Tensor], Tensor], reviews: Reviews, device: torch.device = CPU) -> Tensor:
    """What `model` makes of all reviews of a split, (N, ...), in their order: their logits."""
    model = model.folded() if isinstance(model, Classifier) else model
    order = torch.argsort(reviews.lengths, stable=True)
    found = []
    for rows in torch.split(order, SCORED):
        part = gather(reviews, rows, device)
        found.append(model(part.ids, part.lengths).cpu())
    return torch.cat(found)[torch.argsort(order)]


class Epoch(NamedTuple):
    """One line of the training curve."""

    epoch: int
    train_loss: float
    validation_loss: float
    validation_accuracy: float


def without_some(batch: Reviews, share: float, generator: torch.Generator) -> Reviews:
    """A batch whose reviews have each lost about `share` of their words, drawn anew at every call. The
    words that stay close ranks."""
    lost = torch.rand(batch.ids.shape, generator=generator).to(batch.ids.device) < share
    ids = batch.ids.masked_fill(lost, PAD)
    order = (ids == PAD).to(torch.uint8).argsort(dim=1, stable=True)
    return batch._replace(ids=ids.gather(1, order), lengths=(ids != PAD).sum(1).to(batch.lengths.dtype))


class Adam:
    """Moves a tensor down its slope: each number by its mean slope, measured by how much that varies.

    Kingma and Ba 2015, "Adam: a method for stochastic optimization", algorithm 1, with the decoupled
    decay of Loshchilov and Hutter 2019. Where the slope is sparse only the rows that it has are moved,
    and only their means go on, as in `torch.optim.SparseAdam`. torch's own optimisers make the same
    steps, but the first of them loads torch's compiler: two seconds at each start.
    """

    MEAN, SQUARE = 0.9, 0.999  # how much of the running means stays at a step
    LEAST = 1e-8  # of what is divided by

    def __init__(self, moved: Tensor, lr: float, decay: float = 0.0) -> None:
        self.moved, self.lr, self.decay = moved, lr, decay
        self.mean, self.square = torch.zeros_like(moved), torch.zeros_like(moved)
        self.steps = 0

    @torch.no_grad()
    def step(self) -> None:
        """Takes a step by the slope in `moved.grad`, (V, D) or sparse by rows."""
        slope = self.moved.grad
        if slope is None:
            return
        self.steps += 1
        # Means that began at zero are too small by these shares.
        young, younger = 1 - self.MEAN**self.steps, 1 - self.SQUARE**self.steps
        rows: Tensor | slice = slice(None)
        least = self.LEAST * math.sqrt(younger)
        if slope.is_sparse:
            slope = slope.coalesce()
            rows, slope = slope.indices()[0], slope.values()
            least = self.LEAST  # torch's `SparseAdam` forgoes the correction here
        self.mean[rows] = mean = torch.lerp(self.mean[rows], slope, 1 - self.MEAN)
        self.square[rows] = square = torch.lerp(self.square[rows], slope * slope, 1 - self.SQUARE)
        root = square.rsqrt().reciprocal()  # `sqrt` is MKL's, and rounds differently on other processors
        move = mean / (root + least) * (-self.lr * math.sqrt(younger) / young)
        self.moved[rows] = self.moved[rows] * (1 - self.lr * self.decay) + move


def fit(
    model: Classifier,
    train: Reviews,
    validation: Reviews,
    params: Params,
    weights: Tensor,
    device: torch.device,
) -> tuple[dict[str, Tensor], list[Epoch], int]:
    """Trains the words' part until validation stops getting better: the best epoch's weights, the curve,
    its number.

    `weights` (N,) says how much each train review counts. Raises Refusal when the training diverges.
    """
    generator = torch.Generator().manual_seed(params.seed)
    optimisers = [Adam(part, params.lr, params.weight_decay) for part in model.linear.parameters()]
    if model.embedding.weight.requires_grad:
        optimisers.append(Adam(model.embedding.weight, params.vectors_lr))
    # What does not change is pooled once: reviews of one vector each, which the line alone reads.
    fixed = params.tuning == "frozen" and not params.word_dropout
    inputs, held_out = (
        (score(model.pooled, part, device) for part in (train, validation)) if fixed else (None, None)
    )
    table = model.embedding.weight
    averaged = AveragedModel(model)
    curve: list[Epoch] = []
    best = Epoch(0, 0.0, float("inf"), 0.0)
    found: dict[str, Tensor] = {}
    with progress("classifier", "reviews", params.epochs * len(train.labels)) as bar:
        for epoch in range(1, params.epochs + 1):
            total = 0.0
            for rows in batches(train.lengths, params.batch, generator):
                if inputs is not None:
                    logits = model.linear(inputs[rows].to(device))
                else:
                    batch = gather(train, rows, device)
                    if params.word_dropout:
                        batch = without_some(batch, params.word_dropout, generator)
                    logits = model(batch.ids, batch.lengths)
                losses = losses_of(logits, train.labels[rows].to(device)) * weights[rows].to(device)
                model.zero_grad()
                losses.mean().backward()  # type: ignore[no-untyped-call]
                slope = table.grad
                if slope is not None and not slope.is_sparse:
                    table.grad = slope.to_sparse(1)  # a batch moves the words that it has
                for optimiser in optimisers:
                    optimiser.step()
                total += losses.sum().item()
                bar.update(len(rows))
            if params.averaging:
                averaged.update_parameters(model)
            now: Classifier = averaged.module if params.averaging else model  # type: ignore[assignment]
            with torch.no_grad():
                logits = (
                    score(now, validation, device)
                    if held_out is None
                    else now.linear(held_out.to(device)).cpu()
                )
            this = Epoch(
                epoch,
                total / len(train.labels),
                loss_of(logits, validation.labels).item(),
                accuracy(logits, validation.labels),
            )
            if not torch.isfinite(torch.tensor(this[1:3])).all():
                raise Refusal(f"diverged in epoch {epoch}: the loss is no number; lower classifier.lr")
            curve.append(this)
            bar.set_postfix_str(f"validation {this.validation_accuracy:.4f}", refresh=False)
            if this.validation_loss < best.validation_loss:
                best = this
                found = {name: value.detach().cpu().clone() for name, value in now.state_dict().items()}
            if epoch - best.epoch >= params.patience:
                break
    return found, curve, best.epoch


def accuracy(logits: Tensor, labels: Tensor) -> float:
    """The share of reviews whose likeliest label is theirs."""
    return (probabilities(logits).argmax(1) == labels).double().mean().item()


def inverse_frequency(reviews: Reviews, words: int) -> Tensor:
    """log((N + 1) / (n + 1)) of each of the V words, n being how many of the N reviews have it: (V,).

    Jones 1972, "A statistical interpretation of term specificity". A word of every review says nothing.
    """
    rows = np.sort(reviews.ids.numpy(), 1)
    rows[:, 1:][rows[:, 1:] == rows[:, :-1]] = PAD  # of each word of a review one is left
    often = np.bincount(rows.ravel(), minlength=words)
    often[PAD] = 0
    return torch.from_numpy(np.log((len(rows) + 1) / (often + 1))).float()


def about(tensors: Path, vocabulary: Path, choices: Params) -> About:
    """How the reviews in data/tensors.safetensors were made ready."""
    with safe_open(tensors, "pt") as file:
        cut = json.loads((file.metadata() or {}).get("tensors", "{}"))
    width = None if cut["max_length"] == "longest" else cut["max_length"]
    return About(
        vocabulary=sha256(vocabulary),
        width=width,
        keep=cut["keep"],
        pool=choices.pool,
        ngrams=choices.ngrams,
    )


def save(classifier: Path, model: Classifier) -> None:
    """Writes all that scoring needs into one file."""
    weights = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    with atomic(classifier) as temporary:
        save_file(weights, temporary, {"model": model.about.model_dump_json()})


def load(classifier: Path) -> Classifier:
    """A trained classifier, ready to score. Raises Refusal where the file holds something else."""
    try:
        with safe_open(classifier, "pt") as file:
            told = About.model_validate_json((file.metadata() or {})["model"])
        weights = load_file(classifier)
        logits = len(weights["linear.bias"])
        model = Classifier(weights["embedding.weight"], max(2, logits), frozen=True, about=told)
        if told.ngrams:
            words = len(weights["embedding.weight"])
            model.ngrams = Runs(weights["ngrams.weight"], weights["ngrams.keys"], told.ngrams, words)
            if model.ngrams.weight.shape != (model.ngrams.finder.rows, logits):
                raise ValueError("not a weight for each n-gram")
        model.load_state_dict(weights)
    except (SafetensorError, LookupError, TypeError, ValueError, RuntimeError):
        raise Refusal(f"{classifier}: no classifier of this version; make it anew with `dvc repro`") from None
    return model.eval()


def with_ngrams(
    model: Classifier,
    runs: Runs,
    bias: Tensor,
    validation: Reviews,
    blend: float | str,
) -> tuple[Classifier, dict[str, Any]]:
    """The words' model with n-grams beside it, each part's weights multiplied by its say; and the figures of
    both."""
    words, said = score(model, validation), score(runs, validation) + bias
    first, second = (
        (1 - blend, blend) if isinstance(blend, float) else blended(words, said, validation.labels)
    )
    both = copy.deepcopy(model)
    with torch.no_grad():
        both.linear.weight *= first
        both.linear.bias.copy_(both.linear.bias * first + bias * second)
        runs.weight *= second
    both.ngrams = runs
    figures = {
        "ngram_rows": len(runs.weight),
        "say": {"words": first, "ngrams": second},
        "validation_ngrams": accuracy(said, validation.labels),
    }
    if blend != 1:  # else they were not trained
        figures["validation_words"] = accuracy(words, validation.labels)
    return both, figures


def unlabelled_reviews(ids: Path, about: About) -> Iterator[Reviews]:
    """The unlabelled reviews of data/ids.parquet in batches, each cut as the labelled ones were; their
    labels are 0."""
    # Loading pyarrow takes its time, and most trainings do without.
    from stages.tensors import rectangle, reviews_in

    for _, flat, lengths, _ in reviews_in(ids, [UNLABELLED]):
        longest = max(1, int(lengths.max()))
        rows, kept = rectangle(flat, lengths, min(about.width or longest, longest), about.keep)
        yield Reviews(*(torch.from_numpy(x) for x in (rows, kept, np.zeros_like(kept))))


def add_guessed(learner: Learner, teacher: Classifier, reviews: Iterator[Reviews], params: Params) -> Tensor:
    """Lets n-grams be learnt from batches of reviews too, by the labels that the teacher thinks likeliest;
    and how much each of the M reviews counts, (M,)."""
    guesses = [torch.zeros(0, dtype=torch.int32)]
    with progress("classifier, unlabelled", "reviews") as bar:
        for part in reviews:
            likeliest = probabilities(score(teacher, part)).argmax(1).int()
            learner.add(part._replace(labels=likeliest), params.self_training)
            guesses.append(likeliest)
            bar.update(len(likeliest))
    return params.self_training * label_weights(torch.cat(guesses), teacher.labels, params.class_weight)


def main(
    params: Path,
    ids: Path,
    tensors: Path,
    embeddings: Path,
    vocabulary: Path,
    labels: Path,
    classifier: Path,
    metrics: Path,
    curve: Path,
) -> None:
    choices = read_params(params, "classifier", Params)
    if choices.self_training and choices.ngrams is None:
        raise Refusal(
            f"classifier.self_training: found {choices.self_training:g}, but classifier.ngrams is null, and "
            "n-grams alone learn from unlabelled reviews; set self_training to 0, or ngrams"
        )
    device = prepare(choices.seed, choices.threads, choices.device)
    vectors = load_file(embeddings)["embeddings"].clone()  # (V, D)
    if choices.start == "random":
        vectors.normal_(0, 0.1)
        vectors[PAD] = 0
    names = read_json(labels)["labels"]
    told = about(tensors, vocabulary, choices)
    train, validation = read_split(tensors, TRAIN), read_split(tensors, VALIDATION)
    weights = label_weights(train.labels, len(names), choices.class_weight)
    occurring = int((torch.bincount(validation.labels) > 0).sum())
    tells = occurring > 1  # else the best choice of anything would be to say that label always
    blend = choices.blend if tells or choices.blend != "validation" else 0.5
    model = Classifier(vectors, len(names), choices.tuning == "frozen", told)
    facts: dict[str, Any] = {}
    epochs: list[Epoch] = []
    if choices.ngrams is None or choices.blend != 1:
        if model.idf is not None:
            model.idf = inverse_frequency(train, len(vectors))
        best, epochs, number = fit(model.to(device), train, validation, choices, weights, device)
        model.cpu().load_state_dict(best)  # who scores has no GPU, and shall get the same numbers
        facts = {
            "best_epoch": number,
            "epochs_run": len(epochs),
            "train": {"loss": epochs[number - 1].train_loss},
        }
    if choices.ngrams is not None:
        words, learner = model, Learner(train, len(vectors), len(names), choices.ngrams, choices.threads)
        model, figures = with_ngrams(words, *learner.weigh(weights), validation, blend)
        trust = torch.zeros(0)
        if choices.self_training and tells:
            trust = add_guessed(learner, model, unlabelled_reviews(ids, told), choices)
        if len(trust):
            weighed = learner.weigh(torch.cat([weights, trust]))
            student, figures_then = with_ngrams(words, *weighed, validation, blend)
            before, after = (cooled_loss(score(m, validation), validation.labels) for m in (model, student))
            lesson = {"reviews": len(trust), "loss_before": before, "loss_after": after}
            facts["self_training"] = lesson | {"kept": after < before}
            if after < before:
                model, figures = student, figures_then
        facts |= figures
    logits = score(model, validation)
    temperature = 1.0
    if choices.calibration == "temperature" and tells:
        temperature = temperature_for(logits, validation.labels)
    threshold = choices.threshold if choices.threshold != "validation" else 0.5
    if choices.threshold == "validation" and tells and len(names) == 2:
        threshold = threshold_for(probabilities(logits, temperature), validation.labels)
    model.about = told.model_copy(update={"temperature": temperature, "threshold": threshold})
    save(classifier, model)
    write_csv(curve, Epoch._fields, epochs)
    write_json(
        metrics,
        facts
        | {
            "scaled_by": temperature,
            "decided_from": threshold,
            "validation": {
                "accuracy": accuracy(logits, validation.labels),
                "loss": loss_of(logits, validation.labels).item(),
                "labels": occurring,
            },
        },
    )


if __name__ == "__main__":
    run(main)
