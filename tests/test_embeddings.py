"""Embeddings: the lookup, the two objectives and two losses against autograd, and the toy table."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, logsigmoid

from stages import embeddings, ids, vocabulary
from stages.embeddings import Blocks, blocks_of, cbow, negative_sampling, skipgram, softmax
from stages.lib.command import Refusal
from stages.lib.tables import table_writer
from stages.report import nearest_words
from tests.conftest import refused

V, D = 13, 5


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


def random_blocks(seed: int, blocks: int, positions: int, window: int) -> tuple[Tensor, Tensor, Blocks]:
    generator = torch.Generator().manual_seed(seed)
    table = torch.randn(V, D, generator=generator, dtype=torch.float64)
    out = torch.randn(V, D, generator=generator, dtype=torch.float64)
    contexts = torch.randint(2, V, (blocks, positions + 2 * window), generator=generator)
    near = torch.rand(blocks, positions, contexts.shape[1], generator=generator) < 0.3
    # A word is no context of its own.
    near[:, torch.arange(positions), torch.arange(positions) + window] = False
    noise = torch.randint(2, V, (blocks, 3), generator=generator)
    centres = contexts[:, window : window + positions]
    return table, out, Blocks(centres, contexts, near.double(), noise)


def pairs(blocks: Blocks) -> list[tuple[int, int, list[int]]]:
    """(block, centre's position, positions of its contexts) in the textbook's order."""
    return [
        (s, p, blocks.near[s, p].nonzero().flatten().tolist())
        for s in range(blocks.centres.shape[0])
        for p in range(blocks.centres.shape[1])
    ]


def textbook(
    objective: Callable, loss: Callable, table: Tensor, out: Tensor, blocks: Blocks, k: int
) -> Tensor:
    """The loss as it is written in the papers, one prediction after the other."""
    total = torch.zeros((), dtype=torch.float64)
    for s, p, near in pairs(blocks):
        context = [blocks.contexts[s, c] for c in near]
        centre = blocks.centres[s, p]
        if objective is skipgram:
            predictions = [(table[centre], word) for word in context]
        else:
            predictions = [(torch.stack([table[w] for w in context]).mean(0), centre)] if context else []
        for hidden, word in predictions:
            if loss is softmax:
                scores = out @ hidden
                total = total + cross_entropy(scores[1:][None], (word - 1)[None])
            else:
                noise = logsigmoid(-(out[blocks.noise[s]] @ hidden)).sum() * k / blocks.noise.shape[1]
                total = total - logsigmoid(out[word] @ hidden) - noise
    return total


def dense(update: embeddings.Update) -> Tensor:
    whole = torch.zeros(V, D, dtype=torch.float64)
    return whole.index_add_(0, update.rows.flatten(), update.gradient.flatten(0, -2))


@pytest.mark.parametrize("objective", [skipgram, cbow])
@pytest.mark.parametrize("loss", [negative_sampling, softmax])
@given(
    seed=st.integers(0, 10_000),
    blocks=st.integers(1, 3),
    positions=st.integers(1, 6),
    window=st.integers(1, 3),
)
@settings(max_examples=20, deadline=None)
def test_the_written_out_gradient_is_autograds(
    objective: Callable, loss: Callable, seed: int, blocks: int, positions: int, window: int
) -> None:
    table, out, drawn = random_blocks(seed, blocks, positions, window)
    d_in, d_out, value = objective(table, out, drawn, loss, 5, True)
    table.requires_grad_()
    out.requires_grad_()
    wanted = textbook(objective, loss, table, out, drawn, 5)
    assert torch.allclose(value, wanted.detach())
    if wanted.requires_grad:
        wanted.backward()
        assert torch.allclose(dense(d_in), table.grad)
        assert torch.allclose(dense(d_out), out.grad)


@given(lengths=st.lists(st.integers(0, 40), min_size=1, max_size=8), window=st.integers(1, 6))
@settings(max_examples=30, deadline=None)
def test_blocks_pair_exactly_the_words_within_a_window_of_one_document(
    lengths: list[int], window: int
) -> None:
    total = sum(lengths)
    text = torch.arange(2, 2 + total)  # every word once, so that a pair tells where it is from
    generator = torch.Generator().manual_seed(1)
    document = np.repeat(np.arange(len(lengths)), lengths)
    reach: dict[int, set[int]] = {}
    for blocks in blocks_of(text, torch.tensor(lengths), window, torch.tensor([2]), generator):
        for s, p, near in pairs(blocks):
            centre = int(blocks.centres[s, p]) - 2
            if near:
                reach[centre] = {int(blocks.contexts[s, c]) - 2 - centre for c in near}
    for place in range(total):
        offsets = reach.get(place, set())
        mates = {
            o
            for o in range(-window, window + 1)
            if o and 0 <= place + o < total and document[place + o] == document[place]
        }
        assert offsets <= mates
        drawn = max((abs(o) for o in offsets), default=0)
        assert offsets == {o for o in mates if abs(o) <= drawn}
        assert bool(offsets) == bool(mates & {-1, 1})


def test_each_centre_draws_its_window_anew() -> None:
    left, right = embeddings.windows(torch.tensor([10_000]), 4, torch.Generator().manual_seed(0))
    counts = torch.bincount(torch.maximum(left, right), minlength=5)[1:]
    assert (counts / 10_000 - 0.25).abs().max() < 0.02


def test_frequent_words_are_thinned_out_as_word2vec_does() -> None:
    counts = torch.tensor([0, 10, 900, 90])
    share = 0.9
    wanted = (1e-3 / share) ** 0.5 + 1e-3 / share
    assert embeddings.keep_chance(counts, 1e-3)[2].item() == pytest.approx(wanted)
    assert embeddings.keep_chance(counts, 0).tolist() == [1, 1, 1, 1]


def test_noise_is_drawn_by_count_to_a_power_and_never_padding() -> None:
    counts = torch.tensor([0, 16, 81, 256])
    table = embeddings.noise_table(counts, 0.75)
    shares = torch.bincount(table, minlength=4) / len(table)
    assert torch.allclose(shares, torch.tensor([0, 8, 27, 64]) / 99, atol=1e-5)


def test_repeated_rows_add_up_damped_and_limited() -> None:
    table, tally = torch.zeros(4, 2), torch.zeros(4)
    rows = torch.tensor([[1] + [2] * 16 + [3] * 256])
    embeddings.descend(table, embeddings.Update(rows, torch.ones(*rows.shape, 2)), 0.5, tally)
    assert table[:, 0].tolist() == pytest.approx([0, -0.5, -0.5 * 16**0.75, -0.5 * embeddings.MOST])
    assert not tally.any()


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
    kinds = (["apple", "pear", "plum", "cherry"], ["saw", "hammer", "nail", "drill"])
    return [" ".join(generator.choice(kinds[n % 2], 12)) for n in range(number)]


@pytest.mark.parametrize("objective", ["skipgram", "cbow"])
@pytest.mark.parametrize("loss", ["negative_sampling", "softmax"])
def test_words_of_one_company_come_to_lie_together(
    tmp_path: Path, write_params: Callable[..., Path], objective: str, loss: str
) -> None:
    corpus = write_corpus(tmp_path, fruit_and_tools(400))
    params = write_params(
        embeddings={
            "objective": objective, "loss": loss, "dim": 8, "subsample": 0, "lr": 0.025, "epochs": 60,
        }
    )  # fmt: skip
    outputs = [tmp_path / name for name in ("v.safetensors", "m.json", "loss.csv")]
    embeddings.main(params, *corpus, *outputs)
    first = [path.read_bytes() for path in outputs]
    table = load_file(outputs[0])["embeddings"]
    assert table.dtype == torch.float32
    assert table.shape == (10, 8)
    assert not table[0].any()
    words = [
        row[0]
        for row in vocabulary.build(vocabulary.Counter(" ".join(fruit_and_tools(400)).split()), 1, None)
    ]
    fruit = {"apple", "pear", "plum", "cherry"}
    for word, found in nearest_words(words[2:], table[2:].numpy(), words[2:], 3).items():
        assert {other in fruit for other, _ in found} == {word in fruit}
    embeddings.main(params, *corpus, *outputs)
    assert [path.read_bytes() for path in outputs] == first


def test_another_seed_gives_other_vectors(tmp_path: Path, write_params: Callable[..., Path]) -> None:
    corpus = write_corpus(tmp_path, fruit_and_tools(50))
    tables = []
    for seed in (1, 2):
        params = write_params(embeddings={"seed": seed, "epochs": 1, "dim": 4})
        embeddings.main(params, *corpus, *(tmp_path / n for n in ("v.safetensors", "m.json", "loss.csv")))
        tables.append(load_file(tmp_path / "v.safetensors")["embeddings"])
    assert not torch.equal(*tables)


def test_text_without_a_pair_is_refused(
    tmp_path: Path, write_params: Callable[..., Path], stage: Callable
) -> None:
    corpus = write_corpus(tmp_path, ["alone", "solo"])
    outputs = [tmp_path / name for name in ("v.safetensors", "m.json", "loss.csv")]
    assert refused(stage("embeddings", write_params(), *corpus, *outputs), "side by side", "min_count")
    assert not any(path.exists() for path in outputs)


def test_a_diverged_training_stops(tmp_path: Path, write_params: Callable[..., Path]) -> None:
    corpus = write_corpus(tmp_path, fruit_and_tools(200))
    params = write_params(embeddings={"loss": "softmax", "dim": 4, "lr": 10.0, "epochs": 50})
    with pytest.raises(Refusal, match=r"diverged after .* words: .*lower embeddings\.lr"):
        embeddings.main(params, *corpus, *([tmp_path / "x"] * 3))
    assert not (tmp_path / "x").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_cuda_asked_for_and_absent_is_refused(tmp_path: Path, write_params: Callable[..., Path]) -> None:
    corpus = write_corpus(tmp_path, fruit_and_tools(2))
    with pytest.raises(Refusal, match="found cuda"):
        embeddings.main(write_params(embeddings={"device": "cuda"}), *corpus, *([tmp_path / "x"] * 3))
