"""Classifier: a review is the mean of its words.

Look up the vectors of a review's words, average them, and apply a linear layer:

    ids (B, T) -> nn.Embedding -> (B, T, D) -> mean over the words -> (B, D) -> nn.Linear -> (B, O)

`SimpleSentimentModel` is this model in ten lines. `Classifier` is the same function, faster and with
other ways of pooling. The mean is over the words only: padding is not part of it. Word order is
ignored, which costs less accuracy than one would expect.

With two labels there is one logit, the log-odds of the second label, and binary cross-entropy. With
more labels there is one logit per label and the cross-entropy of their softmax.

After each epoch the loss on held-out reviews is computed, and the parameters of the best epoch are kept. Of
a small corpus each fold is held out once, and the classifier is the mean of the models (`stages.lib.folds`).
The logits of held-out reviews are kept for the `ensemble` stage. The test reviews are not used.

    Iyyer et al. 2015, "Deep Unordered Composition Rivals Syntactic Methods for Text Classification"

    python -m stages.classifier --help
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from pydantic import Field
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel
from tqdm import tqdm

from stages import PAD
from stages.lib.arrays import Bool, read_arrays
from stages.lib.averaging import mean_model
from stages.lib.batches import Batches
from stages.lib.command import Refusal, run
from stages.lib.files import atomic, read_labels, write_csv, write_json
from stages.lib.folds import Folds, HeldOut, held_out
from stages.lib.model import scores_of
from stages.lib.optim import Adam
from stages.lib.params import Section, read_params
from stages.lib.pooling import max_pool, mean_pool, pool
from stages.lib.portable import Device, linear, prepare
from stages.lib.progress import progress
from stages.lib.reviews import (
    Reviews,
    inverse_document_frequency,
    logits_for,
    read_train_and_validation,
    sample_weights,
)
from stages.lib.word_model import ClassifierConfig, Pool, WordModel, word_arrays

SPARSE_CELLS = 1 << 18  # ids in a batch, padding included, up to which the embedding's gradient is sparse


class Params(Section):
    init: Literal["trained", "random"]  # do the vectors of the embeddings stage help?
    freeze: bool  # are the vectors fixed, so that only the linear layer is trained?
    pool: Pool  # of a review's vectors
    word_dropout: float = Field(ge=0, lt=1)  # share of a review's words that a training step omits
    batch_size: int = Field(ge=1, le=100_000)  # B
    epochs: int = Field(ge=1, le=10_000)  # at most
    patience: int = Field(ge=1, le=10_000)  # epochs without a lower validation loss before training stops
    lr: float = Field(gt=0, le=10)  # of the linear layer
    embedding_lr: float = Field(gt=0, le=10)  # a smaller one keeps the vectors closer to their initial values
    weight_decay: float = Field(ge=0, le=10)  # of the linear layer
    weight_averaging: bool  # use the mean of the parameters of all epochs so far?
    class_weight: Literal["none", "balanced"]  # does a rare label count as much as a common one?
    folds: Folds  # how reviews are held out, to stop at the best epoch and to fit the ensemble
    seed: int = Field(ge=0, lt=2**63)
    threads: int = Field(ge=1, le=1024)  # decides the order of sums, and thereby the bits
    device: Device


class SimpleSentimentModel(nn.Module):
    """Lookup, masked mean, linear layer: (B, T) row numbers -> (B, O) logits."""

    def __init__(self, vectors: Tensor, labels: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(len(vectors), vectors.shape[1], padding_idx=PAD)
        self.embedding.weight = nn.Parameter(vectors)
        self.linear = nn.Linear(vectors.shape[1], logits_for(labels))

    def forward(self, ids: Tensor) -> Tensor:
        """The logits of a batch."""
        vectors = self.embedding(ids)  # (B, T, D)
        review = mean_pool(vectors, ids != PAD)  # (B, D)
        logits: Tensor = self.linear(review)  # (B, O)
        return logits


class Classifier(nn.Module):
    """`SimpleSentimentModel` with other ways of pooling: (B, T) row numbers -> (B, O) logits.

    Reference: `SimpleSentimentModel`. Test: tests/test_classifier.py,
    test_training_equals_the_simple_model_with_optimisers_of_torch. It is faster because lookup and
    pooling are one operation, and the gradient of the embedding has only the rows of the batch.
    """

    idf: Tensor | None

    def __init__(self, vectors: Tensor, labels: int, pooling: Pool, freeze: bool = False) -> None:
        """`vectors` is (V, D) with zeros in row PAD."""
        super().__init__()
        self.pooling = pooling
        words, dim = vectors.shape
        self.embedding = nn.Embedding(words, dim, padding_idx=PAD, sparse=True)
        self.embedding.weight = nn.Parameter(vectors, requires_grad=not freeze)
        self.linear = nn.Linear(2 * dim if pooling == "mean_max" else dim, logits_for(labels))
        self.register_buffer("idf", torch.ones(words) if pooling == "idf_mean" else None)

    def forward(self, ids: Tensor) -> Tensor:
        """The logits of a batch."""
        return linear(self.linear, self.pooled(ids))

    def pooled(self, ids: Tensor) -> Tensor:
        """Each review of a batch as one vector: (B, T) -> (B, D), or (B, 2 D) for mean_max."""
        table = self.embedding.weight
        # The sparse gradient of a large batch would have more rows than the embedding.
        sparse = ids.numel() <= max(SPARSE_CELLS, len(table))
        parts = []
        if "max" in self.pooling:
            parts.append(
                max_pool(self.embedding(ids), ids != PAD) if sparse else pool(ids, table, "max", sparse=False)
            )
        if self.pooling != "max":
            weights = None if self.idf is None else self.idf[ids]  # (B, T)
            parts.append(pool(ids, table, "sum" if self.pooling == "sum" else "mean", weights, sparse))
        return torch.cat(parts, 1)


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """The loss of each review, in nats: (B, O), (B,) -> (B,)."""
    if logits.shape[1] == 1:
        return F.binary_cross_entropy_with_logits(logits[:, 0], labels.to(logits.dtype), reduction="none")
    return F.cross_entropy(logits, labels.long(), reduction="none")


def word_dropout(ids: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Reviews (B, T) in which a random `share` of the words is replaced by padding."""
    return ids.masked_fill(torch.rand(ids.shape, generator=generator).to(ids.device) < share, PAD)


def logits_of(
    model: Classifier,
    data: Batches,
    rows: Tensor,
    dropout: float = 0,
    generator: torch.Generator | None = None,
) -> Tensor:
    """The logits of some reviews: (B,) -> (B, O)."""
    if data.pooled is not None:
        return linear(model.linear, data.pooled[rows.to(data.device)])
    ids = data.batch(rows)
    if dropout and generator:
        ids = word_dropout(ids, dropout, generator)
    logits: Tensor = model(ids)
    return logits


def train_epoch(
    model: Classifier,
    optimisers: Sequence[Adam],
    train: Batches,
    params: Params,
    weights: Tensor,
    generator: torch.Generator,
    bar: "tqdm[Any]",
) -> float:
    """Takes one step per batch. Returns the mean loss. `weights` (N,) multiply the losses of the reviews."""
    total = 0.0
    table = model.embedding.weight
    for rows in train.shuffled(params.batch_size, generator):
        logits = logits_of(model, train, rows, params.word_dropout, generator)
        losses = cross_entropy(logits, train.labels[rows].to(train.device)) * weights[rows].to(train.device)
        model.zero_grad()
        losses.mean().backward()  # type: ignore[no-untyped-call]
        if table.grad is not None and not table.grad.is_sparse:
            table.grad = table.grad.to_sparse(1)  # only words of the batch are updated
        for optimiser in optimisers:
            optimiser.step()
        total += losses.sum().item()
        bar.update(len(rows))
    return total / len(train.labels)


class Epoch(NamedTuple):
    """One row of the training curve."""

    epoch: int
    train_loss: float
    validation_loss: float
    validation_accuracy: float


def fit(
    model: Classifier, train: Batches, validation: Batches, params: Params, weights: Tensor
) -> tuple[dict[str, Tensor], list[Epoch]]:
    """Trains until the validation loss stops falling: parameters of the best epoch, and the curve.

    Raises Refusal if the training diverges.
    """
    generator = torch.Generator().manual_seed(params.seed)
    optimisers = [Adam(part, params.lr, params.weight_decay) for part in model.linear.parameters()]
    if not params.freeze:
        optimisers.append(Adam(model.embedding.weight, params.embedding_lr))
    elif not params.word_dropout:
        for part in (train, validation):
            part.pooled = part.map(lambda rows, part=part: model.pooled(part.batch(rows)))  # type: ignore[misc]
    averaged = AveragedModel(model)
    curve: list[Epoch] = []
    best: Epoch | None = None
    state: dict[str, Tensor] = {}
    with progress("classifier", "reviews", params.epochs * len(train.labels)) as bar:
        for number in range(1, params.epochs + 1):
            loss = train_epoch(model, optimisers, train, params, weights, generator, bar)
            if params.weight_averaging:
                averaged.update_parameters(model)
            current: Classifier = averaged.module if params.weight_averaging else model  # type: ignore[assignment]
            logits = validation.map(lambda rows: logits_of(current, validation, rows)).cpu()  # noqa: B023
            if not (math.isfinite(loss) and logits.isfinite().all()):
                raise Refusal(f"diverged in epoch {number}: the loss is not finite; lower classifier.lr")
            scores = scores_of(logits.double().numpy(), validation.labels.numpy())
            curve.append(Epoch(number, loss, scores["loss"], scores["accuracy"]))
            bar.set_postfix_str(f"validation {scores['accuracy']:.4f}", refresh=False)
            if best is None or scores["loss"] < best.validation_loss:
                best = curve[-1]
                state = {name: value.detach().cpu().clone() for name, value in current.state_dict().items()}
            if number - best.epoch >= params.patience:
                break
    return state, curve


def fit_rounds(
    vectors: Tensor, reviews: Reviews, masks: Sequence[Bool], labels: int, pooling: Pool, params: Params
) -> tuple[dict[str, Tensor], HeldOut, list[list[Epoch]]]:
    """Trains one model per round: their mean, the logits of held-out reviews, and the curve of each round."""
    device = prepare(params.seed, params.threads, params.device)
    held = HeldOut.empty(len(reviews.labels), logits_for(labels))
    states, curves = [], []
    for mask in masks:
        torch.manual_seed(params.seed)  # every round starts with the same linear layer
        model = Classifier(vectors.clone(), labels, pooling, params.freeze)
        if model.idf is not None:
            model.idf = torch.from_numpy(inverse_document_frequency(reviews.ids, len(vectors))).float()
        batches = Batches(reviews.select(~mask), device), Batches(reviews.select(mask), device)
        weights = torch.from_numpy(sample_weights(reviews.labels[~mask], labels, params.class_weight)).float()
        state, curve = fit(model.to(device), *batches, params, weights)
        word_model = WordModel(pooling, word_arrays(pooling, {k: v.numpy() for k, v in state.items()}))
        held.fill(mask, lambda d: word_model.logits(d.ids, d.lengths), reviews.documents)  # noqa: B023
        states.append(state)
        curves.append(curve)
    return mean_model(states, pooling, params.freeze), held, curves


def main(
    params: Path,
    tensors: Path,
    embeddings: Path,
    vocabulary: Path,
    labels: Path,
    classifier: Path,
    held_out_logits: Path,
    metrics: Path,
    curve: Path,
) -> None:
    choices = read_params(params, "classifier", Params)
    vectors = torch.from_numpy(read_arrays(embeddings, "embeddings")["embeddings"])  # (V, D)
    if choices.init == "random":
        torch.manual_seed(choices.seed)
        vectors.normal_(0, 0.1)
        vectors[PAD] = 0
    facts = read_labels(labels)
    config = ClassifierConfig.of_run(tensors, vocabulary, choices.pool)
    reviews, is_validation = read_train_and_validation(tensors)
    masks = list(held_out(reviews.labels, is_validation, choices.folds, facts))
    state, held, curves = fit_rounds(vectors, reviews, masks, len(facts["labels"]), choices.pool, choices)
    with atomic(classifier) as temporary:
        save_file(state, temporary, {"classifier": config.model_dump_json()})
    held.save(held_out_logits)
    write_csv(curve, Epoch._fields, curves[0])
    bests = [min(epochs, key=lambda epoch: epoch.validation_loss) for epochs in curves]
    results = {
        "rounds": len(masks),
        "best_epoch": float(np.mean([best.epoch for best in bests])),
        "epochs_run": float(np.mean([len(epochs) for epochs in curves])),
        "train": {"loss": float(np.mean([best.train_loss for best in bests]))},
        "validation": scores_of(*held.seen(reviews.labels)),
    }
    write_json(metrics, results)


if __name__ == "__main__":
    run(main)
