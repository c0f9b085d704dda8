"""Workers: each takes the steps of a round on copies of rows; then their changes are merged."""

from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from threading import Lock
from typing import NamedTuple

import torch
from torch import Tensor

from stages import PAD
from stages.lib.word2vec.blocks import OBJECTIVES, make_blocks
from stages.lib.word2vec.capture import Replay, capture
from stages.lib.word2vec.gradients import loss_named, run_steps
from stages.lib.word2vec.noise import draw_noise
from stages.lib.word2vec.rows import gather
from stages.lib.word2vec.settings import EngineSettings, Schedule, Word2VecParams
from stages.lib.word2vec.steps import Step, make_chunk, split_steps
from stages.lib.word2vec.stream import Round, generator_at
from stages.lib.word2vec.tables import InputTable


class Replays:
    """The captured chunks, shared by all workers: one of them captures while the others wait."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.by_kind: dict[tuple[bool, bool], Replay] = {}  # whether targets are capped, whether with a loss

    def run(self, table: Tensor, out: Tensor, chunk: Step, count: int, with_loss: bool) -> Tensor:
        """`run_steps` with negative sampling on a chunk of the usual length, captured once per kind."""
        kind = (chunk.target_scale is not None, with_loss)
        with self.lock:
            if kind not in self.by_kind:
                self.by_kind[kind] = capture(table, out, chunk, count, with_loss)
        return self.by_kind[kind](table, out, *chunk.tensors().values())


class Change(NamedTuple):
    """What a worker changed in some rows of a table during a round."""

    rows: Tensor  # (U,)
    change: Tensor  # (U, D)
    counts: Tensor  # (U,) occurrences of each row


class RoundResult(NamedTuple):
    """What a worker reports of a round."""

    loss: float  # of the round's first step
    predictions: float  # in that step
    steps: int


class Worker:
    """Trains on rounds of text in a thread, on copies of the rows that occur in a round."""

    def __init__(
        self,
        inputs: InputTable,
        out: Tensor,
        noise: Tensor,
        schedule: Schedule,
        params: Word2VecParams,
        settings: EngineSettings,
        replays: Replays,
    ) -> None:
        """The worker reads the tables `inputs` and `out` (V, D); only `merge_workers` changes them."""
        self.inputs, self.out, self.noise = inputs, out, noise
        self.schedule, self.params, self.settings, self.replays = schedule, params, settings, replays
        self.loss = loss_named(params.loss, settings.softmax_cells)
        self.device = out.device
        self.is_used = torch.zeros(len(out), dtype=torch.bool, device=self.device)
        self.local = torch.empty(len(out), dtype=torch.int64, device=self.device)  # row -> row of the copy
        self.input_change = self.output_change = Change(*3 * [torch.empty(0)])
        self.buffers = [torch.empty_like(out) for _ in range(2)] if out.is_cuda else []

    def renumber(self, text: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
        """The rows that a round uses: those of the text (U,), and these followed by the `others` (U',).

        Both begin with <pad>, and the text's are ascending. Sets `local`, the position of each row among
        them, so <pad> has 0 there too.
        """
        self.is_used.index_fill_(0, text, True)[PAD] = True
        in_text = self.is_used.nonzero().flatten()
        self.is_used.index_fill_(0, others, True).index_fill_(0, in_text, False)
        used = torch.cat([in_text, self.is_used.nonzero().flatten()])
        self.is_used.index_fill_(0, used, False)
        self.local.scatter_(0, used, torch.arange(len(used), device=self.device))
        return in_text, used

    def draw(self, text: Round) -> Tensor:
        """The noise words of a round, (G, K)."""
        noise = self.schedule.noise
        groups = -(-len(text.ids) // (self.settings.block * noise.blocks))
        generator = generator_at(self.params.seed, "noise", *text.position)
        return draw_noise(self.noise, groups, noise, self.settings.round_factor, generator).to(self.device)

    def train(self, text: Round, rate: float) -> RoundResult:
        """Takes the steps of a round. `rate` is minus the learning rate."""
        p, s, noise_words = self.params, self.settings, self.draw(text)
        ids, left, right = (part.to(self.device) for part in (text.ids, text.left, text.right))
        # With the softmax all words are targets.
        is_softmax = p.loss == "softmax"
        others = torch.arange(len(self.out), device=self.device) if is_softmax else noise_words.flatten()
        input_rows, output_rows = self.renumber(ids, others)
        group = self.schedule.noise.blocks
        blocks = make_blocks(gather(self.local, ids), left, right, p.window, s.block, group)
        predictions = OBJECTIVES[p.objective](blocks)
        noise = gather(self.local, noise_words)
        step, cap = self.schedule.step, self.schedule.max_row_gradients
        round_chunk = make_chunk(predictions, noise, p.negatives, rate, step, s.damping, cap)
        inputs_before, out_before = self.inputs.take(input_rows), self.out.index_select(0, output_rows)
        table, out = self.copies(inputs_before, out_before)
        loss = self.run(table, out, round_chunk)
        input_counts = torch.bincount(predictions.inputs.flatten(), minlength=len(input_rows))
        output_ids = torch.cat([predictions.targets.flatten(), noise.flatten()])
        output_counts = torch.bincount(output_ids, minlength=len(output_rows))
        table, out = table[: len(input_rows)], out[: len(output_rows)]
        self.input_change = Change(input_rows, table.sub_(inputs_before), input_counts)
        self.output_change = Change(output_rows, out.sub_(out_before), output_counts)
        predicted = round_chunk.positives[:step].sum().item() / rate
        return RoundResult(loss, predicted, -(-len(round_chunk.inputs) // step))

    def run(self, table: Tensor, out: Tensor, round_chunk: Step) -> float:
        """Takes all steps of a round, chunk by chunk, and returns the loss of the first step."""
        value = 0.0
        for number, chunk in enumerate(split_steps(round_chunk, self.schedule.chunk)):
            with_loss = number == 0
            if self.params.loss == "negative_sampling" and len(chunk.inputs) == self.schedule.chunk:
                loss = self.replays.run(table, out, chunk, self.schedule.step, with_loss)
            else:
                loss = run_steps(table, out, chunk, self.schedule.step, self.loss, with_loss)
            if with_loss:
                value = loss.item()
        return value

    def copies(self, *tables: Tensor) -> Sequence[Tensor]:
        """Copies of some rows for the steps to change.

        A captured graph of a GPU has fixed memory addresses, so there the copies are always in the same
        two buffers, which have room for all rows.
        """
        if self.device.type == "cpu":
            return [rows.clone() for rows in tables]
        for buffer, rows in zip(self.buffers, tables, strict=True):
            buffer[: len(rows)] = rows
        return self.buffers


def merge_workers(
    workers: Sequence[Worker], inputs: InputTable, out: Tensor, average_from: float, pool: Executor
) -> None:
    """Adds the workers' changes to the tables in the order of the workers, so the sum is deterministic."""

    def add_inputs() -> None:
        for rows, change in scaled_changes([w.input_change for w in workers], len(out), average_from):
            inputs.add(rows, change)

    def add_outputs() -> None:
        for rows, change in scaled_changes([w.output_change for w in workers], len(out), average_from):
            out.index_add_(0, rows, change)

    for added in [pool.submit(add_inputs), pool.submit(add_outputs)]:
        added.result()


def scaled_changes(
    changes: Sequence[Change], words: int, average_from: float
) -> Iterator[tuple[Tensor, Tensor]]:
    """The rows and changes of each worker, scaled so that they can be added.

    For a rare row the workers' changes are independent, and their sum is what one worker would have
    learnt from all the text. For a frequent row all workers have learnt the same: the sum overshoots,
    and the mean weighted by occurrences is right. The scale passes from 1 to that mean:

        (average_from + count) / (average_from + count over all workers)
    """
    total = changes[0].change.new_zeros(words)
    for rows, _, counts in changes:
        total.index_add_(0, rows, counts.to(total))
    for rows, change, counts in changes:
        scale = (average_from + counts) / (average_from + gather(total, rows))
        yield rows, change.mul_(scale[:, None])
