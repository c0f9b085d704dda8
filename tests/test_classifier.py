"""Classifier: the masked mean against EmbeddingBag, padding that counts for nothing, the best epoch."""

import json
import math
import os
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise, product
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from stages import classifier
from stages.classifier import (
    About,
    Adam,
    Classifier,
    Params,
    add_guessed,
    bag,
    batches,
    blended,
    cautious_loss,
    cooled_loss,
    decide,
    inverse_frequency,
    label_weights,
    loss_of,
    max_pool,
    probabilities,
    score,
    temperature_for,
    threshold_for,
    unlabelled_reviews,
    without_some,
)
from stages.lib.command import Refusal
from stages.lib.nbsvm import Learner, NGrams, Runs
from stages.lib.params import read_params
from stages.lib.reviews import Reviews, read_split
from stages.lib.training import Device
from tests.conftest import DEVICES, ROOT, needs_gpu

V, D = 11, 4
ABOUT = About(vocabulary="0" * 64, width=None, keep="head")
STEPS = list(product((-0.1, 0, 0.1), repeat=2))
REVIEWS = st.lists(st.lists(st.integers(1, V - 1), max_size=9), min_size=1, max_size=6)


def model_of(labels: int = 2, seed: int = 0, pool: str = "mean") -> Classifier:
    torch.manual_seed(seed)
    table = torch.randn(V, D)
    table[0] = 0
    return Classifier(table, labels, True, ABOUT.model_copy(update={"pool": pool}))


def padded(reviews: list[list[int]], width: int) -> tuple[Tensor, Tensor]:
    rows = torch.zeros(len(reviews), width, dtype=torch.int32)
    for row, review in zip(rows, reviews, strict=True):
        row[: len(review)] = torch.tensor(review, dtype=torch.int32)
    return rows, torch.tensor([len(review) for review in reviews], dtype=torch.int32)


def mean_pool(vectors: Tensor, lengths: Tensor) -> Tensor:
    """The textbook's masked mean: (B, T, D), (B,) -> (B, D)."""
    real = torch.arange(vectors.shape[1]) < lengths[:, None]
    return (vectors * real[:, :, None]).sum(1) / lengths.clamp(min=1)[:, None]


@given(reviews=REVIEWS)
@settings(deadline=None)
def test_every_pooling_is_the_textbooks(reviews: list[list[int]]) -> None:
    ids, lengths = padded(reviews, 9)
    vectors = model_of().embedding(ids).detach()  # (B, T, D)
    mean = mean_pool(vectors, lengths)
    highest = torch.stack(
        [v[:n].amax(0) if n else torch.zeros(D) for v, n in zip(vectors, lengths, strict=True)]
    )
    weights = torch.rand(V, generator=torch.Generator().manual_seed(1)) + 0.1
    say = weights[ids] * (ids != 0)
    wanted = {
        "mean": mean,
        "sum": mean * lengths[:, None],
        "max": highest,
        "mean_max": torch.cat([highest, mean], 1),
        "idf_mean": (vectors * say[:, :, None]).sum(1) / say.sum(1, keepdim=True).clamp(min=1e-9),
    }
    for pool, vector in wanted.items():
        model = model_of(pool=pool)
        if pool == "idf_mean":
            model.idf = weights
        assert torch.allclose(model.pooled(ids, lengths), vector, atol=1e-5), pool


@given(reviews=REVIEWS, extra=st.integers(1, 20))
@settings(deadline=None)
def test_appending_padding_never_changes_a_logit(reviews: list[list[int]], extra: int) -> None:
    model = model_of()
    short, long = model(*padded(reviews, 9)), model(*padded(reviews, 9 + extra))
    assert torch.allclose(short, long, atol=1e-6)


def test_a_review_without_words_gets_the_bias_and_no_nan() -> None:
    model = model_of()
    assert torch.equal(model(*padded([[]], 3)), model.linear.bias[None])


@pytest.mark.parametrize("labels", [2, 5])
def test_probabilities_sum_to_one_and_follow_the_logits(labels: int) -> None:
    logits = model_of(labels)(*padded([[1, 2], [3], []], 2))
    chances = probabilities(logits)
    assert chances.shape == (3, labels)
    assert torch.allclose(chances.sum(1), torch.ones(3, dtype=torch.float64))
    if labels == 2:
        assert torch.equal(chances[:, 1] > 0.5, logits[:, 0] > 0)
    else:
        assert torch.equal(chances.argmax(1), logits.argmax(1))


def test_two_labels_have_one_logit_and_more_have_one_each() -> None:
    assert model_of(2).linear.out_features == 1
    assert model_of(3).linear.out_features == 3


def test_two_logits_and_one_tell_the_same_loss() -> None:
    logit = torch.tensor([[0.3], [-1.2]])
    both = torch.cat([torch.zeros_like(logit), logit], 1)
    labels = torch.tensor([1, 0], dtype=torch.int32)
    assert classifier.loss_of(logit, labels) == pytest.approx(classifier.loss_of(both, labels).item())


RUNS = NGrams(
    longest=2, least=1, limit=99, buckets=None, counts="unique", pool="mean", ending=0,
    ratios="none", rarity=0, decay=1,
)  # fmt: skip


def with_runs(model: Classifier, **choices: object) -> Classifier:
    """The same model with a weight for some words and pairs, or for buckets."""
    about = RUNS.model_copy(update=choices)
    keys = torch.tensor([] if about.buckets else [1, 3, 5, 1 * V + 1, 3 * V + 5, 5 * V + 3, 9 * V + 9])
    weight = torch.randn(about.buckets or len(keys), model.linear.out_features)
    model.ngrams = Runs(weight, keys.long(), about, V)
    model.about = model.about.model_copy(update={"ngrams": about})
    return model


@given(
    review=REVIEWS.map(lambda found: found[0]),
    labels=st.sampled_from([2, 3]),
    pool=st.sampled_from(["mean", "sum", "idf_mean"]),
    ngrams=st.sampled_from([None, {}, {"pool": "sum", "counts": "counted"}, {"buckets": 7}]),
)
@settings(deadline=None, max_examples=150)
def test_the_shares_of_a_review_and_the_bias_sum_to_its_logits(
    review: list[int], labels: int, pool: str, ngrams: dict[str, object] | None
) -> None:
    model = model_of(labels, pool=pool)
    if pool == "idf_mean":
        model.idf = torch.rand(V)
    if ngrams is not None:
        model = with_runs(model, **ngrams)
    shares = model.shares(torch.tensor(review, dtype=torch.int32))
    total = model.bias() + sum((share.logits for share in shares), torch.zeros(labels if labels > 2 else 1))
    words = shares[: len(review)]
    assert [(share.start, share.end) for share in words] == [(n, n + 1) for n in range(len(review))]
    assert all(0 <= share.start < share.end <= len(review) for share in shares)
    assert torch.allclose(total, model(*padded([review], 9))[0], atol=1e-5)


@pytest.mark.parametrize("pool", ["max", "mean_max"])
def test_a_maximum_has_no_shares(pool: str) -> None:
    with pytest.raises(ValueError, match=f"pools by {pool} has no shares"):
        model_of(pool=pool).shares(torch.tensor([1, 2], dtype=torch.int32))


@given(reviews=REVIEWS, pool=st.sampled_from(["mean", "sum", "max", "mean_max", "idf_mean"]))
@settings(deadline=None)
def test_scoring_with_the_line_folded_in_gives_the_same_logits(reviews: list[list[int]], pool: str) -> None:
    model = with_runs(model_of(3, pool=pool))
    if pool == "idf_mean":
        model.idf = torch.rand(V)
    ids, lengths = padded(reviews, 9)
    assert torch.allclose(model.folded()(ids, lengths), model(ids, lengths), atol=1e-5)


@given(reviews=REVIEWS, labels=st.sampled_from([2, 3]))
@settings(deadline=None)
def test_a_maximum_of_very_many_words_is_that_of_few(reviews: list[list[int]], labels: int) -> None:
    ids, lengths = padded(reviews, 9)
    model = model_of(labels, pool="mean_max")
    few = max_pool(model.embedding(ids), lengths)
    assert torch.equal(bag(ids, model.embedding.weight, "max", few=False), few)


def test_the_threshold_decides_between_two_labels_and_not_among_more() -> None:
    second = torch.tensor([0.1, 0.4, 0.6, 0.8, 0.9, 0.3])
    assert decide(torch.stack([1 - second, second], 1), 0.35).tolist() == [0, 1, 1, 1, 1, 0]
    assert decide(torch.tensor([[0.2, 0.3, 0.5]]), 0.9).tolist() == [2]


@given(st.lists(st.tuples(st.sampled_from([0.1, 0.2, 0.45, 0.7, 0.9]), st.booleans()), min_size=1))
def test_no_threshold_decides_better_than_the_one_that_was_chosen(rows: list[tuple[float, bool]]) -> None:
    second = torch.tensor([row[0] for row in rows])
    chances, labels = torch.stack([1 - second, second], 1), torch.tensor([row[1] for row in rows]).long()
    right = {t: int((decide(chances, t) == labels).sum()) for t in (0.05, 0.15, 0.3, 0.5, 0.8, 0.95)}
    chosen = threshold_for(chances, labels)
    assert int((decide(chances, chosen) == labels).sum()) == max(right.values())


@pytest.mark.parametrize("labels", [2, 3])
def test_the_temperature_mends_logits_that_are_too_sure(labels: int) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(4000, 1 if labels == 2 else labels, generator=generator) * 2
    truth = torch.multinomial(probabilities(logits), 1, generator=generator)[:, 0].int()
    assert temperature_for(logits * 3, truth) == pytest.approx(3, rel=0.1)
    found = temperature_for(logits * 3, truth)
    least = loss_of(logits * 3 / found, truth)
    assert all(least <= loss_of(logits * 3 / (found * other), truth) for other in (0.97, 1.03))


def test_a_few_right_answers_are_no_certainty() -> None:
    # Laplace's rule: of two labels seen once each, either is wanted with probability 2 / 3.
    found = temperature_for(torch.tensor([[9.0], [-9.0]]), torch.tensor([1, 0]))
    assert found == pytest.approx(9 / math.log(2), rel=1e-3)
    three = torch.eye(3) * 2
    assert temperature_for(three, torch.arange(3)) == pytest.approx(2 / math.log(2), rel=1e-3)


def test_a_temperature_stays_in_bounds_where_everything_is_wrong_or_nothing_is_said() -> None:
    labels = torch.tensor([1, 0])
    assert temperature_for(torch.tensor([[-9.0], [9.0]]), labels) == pytest.approx(100, rel=0.01)
    assert temperature_for(torch.zeros(2, 1), labels) == pytest.approx(1)


@given(
    rows=st.lists(
        st.tuples(st.floats(-3, 3, width=32), st.floats(-3, 3, width=32), st.booleans()), min_size=1
    )
)
@example(rows=[(0.0, 0.0, False), (-3.0, 2.0625, True), (-0.5, 0.0, True)])  # stopped once, too soon
@settings(deadline=None, max_examples=50)
def test_no_other_pair_of_scales_fits_validation_better(rows: list[tuple[float, float, bool]]) -> None:
    words, runs = (torch.tensor([[row[n]] for row in rows]) for n in (0, 1))
    labels = torch.tensor([row[2] for row in rows]).int()
    scales = blended(words, runs, labels)
    assert all(0 <= scale <= 100 for scale in scales)

    def loss(pair: tuple[float, float]) -> float:
        return cautious_loss(words.double() * pair[0] + runs.double() * pair[1], labels).item()

    least = loss(scales)
    near = [tuple(min(100, max(0, s + d)) for s, d in zip(scales, steps, strict=True)) for steps in STEPS]
    for other in [*near, (0, 0), (1, 1), (0, 1), (1, 0), (0, scales[1]), (scales[0], 0), (9, 2), (2, 9)]:
        assert least <= loss(other) + 1e-6


def test_a_part_that_speaks_against_the_labels_is_silent_and_the_other_fits_alone() -> None:
    labels = torch.tensor([1, 1, 1, 0, 0, 0]).int()
    runs = torch.tensor([[2.0], [1.0], [-1.0], [-2.0], [-1.0], [1.0]])
    words = torch.tensor([[-1.0], [-2.0], [-1.0], [1.0], [1.0], [2.0]])
    first, second = blended(words, runs, labels)
    assert first == 0
    assert second == pytest.approx(1 / temperature_for(runs, labels), rel=1e-3)


def test_the_cautious_loss_by_hand() -> None:
    # Two reviews of the second label and one of the first: wanted with 3 / 4 and 2 / 3.
    logits, labels = torch.tensor([[1.0], [2.0], [-1.0]]), torch.tensor([1, 1, 0])
    second = [1 / (1 + math.exp(-logit)) for logit in (1, 2, -1)]
    wanted = [3 / 4, 3 / 4, 1 / 3]
    terms = [w * math.log(p) + (1 - w) * math.log(1 - p) for w, p in zip(wanted, second, strict=True)]
    assert cautious_loss(logits, labels).item() == pytest.approx(-sum(terms) / 3)
    both = torch.cat([torch.zeros_like(logits), logits], 1)
    assert cautious_loss(both, labels).item() == pytest.approx(-sum(terms) / 3)


def test_what_is_saved_and_loaded_says_the_same_to_the_bit(tmp_path: Path) -> None:
    ids, lengths = padded([[3, 5, 3], [], [1, 1, 9, 9], [2]], 9)
    reviews = Reviews(ids, lengths, torch.zeros(4))
    for pool, labels, ngrams in (
        ("mean", 2, None), ("idf_mean", 3, {}), ("mean_max", 5, {"buckets": 7}), ("sum", 2, {"pool": "sum"}),
    ):  # fmt: skip
        model = model_of(labels, pool=pool)
        if pool == "idf_mean":
            model.idf = torch.rand(V)
        if ngrams is not None:
            model = with_runs(model, **ngrams)
        model.about = model.about.model_copy(update={"temperature": 1.7, "threshold": 0.4, "width": 9})
        path = tmp_path / "a.safetensors"
        classifier.save(path, model)
        again = classifier.load(path)
        assert not again.training
        assert (again.labels, again.about) == (labels, model.about)
        assert torch.equal(again(ids, lengths), model(ids, lengths))
        assert torch.equal(score(again, reviews), score(model, reviews))
        with safe_open(path, "pt") as file:
            assert list(file.metadata()) == ["model"]  # one key: the order of more is not kept
        before = path.read_bytes()
        classifier.save(path, again)
        assert path.read_bytes() == before


OLD = {"vocabulary": "0", "width": 4, "keep": "head"}  # what stood there before there was a model key
FOREIGN: dict[str, tuple[dict[str, Tensor], dict[str, str]]] = {
    "other tensors": ({"x": torch.zeros(1)}, {}),
    "no metadata": ({"linear.bias": torch.zeros(1)}, {}),
    "metadata of another version": ({}, {"classifier": json.dumps(OLD)}),
    "metadata that is no JSON": ({}, {"model": "{"}),
    "metadata that is a list": ({}, {"model": "[]"}),
    "an unknown pooling": ({}, {"model": json.dumps(OLD | {"pool": "median"})}),
    "an unknown key": ({}, {"model": json.dumps(OLD | {"momentum": 1})}),
    "a bias that is a number": ({"linear.bias": torch.tensor(0.0)}, {}),
    "a line of another width": ({"linear.weight": torch.zeros(1, D + 1)}, {}),
    "vectors in a row": ({"embedding.weight": torch.zeros(D)}, {}),
    "no vectors": ({"embedding.weight": torch.zeros(0, D)}, {}),
    "more tensors": ({"more": torch.zeros(1)}, {}),
    "no idf": ({}, {"model": json.dumps(OLD | {"pool": "idf_mean"})}),
    "no n-grams": ({}, {"model": json.dumps(OLD | {"ngrams": RUNS.model_dump()})}),
    "n-grams without weights": (
        {"ngrams.keys": torch.tensor([3, 4]), "ngrams.weight": torch.zeros(1, 1)},
        {"model": json.dumps(OLD | {"ngrams": RUNS.model_dump()})},
    ),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_a_file_of_something_else_is_no_classifier(tmp_path: Path, name: str) -> None:
    sound = {
        "embedding.weight": torch.zeros(V, D),
        "linear.weight": torch.zeros(1, D),
        "linear.bias": torch.zeros(1),
    }
    path = tmp_path / "a.safetensors"
    save_file(sound, path, {"model": json.dumps(OLD)})
    assert classifier.load(path).labels == 2
    tensors, metadata = FOREIGN[name]
    save_file(
        tensors if name == "other tensors" else sound | tensors, path, metadata or {"model": json.dumps(OLD)}
    )
    if name == "no metadata":
        save_file(sound, path)
    with pytest.raises(Refusal, match=r"safetensors: no classifier .*dvc repro"):
        classifier.load(path)


@pytest.mark.parametrize("content", [b"", b"no", b"\x08\0\0\0\0\0\0\0{}      "])
def test_bytes_of_something_else_are_no_classifier(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "b.safetensors").write_bytes(content)
    with pytest.raises(Refusal, match=r"safetensors: no classifier .*dvc repro"):
        classifier.load(tmp_path / "b.safetensors")


@given(lengths=st.lists(st.integers(0, 50), min_size=1, max_size=60), count=st.integers(1, 9))
@settings(deadline=None)
def test_batches_hold_every_review_once_and_are_of_a_length(lengths: list[int], count: int) -> None:
    parts = list(batches(torch.tensor(lengths), count, torch.Generator().manual_seed(0)))
    assert sorted(torch.cat(parts).tolist()) == list(range(len(lengths)))
    ranges = sorted((min(lengths[n] for n in p), max(lengths[n] for n in p)) for p in parts)
    assert all(a[1] <= b[0] for a, b in pairwise(ranges))


def test_scores_come_in_the_order_of_the_reviews() -> None:
    reviews = [[3, 4, 5], [], [6], [7, 8], [9] * 9]
    ids, lengths = padded(reviews, 9)
    model = model_of()
    scores = score(model, Reviews(ids, lengths, torch.zeros(5)))
    alone = torch.cat([model(*padded([review], 9)) for review in reviews])
    assert torch.allclose(scores, alone, atol=1e-6)


def write_unlabelled(ids: Path, reviews: list[list[int]]) -> None:
    """A data/ids.parquet of unlabelled reviews, and one of train that nobody shall take for one of them."""
    columns = {
        "label": pa.array([0] + [None] * len(reviews), pa.int32()),
        "split": ["train"] + ["unlabelled"] * len(reviews),
        "ids": pa.array([[1], *reviews], pa.list_(pa.int32())),
    }
    pq.write_table(pa.table(columns), ids)


def write_inputs(folder: Path, labels: int = 2, noisy: bool = False) -> list[Path]:
    """Reviews whose label is told by one of their words; noisy: by chance."""
    generator = torch.Generator().manual_seed(3)
    tensors = {}
    for split, count in (("train", 120), ("validation", 40), ("test", 40)):
        ids = torch.randint(2, V, (count, 6), generator=generator, dtype=torch.int32)
        truth = torch.randint(labels, (count,), generator=generator, dtype=torch.int32)
        if not noisy:
            ids = torch.where(ids < 2 + labels, V - 1, ids)
            ids[:, 0] = truth + 2
        lengths = torch.full((count,), 6, dtype=torch.int32)
        tensors |= {f"{split}.ids": ids, f"{split}.lengths": lengths, f"{split}.labels": truth}
    save_file(tensors, folder / "tensors.safetensors", {"tensors": '{"max_length": 9, "keep": "both"}'})
    (folder / "vocabulary.parquet").write_bytes(b"words")
    table = torch.randn(V, D, generator=generator)
    table[0] = 0
    save_file({"embeddings": table}, folder / "embeddings.safetensors")
    names = [f"label {n}" for n in range(labels)]
    (folder / "labels.json").write_text(json.dumps({"labels": names}), encoding="utf-8")
    (folder / "ids.parquet").write_bytes(b"for self-training alone")
    inputs = (
        "ids.parquet",
        "tensors.safetensors",
        "embeddings.safetensors",
        "vocabulary.parquet",
        "labels.json",
    )
    return [folder / n for n in (*inputs, "classifier.safetensors", "metrics.json", "curve.csv")]


QUICK = {"lr": 0.05, "epochs": 15, "patience": 15}
TEXTBOOK = {
    "lr": 0.02, "vectors_lr": 0.01, "epochs": 2, "patience": 2, "batch": 16, "threads": 1, "ngrams": None,
    "calibration": "none", "word_dropout": 0, "weight_decay": 0, "averaging": False, "pool": "mean",
    "class_weight": "none", "self_training": 0, "start": "trained", "tuning": "fine_tuned", "threshold": 0.5,
    "seed": 1,
}  # fmt: skip


def trained(
    folder: Path, write_params: Callable[..., Path], labels: int = 2, noisy: bool = False, **choices: object
) -> tuple[Classifier, dict[str, Any]]:
    """What is learnt from the reviews of `write_inputs` by the textbook and other `choices`; the metrics."""
    paths = write_inputs(folder, labels, noisy)
    classifier.main(write_params(classifier={**TEXTBOOK, **choices}), *paths)
    return classifier.load(paths[5]), json.loads(paths[6].read_text(encoding="utf-8"))


def weights_of(model: Classifier) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def logits_of(model: Classifier, folder: Path) -> Tensor:
    return score(model, read_split(folder / "tensors.safetensors", "validation"))


@pytest.mark.parametrize("labels", [2, 3])
@pytest.mark.parametrize("tuning", ["fine_tuned", "frozen"])  # frozen vectors are pooled once, elsewhere
@pytest.mark.parametrize("device", DEVICES)
def test_with_everything_off_it_is_the_textbooks_model(
    tmp_path: Path, write_params: Callable[..., Path], labels: int, tuning: str, device: Device
) -> None:
    found, metrics = trained(tmp_path, write_params, labels, tuning=tuning, device=device)
    assert metrics["best_epoch"] == 2  # else not these but the first epoch's weights were kept

    train = read_split(tmp_path / "tensors.safetensors", "train")
    torch.manual_seed(1)
    embedding = nn.Embedding(V, D, padding_idx=0, sparse=True)
    line = nn.Linear(D, 1 if labels == 2 else labels)
    with torch.no_grad():
        embedding.weight.copy_(load_file(tmp_path / "embeddings.safetensors")["embeddings"])
    embedding.weight.requires_grad_(tuning == "fine_tuned")
    optimisers = [torch.optim.Adam(line.parameters(), 0.02)]
    if tuning == "fine_tuned":
        optimisers.append(torch.optim.SparseAdam(embedding.parameters(), 0.01))
    loss = nn.BCEWithLogitsLoss() if labels == 2 else nn.CrossEntropyLoss()
    generator = torch.Generator().manual_seed(1)
    for _ in range(2):
        for rows in batches(train.lengths, 16, generator):
            logits = line(mean_pool(embedding(train.ids[rows]), train.lengths[rows]))
            told = train.labels[rows]
            for optimiser in optimisers:
                optimiser.zero_grad()
            (loss(logits[:, 0], told.float()) if labels == 2 else loss(logits, told.long())).backward()
            for optimiser in optimisers:
                optimiser.step()

    assert torch.allclose(found.linear.weight, line.weight, atol=1e-5)
    assert torch.allclose(found.linear.bias, line.bias, atol=1e-5)
    assert torch.allclose(found.embedding.weight, embedding.weight, atol=1e-5)
    assert (found.about.temperature, found.about.threshold, found.ngrams, found.idf) == (1, 0.5, None, None)


A_FEW_STEPS = """
import hashlib
from stages.classifier import Adam, Line
import torch

torch.manual_seed(0)
line, vectors = Line(100, 3), torch.randn(64, 100)
optimisers = [Adam(part, 0.01) for part in line.parameters()]
for _ in range(5):
    line.zero_grad()
    line(vectors).sigmoid().sum().backward()
    for optimiser in optimisers:
        optimiser.step()
told = torch.cat([line.weight.flatten(), line(vectors).flatten()])
print(hashlib.sha256(told.detach().numpy().tobytes()).hexdigest())
"""


def test_the_line_is_learnt_to_the_same_bytes_whatever_instructions_mkl_takes() -> None:
    found = set()
    for kind in ("SSE4_2", "AVX2", "AVX512"):
        told = subprocess.run(
            [sys.executable, "-c", A_FEW_STEPS],
            cwd=ROOT, env=os.environ | {"MKL_ENABLE_INSTRUCTIONS": kind}, capture_output=True, check=True,
        )  # fmt: skip
        found.add(told.stdout)
    assert len(found) == 1
    assert len(found.pop()) == 65


@pytest.mark.parametrize("decay", [0.0, 0.3])
@given(seed=st.integers(0, 10_000))
@settings(max_examples=20, deadline=None)
def test_adam_steps_as_torchs_own_do(decay: float, seed: int) -> None:
    """Also where slopes are sparse, with rows that come twice or never."""
    generator = torch.Generator().manual_seed(seed)
    start = torch.randn(V, D, generator=generator)
    mine, dense, sparse = (nn.Parameter(start.clone()) for _ in range(3))
    by_rows = nn.Parameter(start.clone())
    optimisers = [
        Adam(mine, 0.02, decay),
        torch.optim.AdamW([dense], 0.02, weight_decay=decay),
        Adam(by_rows, 0.02),
        torch.optim.SparseAdam([sparse], 0.02),
    ]
    for _ in range(5):
        mine.grad = torch.randn(V, D, generator=generator)
        dense.grad = mine.grad.clone()
        rows = torch.randint(V, (1, 4), generator=generator)
        values = torch.randn(4, D, generator=generator)
        by_rows.grad = torch.sparse_coo_tensor(rows, values, (V, D), check_invariants=True)
        sparse.grad = by_rows.grad.clone()
        for optimiser in optimisers:
            optimiser.step()
    assert torch.allclose(mine, dense, atol=1e-6)
    assert torch.allclose(by_rows, sparse, atol=1e-6)


def test_the_preset_of_the_textbook_turns_everything_off(params: dict[str, Any]) -> None:
    words = (ROOT / "presets/textbook.args").read_text(encoding="utf-8").split()
    changed = dict(word.removeprefix("classifier.").split("=") for word in words[1::2])
    shipped = params["classifier"] | {key: yaml.safe_load(value) for key, value in changed.items()}
    free = {"lr", "vectors_lr", "epochs", "patience", "batch", "threads"}
    assert {key: shipped[key] for key in TEXTBOOK.keys() - free} == {
        key: TEXTBOOK[key] for key in TEXTBOOK.keys() - free
    }


# Not max alone: there a word that is nowhere the largest has no gradient, and its moments stand still.
@pytest.mark.parametrize("pool", ["mean", "sum", "mean_max", "idf_mean"])
def test_very_many_words_are_learnt_from_as_few_are(
    tmp_path: Path, write_params: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, pool: str
) -> None:
    few, _ = trained(tmp_path, write_params, 3, noisy=True, pool=pool)
    monkeypatch.setattr(classifier, "CELLS", 0)
    many, _ = trained(tmp_path, write_params, 3, noisy=True, pool=pool)
    for name, weight in weights_of(few).items():
        assert torch.allclose(weights_of(many)[name], weight, atol=1e-5), name


@given(reviews=REVIEWS, share=st.floats(0, 0.99), seed=st.integers(0, 99))
@settings(deadline=None)
def test_a_review_loses_words_and_keeps_their_order(
    reviews: list[list[int]], share: float, seed: int
) -> None:
    ids, lengths = padded(reviews, 9)
    batch = Reviews(ids, lengths, torch.arange(len(reviews)))
    fewer = without_some(batch, share, torch.Generator().manual_seed(seed))
    assert fewer.ids.shape == ids.shape
    assert (fewer.ids.dtype, fewer.lengths.dtype) == (ids.dtype, lengths.dtype)
    assert torch.equal(fewer.labels, batch.labels)
    for review, row, length in zip(reviews, fewer.ids.tolist(), fewer.lengths.tolist(), strict=True):
        assert row[length:] == [0] * (9 - length)
        kept = row[:length]
        words = iter(review)
        assert all(word in words for word in kept)  # a subsequence
        assert share > 0 or kept == review


def test_the_share_of_words_lost_is_the_one_that_was_asked_for() -> None:
    ids = torch.randint(1, V, (200, 300), dtype=torch.int32)
    whole = Reviews(ids, torch.full((200,), 300, dtype=torch.int32), torch.zeros(200))
    generator = torch.Generator().manual_seed(1)
    first, second = (without_some(whole, 0.3, generator) for _ in range(2))
    assert 1 - first.lengths.sum().item() / ids.numel() == pytest.approx(0.3, abs=0.01)
    assert not torch.equal(first.ids, second.ids)  # drawn anew


@pytest.mark.parametrize("tuning", ["fine_tuned", "frozen"])
def test_word_dropout_changes_what_is_learnt_and_repeats_itself(
    tmp_path: Path, write_params: Callable[..., Path], tuning: str
) -> None:
    plain, once, again = (
        weights_of(trained(tmp_path, write_params, word_dropout=share, tuning=tuning)[0])
        for share in (0, 0.5, 0.5)
    )
    assert not torch.equal(plain["linear.weight"], once["linear.weight"])
    assert all(torch.equal(once[name], again[name]) for name in once)


@pytest.mark.parametrize("tuning", ["fine_tuned", "frozen"])
def test_averaging_is_the_mean_of_the_weights_of_all_epochs(
    tmp_path: Path, write_params: Callable[..., Path], tuning: str
) -> None:
    each = []
    for epochs in (1, 2, 3):
        model, metrics = trained(tmp_path, write_params, epochs=epochs, tuning=tuning)
        assert metrics["best_epoch"] == epochs
        each.append(weights_of(model))
    model, metrics = trained(tmp_path, write_params, epochs=3, tuning=tuning, averaging=True)
    assert metrics["best_epoch"] == 3
    for name, weight in weights_of(model).items():
        assert torch.allclose(weight, torch.stack([part[name] for part in each]).mean(0), atol=1e-6), name


def test_a_rare_label_weighs_more_where_labels_are_balanced() -> None:
    labels = torch.tensor([0, 0, 0, 1, 3, 3], dtype=torch.int32)
    assert label_weights(labels, 4, "none").tolist() == [1] * 6
    wanted = [6 / (4 * 3)] * 3 + [6 / 4] + [6 / (4 * 2)] * 2
    assert label_weights(labels, 4, "balanced").tolist() == pytest.approx(wanted)


@pytest.mark.parametrize("ngrams", [False, True])
def test_balanced_labels_are_told_more_often_where_they_are_rare(
    tmp_path: Path, write_params: Callable[..., Path], ngrams: bool
) -> None:
    runs = {"ngrams": RUNS.model_dump() | {"decay": 100}, "blend": 1}
    choices = runs if ngrams else {"epochs": 20, "patience": 20}
    told = {}
    for balance in ("none", "balanced"):
        paths = write_inputs(tmp_path, noisy=True)
        tensors = load_file(paths[1])
        rare = (torch.arange(120) % 8 == 0).int()
        save_file(
            tensors | {"train.labels": rare}, paths[1], {"tensors": '{"max_length": 9, "keep": "head"}'}
        )
        classifier.main(write_params(classifier={**TEXTBOOK, **choices, "class_weight": balance}), *paths)
        told[balance] = logits_of(classifier.load(paths[5]), tmp_path).sigmoid().mean().item()
    assert told["none"] + 0.1 < told["balanced"] == pytest.approx(0.5, abs=0.1)


def test_vectors_move_less_with_a_smaller_learning_rate_of_their_own(
    tmp_path: Path, write_params: Callable[..., Path]
) -> None:
    moved, lines = [], []
    for lr in (0.1, 0.01, 0.001):
        model, _ = trained(tmp_path, write_params, vectors_lr=lr)
        start = load_file(tmp_path / "embeddings.safetensors")["embeddings"]
        moved.append((model.embedding.weight - start).abs().mean().item())
        lines.append(model.linear.weight)
    assert moved[0] > 5 * moved[1] > 25 * moved[2] > 0
    assert torch.allclose(lines[1], lines[2], atol=0.02)


def test_weight_decay_shrinks_the_line_and_no_vector(
    tmp_path: Path, write_params: Callable[..., Path]
) -> None:
    plain, decayed = (
        trained(tmp_path, write_params, tuning="frozen", weight_decay=decay, epochs=1)[0] for decay in (0, 5)
    )
    assert decayed.linear.weight.norm() < 0.7 * plain.linear.weight.norm()
    assert torch.equal(plain.embedding.weight, decayed.embedding.weight)


@pytest.mark.parametrize("labels", [2, 3])
def test_a_blend_that_is_a_number_is_the_weighted_sum_of_both_parts(
    tmp_path: Path, write_params: Callable[..., Path], labels: int
) -> None:
    words = logits_of(trained(tmp_path, write_params, labels)[0], tmp_path)
    choices = {"ngrams": RUNS.model_dump() | {"ratios": "weights"}, "labels": labels}
    model, metrics = trained(tmp_path, write_params, blend=1, **choices)
    runs = logits_of(model, tmp_path)
    for blend in (0, 0.3, 1):
        model, metrics = trained(tmp_path, write_params, blend=blend, **choices)
        assert torch.allclose(logits_of(model, tmp_path), (1 - blend) * words + blend * runs, atol=1e-5)
        assert metrics["say"] == {"words": 1 - blend, "ngrams": blend}


def test_a_blend_of_one_trains_no_vectors_and_lets_them_say_nothing(
    tmp_path: Path, write_params: Callable[..., Path]
) -> None:
    model, metrics = trained(tmp_path, write_params, blend=1, ngrams=RUNS.model_dump(), pool="mean_max")
    assert torch.equal(model.embedding.weight, load_file(tmp_path / "embeddings.safetensors")["embeddings"])
    assert not model.linear.weight.any()
    assert set(metrics) == {
        "ngram_rows", "say", "validation_ngrams", "scaled_by", "decided_from", "validation",
    }  # fmt: skip
    assert (tmp_path / "curve.csv").read_text().splitlines() == [",".join(classifier.Epoch._fields)]


@pytest.mark.parametrize("labels", [2, 4])
def test_a_blend_by_validation_fits_it_better_than_either_part(
    tmp_path: Path, write_params: Callable[..., Path], labels: int
) -> None:
    choices = {"ngrams": RUNS.model_dump(), "labels": labels, "noisy": True}
    truth = None
    losses = {}
    for blend in ("validation", 0, 0.5, 1):
        model, metrics = trained(tmp_path, write_params, blend=blend, **choices)
        truth = read_split(tmp_path / "tensors.safetensors", "validation").labels
        losses[blend] = cautious_loss(logits_of(model, tmp_path).double(), truth).item()
        if blend == "validation":
            assert min(metrics["say"].values()) >= 0
    assert losses["validation"] <= min(losses.values()) + 1e-5


def test_what_cannot_be_chosen_by_one_label_is_not(tmp_path: Path, write_params: Callable[..., Path]) -> None:
    paths = write_inputs(tmp_path)
    tensors = load_file(paths[1])
    for occurring, label in enumerate((torch.ones(40), tensors["validation.labels"]), 1):
        save_file(
            tensors | {"validation.labels": label.int()},
            paths[1],
            {"tensors": '{"max_length": 9, "keep": "head"}'},
        )
        choices = {"calibration": "temperature", "threshold": "validation", "blend": "validation"}
        ngrams = {"ngrams": RUNS.model_dump()}
        classifier.main(write_params(classifier={**TEXTBOOK, **choices, **ngrams}), *paths)
        metrics = json.loads(paths[6].read_text(encoding="utf-8"))
        assert metrics["validation"]["labels"] == occurring
        chosen = metrics["scaled_by"], metrics["decided_from"], *metrics["say"].values()
        assert (chosen == (1.0, 0.5, 0.5, 0.5)) == (occurring == 1)
        model = classifier.load(paths[5])
        assert (model.about.temperature, model.about.threshold) == pytest.approx(chosen[:2], abs=1e-5)


def rewrite(tensors: Path, **splits: list[tuple[list[int], int]]) -> None:
    """Other labelled reviews in some splits of data/tensors.safetensors."""
    arrays = load_file(tensors)
    for split, reviews in splits.items():
        ids, lengths = padded([words for words, _ in reviews], 6)
        labels = torch.tensor([label for _, label in reviews], dtype=torch.int32)
        arrays |= {f"{split}.ids": ids, f"{split}.lengths": lengths, f"{split}.labels": labels}
    save_file(arrays, tensors, {"tensors": '{"max_length": 6, "keep": "head"}'})


@pytest.mark.parametrize("true", [True, False])
@pytest.mark.parametrize("blend", [1, 0.5, "validation"])
def test_it_teaches_itself_where_validation_is_told_better_for_it(
    tmp_path: Path, write_params: Callable[..., Path], true: bool, blend: float | str
) -> None:
    paths = write_inputs(tmp_path)
    # 2 and 3 tell the labels, 4 and 5 are beside both in train. Where no label is known 4 stands beside 2
    # alone, and 5 beside 3: that tells validation what it is about, or the opposite.
    train = [([2, 6], 0), ([3, 6], 1), ([2, 4, 5, 6], 0), ([3, 4, 5, 6], 1)] * 20
    rewrite(paths[1], train=train, validation=[([4, 6], int(not true)), ([5, 6], int(true))] * 20)
    write_unlabelled(paths[0], [[2, 4, 7], [3, 5, 7]] * 100)
    choices = {**TEXTBOOK, "blend": blend, "ngrams": RUNS.model_dump(), "calibration": "temperature"}
    found = {}
    for trust in (0, 0.3):
        classifier.main(write_params(classifier={**choices, "self_training": trust}), *paths)
        model, metrics = classifier.load(paths[5]), json.loads(paths[6].read_text(encoding="utf-8"))
        found[trust] = weights_of(model), metrics.pop("self_training", None), metrics, model
    (before, none, metrics, _), (after, told, metrics_then, student) = found.values()
    assert none is None
    assert told["reviews"] == 200
    assert told["kept"] == (told["loss_after"] < told["loss_before"]) == true
    assert (metrics_then == metrics) == (not true)
    assert all(torch.equal(before[name], after[name]) for name in before) == (not true)
    assert len(before["ngrams.weight"]) == len(after["ngrams.weight"])
    if true:
        four, five = logits_of(student, tmp_path)[:2, 0].tolist()
        assert four < 0 < five
    validation = read_split(paths[1], "validation")
    loss = cooled_loss(score(student, validation), validation.labels)
    assert loss == pytest.approx(min(told["loss_before"], told["loss_after"]), rel=1e-5)


def test_without_unlabelled_reviews_there_is_nothing_to_teach_itself_by(
    tmp_path: Path, write_params: Callable[..., Path]
) -> None:
    paths = write_inputs(tmp_path)
    write_unlabelled(paths[0], [])
    choices = {**TEXTBOOK, "ngrams": RUNS.model_dump()}
    told = []
    for trust in (0, 1):
        classifier.main(write_params(classifier={**choices, "self_training": trust}), *paths)
        told.append([path.read_bytes() for path in paths[5:]])
    assert told[0] == told[1]


@pytest.mark.parametrize(("keep", "wanted"), [("head", [2, 3, 4]), ("tail", [6, 7, 8]), ("both", [2, 3, 8])])
def test_unlabelled_reviews_are_cut_as_the_labelled_ones(
    tmp_path: Path, keep: Literal["head", "tail", "both"], wanted: list[int]
) -> None:
    ids = tmp_path / "ids.parquet"
    write_unlabelled(ids, [[5, 6], list(range(2, 9)), []])
    (part,) = unlabelled_reviews(ids, About(vocabulary="", width=3, keep=keep))
    assert part.ids.tolist() == [[5, 6, 0], wanted, [0, 0, 0]]
    assert part.lengths.tolist() == [2, 3, 0]
    (whole,) = unlabelled_reviews(ids, About(vocabulary="", width=None, keep=keep))
    assert whole.ids[1].tolist() == list(range(2, 9))


@pytest.mark.parametrize("balance", ["none", "balanced"])
def test_added_reviews_have_the_likeliest_label_and_count_as_much_as_they_are_trusted(
    tmp_path: Path, write_params: Callable[..., Path], balance: str
) -> None:
    model, (ids, lengths) = model_of(3, seed=1), padded([[2, 3], [4], [5, 6, 7], [8]], 4)
    reviews = Reviews(ids, lengths, torch.zeros(4, dtype=torch.int32))
    wanted = model(ids, lengths).argmax(1)
    chosen = write_params(classifier={"self_training": 0.25, "class_weight": balance})
    learner = Learner(reviews, V, 3, RUNS, threads=1)
    params = read_params(chosen, "classifier", Params)
    trust = add_guessed(learner, model, iter([reviews, reviews]), params)
    assert np.concatenate(learner.truth[1:]).tolist() == wanted.tolist() * 2
    assert len(wanted.unique()) > 1
    assert np.concatenate(learner.heed).tolist() == [1] * 4 + [0.25] * 8
    share = 1 if balance == "none" else 4 / (3 * torch.bincount(wanted)[wanted])
    assert trust.tolist() == pytest.approx((0.25 * share * torch.ones(4)).tolist() * 2)


def test_a_word_of_every_review_has_no_idf_and_a_rare_one_much() -> None:
    ids, lengths = padded([[1, 2, 2], [1, 3], [1, 2], []], 5)
    found = inverse_frequency(Reviews(ids, lengths, torch.zeros(4)), 5)
    often = [0, 3, 2, 1, 0]  # of <pad> none
    assert found.tolist() == pytest.approx([math.log(5 / (n + 1)) for n in often])


def test_the_idf_is_that_of_the_train_reviews(tmp_path: Path, write_params: Callable[..., Path]) -> None:
    model, _ = trained(tmp_path, write_params, pool="idf_mean")
    train = read_split(tmp_path / "tensors.safetensors", "train")
    assert model.idf is not None
    assert torch.equal(model.idf, inverse_frequency(train, V))


@pytest.mark.parametrize("labels", [2, 4])
@pytest.mark.parametrize("start", ["trained", "random"])
@pytest.mark.parametrize("device", DEVICES)
def test_it_learns_what_one_word_tells(
    tmp_path: Path, write_params: Callable[..., Path], labels: int, start: str, device: Device
) -> None:
    paths = write_inputs(tmp_path, labels)
    choices = {**QUICK, "start": start, "device": device}
    classifier.main(write_params(classifier=choices), *paths)
    metrics = json.loads(paths[6].read_text(encoding="utf-8"))
    assert metrics["validation"]["accuracy"] == 1.0
    outputs = [path.read_bytes() for path in paths[5:]]
    classifier.main(write_params(classifier=choices), *paths)
    assert [path.read_bytes() for path in paths[5:]] == outputs


@needs_gpu
@pytest.mark.parametrize("pool", ["mean", "sum", "max", "mean_max", "idf_mean"])
def test_every_pooling_gives_the_same_bytes_on_every_run_on_a_gpu(
    tmp_path: Path, write_params: Callable[..., Path], pool: str
) -> None:
    paths = write_inputs(tmp_path)
    choices = {**QUICK, "pool": pool, "word_dropout": 0.2, "averaging": True, "device": "cuda"}
    outputs = []
    for _ in range(2):
        classifier.main(write_params(classifier=choices), *paths)
        outputs.append([path.read_bytes() for path in paths[5:]])
    assert outputs[0] == outputs[1]


def test_frozen_vectors_stay_and_fine_tuned_ones_move_but_for_padding(
    tmp_path: Path, write_params: Callable[..., Path]
) -> None:
    paths = write_inputs(tmp_path)
    given_table = load_file(paths[2])["embeddings"]
    for tuning in ("frozen", "fine_tuned"):
        classifier.main(write_params(classifier={**QUICK, "tuning": tuning}), *paths)
        table = load_file(paths[5])["embedding.weight"]
        assert torch.equal(table, given_table) == (tuning == "frozen")
        assert not table[0].any()


def test_the_best_epoch_is_kept_and_waiting_ends(tmp_path: Path, write_params: Callable[..., Path]) -> None:
    paths = write_inputs(tmp_path, noisy=True)
    classifier.main(write_params(classifier={"lr": 0.1, "epochs": 40, "patience": 3, "ngrams": None}), *paths)
    lines = paths[7].read_text(encoding="utf-8").splitlines()
    assert lines[0] == "epoch,train_loss,validation_loss,validation_accuracy"
    losses = [float(line.split(",")[2]) for line in lines[1:]]
    metrics = json.loads(paths[6].read_text(encoding="utf-8"))
    assert metrics["best_epoch"] == losses.index(min(losses)) + 1
    assert metrics["epochs_run"] == len(losses) == metrics["best_epoch"] + 3 < 40
    model = classifier.load(paths[5])
    validation = read_split(paths[1], "validation")
    logits = score(model, validation)
    assert classifier.loss_of(logits, validation.labels).item() == pytest.approx(min(losses), abs=1e-5)


def test_a_diverged_training_is_refused(tmp_path: Path, write_params: Callable[..., Path]) -> None:
    paths = write_inputs(tmp_path)
    table = load_file(paths[2])["embeddings"]
    save_file({"embeddings": table * float("nan")}, paths[2])
    with pytest.raises(Refusal, match=r"diverged in epoch 1.*classifier\.lr"):
        classifier.main(write_params(), *paths)
    assert not paths[5].exists()


def test_self_training_without_the_ngrams_that_it_teaches_is_refused(
    tmp_path: Path, write_params: Callable[..., Path]
) -> None:
    paths = write_inputs(tmp_path)
    with pytest.raises(Refusal, match=r"classifier\.self_training: found 0\.3, .*ngrams is null"):
        classifier.main(write_params(classifier={"self_training": 0.3, "ngrams": None}), *paths)
    assert not paths[5].exists()
