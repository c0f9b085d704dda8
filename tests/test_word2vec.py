"""The engine of word2vec: equality to the reference in the stage, and each addition to the paper."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from stages import embeddings as stage
from stages.lib.command import Refusal
from stages.lib.portable import Device, prepare
from stages.lib.word2vec import blocks, gradients, workers
from stages.lib.word2vec.blocks import OBJECTIVES, Blocks, make_blocks
from stages.lib.word2vec.capture import capture
from stages.lib.word2vec.gradients import Update, loss_named, negative_sampling, run_steps, sgd_step
from stages.lib.word2vec.noise import draw_noise, noise_table
from stages.lib.word2vec.rows import gather, lookup, row_scale
from stages.lib.word2vec.settings import (
    EngineSettings,
    LossName,
    Objective,
    SharedNoise,
    schedule,
    settings_for,
)
from stages.lib.word2vec.steps import Step, input_scale, make_chunk, output_scale, split_steps
from stages.lib.word2vec.stream import (
    Position,
    generator_at,
    keep_probability,
    read_ahead,
    rounds,
    row_groups,
    subsampled,
    windows,
)  # fmt: skip
from stages.lib.word2vec.trainer import LossCurve, require_trainable
from stages.lib.word2vec.workers import Change, Replays, scaled_changes
from tests.conftest import DEVICES, needs_gpu
from tests.tiny_corpus import Run, assert_kinds_are_separate, engine_params, fruit_and_tools

V, D = 13, 5
OFF = float("inf")  # no cap
both_objectives = pytest.mark.parametrize("objective", ["skipgram", "cbow"])
both_losses = pytest.mark.parametrize("loss", ["negative_sampling", "softmax"])


@pytest.fixture
def fruit(tmp_path: Path) -> Run:
    return Run(tmp_path, fruit_and_tools(400))


class Example(NamedTuple):
    """A document with the reach of each word, the noise words of each group of blocks, and both tables."""

    document: list[int]
    reach: list[int]
    noise: Tensor  # (G, K)
    table: Tensor  # (V, D)
    out: Tensor  # (V, D)


def random_example(words: int, window: int, groups: int, noise_words: int, seed: int) -> Example:
    generator = torch.Generator().manual_seed(seed)
    table, out = torch.randn(2, V, D, generator=generator, dtype=torch.float64)
    table[0] = 0
    document = torch.randint(2, V, (words,), generator=generator).tolist()
    reach = torch.randint(1, window + 1, (words,), generator=generator).tolist()
    return Example(
        document, reach, torch.randint(2, V, (groups, noise_words), generator=generator), table, out
    )


def blocks_of(example: Example, window: int, length: int, group: int) -> Blocks:
    reach = torch.tensor(example.reach)
    made = make_blocks(torch.tensor(example.document), reach, reach, window, length, group)
    return made._replace(window_mask=made.window_mask.double())


def reference_gradients(
    objective: Objective, loss: LossName, example: Example, noise: Tensor, positions: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Loss and gradients of both tables by autograd, of the stage's own class and functions.

    `noise` are the noise words of each group, whose length is `positions`.
    """
    model = stage.Word2Vec(example.table.clone())
    model.output.weight = nn.Parameter(example.out.clone())
    examples, groups = [], []
    for position, reach in enumerate(example.reach):
        alone = [
            reach if n == position else 0 for n in range(len(example.reach))
        ]  # the others predict nothing
        made = list(getattr(stage, objective)(example.document, alone))
        examples += made
        groups += [position // positions] * len(made)
    if not examples:
        return torch.zeros(()), torch.zeros(V, D), torch.zeros(V, D)
    width = max(len(words) for words, _ in examples)
    inputs = torch.tensor([words + [0] * (width - len(words)) for words, _ in examples])
    targets = torch.tensor([target for _, target in examples])
    losses = getattr(stage, loss)(model.hidden(inputs), targets, noise[groups], model.output)
    model.zero_grad()
    losses.sum().backward()
    grads = [weight.grad.to_dense() for weight in (model.input.weight, model.output.weight)]
    return losses.sum().detach(), grads[0], grads[1]


def dense(*updates: Update) -> Tensor:
    whole = torch.zeros(V, D, dtype=torch.float64)
    for rows, change in updates:
        whole.index_add_(0, rows.flatten(), change.flatten(0, -2))
    return whole


def assert_equal(one: Tensor, other: Tensor) -> None:
    torch.testing.assert_close(one.double(), other.double(), atol=1e-12, rtol=1e-12)


@both_objectives
@given(words=st.integers(1, 40), window=st.integers(1, 4), length=st.integers(1, 8), seed=st.integers(0, 999))
@settings(max_examples=40, deadline=None)
def test_blocks_make_the_predictions_of_the_reference(
    objective: Objective, words: int, window: int, length: int, seed: int
) -> None:
    example = random_example(words, window, 1, 1, seed)
    made = blocks_of(example, window, length, 1)
    predictions = []
    for block, mask_of_block in enumerate(made.window_mask.bool()):
        for position, mask in enumerate(mask_of_block):
            centre, contexts = int(made.centres[block, position]), made.contexts[block, mask].tolist()
            if objective == "skipgram":
                predictions += [([centre], word) for word in contexts]
            elif contexts:
                predictions.append((contexts, centre))
    assert predictions == list(getattr(stage, objective)(example.document, example.reach))


@both_objectives
@both_losses
@given(
    words=st.integers(1, 24),
    window=st.integers(1, 3),
    length=st.integers(1, 6),
    group=st.integers(1, 3),
    cells=st.sampled_from([1, 5 * V, 1 << 22]),
    seed=st.integers(0, 10_000),
)
@settings(max_examples=20, deadline=None)
def test_gradients_equal_autograd_of_the_reference(
    objective: Objective,
    loss: LossName,
    words: int,
    window: int,
    length: int,
    group: int,
    cells: int,
    seed: int,
) -> None:
    negatives, rate = 4, -0.5
    example = random_example(words, window, -(-words // (length * group)), negatives, seed)
    predictions = OBJECTIVES[objective](blocks_of(example, window, length, group))
    count = len(predictions.inputs)
    step = make_chunk(predictions, example.noise, negatives, rate, count, damping=0.0, max_gradients=OFF)
    made = gradients.gradients(example.table, example.out, step, loss_named(loss, cells), with_loss=True)
    expected = reference_gradients(objective, loss, example, example.noise, length * group)
    assert_equal(made[2], expected[0])
    assert_equal(dense(made[0])[1:], rate * expected[1][1:])  # no prediction has <pad>
    assert_equal(dense(*made[1])[1:], rate * expected[2][1:])


@both_objectives
def test_shared_noise_has_the_expected_gradient_of_noise_per_prediction(objective: Objective) -> None:
    """On average, K words drawn for each prediction equal all shared words with equal weights."""
    negatives, window, length = 5, 2, 4
    example = random_example(23, window, 2, 3, seed=7)
    predictions = OBJECTIVES[objective](blocks_of(example, window, length, group=3))
    step = make_chunk(predictions, example.noise, negatives, 1.0, len(predictions.inputs), 0.0, OFF)
    made = gradients.gradients(example.table, example.out, step, negative_sampling, with_loss=True)
    drawn = [
        reference_gradients(
            objective, "negative_sampling", example, column[:, None].expand(-1, negatives), 3 * length
        )
        for column in example.noise.T
    ]
    expected = [torch.stack(parts).mean(0) for parts in zip(*drawn, strict=True)]
    assert_equal(made[2], expected[0])
    assert_equal(dense(made[0]), expected[1])
    assert_equal(dense(*made[1])[1:], expected[2][1:])


class Drawn(NamedTuple):
    table: Tensor
    out: Tensor
    step: Step


def random_step(
    objective: Objective, seed: int, groups: int, group: int, cap: float = 1e9, rate: float = -0.5,
    device: Device = "cpu",
) -> Drawn:  # fmt: skip
    """Random tables and a step of random blocks: the same numbers on each device."""
    positions, window = 6, 2
    generator = torch.Generator().manual_seed(seed)
    table, out = torch.randn(2, V, D, generator=generator, dtype=torch.float64)
    contexts = torch.randint(2, V, (groups * group, positions + 2 * window), generator=generator)
    mask = (torch.rand(groups * group, positions, contexts.shape[1], generator=generator) < 0.3).double()
    noise = torch.randint(2, V, (groups, 3), generator=generator)
    text = Blocks(*(x.to(device) for x in (contexts[:, window : window + positions], contexts, mask)))
    predictions = OBJECTIVES[objective](text)
    step = make_chunk(predictions, noise.to(device), 5, rate, groups * group, -0.25, cap)
    return Drawn(table.to(device), out.to(device), step)


@needs_gpu
@both_objectives
@both_losses
@pytest.mark.parametrize("cap", [1.5, 1e9])
def test_a_step_on_a_gpu_equals_one_on_a_cpu(objective: Objective, loss: LossName, cap: float) -> None:
    prepare(0, 1, "cuda")
    cpu, gpu = (random_step(objective, 3, 2, 2, cap, device=device) for device in ("cpu", "cuda"))
    before = cpu.table.clone()
    values = [sgd_step(x.table, x.out, x.step, loss_named(loss, 1 << 22), True) for x in (cpu, gpu)]
    assert torch.allclose(values[0], values[1].cpu())
    assert torch.allclose(cpu.table, gpu.table.cpu())
    assert torch.allclose(cpu.out, gpu.out.cpu())
    assert not torch.allclose(cpu.table, before)


@both_objectives
@pytest.mark.parametrize("cap", [1.5, 1e9])  # some rows are capped, or none
@pytest.mark.parametrize(("group", "count"), [(1, 2), (3, 3), (2, 6)])  # blocks of six per group, per step
def test_a_chunk_is_split_into_steps_with_their_noise(
    objective: Objective, cap: float, group: int, count: int
) -> None:
    drawn = random_step(objective, 1, 6 // group, group, cap)
    steps = list(split_steps(drawn.step, count))
    assert [len(step.inputs) for step in steps] == [count] * (6 // count)
    assert [len(step.noise) for step in steps] == [count // group] * (6 // count)
    assert all(step.rate is drawn.step.rate for step in steps)
    for name in drawn.step.tensors().keys() - {"rate"}:
        assert torch.equal(torch.cat([getattr(step, name) for step in steps]), getattr(drawn.step, name))
    table, out = drawn.table.clone(), drawn.out.clone()
    value = run_steps(table, out, drawn.step, count, negative_sampling, with_loss=True)
    losses = [sgd_step(drawn.table, drawn.out, step, negative_sampling, True) for step in steps]
    assert torch.equal(value, losses[0])
    assert torch.equal(table, drawn.table)
    assert torch.equal(out, drawn.out)


@both_objectives
@pytest.mark.parametrize("cap", [1.5, 1e9])
@pytest.mark.parametrize("with_loss", [False, True])
@pytest.mark.parametrize("count", [2, 4])  # blocks of four per step
@pytest.mark.parametrize("device", DEVICES)
def test_a_replay_equals_the_captured_operations(
    objective: Objective, cap: float, with_loss: bool, count: int, device: Device
) -> None:
    prepare(0, 1, device)
    first, second = (
        random_step(objective, n, 2, 2, cap, rate, device) for n, rate in ((1, -0.5), (2, -0.25))
    )
    if device == "cuda":  # a graph is bound to its tables
        second = second._replace(table=first.table, out=first.out)
    assert (second.step.target_scale is None) == (cap == 1e9)
    before = first.table.clone(), first.out.clone()
    replay = capture(first.table, first.out, first.step, count, with_loss)
    assert torch.equal(first.table, before[0])
    assert torch.equal(first.out, before[1])
    table, out = second.table.clone(), second.out.clone()
    loss = run_steps(table, out, second.step, count, negative_sampling, with_loss)
    assert not torch.equal(table, second.table)
    assert torch.equal(replay(second.table, second.out, *second.step.tensors().values()), loss)
    assert bool(loss) == with_loss
    assert torch.equal(second.table, table)
    assert torch.equal(second.out, out)


@both_objectives
@pytest.mark.parametrize("device", DEVICES)
def test_training_with_replays_gives_the_bytes_of_training_without(
    fruit: Run, monkeypatch: pytest.MonkeyPatch, objective: Objective, device: Device
) -> None:
    constants = replace(settings_for(objective, device), step=1, step_factor=1)
    replayed: list[int] = []

    def counted(
        self: Replays, table: Tensor, out: Tensor, chunk: Step, count: int, with_loss: bool
    ) -> Tensor:
        replayed.append(count)
        return original(self, table, out, chunk, count, with_loss)

    original = Replays.run
    monkeypatch.setattr(Replays, "run", counted)
    table, _ = fruit.engine(constants, objective=objective, epochs=3, device=device)
    assert replayed
    monkeypatch.setattr(
        Replays,
        "run",
        lambda _, table, out, *rest: run_steps(table, out, *rest[:2], negative_sampling, rest[2]),
    )
    again, _ = fruit.engine(constants, objective=objective, epochs=3, device=device)
    assert torch.equal(again, table)


@given(lengths=st.lists(st.integers(0, 40), min_size=1, max_size=8).filter(any), window=st.integers(1, 6))
@settings(max_examples=30, deadline=None)
def test_windows_end_at_the_ends_of_a_document(lengths: list[int], window: int) -> None:
    left, right = windows(torch.tensor(lengths), window, torch.Generator().manual_seed(1))
    position = np.concatenate([np.arange(length) for length in lengths])
    from_end = np.concatenate([np.arange(length)[::-1] for length in lengths])
    drawn = torch.randint(1, window + 1, (sum(lengths),), generator=torch.Generator().manual_seed(1))
    assert left.tolist() == np.minimum(drawn.numpy(), position).tolist()
    assert right.tolist() == np.minimum(drawn.numpy(), from_end).tolist()


def test_a_window_does_not_reach_beyond_the_text() -> None:
    far = torch.full((5,), 3)
    _, contexts, mask = make_blocks(torch.arange(2, 7), far, far, 3, 16)
    assert contexts[mask.bool().any(1)].min() >= 2
    assert mask.sum(-1)[0, :5].tolist() == [3, 4, 4, 4, 3]
    assert not mask[0, 5:].any()


def test_a_text_is_padded_to_whole_groups_of_blocks_without_predictions() -> None:
    far = torch.full((20,), 2)
    centres, _, mask = make_blocks(torch.arange(2, 22), far, far, 2, 16, group=4)
    assert centres.shape == (4, 16)
    assert not centres.flatten()[20:].any()
    assert not mask.flatten(0, 1)[20:].any()


def test_each_position_draws_its_own_window() -> None:
    left, right = windows(torch.tensor([10_000]), 4, torch.Generator().manual_seed(0))
    counts = torch.bincount(torch.maximum(left, right), minlength=5)[1:]
    assert (counts / 10_000 - 0.25).abs().max() < 0.02


def test_frequent_words_are_subsampled_as_in_word2vec() -> None:
    counts = torch.tensor([0, 10, 900, 90])
    expected = (1e-3 / 0.9) ** 0.5 + 1e-3 / 0.9
    assert keep_probability(counts, 1e-3)[2].item() == pytest.approx(expected)
    assert keep_probability(counts, 0).tolist() == [0, 1, 1, 1]


def test_subsampling_keeps_the_order_and_the_documents() -> None:
    words, lengths = torch.tensor([2, 3, 2, 3, 3, 2]), torch.tensor([3, 0, 3])
    kept, kept_lengths = subsampled(words, lengths, torch.tensor([0.0, 0, 1, 0]), torch.Generator())
    assert kept.tolist() == [2, 2, 2]
    assert kept_lengths.tolist() == [2, 0, 1]


def test_noise_is_drawn_by_count_to_a_power_and_excludes_padding() -> None:
    table = noise_table(torch.tensor([0, 16, 81, 256]), 0.75)
    fractions = torch.bincount(table, minlength=4) / len(table)
    assert torch.allclose(fractions, torch.tensor([0, 8, 27, 64]) / 99, atol=1e-5)


def test_noise_words_come_from_all_words_or_from_a_pool() -> None:
    distinct = torch.arange(100_000, dtype=torch.int32)  # as many words, which shows the number drawn from
    two_words = (distinct < 50_000).int()

    def drawn(table: Tensor, pool: int | None, factor: int = 1) -> Tensor:
        return draw_noise(table, 500, SharedNoise(4, 32, pool), factor, generator_at(1))

    assert drawn(distinct, None).shape == (500, 32)
    assert len(drawn(distinct, None).unique()) > 14_000  # of 16,000, some equal by chance
    assert drawn(two_words, None).float().mean().item() == pytest.approx(0.5, abs=0.02)
    assert len(drawn(distinct, 50).unique()) == 50
    assert len(drawn(distinct, 50, factor=3).unique()) == 150


def test_inputs_are_damped_by_their_count_in_a_step() -> None:
    inputs = torch.tensor([[1, 2, 2], [2, 2, 3], [2, 1, 1]])
    scale = input_scale(inputs, 2, -0.25, 8.0)[..., 0]  # two blocks per step
    counts = torch.tensor([[1, 4, 4], [4, 4, 1], [1, 2, 2]])
    assert torch.allclose(scale, counts**-0.25)


def test_the_sum_of_a_rows_gradients_is_capped() -> None:
    assert row_scale(torch.tensor([64.0]), -0.25, 8.0).item() * 64 == pytest.approx(8)
    assert row_scale(torch.tensor([64.0]), 0.0, OFF).item() == 1


def test_outputs_are_capped_and_not_damped() -> None:
    targets, noise = torch.tensor([[1, 2, 2], [2, 2, 3]]), torch.tensor([[2], [2]])
    assert output_scale(targets, noise, 1 / 2, 3.0) is None
    scale = output_scale(targets, noise, 1 / 2, 1.5)  # row 2 has three gradients in each of two steps
    assert scale is not None
    assert scale.tolist() == [1, 1, 0.5, 1]
    shared = output_scale(targets, noise[:1], 1 / 2, 1.5)  # the word counts once for each of its two blocks
    assert shared is not None
    assert shared.tolist() == scale.tolist()


@both_objectives
def test_the_cap_scales_output_gradients_and_leaves_input_gradients(objective: Objective) -> None:
    drawn = random_step(objective, 1, 2, 2)
    step = drawn.step
    single = blocks.has_single_target(step.positives)
    half = torch.full((V,), 0.5)
    less = step._replace(
        target_scale=gather(half, step.targets).unsqueeze(2 if single else 1),
        noise_scale=gather(half, step.noise).unsqueeze(1),
    )
    full_in, full_out, _ = gradients.gradients(drawn.table, drawn.out, step, negative_sampling)
    in_update, out_updates, _ = gradients.gradients(drawn.table, drawn.out, less, negative_sampling)
    assert torch.equal(dense(in_update), dense(full_in))
    assert torch.allclose(dense(*out_updates), dense(*full_out) / 2)


def test_changes_of_workers_are_added_for_rare_rows_and_averaged_for_frequent_rows() -> None:
    rows, average_from = torch.tensor([2, 3, 5]), 16.0
    one = Change(rows, torch.full((3, 2), 1.0), torch.tensor([1, 10**9, 10**9]))
    other = Change(rows[:2], torch.full((2, 2), 3.0), torch.tensor([1, 10**9]))
    table = torch.zeros(7, 2)
    for changed, change in scaled_changes([one, other], 7, average_from):
        table.index_add_(0, changed, change)
    rare = 4 * (average_from + 1) / (average_from + 2)
    assert table[:, 0].tolist() == pytest.approx([0, 0, rare, 2, 0, 1, 0])


def test_a_worker_renumbers_the_rows_that_it_uses(fruit: Run) -> None:
    params = engine_params()
    constants = EngineSettings()
    out = torch.zeros(10, 8)
    plan = schedule(100, params, constants)
    made = workers.Worker(
        workers.InputTable(out), out, torch.zeros(5, dtype=torch.int32), plan, params, constants, Replays()
    )
    used_in, used_out = made.renumber(torch.tensor([7, 3, 7]), torch.tensor([3, 9, 2]))
    assert used_in.tolist() == [0, 3, 7]
    assert used_out.tolist() == [0, 3, 7, 2, 9]
    assert made.local[used_out].tolist() == [0, 1, 2, 3, 4]
    assert not made.is_used.any()


def test_a_lookup_takes_rows() -> None:
    table, rows = torch.randn(V, D), torch.randint(V, (4, 7))
    assert torch.equal(lookup(table, rows), nn.Embedding.from_pretrained(table)(rows))
    assert torch.equal(gather(table[:, 0], rows), table[:, 0][rows])


@pytest.mark.parametrize("device", DEVICES)
def test_words_that_occur_together_become_similar_with_shared_noise_on_a_short_text(
    fruit: Run, device: Device
) -> None:
    constants = settings_for("skipgram", device)
    constants = replace(constants, noise_short_text=constants.noise)
    epochs = {"cpu": 12, "cuda": 60}[device]  # a GPU takes larger steps
    choices = {"subsample": 0, "lr": 0.025, "epochs": epochs, "device": device}
    table, _ = fruit.engine(constants, **choices)
    assert_kinds_are_separate(fruit, table)
    assert torch.equal(fruit.engine(constants, **choices)[0], table)


@both_objectives
@pytest.mark.parametrize("words", [1, 10_000, 10**6, 2 * 10**6, 10**9])
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_a_step_has_whole_groups_and_a_round_whole_steps(
    objective: Objective, words: int, device: Device
) -> None:
    params, constants = engine_params(objective=objective, device=device), settings_for(objective, device)
    for short in (constants.noise, constants.noise_short_text):
        plan = schedule(words, params, replace(constants, noise_short_text=short))
        assert plan.step > 0
        assert plan.round >= plan.step
        assert plan.step % plan.noise.blocks == plan.round % plan.chunk == plan.chunk % plan.step == 0


def test_the_cap_is_divided_among_two_workers_and_not_among_more() -> None:
    caps = [
        schedule(words, engine_params(threads=threads), EngineSettings()).max_row_gradients
        for words, threads in ((10**9, 1), (10**9, 2), (10**9, 4), (1000, 1))
    ]
    assert caps == [16, 8, 8, 8]


@pytest.mark.parametrize(
    ("words", "workers"),
    [
        (1000, [1, 2, 2, 2, 2, 2]),
        (2_000_000, [1, 2, 2, 2, 2, 2]),
        (7_000_000, [1, 2, 3, 3, 3, 3]),
        (16_941_541, [1, 2, 4, 8, 8, 8]),
        (140_000_000, [1, 2, 4, 8, 16, 16]),
        (10**9, [1, 2, 4, 8, 16, 32]),
    ],
)
@both_objectives
def test_the_number_of_workers_depends_on_text_and_threads(
    words: int, workers: list[int], objective: Objective
) -> None:
    constants = settings_for(objective, "cpu")
    plans = [
        schedule(words, engine_params(threads=threads, objective=objective), constants)
        for threads in (1, 2, 4, 8, 16, 32)
    ]
    assert [plan.workers for plan in plans] == workers
    two = plans[1]
    longest = max(2 * two.round, words // (constants.block * constants.merges))  # between two merges
    for plan in plans[2:]:
        assert plan.workers * plan.round <= longest
        assert plan.workers == 2 or plan.round >= constants.shortest_round
        assert plan._replace(workers=2, round=two.round, chunk=two.chunk) == two


def test_a_gpu_has_one_worker() -> None:
    plan = schedule(10**9, engine_params(threads=8, device="cuda"), settings_for("skipgram", "cuda"))
    assert plan.workers == 1


@both_objectives
@pytest.mark.parametrize("threads", [1, 2, 4, 8, 16, 32])
def test_every_number_of_workers_gives_the_same_bytes_on_every_run(
    fruit: Run, threads: int, objective: Objective
) -> None:
    constants = replace(settings_for(objective, "cpu"), shortest_round=1, words_per_worker=1)
    choices = {"objective": objective, "threads": threads, "epochs": 5}
    table, _ = fruit.engine(constants, **choices)
    assert torch.equal(fruit.engine(constants, **choices)[0], table)
    plan = schedule(int(fruit.counts.sum()), engine_params(**choices), constants)
    assert plan.workers == threads


@pytest.mark.parametrize("average_from", [1.0, 1e12])
def test_the_engine_uses_the_settings_that_it_is_given(fruit: Run, average_from: float) -> None:
    table, _ = fruit.engine(epochs=1)
    constants = replace(settings_for("skipgram", "cpu"), average_from=average_from)
    assert not torch.equal(fruit.engine(constants, epochs=1)[0], table)


def test_items_are_fetched_in_order_and_some_in_advance() -> None:
    fetched: list[int] = []

    def numbers() -> Iterator[int]:
        for n in range(1, 21):
            fetched.append(n)
            yield n

    for n, item in enumerate(read_ahead(numbers(), 3), 1):
        assert item == n
        assert len(fetched) <= n + 3
    assert fetched == list(range(1, 21))


def test_an_error_while_fetching_is_raised_where_the_item_is_used() -> None:
    items = read_ahead((60 // n for n in (3, 2, 1, 0)), 2)
    assert [next(items) for _ in range(3)] == [20, 30, 60]
    with pytest.raises(ZeroDivisionError):
        next(items)


def test_closing_the_items_ends_the_thread_that_fetches_them() -> None:
    before = threading.active_count()
    items = read_ahead(iter(range(1, 1000)), 3)
    next(items)
    assert threading.active_count() == before + 1
    items.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before


def test_draws_depend_on_seed_and_position_only() -> None:
    draws = [torch.rand(3, generator=generator_at(1, *position)) for position in ((0, 1), (0, 1), (1, 0))]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])
    assert not torch.equal(draws[0], torch.rand(3, generator=generator_at(2, 0, 1)))


def test_rounds_resume_at_any_position(fruit: Run) -> None:
    params, keep = engine_params(epochs=3), torch.full((10,), 0.7)
    whole = list(rounds(fruit.paths[0], keep, 500, params, Position(0, 0, 0)))
    assert row_groups(fruit.paths[0]) == 1
    assert sum(text.words for text in whole) == 3 * 400 * 12
    assert [text.position for text in whole] == sorted(text.position for text in whole)
    for number, text in enumerate(whole):
        rest = list(rounds(fruit.paths[0], keep, 500, params, text.position))
        assert len(rest) == len(whole) - number
        assert all(torch.equal(a, b) for a, b in zip(rest[0][2:], text[2:], strict=True))


def test_a_softmax_in_parts_gives_the_same_result(fruit: Run) -> None:
    whole, _ = fruit.engine(loss="softmax")
    parts, _ = fruit.engine(replace(settings_for("skipgram", "cpu"), softmax_cells=1), loss="softmax")
    assert torch.allclose(parts, whole, atol=1e-5)


@pytest.mark.parametrize("threads", [1, 2])
def test_few_words_are_trained_for_many_epochs_without_divergence(fruit: Run, threads: int) -> None:
    _, curve = fruit.engine(objective="cbow", threads=threads, epochs=100)
    assert curve.rows[-1][1] < 3


def test_the_loss_curve_has_means_between_its_points() -> None:
    curve = LossCurve(spacing=25)
    for words in range(10, 101, 10):
        curve.add(words, loss=words, predictions=2)
    curve.finish(100, torch.zeros(1), 0.1)
    assert curve.rows == [(30, 10.0), (50, 22.5), (80, 35.0), (100, 47.5)]


def test_vectors_that_are_not_finite_at_the_end_are_refused() -> None:
    curve = LossCurve(1)
    curve.add(10, 1.0, 1)
    with pytest.raises(Refusal, match=r"diverged .*lower embeddings\.lr, found 0\.1"):
        curve.finish(10, torch.tensor([1.0, torch.nan]), 0.1)


def test_more_memory_than_a_gpu_has_free_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (999, 10**9))
    params = engine_params(device="cuda")
    with pytest.raises(Refusal, match=r"embeddings\.dim: found 8, .* needs 0\.0 GB of memory"):
        require_trainable(4800, 8, params)  # 4 tables of 8 words of 8 numbers of 4 bytes
    require_trainable(4800, 7, params)
