"""Trainer: the loop over all rounds, with the learning rate, the loss curve and checkpoints."""

import math
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from stages import UNK
from stages.lib.checkpoint import Checkpoint
from stages.lib.command import Refusal
from stages.lib.memory import require_memory
from stages.lib.progress import progress
from stages.lib.word2vec.noise import noise_table
from stages.lib.word2vec.settings import EngineSettings, Word2VecParams, schedule
from stages.lib.word2vec.stream import Position, keep_probability, read_ahead, rounds
from stages.lib.word2vec.tables import InputTable
from stages.lib.word2vec.workers import Replays, RoundResult, Worker, merge_workers


class LossCurve:
    """The mean loss per prediction over the words processed so far."""

    def __init__(self, spacing: int) -> None:
        """`spacing` is the number of words between two points."""
        self.spacing = max(1, spacing)
        self.rows: list[tuple[int, float]] = []
        self.loss = self.predictions = 0.0

    def add(self, words: int, loss: float, predictions: float) -> None:
        """Adds a summed loss and its number of predictions; `words` have been processed so far."""
        self.loss, self.predictions = self.loss + loss, self.predictions + predictions
        if words >= self.spacing * (len(self.rows) + 1):
            self.close(words)

    def close(self, words: int) -> None:
        """Ends the current point."""
        if self.predictions:
            self.rows.append((words, self.loss / self.predictions))
            self.loss = self.predictions = 0.0

    def finish(self, words: int, vectors: Tensor, lr: float) -> None:
        """Ends the curve and checks the trained vectors, (V, D).

        Raises Refusal if the training has diverged or the text has no predictions.
        """
        if not vectors.isfinite().all():
            raise Refusal(f"diverged after {words:,} words; lower embeddings.lr, found {lr:g}")
        self.close(words)
        if not self.rows:
            raise Refusal("no two known words are adjacent in the train texts; lower vocabulary.min_count")


class Trainer:
    """The state of a training: both tables, the position in the text, the loss curve."""

    def __init__(
        self, counts: Tensor, inputs: InputTable, params: Word2VecParams, settings: EngineSettings
    ) -> None:
        """`counts` (V,) are the occurrences of each row in the text that is learnt from."""
        self.inputs, self.params, self.settings = inputs, params, settings
        self.out = inputs.weight.new_zeros(len(counts), params.dim)
        self.counts = counts.index_fill(0, torch.tensor([UNK]), 0)  # no prediction has <unk>
        self.total = int(counts.sum()) * params.epochs
        self.top_lr = settings.lr if params.lr == "auto" else params.lr
        self.curve = LossCurve(self.total // settings.curve_points)
        self.position, self.words, self.steps = Position(0, 0, 0), 0, 0

    def lr(self) -> float:
        """The learning rate, which falls linearly."""
        return self.top_lr * max(self.settings.min_lr, 1 - self.words / self.total)

    def save(self, checkpoint: Checkpoint) -> None:
        """Writes the state into the checkpoint."""
        curve = {"curve": self.curve.rows, "open": [self.curve.loss, self.curve.predictions]}
        state = {"position": self.position, "words": self.words, "steps": self.steps, **curve}
        checkpoint.save({"inputs": self.inputs.weight, "out": self.out}, state)

    def restore(self, tensors: dict[str, Tensor], state: dict[str, Any]) -> None:
        """Continues from a checkpoint."""
        self.inputs.weight.copy_(tensors["inputs"])
        self.out.copy_(tensors["out"])
        self.position, self.words, self.steps = Position(*state["position"]), state["words"], state["steps"]
        self.curve.rows = [(words, loss) for words, loss in state["curve"]]
        self.curve.loss, self.curve.predictions = state["open"]

    def record(self, words: int, results: Sequence[RoundResult]) -> float:
        """Adds what the workers report of `words` words, and returns the mean loss per prediction.

        Raises Refusal if the training diverges.
        """
        loss = sum(result.loss for result in results)
        predictions = sum(result.predictions for result in results)
        self.steps += sum(result.steps for result in results)
        if not math.isfinite(loss):
            raise Refusal(
                f"diverged by step {self.steps:,} (epoch {self.position.epoch + 1}, after {self.words:,} "
                f"words) at a learning rate of {self.lr():.4g}: the loss is {loss}; lower embeddings.lr, "
                f"found {self.top_lr:g}"
            )
        self.words += words
        self.curve.add(self.words, loss, predictions)
        return loss / max(1, predictions)


def require_trainable(text: int, words: int, params: Word2VecParams) -> None:
    """Raises Refusal if there is nothing to learn from, or not enough memory for the tables.

    `text` is the number of words in the train texts, `words` the number in the vocabulary.
    """
    if not words:
        raise Refusal("the vocabulary contains <pad> and <unk> only; lower vocabulary.min_count")
    if text <= params.window:
        raise Refusal(
            f"embeddings.window: found {params.window}, but the train texts have {text} words in total; "
            "the window must be smaller than that"
        )
    buckets = params.char_ngrams.buckets if params.char_ngrams else 0
    tables = 2 if params.device == "cpu" else 4  # a GPU also has buffers for a copy of all rows
    require_memory(
        4 * params.dim * (tables * words + buckets),
        f"embeddings.dim: found {params.dim}, which with {words:,} words"
        + (f" and {buckets:,} buckets" if buckets else ""),
        "lower it, or raise vocabulary.min_count",
        torch.cuda.mem_get_info()[0] if params.device == "cuda" else None,
    )


def report_unused_threads(workers: int, text: int, params: Word2VecParams) -> None:
    """Says in one line that a text of so many words is too short for `params.threads` workers."""
    if params.device == "cpu" and workers < params.threads:
        print(
            f"embeddings.threads: found {params.threads}; {workers} are used, since the train texts have "
            f"{text:,} words in total, and more threads would give worse vectors",
            file=sys.stderr,
        )


def train(
    ids: Path,
    counts: Tensor,
    inputs: InputTable,
    params: Word2VecParams,
    settings: EngineSettings,
    checkpoint: Checkpoint,
) -> LossCurve:
    """Trains the input table in place and returns the loss curve.

    `counts` (V,) are the occurrences of each row in the text that is learnt from. Raises Refusal if the
    training diverges, or if no two known words are adjacent.
    """
    trainer = Trainer(counts, inputs, params, settings)
    if saved := checkpoint.load():
        trainer.restore(*saved)
    plan = schedule(int(counts.sum()), params, settings)
    report_unused_threads(plan.workers, int(counts.sum()), params)
    noise = noise_table(trainer.counts, params.noise_power, settings.noise_entries)
    keep = keep_probability(trainer.counts, params.subsample)
    replays = Replays()
    workers = [
        Worker(inputs, trainer.out, noise, plan, params, settings, replays) for _ in range(plan.workers)
    ]
    text = rounds(ids, keep, settings.block * plan.round, params, trainer.position)
    stream = read_ahead(text, settings.read_ahead // settings.round_factor)
    with progress("embeddings", "words", trainer.total) as bar, ThreadPoolExecutor(len(workers)) as pool:
        bar.update(trainer.words)
        while batch := list(islice(stream, len(workers))):
            trainer.position = batch[0].position
            if trainer.steps and checkpoint.due():
                trainer.save(checkpoint)
            lr = trainer.lr()
            futures = [pool.submit(w.train, part, -lr) for w, part in zip(workers, batch, strict=False)]
            words = sum(part.words for part in batch)
            loss = trainer.record(words, [future.result() for future in futures])
            merge_workers(workers[: len(batch)], inputs, trainer.out, settings.average_from, pool)
            bar.set_postfix_str(f"loss {loss:.3f}", refresh=False)
            bar.update(words)
    trainer.curve.finish(trainer.words, inputs.weight, trainer.top_lr)
    return trainer.curve
