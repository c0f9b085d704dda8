"""NBSVM: ratios by hand, the line against scikit-learn, and what a text says against a dense sum."""

import itertools
from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.sparse import csr_matrix
from scipy.special import log_softmax
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from stages.lib.nbsvm import (
    Learner,
    NGrams,
    Runs,
    commonness,
    log_count_ratios,
    logistic,
    pooled_runs,
)
from stages.lib.ngrams import Buckets
from stages.lib.reviews import Reviews, logits_for

V = 9
PLAIN = NGrams(
    longest=2, least=1, limit=10**6, buckets=None, counts="unique", pool="sum", ending=0,
    ratios="none", rarity=0, decay=1,
)  # fmt: skip
REVIEW = st.lists(st.integers(1, V - 1), max_size=7) | st.lists(
    st.integers(1, V - 1), min_size=8, max_size=32
)
ABOUTS = st.builds(
    lambda **choices: PLAIN.model_copy(update=choices),
    longest=st.integers(1, 3),
    buckets=st.sampled_from([None, 5, 1000]),
    counts=st.sampled_from(["unique", "counted"]),
    pool=st.sampled_from(["mean", "sum"]),
    ending=st.sampled_from([0, 0.5]),
)


def reviews_of(texts: list[list[int]], labels: list[int] | None = None, width: int = 32) -> Reviews:
    rows = torch.zeros(len(texts), width, dtype=torch.int32)
    for row, text in zip(rows, texts, strict=True):
        row[: len(text)] = torch.tensor(text, dtype=torch.int32)
    lengths = torch.tensor([len(text) for text in texts], dtype=torch.int32)
    return Reviews(rows, lengths, torch.tensor(labels or [0] * len(texts), dtype=torch.int32))


def keys_in(review: list[int], longest: int) -> list[int]:
    """The numbers of a review's runs, in base V."""
    found = []
    for order in range(1, longest + 1):
        for start in range(len(review) - order + 1):
            found.append(sum(w * V**n for n, w in enumerate(reversed(review[start : start + order]))))
    return found


def pooled(review: list[int], about: NGrams, rows: dict[int, int], wide: int) -> NDArray[np.float64]:
    """A review as one dense row: how much each known run has to say in it."""
    if about.buckets:
        finder = Buckets(about.buckets)
        rows = {key: int(finder.find(np.array([key]))[0]) for key in keys_in(review, about.longest)}
    said = np.zeros(wide)
    ending = review[len(review) - len(review) // 10 :]
    for text, say in ((review, 1), (ending, about.ending)):
        for row, times in Counter(rows[k] for k in keys_in(text, about.longest) if k in rows).items():
            said[row] += say * (times if about.counts == "counted" else 1)
    return said / max(1, said.sum()) if about.pool == "mean" else said


def known_runs(about: NGrams, logits: int, seed: int = 1) -> tuple[Runs, dict[int, int]]:
    """Some runs with weights, not all that a review may have."""
    draw = np.random.default_rng(seed)
    keys = (
        []
        if about.buckets
        else sorted({k for n in range(1, V, 2) for k in keys_in([n, 3, n], about.longest)})
    )
    weight = torch.from_numpy(draw.normal(size=(about.buckets or len(keys), logits))).float()
    return Runs(weight, torch.tensor(keys, dtype=torch.int64), about, V), {k: n for n, k in enumerate(keys)}


def test_ratios_of_two_labels_by_hand() -> None:
    # Four reviews; n-gram 0 is twice in one review of each label, 1 in both of the second, 2 in none.
    counts = csr_matrix(np.array([[2, 0, 1, 0], [0, 0, 1, 3], [0, 0, 0, 0]], np.float32))
    found = log_count_ratios(counts.T.tocsr(), np.array([0, 0, 1, 1], np.int32), 2)
    second, first = np.array([2, 3, 1]) / 6, np.array([2, 1, 1]) / 4
    assert found.shape == (3, 1)
    assert found[:, 0] == pytest.approx(np.log(second / first), rel=1e-5)


def test_ratios_of_three_labels_are_of_each_against_the_others() -> None:
    counts = csr_matrix(np.array([[1, 1, 0, 0], [0, 4, 1, 1]], np.float32))
    labels = np.array([0, 1, 1, 2], np.int32)
    found = log_count_ratios(counts.T.tocsr(), labels, 3)
    mine = {0: [2, 1], 1: [2, 3], 2: [1, 2]}
    others = {0: [2, 4], 1: [2, 2], 2: [3, 3]}
    for label in range(3):
        wanted = np.log(np.divide(mine[label], sum(mine[label]))) - np.log(
            np.divide(others[label], sum(others[label]))
        )
        assert found[:, label] == pytest.approx(wanted, rel=1e-5)


def test_a_review_that_is_heeded_half_counts_half_in_the_ratios() -> None:
    table = csr_matrix(np.array([[2, 0], [1, 1], [0, 3], [1, 0]], np.float32))
    found = log_count_ratios(table, np.array([0, 0, 1, 1], np.int32), 2, np.array([1, 1, 1, 0.5]))
    second, first = np.array([1.5, 2]) / 3.5, np.array([3, 2]) / 5
    assert found[:, 0] == pytest.approx(np.log(second / first), rel=1e-5)


def test_a_rare_run_weighs_more() -> None:
    often = np.array([1, 4, 4, 7])
    assert commonness(often, 0.5)[:, 0] == pytest.approx([2, 1, 1, (4 / 7) ** 0.5])
    assert commonness(often, 0)[:, 0].tolist() == [1, 1, 1, 1]
    assert np.isfinite(commonness(np.array([0, 0, 8]), 0.5)).all()  # buckets that nothing fell into


@pytest.mark.filterwarnings("error")
def test_no_runs_at_all_weigh_nothing() -> None:
    assert commonness(np.zeros(0, np.int64), 0.5).shape == (0, 1)


def test_what_a_review_says_by_hand() -> None:
    table = csr_matrix(np.array([[2, 1, 0], [0, 0, 0], [0, 0, 4]], np.float32))
    wanted = {
        ("counted", "sum"): [[2, 1, 0], [0, 0, 0], [0, 0, 4]],
        ("unique", "sum"): [[1, 1, 0], [0, 0, 0], [0, 0, 1]],
        ("counted", "mean"): [[2 / 3, 1 / 3, 0], [0, 0, 0], [0, 0, 1]],
        ("unique", "mean"): [[1 / 2, 1 / 2, 0], [0, 0, 0], [0, 0, 1]],
    }
    for (counts, pool), rows in wanted.items():
        about = PLAIN.model_copy(update={"counts": counts, "pool": pool})
        assert pooled_runs(table, None, about).toarray() == pytest.approx(np.array(rows)), (counts, pool)
    assert table.toarray().tolist() == [[2, 1, 0], [0, 0, 0], [0, 0, 4]]  # and it is left as it was


def test_what_an_ending_says_by_hand() -> None:
    table = csr_matrix(np.array([[2, 1, 0]], np.float32))
    late = csr_matrix(np.array([[2, 0, 0]], np.float32))
    wanted = {"counted": [2 + 0.5 * 2, 1, 0], "unique": [1 + 0.5, 1, 0]}
    for counts, row in wanted.items():
        about = PLAIN.model_copy(update={"counts": counts, "ending": 0.5})
        assert pooled_runs(table, late, about).toarray()[0].tolist() == row


def test_the_ending_is_the_last_tenth() -> None:
    model, rows = known_runs(PLAIN.model_copy(update={"longest": 1, "ending": 1.0}), 1)
    (ids, lengths, _) = reviews_of([[3, *[2] * 17, 2, 2], [*[2] * 17, 2, 3, 2], [*[2] * 17, 3, 2, 2]])
    found = model(ids, lengths)[:, 0].tolist()
    weight = model.weight[rows[3], 0].item()
    assert found == pytest.approx([weight, 2 * weight, weight])


@given(reviews=st.lists(REVIEW, min_size=1, max_size=4), about=ABOUTS, logits=st.sampled_from([1, 3]))
@example([[1] * 20], PLAIN.model_copy(update={"buckets": 1000, "counts": "counted", "pool": "sum"}), 3)
@settings(deadline=None, max_examples=150)
def test_the_logits_are_a_dense_product(reviews: list[list[int]], about: NGrams, logits: int) -> None:
    model, rows = known_runs(about, logits)
    ids, lengths, _ = reviews_of(reviews)
    dense = np.stack([pooled(review, about, rows, len(model.weight)) for review in reviews])
    found, weight = model(ids, lengths), model.weight.numpy()
    assert found.shape == (len(reviews), logits)
    rounded = 1e-6 * (np.abs(dense) @ np.abs(weight))  # float32 rounds by the size of what it adds up
    assert (np.abs(found.numpy() - dense @ weight) <= rounded).all()


@given(review=REVIEW, about=ABOUTS, logits=st.sampled_from([1, 3]))
@settings(deadline=None, max_examples=150)
def test_the_shares_of_runs_sum_to_the_logits_and_stand_where_the_runs_do(
    review: list[int], about: NGrams, logits: int
) -> None:
    model, rows = known_runs(about, logits)
    ids, lengths, _ = reviews_of([review])
    shares = model.shares(ids[0, : len(review)])
    total = sum((share.logits for share in shares), torch.zeros(logits))
    assert torch.allclose(total, model(ids, lengths)[0], atol=1e-5)
    assert all(0 <= share.start < share.end <= len(review) for share in shares)
    assert all(share.end - share.start <= about.longest for share in shares)
    if not about.buckets:
        told = [(s.start, s.end - s.start) for s in shares]
        assert sorted(told) == sorted(
            (place, order)
            for order in range(1, about.longest + 1)
            for place in range(len(review) - order + 1)
            if keys_in(review[place : place + order], order)[-1] in rows
        )


@given(reviews=st.lists(REVIEW, min_size=1, max_size=4), about=ABOUTS, extra=st.integers(1, 9))
@settings(deadline=None)
def test_padding_changes_nothing_and_no_words_say_nothing(
    reviews: list[list[int]], about: NGrams, extra: int
) -> None:
    model, _ = known_runs(about, 1)
    ids, lengths, _ = reviews_of(reviews)
    wider = torch.nn.functional.pad(ids, (0, extra))
    assert torch.equal(model(ids, lengths), model(wider, lengths))
    assert not model(*reviews_of([[], []])[:2]).any()


def dense_fit(
    said: NDArray[Any], labels: NDArray[Any], scale: NDArray[Any], decay: float, weights: NDArray[Any]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The v (F, K) and bias (K,) of the least loss, by scipy, in 64 bits and on a dense table."""
    wide = scale.shape[1]

    def loss(flat: NDArray[np.float64]) -> float:
        v, bias = flat[:-wide].reshape(-1, wide), flat[-wide:]
        logits = said @ (scale * v) + bias
        both = np.concatenate([np.zeros_like(logits), logits], 1) if wide == 1 else logits
        each = -log_softmax(both, axis=1)[np.arange(len(labels)), labels]
        return float((each * weights).sum() + decay / 2 * (v**2).sum())

    found = minimize(loss, np.zeros(scale.size + wide), method="BFGS").x
    return found[:-wide].reshape(-1, wide), found[-wide:]


def some_inputs(labels: int) -> tuple[csr_matrix, Tensor, Tensor]:
    draw = np.random.default_rng(1)
    said = draw.integers(0, 3, (40, 5)).astype(np.float32)
    truth = (said[:, 0] + draw.integers(0, labels, 40)).astype(int) % labels
    return csr_matrix(said), torch.from_numpy(truth).int(), torch.from_numpy(draw.uniform(0.2, 3, 40))


@pytest.mark.parametrize("labels", [2, 3])
@pytest.mark.parametrize("decay", [0.3, 3])
def test_the_line_is_scikit_learns(labels: int, decay: float) -> None:
    said, truth, weights = some_inputs(labels)
    scale = np.tile(np.array([[0.5], [1], [2], [-1], [0.3]], np.float32), (1, logits_for(labels)))
    v, bias = logistic(said, truth, scale, decay, weights)
    peer = LogisticRegression(C=1 / decay, tol=1e-10, max_iter=10_000)
    peer.fit(said.toarray() * scale[:, 0], truth.numpy(), sample_weight=weights.numpy())
    assert v == pytest.approx(peer.coef_.T, abs=2e-3)
    # Adding one number to all biases of a softmax changes nothing.
    middle = 0 if labels == 2 else bias.mean() - peer.intercept_.mean()
    assert bias - middle == pytest.approx(peer.intercept_, abs=2e-3)


@pytest.mark.parametrize("labels", [2, 3])
def test_a_scale_for_each_label_is_a_line_of_its_own(labels: int) -> None:
    said, truth, weights = some_inputs(labels)
    scale = np.random.default_rng(2).normal(size=(5, logits_for(labels))).astype(np.float32)
    v, bias = logistic(said, truth, scale, 0.7, weights)
    wanted, other = dense_fit(said.toarray(), truth.numpy(), scale, 0.7, weights.numpy())
    assert v == pytest.approx(wanted, abs=3e-3)
    assert bias - bias.mean() * (labels > 2) == pytest.approx(other - other.mean() * (labels > 2), abs=3e-3)


def test_a_weight_of_two_is_a_review_twice() -> None:
    said, truth, _ = some_inputs(2)
    scale, ones = np.ones((5, 1), np.float32), torch.ones(40)
    twice = np.concatenate([np.arange(40), np.arange(10)])
    weights = ones.clone()
    weights[:10] = 2
    weighed = logistic(said, truth, scale, 1, weights)
    repeated = logistic(said[twice], truth[twice], scale, 1, torch.ones(50))
    assert weighed[0] == pytest.approx(repeated[0], abs=1e-3)
    assert weighed[1] == pytest.approx(repeated[1], abs=1e-3)


def noisy_reviews(labels: int, count: int = 60) -> Reviews:
    draw = np.random.default_rng(3)
    truth = draw.integers(0, labels, count)
    texts = []
    for label in truth:
        words = draw.integers(2, V, draw.integers(0, 6)).tolist() * int(draw.choice([1, 1, 4]))
        texts.append([*words, 2 + int(label)] if draw.random() < 0.7 else words)
    return reviews_of(texts, truth.tolist())


CHOICES = [
    {},
    {"ratios": "weights"},
    {"rarity": 0.5},
    {"pool": "mean", "decay": 0.5},
    {"counts": "counted"},
    {"ending": 0.5},
    {"buckets": 7},
    {"least": 4, "limit": 6, "longest": 3},
    {"ratios": "weights", "rarity": 0.25, "pool": "mean", "counts": "counted", "buckets": 20, "ending": 2},
]


@pytest.mark.parametrize("labels", [2, 3])
@pytest.mark.parametrize("choices", CHOICES, ids=str)
def test_what_is_learnt_is_the_line_through_dense_inputs(choices: dict[str, Any], labels: int) -> None:
    about = PLAIN.model_copy(update=choices)
    train = noisy_reviews(labels)
    weights = torch.linspace(0.5, 1.5, len(train.labels))
    model, bias = Learner(train, V, labels, about, threads=1).weigh(weights)
    texts = [row[:n].tolist() for row, n in zip(train.ids, train.lengths, strict=True)]
    # The runs that are known, by counting.
    often = Counter(key for text in texts for key in set(keys_in(text, about.longest)))
    kept = sorted(often, key=lambda key: (-often[key], key))[: about.limit]
    keys = sorted(key for key in kept if often[key] >= about.least)
    if about.buckets:
        keys = []
    rows = {key: n for n, key in enumerate(keys)}
    wide = about.buckets or len(keys)
    assert model.keys.tolist() == keys
    assert model.weight.shape == (wide, logits_for(labels))
    # How often each occurs, its scale, and the table.
    counted = np.stack([pooled(text, PLAIN.model_copy(update={
        "longest": about.longest, "buckets": about.buckets, "counts": "counted"}), rows, wide)
        for text in texts])  # fmt: skip
    reviews = (counted > 0).sum(0)
    scale = np.ones((wide, logits_for(labels)))
    scale *= (np.maximum(reviews, 1) / max(1, reviews.mean()))[:, None] ** -about.rarity
    truth = train.labels.numpy()
    if about.ratios == "weights":
        for column, label in enumerate([1] if labels == 2 else range(labels)):
            here, there = ((counted[m] > 0).sum(0) + 1 for m in (truth == label, truth != label))
            scale[:, column] *= np.log(here / here.sum()) - np.log(there / there.sum())
    said = np.stack([pooled(text, about, rows, wide) for text in texts])
    if about.pool == "mean":
        said *= reviews.sum() / len(texts)
    v, other = dense_fit(said, truth, scale, about.decay, weights.numpy())
    wanted = said @ (scale * v) + other
    found = (model(train.ids, train.lengths) + bias).numpy()
    if labels > 2:
        wanted, found = wanted - wanted.mean(1, keepdims=True), found - found.mean(1, keepdims=True)
    assert found == pytest.approx(wanted, abs=0.01)
    assert np.abs(wanted).max() > 0.5  # something was learnt


@pytest.mark.parametrize("labels", [2, 3])
@pytest.mark.parametrize("choices", [*CHOICES[-2:], {}, {"ending": 1, "ratios": "weights"}], ids=str)
def test_reviews_that_are_added_count_as_train_reviews_do(choices: dict[str, Any], labels: int) -> None:
    about, train = PLAIN.model_copy(update=choices), noisy_reviews(labels)
    learner = Learner(train, V, labels, about, threads=1)
    for rows in (slice(20), slice(20, None)):
        learner.add(Reviews(*(part[rows] for part in train)), trust=1)
    model, bias = learner.weigh(torch.ones(120))
    # The same as every review twice, in which a run is in twice as many.
    twice = Reviews(*(torch.cat([part, part]) for part in train))
    often = about.model_copy(update={"least": 2 * about.least})
    wanted, other = Learner(twice, V, labels, often, threads=1).weigh(torch.ones(120))
    assert model.keys.tolist() == wanted.keys.tolist()
    assert torch.allclose(model.weight, wanted.weight, atol=1e-5)
    assert torch.allclose(bias, other, atol=1e-5)


def test_a_run_that_only_added_reviews_have_stays_unknown() -> None:
    train, guessed = reviews_of([[2, 3], [3, 4]] * 3, [0, 1] * 3), reviews_of([[5, 6, 5]] * 5, [1] * 5)
    learner = Learner(train, V, 2, PLAIN, threads=1)
    alone, _ = learner.weigh(torch.ones(6))
    learner.add(guessed, trust=1)
    model, bias = learner.weigh(torch.ones(11))
    assert model.keys.tolist() == alone.keys.tolist()
    assert model(guessed.ids, guessed.lengths).tolist() == [[0.0]] * 5
    assert bias.item() > 0.1  # most reviews have the second label


@pytest.mark.parametrize("labels", [2, 3])
def test_threads_change_no_byte(labels: int) -> None:
    train = noisy_reviews(labels)
    about = PLAIN.model_copy(update={"longest": 3, "ratios": "weights"})
    found = []
    before = torch.get_num_threads()
    for threads in (1, 2):
        torch.set_num_threads(threads)
        model, bias = Learner(train, V, labels, about, threads).weigh(torch.ones(60))
        found.append([part.numpy().tobytes() for part in (model.weight, model.keys, bias)])
    torch.set_num_threads(before)
    assert found[0] == found[1]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("texts", "choices"),
    [
        ([[], [], [], []], {}),  # no words
        ([[2], [3], [4], [5]], {"least": 2}),  # no run is in two reviews
        ([[2, 3]] * 4, {}),  # all the same
        ([[], [], [], []], {"buckets": 4}),
        ([[2, 3]] * 4, {"least": 9}),
    ],
)
def test_what_tells_nothing_is_learnt_as_nothing(texts: list[list[int]], choices: dict[str, Any]) -> None:
    for labels, pool, ratios in itertools.product((2, 3), ("mean", "sum"), ("weights", "none")):
        about = PLAIN.model_copy(update={**choices, "pool": pool, "ratios": ratios, "rarity": 0.25})
        truth = [0, 1, 0, 1] if labels == 2 else [0, 1, 2, 1]
        train = reviews_of(texts, truth)
        model, bias = Learner(train, V, labels, about, threads=1).weigh(torch.ones(4))
        logits = model(train.ids, train.lengths) + bias
        assert torch.isfinite(logits).all()
        shares = logits.softmax(1)[0] if labels == 3 else logits.sigmoid()[0]
        wanted = [0.25, 0.5, 0.25] if labels == 3 else [0.5]
        assert shares.tolist() == pytest.approx(wanted, abs=0.02)
