"""Classifier: a review is the mean of its words.

Look up the vectors of a review's words, take their mean, and draw a line (a hyperplane) through the
space of means: on one side lies praise. It knows nothing of word order, and is hard to beat by much.

    ids (B, T) -> nn.Embedding -> (B, T, D) -> masked mean -> (B, D) -> nn.Linear -> (B, 1)

The mean is taken over the real words only: padding is nothing, and counts for nothing. With two
labels there is one logit, the log-odds of the second, and binary cross-entropy; with more there is
one logit a label, and cross-entropy over their softmax.

    Iyyer et al. 2015, "Deep Unordered Composition Rivals Syntactic Methods for Text Classification"

    python -m stages.classifier params.yaml data/tensors.safetensors data/embeddings.safetensors \\
        data/vocabulary.parquet data/labels.json data/classifier.safetensors \\
        metrics/classifier.json metrics/classifier_curve.csv

After every epoch the validation reviews are scored. The best epoch is kept; the test reviews are
not looked at.
"""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import torch
from pydantic import Field
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from stages import PAD, TRAIN, VALIDATION
from stages.lib.command import Refusal, run
from stages.lib.files import atomic, read_json, sha256, write_csv, write_json
from stages.lib.params import Section, read_params
from stages.lib.progress import progress
from stages.lib.training import Device, prepare

SCORED = 256  # reviews scored at a time
HOTTEST = 100.0  # temperature that is tried, and its inverse


class Params(Section):
    start: Literal["trained", "random"]  # is what the embeddings learnt worth anything here?
    tuning: Literal["fine_tuned", "frozen"]  # may the vectors move, or only the line?
    batch: int = Field(ge=1, le=100_000)  # B: reviews a step
    epochs: int = Field(ge=1, le=10_000)  # at most
    patience: int = Field(ge=1, le=10_000)  # epochs to wait for a better validation loss
    lr: float = Field(gt=0, le=10)
    seed: int = Field(ge=0, lt=2**63)
    threads: int = Field(ge=1, le=1024)  # another count is another order of sums, and other bytes
    device: Device
    calibration: Literal["temperature", "none"]  # is a review told at 0.9 right nine times in ten?
    # Probability of the second label, if there are two, from which it is predicted; or chosen.
    threshold: Literal["validation"] | Annotated[float, Field(gt=0, lt=1)]


class Reviews(NamedTuple):
    """One split of data/tensors.safetensors."""

    ids: Tensor  # (N, T) int32
    lengths: Tensor  # (N,) int32
    labels: Tensor  # (N,) int32


class About(Section):
    """What a classifier's file tells beside its weights: how a text is made ready, and a logit read."""

    vocabulary: str  # SHA-256 of data/vocabulary.parquet: another vocabulary numbers other words
    width: int | None  # tokens that a review was cut to
    keep: Literal["head", "tail", "both"]  # of a longer one
    temperature: float = 1.0  # that logits are divided by
    threshold: float = 0.5  # probability of the second of two labels from which it is predicted


class Share(NamedTuple):
    """What tokens `start` to `end` (exclusive) of a review add to its logits."""

    start: int
    end: int
    logits: Tensor  # (1 or L,)


class Classifier(nn.Module):
    """Embedding, masked mean, linear: (B, T) row numbers and (B,) lengths -> (B, 1 or L) logits."""

    def __init__(self, vectors: Tensor, labels: int, frozen: bool, about: About) -> None:
        """`vectors` is (V, D); its row 0 shall be zeros."""
        super().__init__()
        self.about = about
        self.labels = labels
        # A review touches few of the V rows: their gradient is kept sparse.
        words, dim = vectors.shape
        self.embedding = nn.Embedding(words, dim, padding_idx=PAD, sparse=True)
        self.embedding.weight = nn.Parameter(vectors, requires_grad=not frozen)
        self.linear = nn.Linear(dim, logits_for(labels))

    def forward(self, ids: Tensor, lengths: Tensor) -> Tensor:
        """The logits of a batch."""
        vectors = self.embedding(ids)  # (B, T, D)
        logits: Tensor = self.linear(mean_pool(vectors, lengths))  # (B, 1 or L)
        return logits

    def bias(self) -> Tensor:
        """The logits of a review that says nothing: (1 or L,)."""
        return self.linear.bias.detach()

    @torch.no_grad()
    def shares(self, ids: Tensor) -> list[Share]:
        """What each token of a review, (T,) row numbers, adds to its logits: the mean is a sum, and the
        line is straight, so the shares and the bias sum to the logits."""
        parts = self.embedding(ids) @ self.linear.weight.T / max(1, len(ids))  # (T, 1 or L)
        return [Share(place, place + 1, part) for place, part in enumerate(parts)]


def mean_pool(vectors: Tensor, lengths: Tensor) -> Tensor:
    """The mean of each review's first `lengths` vectors: (B, T, D), (B,) -> (B, D).

    Appending padding changes nothing, and a review without words is zeros.

    >>> mean_pool(torch.tensor([[[2.0], [4.0], [9.0]]]), torch.tensor([2]))
    tensor([[3.]])
    """
    real = torch.arange(vectors.shape[1], device=vectors.device) < lengths[:, None]  # (B, T)
    total = (real.to(vectors.dtype)[:, None, :] @ vectors).squeeze(1)  # (B, D)
    return total / lengths.clamp(min=1)[:, None]


def logits_for(labels: int) -> int:
    """One logit tells two labels apart; more labels need one each."""
    return 1 if labels == 2 else labels


def loss_of(logits: Tensor, labels: Tensor) -> Tensor:
    """The mean cross-entropy of a batch, in nats."""
    if logits.shape[1] == 1:
        return F.binary_cross_entropy_with_logits(logits[:, 0], labels.to(logits.dtype))
    return F.cross_entropy(logits, labels.long())


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
    """The number to divide logits (N, 1 or L) by for the least cross-entropy on labels (N,).

    One number stretches or shrinks every logit and changes no order: Guo et al. 2017, "On Calibration
    of Modern Neural Networks", section 4.2. Found by halving a range of its logarithm, in which the
    loss has one minimum.
    """
    low, high = math.log(1 / HOTTEST), math.log(HOTTEST)
    while high - low > 1e-4:
        third = (high - low) / 3
        cold, hot = (loss_of(logits.double() / math.exp(t), labels) for t in (low + third, high - third))
        low, high = (low, high - third) if cold <= hot else (low + third, high)
    return math.exp((low + high) / 2)


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
def score(model: nn.Module, reviews: Reviews, device: torch.device) -> Tensor:
    """The logits of all reviews of a split, (N, 1 or L), in their order."""
    order = torch.argsort(reviews.lengths, stable=True)
    logits = []
    for rows in torch.split(order, SCORED):
        part = gather(reviews, rows, device)
        logits.append(model(part.ids, part.lengths).cpu())
    return torch.cat(logits)[torch.argsort(order)]


class Epoch(NamedTuple):
    """One line of the training curve."""

    epoch: int
    train_loss: float
    validation_loss: float
    validation_accuracy: float


def fit(
    model: Classifier, train: Reviews, validation: Reviews, params: Params, device: torch.device
) -> tuple[dict[str, Tensor], list[Epoch], int]:
    """Trains until validation stops getting better: the best epoch's weights, the curve, its number.

    Raises Refusal when the training diverges.
    """
    generator = torch.Generator().manual_seed(params.seed)
    optimisers: list[torch.optim.Optimizer] = [torch.optim.Adam(model.linear.parameters(), params.lr)]
    if model.embedding.weight.requires_grad:
        optimisers.append(torch.optim.SparseAdam(model.embedding.parameters(), params.lr))
    curve: list[Epoch] = []
    best = Epoch(0, 0.0, float("inf"), 0.0)
    weights: dict[str, Tensor] = {}
    with progress("classifier", "reviews", params.epochs * len(train.labels)) as bar:
        for epoch in range(1, params.epochs + 1):
            total = 0.0
            for rows in batches(train.lengths, params.batch, generator):
                batch = gather(train, rows, device)
                loss = loss_of(model(batch.ids, batch.lengths), batch.labels)
                model.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                for optimiser in optimisers:
                    optimiser.step()
                total += loss.item() * len(rows)
                bar.update(len(rows))
            logits = score(model, validation, device)
            this = Epoch(
                epoch,
                total / len(train.labels),
                loss_of(logits, validation.labels).item(),
                (probabilities(logits).argmax(1) == validation.labels).double().mean().item(),
            )
            if not torch.isfinite(torch.tensor(this[1:3])).all():
                raise Refusal(f"diverged in epoch {epoch}: the loss is no number; lower classifier.lr")
            curve.append(this)
            bar.set_postfix_str(f"validation {this.validation_accuracy:.4f}", refresh=False)
            if this.validation_loss < best.validation_loss:
                best = this
                weights = {name: value.detach().cpu().clone() for name, value in model.state_dict().items()}
            if epoch - best.epoch >= params.patience:
                break
    return weights, curve, best.epoch


def read_split(tensors: Path, split: str) -> Reviews:
    """One split of data/tensors.safetensors, mapped into memory rather than read."""
    with safe_open(tensors, "pt") as file:
        return Reviews(*(file.get_tensor(f"{split}.{name}") for name in Reviews._fields))


def about(tensors: Path, vocabulary: Path) -> About:
    """How the reviews in data/tensors.safetensors were made ready."""
    with safe_open(tensors, "pt") as file:
        cut = json.loads((file.metadata() or {}).get("tensors", "{}"))
    width = None if cut["max_length"] == "longest" else cut["max_length"]
    return About(vocabulary=sha256(vocabulary), width=width, keep=cut["keep"])


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
        model.load_state_dict(weights)
    except (SafetensorError, KeyError, ValueError, RuntimeError):
        raise Refusal(f"{classifier}: no classifier of this version; make it anew with `dvc repro`") from None
    return model.eval()


def main(
    params: Path,
    tensors: Path,
    embeddings: Path,
    vocabulary: Path,
    labels: Path,
    classifier: Path,
    metrics: Path,
    curve: Path,
) -> None:
    choices = read_params(params, "classifier", Params)
    device = prepare(choices.seed, choices.threads, choices.device)
    vectors = load_file(embeddings)["embeddings"].clone()  # (V, D)
    if choices.start == "random":
        vectors.normal_(0, 0.1)
        vectors[PAD] = 0
    names = read_json(labels)["labels"]
    told = about(tensors, vocabulary)
    model = Classifier(vectors, len(names), choices.tuning == "frozen", told).to(device)
    train, validation = read_split(tensors, TRAIN), read_split(tensors, VALIDATION)
    weights, epochs, best = fit(model, train, validation, choices, device)
    model.load_state_dict(weights)
    logits = score(model, validation, device)
    temperature = temperature_for(logits, validation.labels) if choices.calibration == "temperature" else 1.0
    chances = probabilities(logits, temperature)
    threshold = 0.5 if choices.threshold == "validation" else choices.threshold
    if choices.threshold == "validation" and len(names) == 2:
        threshold = threshold_for(chances, validation.labels)
    model.about = told.model_copy(update={"temperature": temperature, "threshold": threshold})
    save(classifier, model)
    write_csv(curve, Epoch._fields, epochs)
    chosen = epochs[best - 1]
    write_json(
        metrics,
        {
            "best_epoch": best,
            "epochs_run": len(epochs),
            "temperature": temperature,
            "decided_from": threshold,
            "train": {"loss": chosen.train_loss},
            "validation": {"accuracy": chosen.validation_accuracy, "loss": chosen.validation_loss},
        },
    )


if __name__ == "__main__":
    run(main)
