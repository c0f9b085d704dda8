"""Classifier: the masked mean against EmbeddingBag, padding that counts for nothing, the best epoch."""

import json
import math
from collections.abc import Callable
from itertools import pairwise, product
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor

from stages import classifier
from stages.classifier import (
    About,
    Classifier,
    batches,
    blended,
    cautious_loss,
    decide,
    loss_of,
    probabilities,
    score,
    temperature_for,
    threshold_for,
)
from stages.lib.command import Refusal
from stages.lib.reviews import Reviews, read_split

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


@given(review=REVIEWS.map(lambda found: found[0]), labels=st.sampled_from([2, 3]))
@settings(deadline=None)
def test_the_shares_of_a_review_and_the_bias_sum_to_its_logits(review: list[int], labels: int) -> None:
    model = model_of(labels)
    shares = model.shares(torch.tensor(review, dtype=torch.int32))
    total = model.bias() + sum(share.logits for share in shares)
    assert [(share.start, share.end) for share in shares] == [(n, n + 1) for n in range(len(review))]
    assert torch.allclose(total, model(*padded([review], 9))[0], atol=1e-5)


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


def test_a_file_of_something_else_is_no_classifier(tmp_path: Path) -> None:
    save_file({"x": torch.zeros(1)}, tmp_path / "a.safetensors")
    (tmp_path / "b.safetensors").write_bytes(b"no")
    for name in "ab":
        with pytest.raises(Refusal, match=r"safetensors: no classifier .*dvc repro"):
            classifier.load(tmp_path / f"{name}.safetensors")


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
    scores = score(model, Reviews(ids, lengths, torch.zeros(5)), torch.device("cpu"))
    alone = torch.cat([model(*padded([review], 9)) for review in reviews])
    assert torch.allclose(scores, alone, atol=1e-6)


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
    inputs = ("tensors.safetensors", "embeddings.safetensors", "vocabulary.parquet", "labels.json")
    return [folder / n for n in (*inputs, "classifier.safetensors", "metrics.json", "curve.csv")]


QUICK = {"lr": 0.05, "epochs": 15, "patience": 15}


@pytest.mark.parametrize("labels", [2, 4])
@pytest.mark.parametrize("start", ["trained", "random"])
def test_it_learns_what_one_word_tells(
    tmp_path: Path, write_params: Callable[..., Path], labels: int, start: str
) -> None:
    paths = write_inputs(tmp_path, labels)
    classifier.main(write_params(classifier={**QUICK, "start": start}), *paths)
    metrics = json.loads(paths[5].read_text(encoding="utf-8"))
    assert metrics["validation"]["accuracy"] == 1.0
    outputs = [path.read_bytes() for path in paths[4:]]
    classifier.main(write_params(classifier={**QUICK, "start": start}), *paths)
    assert [path.read_bytes() for path in paths[4:]] == outputs


def test_frozen_vectors_stay_and_fine_tuned_ones_move_but_for_padding(
    tmp_path: Path, write_params: Callable[..., Path]
) -> None:
    paths = write_inputs(tmp_path)
    given_table = load_file(paths[1])["embeddings"]
    for tuning in ("frozen", "fine_tuned"):
        classifier.main(write_params(classifier={**QUICK, "tuning": tuning}), *paths)
        table = load_file(paths[4])["embedding.weight"]
        assert torch.equal(table, given_table) == (tuning == "frozen")
        assert not table[0].any()


def test_the_best_epoch_is_kept_and_waiting_ends(tmp_path: Path, write_params: Callable[..., Path]) -> None:
    paths = write_inputs(tmp_path, noisy=True)
    classifier.main(write_params(classifier={"lr": 0.1, "epochs": 40, "patience": 3, "ngrams": None}), *paths)
    lines = paths[6].read_text(encoding="utf-8").splitlines()
    assert lines[0] == "epoch,train_loss,validation_loss,validation_accuracy"
    losses = [float(line.split(",")[2]) for line in lines[1:]]
    metrics = json.loads(paths[5].read_text(encoding="utf-8"))
    assert metrics["best_epoch"] == losses.index(min(losses)) + 1
    assert metrics["epochs_run"] == len(losses) == metrics["best_epoch"] + 3 < 40
    model = classifier.load(paths[4])
    validation = read_split(paths[0], "validation")
    logits = score(model, validation, torch.device("cpu"))
    assert classifier.loss_of(logits, validation.labels).item() == pytest.approx(min(losses), abs=1e-5)


def test_a_diverged_training_is_refused(tmp_path: Path, write_params: Callable[..., Path]) -> None:
    paths = write_inputs(tmp_path)
    table = load_file(paths[1])["embeddings"]
    save_file({"embeddings": table * float("nan")}, paths[1])
    with pytest.raises(Refusal, match=r"diverged in epoch 1.*classifier\.lr"):
        classifier.main(write_params(), *paths)
    assert not paths[4].exists()
