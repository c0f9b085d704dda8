"""Embeddings: the lookup, the two objectives and two losses against autograd, and the toy table."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, logsigmoid

from stages import embeddings, ids, vocabulary
from stages.embeddings import (
    Blocks,
    Loss,
    Place,
    Predictions,
    Step,
    blocks_of,
    cbow,
    look_up,
    negative_sampling,
    skipgram,
    softmax,
)  # fmt: skip
from stages.lib.checkpoint import checkpoint
from stages.lib.command import Refusal
from stages.lib.files import read_json
from stages.lib.subwords import Subwords, vector_of
from stages.lib.tables import table_writer
from stages.lib.training import Device, prepare
from stages.report import nearest_words
from tests.conftest import DEVICES, ROOT, needs_gpu, refused

V, D, NEGATIVES = 13, 5, 5
Objective = Callable[[Blocks], Predictions]


FRUIT = ["apple", "pear", "plum", "cherry"]


class Drawn(NamedTuple):
    """What `random_step` draws."""

    table: Tensor
    out: Tensor
    text: Blocks
    noise: Tensor
    step: Step


def test_a_lookup_is_the_one_hot_product_bit_for_bit() -> None:
    table = nn.Embedding(V, D, padding_idx=0)
    rows = torch.randint(V, (4, 7))
    one_hot = nn.functional.one_hot(rows, V).float()
    assert torch.equal(table(rows), one_hot @ table.weight)


def test_the_toy_table_knows_its_neighbours() -> None:
    words = ["good", "great", "bad", "terrible"]
    table = np.array([[0.9, 0.8], [0.95, 0.9], [-0.85, -0.7], [-0.9, -0.95]], np.float32)
    near = nearest_words(words, table, words, 1)
    assert {word: found[0][0] for word, found in near.items()} == {
        "good": "great", "great": "good", "bad": "terrible", "terrible": "bad",
    }  # fmt: skip
    good, great = table[0], table[1]
    by_hand = good @ great / np.sqrt(good @ good) / np.sqrt(great @ great)
    assert near["good"][0][1] == pytest.approx(by_hand, abs=1e-6)


def random_step(
    objective: Objective,
    seed: int,
    groups: int,
    group: int,
    positions: int,
    window: int,
    most: float = 1e9,
    rate: float = -0.5,
    device: Device = "cpu",
) -> Drawn:
    """Tables of random numbers, random groups of blocks, and the step that an objective makes of them: the
    same numbers on each device."""
    blocks = groups * group
    generator = torch.Generator().manual_seed(seed)
    table = torch.randn(V, D, generator=generator, dtype=torch.float64)
    out = torch.randn(V, D, generator=generator, dtype=torch.float64)
    contexts = torch.randint(2, V, (blocks, positions + 2 * window), generator=generator)
    near = torch.rand(blocks, positions, contexts.shape[1], generator=generator) < 0.3
    # A word is no context of its own.
    near[:, torch.arange(positions), torch.arange(positions) + window] = False
    noise = torch.randint(2, V, (groups, 3), generator=generator)
    centres = contexts[:, window : window + positions]
    text = Blocks(*(part.to(device) for part in (centres, contexts, near.double())))
    noise = noise.to(device)
    step = embeddings.stretch_of(objective(text), noise, NEGATIVES, rate, blocks, most)
    return Drawn(table.to(device), out.to(device), text, noise, step)


def textbook(
    objective: Objective, loss: Loss, table: nn.Embedding, out: nn.Embedding, drawn: Drawn
) -> Tensor:
    """The loss as it is written in the papers: one prediction after the other, left to autograd."""
    total = torch.zeros((), dtype=torch.float64)
    group = len(drawn.text.centres) // len(drawn.noise)
    for block, (centres, contexts, near) in enumerate(zip(*drawn.text, strict=True)):
        for centre, is_near in zip(centres, near.bool(), strict=True):
            context = contexts[is_near]
            if objective is skipgram:
                predictions = [(table(centre), word) for word in context]
            else:
                predictions = [(table(context).mean(0), centre)] if len(context) else []
            for hidden, word in predictions:
                if loss is softmax:  # over all words but padding
                    total = total + cross_entropy((out.weight @ hidden)[None, 1:], word[None] - 1)
                else:
                    noise = out(drawn.noise[block // group]) @ hidden
                    total = total - logsigmoid(out(word) @ hidden) - NEGATIVES * logsigmoid(-noise).mean()
    return total


def dense(*updates: embeddings.Update) -> Tensor:
    whole = torch.zeros(V, D, dtype=torch.float64)
    for rows, change in updates:
        whole.index_add_(0, rows.flatten(), change.flatten(0, -2))
    return whole


@pytest.mark.parametrize("objective", [skipgram, cbow])
@pytest.mark.parametrize("loss", [negative_sampling, softmax])
@given(
    seed=st.integers(0, 10_000),
    groups=st.integers(1, 3),
    group=st.integers(1, 3),
    positions=st.integers(1, 6),
    window=st.integers(1, 3),
    cells=st.sampled_from([1, 5 * V, 1 << 22]),
)
@settings(max_examples=20, deadline=None)
def test_the_written_out_gradient_is_autograds(
    objective: Objective,
    loss: Loss,
    seed: int,
    groups: int,
    group: int,
    positions: int,
    window: int,
    cells: int,
) -> None:
    drawn = random_step(objective, seed, groups, group, positions, window)
    with pytest.MonkeyPatch.context() as patch:  # every row heeds its gradients in full
        patch.setattr(embeddings, "calm", lambda count, most, damping: torch.ones_like(count))
        patch.setattr(embeddings, "CELLS", cells)
        step = drawn.step._replace(calm_inputs=torch.ones_like(drawn.step.calm_inputs))
        in_update, out_updates, value = embeddings.changes(drawn.table, drawn.out, step, loss, True)
    table = nn.Embedding.from_pretrained(drawn.table.clone(), freeze=False)
    out = nn.Embedding.from_pretrained(drawn.out.clone(), freeze=False)
    wanted = textbook(objective, loss, table, out, drawn)
    assert torch.allclose(value, wanted.detach())
    if wanted.requires_grad:
        wanted.backward()
        assert torch.allclose(dense(in_update), -0.5 * table.weight.grad)
        assert torch.allclose(dense(*out_updates), -0.5 * out.weight.grad)


@needs_gpu
@pytest.mark.parametrize("objective", [skipgram, cbow])
@pytest.mark.parametrize("loss", [negative_sampling, softmax])
@pytest.mark.parametrize("most", [1.5, 1e9])
def test_a_gpu_takes_the_step_that_a_cpu_does(objective: Objective, loss: Loss, most: float) -> None:
    prepare(0, 1, "cuda")
    here = random_step(objective, 3, 2, 2, 6, 2, most)
    there = random_step(objective, 3, 2, 2, 6, 2, most, device="cuda")
    before = here.table.clone()
    told = [embeddings.advance(one.table, one.out, one.step, loss, watch=True) for one in (here, there)]
    assert torch.allclose(told[0], told[1].cpu())
    assert torch.allclose(here.table, there.table.cpu())
    assert torch.allclose(here.out, there.out.cpu())
    assert not torch.allclose(here.table, before)


@pytest.mark.parametrize("objective", [skipgram, cbow])
@pytest.mark.parametrize("most", [1.5, 1e9])  # targets that come often are calmed, or none is
@pytest.mark.parametrize(("group", "count"), [(1, 2), (3, 3), (2, 6)])  # of six blocks, noise and step
def test_a_stretch_is_cut_into_steps_with_their_noise(
    objective: Objective, most: float, group: int, count: int
) -> None:
    drawn = random_step(objective, 1, 6 // group, group, 6, 2, most)
    steps = list(embeddings.cut(drawn.step, count))
    assert [len(step.inputs) for step in steps] == [count] * (6 // count)
    assert [len(step.noise) for step in steps] == [count // group] * (6 // count)
    assert all(step.rate is drawn.step.rate for step in steps)
    for name in embeddings.tensors_of(drawn.step).keys() - {"rate"}:
        assert torch.equal(torch.cat([getattr(step, name) for step in steps]), getattr(drawn.step, name))
    table, out = drawn.table.clone(), drawn.out.clone()
    told = embeddings.walk(table, out, drawn.step, count, negative_sampling, watch=True)
    losses = [embeddings.advance(drawn.table, drawn.out, step, negative_sampling, True) for step in steps]
    assert torch.equal(told, losses[0])
    assert torch.equal(table, drawn.table)
    assert torch.equal(out, drawn.out)


@pytest.mark.parametrize("objective", [skipgram, cbow])
@pytest.mark.parametrize("most", [1.5, 1e9])
@pytest.mark.parametrize("watch", [False, True])
@pytest.mark.parametrize("count", [2, 4])  # of four blocks a step
@pytest.mark.parametrize("device", DEVICES)
def test_a_record_does_to_other_steps_what_their_operations_do(
    objective: Objective, most: float, watch: bool, count: int, device: Device
) -> None:
    prepare(0, 1, device)
    first, second = (
        random_step(objective, seed, 2, 2, 6, 2, most, rate, device) for seed, rate in ((1, -0.5), (2, -0.25))
    )
    if device == "cuda":  # where a record is of its own tables alone
        second = second._replace(table=first.table, out=first.out)
    assert (second.step.calm_targets is None) == (most == 1e9)
    untouched = first.table.clone(), first.out.clone()
    replay = embeddings.record(first.table, first.out, first.step, count, watch)
    assert torch.equal(first.table, untouched[0])
    assert torch.equal(first.out, untouched[1])
    wanted = second.table.clone(), second.out.clone()
    loss = embeddings.walk(*wanted, second.step, count, negative_sampling, watch)
    assert not torch.equal(wanted[0], second.table)
    assert torch.equal(replay(second.table, second.out, *embeddings.tensors_of(second.step).values()), loss)
    assert bool(loss) == watch
    assert torch.equal(second.table, wanted[0])
    assert torch.equal(second.out, wanted[1])


@given(lengths=st.lists(st.integers(0, 40), min_size=1, max_size=8).filter(any), window=st.integers(1, 6))
@settings(max_examples=30, deadline=None)
def test_blocks_pair_exactly_the_words_within_a_window_of_one_document(
    lengths: list[int], window: int
) -> None:
    total = sum(lengths)
    text = torch.arange(2, 2 + total)  # every word once, so that a pair tells where it is from
    left, right = embeddings.windows(torch.tensor(lengths), window, torch.Generator().manual_seed(1))
    reach: dict[int, set[int]] = {}
    for centres, contexts, near in zip(*blocks_of(text, left, right, window), strict=True):
        for centre, is_near in zip(centres.tolist(), near.bool(), strict=True):
            if is_near.any():
                reach[centre - 2] = {word - centre for word in contexts[is_near].tolist()}
    document = np.repeat(np.arange(len(lengths)), lengths)
    for place in range(total):
        offsets = reach.get(place, set())
        mates = {
            o
            for o in range(-window, window + 1)
            if o and 0 <= place + o < total and document[place + o] == document[place]
        }
        drawn = max((abs(o) for o in offsets), default=0)
        assert offsets == {o for o in mates if abs(o) <= drawn}
        assert bool(offsets) == bool(mates & {-1, 1})


def test_a_part_of_a_text_sees_nothing_beyond_itself() -> None:
    far = torch.full((5,), 3)
    _, contexts, near = blocks_of(torch.arange(2, 7), far, far, 3)
    assert contexts[near.bool().any(1)].min() >= 2
    assert near.sum(-1)[0, :5].tolist() == [3, 4, 4, 4, 3]
    assert not near[0, 5:].any()


def test_each_centre_draws_its_window_anew() -> None:
    left, right = embeddings.windows(torch.tensor([10_000]), 4, torch.Generator().manual_seed(0))
    counts = torch.bincount(torch.maximum(left, right), minlength=5)[1:]
    assert (counts / 10_000 - 0.25).abs().max() < 0.02


def test_frequent_words_are_thinned_out_as_word2vec_does() -> None:
    counts = torch.tensor([0, 10, 900, 90])
    share = 0.9
    wanted = (1e-3 / share) ** 0.5 + 1e-3 / share
    assert embeddings.keep_chance(counts, 1e-3)[2].item() == pytest.approx(wanted)
    assert embeddings.keep_chance(counts, 0).tolist() == [0, 1, 1, 1]


def test_noise_is_drawn_by_count_to_a_power_and_never_padding() -> None:
    counts = torch.tensor([0, 16, 81, 256])
    table = embeddings.noise_table(counts, 0.75)
    shares = torch.bincount(table, minlength=4) / len(table)
    assert torch.allclose(shares, torch.tensor([0, 8, 27, 64]) / 99, atol=1e-5)


def test_noise_words_come_from_all_words_or_from_a_pool() -> None:
    places = torch.arange(100_000, dtype=torch.int32)  # a word each, to tell how many were drawn from
    half = (places < 50_000).int()  # two words

    def drawn(table: Tensor, pool: int | None, longer: int = 1) -> Tensor:
        sharing = embeddings.Sharing(4, 32, pool)
        return embeddings.draw_noise(table, 500, sharing, longer, embeddings.dice(1))

    assert drawn(places, None).shape == (500, 32)
    assert len(drawn(places, None).unique()) > 14_000  # of 16,000, some of them equal by chance
    assert drawn(half, None).float().mean().item() == pytest.approx(0.5, abs=0.02)
    assert len(drawn(places, 50).unique()) == 50
    assert len(drawn(places, 50, longer=3).unique()) == 150


def test_inputs_heed_their_gradients_by_how_often_they_come_in_a_step() -> None:
    ids = torch.tensor([[1, 2, 2], [2, 2, 3], [2, 1, 1]])
    heeded = embeddings.calm_inputs(ids, 2, 8.0)[..., 0]  # two blocks a step
    often = torch.tensor([[1, 4, 4], [4, 4, 1], [1, 2, 2]])
    assert torch.allclose(heeded, often**-0.25)
    assert embeddings.calm(torch.tensor([64.0]), 8.0, -0.25).item() * 64 == pytest.approx(8)


def test_targets_heed_all_their_gradients_up_to_a_limit() -> None:
    targets, noise = torch.tensor([[1, 2, 2], [2, 2, 3]]), torch.tensor([[2], [2]])
    assert embeddings.limits(targets, noise, 1 / 2, 3.0) is None
    heed = embeddings.limits(targets, noise, 1 / 2, 1.5)  # row 2 comes three times in each of two steps
    assert heed is not None
    assert heed.tolist() == [1, 1, 0.5, 1]
    together = embeddings.limits(targets, noise[:1], 1 / 2, 1.5)  # both blocks are pushed by one noise word
    assert together is not None
    assert together.tolist() == heed.tolist()


@pytest.mark.parametrize("objective", [skipgram, cbow])
def test_a_row_that_comes_too_often_heeds_less_of_each_gradient(objective: Objective) -> None:
    drawn = random_step(objective, 1, 2, 2, 4, 2)
    half = torch.full((V,), 0.5)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(embeddings, "limits", lambda *_: half)
        less = embeddings.stretch_of(objective(drawn.text), drawn.noise, NEGATIVES, -0.5, 4, 1e9)
    full_in, full_out, _ = embeddings.changes(drawn.table, drawn.out, drawn.step, negative_sampling)
    in_update, out_updates, _ = embeddings.changes(drawn.table, drawn.out, less, negative_sampling)
    assert torch.equal(dense(in_update), dense(full_in))
    assert torch.allclose(dense(*out_updates), dense(*full_out) / 2)


def test_a_text_is_filled_up_to_whole_groups_of_blocks_that_predict_nothing() -> None:
    far = torch.full((20,), 2)
    centres, _, near = blocks_of(torch.arange(2, 22), far, far, 2, group=4)
    assert centres.shape == (4, embeddings.BLOCK)
    assert not centres.flatten()[20:].any()
    assert not near.flatten(0, 1)[20:].any()


def test_what_workers_learnt_is_added_where_rare_and_averaged_where_common() -> None:
    rows = torch.tensor([2, 3, 5])
    one = embeddings.Change(rows, torch.full((3, 2), 1.0), torch.tensor([1, 10**9, 10**9]))
    other = embeddings.Change(rows[:2], torch.full((2, 2), 3.0), torch.tensor([1, 10**9]))
    table = torch.zeros(7, 2)
    for changed, change in embeddings.merged([one, other], 7):
        table.index_add_(0, changed, change)
    seldom = 4 * (embeddings.MEETING + 1) / (embeddings.MEETING + 2)
    assert table[:, 0].tolist() == pytest.approx([0, 0, seldom, 2, 0, 1, 0])


def test_a_lookup_takes_rows() -> None:
    table = torch.randn(V, D)
    rows = torch.randint(V, (4, 7))
    assert torch.equal(look_up(table, rows), nn.Embedding.from_pretrained(table)(rows))


def write_corpus(folder: Path, texts: list[str]) -> tuple[Path, Path]:
    """data/ids.parquet and data/vocabulary.parquet of some train texts."""
    counts = vocabulary.Counter(word for text in texts for word in text.split())
    rows = vocabulary.build(counts, 1, None)
    number = {word: n for n, (word, _) in enumerate(rows)}
    lists = [[number[word] for word in text.split()] for text in texts]
    names = [str(n) for n in range(len(texts))]
    table = pa.table([names, [0] * len(texts), ["train"] * len(texts), lists], schema=ids.SCHEMA)
    with table_writer(folder / "ids.parquet", ids.SCHEMA) as writer:
        writer.write_table(table)
    columns = [range(len(rows)), [word for word, _ in rows], [count for _, count in rows]]
    with table_writer(folder / "vocabulary.parquet", vocabulary.SCHEMA) as writer:
        writer.write_table(pa.table([pa.array(c) for c in columns], schema=vocabulary.SCHEMA))
    return folder / "ids.parquet", folder / "vocabulary.parquet"


def fruit_and_tools(number: int) -> list[str]:
    """Texts of two kinds, whose words keep to themselves."""
    generator = np.random.default_rng(0)
    kinds = (FRUIT, ["saw", "hammer", "nail", "drill"])
    return [" ".join(generator.choice(kinds[n % 2], 12)) for n in range(number)]


class Run:
    """The stage on a corpus in a folder, with params.yaml as shipped but for some choices."""

    def __init__(self, folder: Path, write_params: Callable[..., Path], texts: list[str]) -> None:
        self.folder, self.write_params = folder, write_params
        inputs = [*write_corpus(folder, texts), folder / "pretrained", folder / "wordsets"]
        for path in inputs[2:]:
            path.mkdir()
        names = ("embeddings.safetensors", "embeddings.json", "metrics.json", "loss.csv")
        self.outputs = [folder / "out" / name for name in names]
        self.paths = [*inputs, *self.outputs]

    def params(self, **choices: object) -> Path:
        return self.write_params(embeddings={"dim": 8, "epochs": 2, **choices})

    def __call__(self, **choices: object) -> dict[str, Tensor]:
        """Runs the stage and returns the vectors."""
        embeddings.main(self.params(**choices), *self.paths)
        return load_file(self.outputs[0])

    def bytes(self) -> list[bytes]:
        return [path.read_bytes() for path in self.outputs]

    def vector(self, word: str) -> Tensor:
        tokens = pq.read_table(self.folder / "vocabulary.parquet")["token"].to_pylist()
        return load_file(self.outputs[0])["embeddings"][tokens.index(word)]

    def metrics(self) -> dict[str, Any]:
        return read_json(self.outputs[2])


@pytest.fixture
def fruit(tmp_path: Path, write_params: Callable[..., Path]) -> Run:
    return Run(tmp_path, write_params, fruit_and_tools(400))


@pytest.mark.parametrize("objective", ["skipgram", "cbow"])
@pytest.mark.parametrize("loss", ["negative_sampling", "softmax"])
@pytest.mark.parametrize("subwords", [None, {"min": 3, "max": 4, "buckets": 50}])
@pytest.mark.parametrize("device", DEVICES)
def test_words_of_one_company_come_to_lie_together(
    fruit: Run, objective: str, loss: str, subwords: dict[str, int] | None, device: Device
) -> None:
    choices = {"objective": objective, "loss": loss, "subwords": subwords, "subsample": 0, "lr": 0.025}
    choices["device"] = device
    table = fruit(**choices, epochs=60)["embeddings"]
    first = fruit.bytes()
    assert table.dtype == torch.float32
    assert table.shape == (10, 8)
    assert not table[0].any()
    words = pq.read_table(fruit.folder / "vocabulary.parquet")["token"].to_pylist()
    for word, found in nearest_words(words[2:], table[2:].numpy(), words[2:], 3).items():
        assert {other in FRUIT for other, _ in found} == {word in FRUIT}
    fruit(**choices, epochs=60)
    assert fruit.bytes() == first


@pytest.mark.parametrize("device", DEVICES)
def test_words_lie_together_where_blocks_share_noise_and_few_words_come_often(
    fruit: Run, monkeypatch: pytest.MonkeyPatch, device: Device
) -> None:
    monkeypatch.setattr(embeddings, "OWN", embeddings.SHARING)
    table = fruit(subsample=0, lr=0.025, epochs=60, device=device)["embeddings"]
    first = fruit.bytes()
    words = pq.read_table(fruit.folder / "vocabulary.parquet")["token"].to_pylist()
    for word, found in nearest_words(words[2:], table[2:].numpy(), words[2:], 3).items():
        assert {other in FRUIT for other, _ in found} == {word in FRUIT}
    fruit(subsample=0, lr=0.025, epochs=60, device=device)
    assert fruit.bytes() == first


@pytest.mark.parametrize("objective", ["skipgram", "cbow"])
@pytest.mark.parametrize("words", [1, 10_000, 10**6, 2 * 10**6, 10**9])
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_a_step_has_whole_groups_and_a_round_whole_steps(
    fruit: Run, objective: str, words: int, device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = fruit.params(objective=objective, device=device).read_text()
    params = embeddings.Params(**yaml.safe_load(chosen)["embeddings"])
    for own in (embeddings.OWN, embeddings.SHARING):
        monkeypatch.setattr(embeddings, "OWN", own)
        step, length, stretch, sharing, _ = embeddings.plan(words, params)
        assert step > 0
        assert length >= step
        assert step % sharing.blocks == length % stretch == stretch % step == 0


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_the_same_bytes_on_every_run(fruit: Run, threads: int) -> None:
    fruit(threads=threads, epochs=10)
    first = fruit.bytes()
    fruit(threads=threads, epochs=10)
    assert fruit.bytes() == first


def test_items_are_fetched_in_order_and_some_in_advance() -> None:
    fetched: list[int] = []

    def numbers() -> Iterator[int]:
        for n in range(1, 21):
            fetched.append(n)
            yield n

    for n, item in enumerate(embeddings.ahead(numbers(), 3), 1):
        assert item == n
        assert len(fetched) <= n + 3
    assert fetched == list(range(1, 21))


def test_what_fails_while_it_is_fetched_fails_where_it_is_used() -> None:
    items = embeddings.ahead((60 // n for n in (3, 2, 1, 0)), 2)
    assert [next(items) for _ in range(3)] == [20, 30, 60]
    with pytest.raises(ZeroDivisionError):
        next(items)


def test_nothing_is_fetched_for_who_has_left() -> None:
    before = threading.active_count()
    items = embeddings.ahead(iter(range(1, 1000)), 3)
    next(items)
    assert threading.active_count() == before + 1
    items.close()
    assert threading.active_count() == before


@pytest.mark.parametrize("objective", ["skipgram", "cbow"])
@pytest.mark.parametrize("device", DEVICES)
def test_replayed_steps_give_the_bytes_of_steps_in_python(
    fruit: Run, monkeypatch: pytest.MonkeyPatch, objective: str, device: Device
) -> None:
    monkeypatch.setattr(embeddings, "STEP", {objective: 1})
    monkeypatch.setattr(embeddings, "WIDER", {device: 1})
    replayed: list[embeddings.Step] = []

    def count(
        worker: embeddings.Worker, table: Tensor, out: Tensor, stretch: embeddings.Step, watch: bool
    ) -> Tensor:
        replayed.append(stretch)
        return replay(worker, table, out, stretch, watch)

    replay = embeddings.Worker.replay
    monkeypatch.setattr(embeddings.Worker, "replay", count)
    fruit(objective=objective, epochs=3, device=device)
    assert replayed
    first = fruit.bytes()
    in_python = lambda _, *now: embeddings.walk(*now[:3], 1, negative_sampling, now[3])  # noqa: E731
    monkeypatch.setattr(embeddings.Worker, "replay", in_python)
    fruit(objective=objective, epochs=3, device=device)
    assert fruit.bytes() == first


@pytest.mark.parametrize("objective", ["skipgram", "cbow"])
def test_vector_instructions_of_several_kinds_give_the_same_bytes(
    fruit: Run, stage: Callable, objective: str
) -> None:
    found = set()
    for capability in ("default", "avx2", "avx512"):
        ended = stage(
            "embeddings", fruit.params(objective=objective), *fruit.paths, ATEN_CPU_CAPABILITY=capability
        )
        assert ended.returncode == 0, ended.stderr
        found.add(tuple(fruit.bytes()))
    assert len(found) == 1


def test_another_seed_gives_other_vectors(fruit: Run) -> None:
    assert not torch.equal(fruit(seed=1)["embeddings"], fruit(seed=2)["embeddings"])


def test_each_learning_rate_is_heeded_and_auto_is_the_objectives_own(fruit: Run) -> None:
    tables = {lr: fruit(lr=lr)["embeddings"] for lr in ("auto", embeddings.LR["skipgram"], 0.01)}
    assert torch.equal(tables["auto"], tables[embeddings.LR["skipgram"]])
    assert not torch.equal(tables["auto"], tables[0.01])


def test_dice_depend_on_their_place_alone() -> None:
    draws = [torch.rand(3, generator=embeddings.dice(1, *place)) for place in ((0, 1), (0, 1), (1, 0))]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


def test_rounds_go_on_from_any_place_as_if_they_had_never_stopped(fruit: Run) -> None:
    params = embeddings.Params(**yaml.safe_load(fruit.params(epochs=3).read_text())["embeddings"])
    chance = torch.full((10,), 0.7)
    whole = list(embeddings.rounds(fruit.paths[0], chance, 500, params, Place(0, 0, 0)))
    assert sum(text.words for text in whole) == 3 * 400 * 12
    assert [text.place for text in whole] == sorted(text.place for text in whole)
    for number, text in enumerate(whole):
        rest = list(embeddings.rounds(fruit.paths[0], chance, 500, params, text.place))
        assert len(rest) == len(whole) - number
        assert all(torch.equal(a, b) for a, b in zip(rest[0][2:], text[2:], strict=True))


RUN_WITH_MANY_CHECKPOINTS = """
import sys, pathlib
from stages import embeddings
from stages.lib import checkpoint
checkpoint.SECONDS = checkpoint.SHARE = 0
embeddings.main(*map(pathlib.Path, sys.argv[1:]))
"""


@pytest.mark.parametrize("objective", ["skipgram", "cbow"])
@pytest.mark.parametrize("device", DEVICES)
def test_a_killed_run_goes_on_to_the_same_bytes(
    fruit: Run, work_folder: Path, objective: str, device: Device
) -> None:
    epochs = {"cpu": 400, "cuda": 100}[device]  # a GPU's are longer where a text is this short
    params = fruit.params(objective=objective, epochs=epochs, device=device)
    embeddings.main(params, *fruit.paths)
    whole = fruit.bytes()
    for path in fruit.outputs:
        path.unlink()
    command = [sys.executable, "-c", RUN_WITH_MANY_CHECKPOINTS, str(params), *map(str, fruit.paths)]
    kept = set()
    for _ in range(3):
        process = subprocess.Popen(command, cwd=ROOT)
        before = len(kept)
        while process.poll() is None and len(kept) < before + 20:  # checkpoints seen since it started
            kept |= {path.stat().st_mtime_ns for path in work_folder.rglob("state.safetensors")}
        assert process.poll() is None, "the run was over before it could be killed"
        process.kill()
        process.wait()
        assert not any(path.exists() for path in fruit.outputs)
    subprocess.run(command, cwd=ROOT, check=True)
    assert fruit.bytes() == whole
    assert not list(work_folder.rglob("state.safetensors"))


def test_subwords_give_vectors_to_unknown_words(fruit: Run) -> None:
    (fruit.folder / "wordsets" / "plurals.txt").write_text(
        "apples pears 9\napples nails 1\n", encoding="utf-8"
    )
    choices = {"epochs": 60, "subsample": 0, "wordsets": ["plurals.txt"]}
    fruit(**choices, subwords=None)
    assert fruit.metrics()["agreement"]["plurals"] == {"pairs": 0, "covered": 0}
    tensors = fruit(**choices, subwords={"min": 3, "max": 5, "buckets": 1000})
    assert tensors["subwords"].shape == (1000, 8)
    assert fruit.metrics()["agreement"]["plurals"] == {"pairs": 2, "covered": 1, "spearman": 1}
    pieces = Subwords(min=3, max=5, buckets=1000)
    apples = torch.from_numpy(vector_of("apples", tensors["subwords"].numpy(), pieces))
    near, far = (torch.cosine_similarity(apples, fruit.vector(w), 0) for w in ("apple", "hammer"))
    assert near > 0.5 > far


def test_training_starts_from_pretrained_vectors(fruit: Run) -> None:
    lines = ["apple 1 2 3 4 5 6 7 8", "elsewhere 0 0 0 0 0 0 0 1", "saw 8 7 6 5 4 3 2 1"]
    (fruit.folder / "pretrained" / "glove.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    for subwords in (None, {"min": 3, "max": 3, "buckets": 20}):
        fruit(pretrained="glove.txt", subwords=subwords, lr=1e-9)
        assert torch.allclose(fruit.vector("apple"), torch.arange(1.0, 9.0), atol=1e-4)
        assert torch.allclose(fruit.vector("saw"), torch.arange(8.0, 0.0, -1), atol=1e-4)
        assert fruit.vector("pear").abs().max() < 0.1
        assert fruit.metrics()["pretrained_coverage"] == 2 / 8


def test_anything_is_what_the_rarest_words_are(tmp_path: Path, write_params: Callable[..., Path]) -> None:
    run = Run(tmp_path, write_params, [*fruit_and_tools(50), "quince apple", "adze saw"])
    table = run()["embeddings"]
    assert torch.allclose(table[1], (run.vector("quince") + run.vector("adze")) / 2)


def test_what_it_was_trained_with_travels_along(fruit: Run) -> None:
    fruit(window=3)
    facts = read_json(fruit.outputs[1])
    assert facts["parameters"]["window"] == 3
    assert facts["tokens"] == sum(facts["counts"]) == 400 * 12
    assert len(facts["counts"]) == 10


def test_a_softmax_of_more_words_than_cells_is_the_same(fruit: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = fruit(loss="softmax")["embeddings"]
    monkeypatch.setattr(embeddings, "CELLS", 1)
    assert torch.allclose(fruit(loss="softmax")["embeddings"], whole, atol=1e-5)


def test_validation_and_test_texts_are_not_learnt_from(fruit: Run) -> None:
    table = pq.read_table(fruit.paths[0])
    vectors = fruit()["embeddings"]
    held = table.set_column(2, "split", pa.array(["validation", "test"] * 200))
    pq.write_table(pa.concat_tables([table, held]), fruit.paths[0])
    assert torch.equal(fruit()["embeddings"], vectors)


def test_two_runs_of_the_stage_at_once_are_refused(fruit: Run, work_folder: Path, stage: Callable) -> None:
    with checkpoint("embeddings", "", []):
        ended = stage("embeddings", fruit.params(), *fruit.paths)
    assert refused(ended, f"process {os.getpid()} is at work on this stage")


@pytest.mark.parametrize(
    ("texts", "choices", "told"),
    [
        (["alone", "solo"], {"window": 1}, "side by side.*min_count"),
        (["a b c"], {}, "embeddings.window: found 5, but the train texts have 3 words"),
        ([], {}, "<pad> and <unk> alone; lower vocabulary.min_count"),
        (
            ["a b c d e f g"],
            {"dim": 10_000, "subwords": {"min": 3, "max": 3, "buckets": 2**31 - 1}},
            "needs .* GB",
        ),
        (["a b c d e f g"], {"wordsets": ["none.txt"]}, "embeddings.wordsets: no file 'none.txt'"),
        (
            ["a b c d e f g"],
            {"wordsets": ["x/w.txt", "w.tsv"]},
            "embeddings.wordsets: two files are named 'w'",
        ),
        (["a b c d e f g"], {"pretrained": "none.vec"}, "embeddings.pretrained: no file 'none.vec'"),
    ],
)
def test_what_cannot_be_learnt_from_is_refused(
    tmp_path: Path, write_params: Callable[..., Path], texts: list[str], choices: dict[str, object], told: str
) -> None:
    run = Run(tmp_path, write_params, texts)
    with pytest.raises(Refusal, match=told):
        run(**choices)
    assert not any(path.exists() for path in run.outputs)


def test_a_pretrained_file_of_another_dimension_is_refused(fruit: Run) -> None:
    (fruit.folder / "pretrained" / "small.vec").write_text("1 3\napple 1 2 3\n", encoding="utf-8")
    with pytest.raises(Refusal, match=r"small\.vec.*3.*8.*embeddings\.dim"):
        fruit(pretrained="small.vec")


@pytest.mark.parametrize("choices", [{"loss": "softmax", "dim": 4}, {"loss": "negative_sampling"}])
def test_a_diverged_training_stops(fruit: Run, choices: dict[str, object]) -> None:
    with pytest.raises(
        Refusal, match=r"diverged by step .* words\) at a learning rate of .*lower embeddings\.lr"
    ):
        fruit(**choices, subsample=0, lr=10.0, epochs=400)
    assert not any(path.exists() for path in fruit.outputs)


def test_a_training_that_diverges_in_its_last_round_is_not_written(
    fruit: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(workers: object, words: embeddings.Words, *_: object) -> None:
        words.weight[2] = torch.nan

    monkeypatch.setattr(embeddings, "meet", broken)
    monkeypatch.setattr(embeddings.Worker, "learn", lambda *_: (1.0, 1.0, 1))
    with pytest.raises(Refusal, match=r"diverged .*lower embeddings\.lr"):
        fruit(epochs=1)
    assert not any(path.exists() for path in fruit.outputs)


@pytest.mark.parametrize("threads", [1, 2])
def test_few_words_are_learnt_for_long_without_overshooting(fruit: Run, threads: int) -> None:
    fruit(objective="cbow", threads=threads, epochs=100)
    assert fruit.metrics()["final_loss"] < 3


def test_more_than_a_gpu_has_free_is_refused(fruit: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (999, 10**9))
    chosen = fruit.params(device="cuda").read_text()
    params = embeddings.Params(**yaml.safe_load(chosen)["embeddings"])
    with pytest.raises(Refusal, match=r"embeddings\.dim: found 8, .* needs 0\.0 GB of memory"):
        embeddings.require_sense(4800, 8, params)  # 4 tables of 8 words of 8 numbers of 4 bytes
    embeddings.require_sense(4800, 7, params)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_cuda_asked_for_and_absent_is_refused(fruit: Run) -> None:
    with pytest.raises(Refusal, match="found cuda"):
        fruit(device="cuda")
