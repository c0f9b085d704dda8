"""Evaluation: every figure by hand on a few reviews, the baselines, intervals, slices, predictions."""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from math import log
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from sklearn import metrics as sk
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression

from stages import evaluation, ids, raw
from stages.classifier import decide
from stages.lib.command import Refusal
from stages.lib.intervals import mcnemar, wilson
from stages.lib.params import read_params
from stages.lib.reviews import Reviews
from stages.lib.tables import table_writer

TRUTH = np.array([0, 0, 0, 1, 1, 1])
SECOND = np.array([0.1, 0.4, 0.6, 0.8, 0.9, 0.3])
CHANCES = np.stack([1 - SECOND, SECOND], 1)


def test_the_figures_of_two_labels_by_hand() -> None:
    found = evaluation.measure(TRUTH, CHANCES, 0.5)
    right = [0.9, 0.6, 0.4, 0.8, 0.9, 0.3]
    assert found == pytest.approx(
        {
            "accuracy": 4 / 6,
            "precision": 2 / 3,
            "recall": 2 / 3,
            "f1": 2 / 3,
            "mcc": (2 * 2 - 1 * 1) / 9,
            "log_loss": -sum(map(log, right)) / 6,
            "brier": sum((1 - p) ** 2 for p in right) / 6,
            "roc_auc": 7 / 9,
            "pr_auc": (1 / 3) * (1 / 1 + 2 / 2 + 3 / 5),
        }
    )


def test_the_figures_of_three_labels_are_means_over_the_labels() -> None:
    chances = np.array([[0.6, 0.3, 0.1], [0.2, 0.5, 0.3], [0.1, 0.2, 0.7], [0.5, 0.4, 0.1]])
    found = evaluation.measure(np.array([0, 1, 2, 1]), chances, 0.5)
    assert found["accuracy"] == 3 / 4
    assert found["precision"] == pytest.approx((1 / 2 + 1 + 1) / 3)
    assert found["recall"] == pytest.approx((1 + 1 / 2 + 1) / 3)
    off = [0.16 + 0.09 + 0.01, 0.04 + 0.25 + 0.09, 0.01 + 0.04 + 0.09, 0.25 + 0.36 + 0.01]
    assert found["brier"] == pytest.approx(sum(off) / 4)
    assert "roc_auc" in found


def test_areas_are_left_out_where_a_label_does_not_occur() -> None:
    found = evaluation.measure(np.array([1, 1]), CHANCES[:2], 0.5)
    assert not {"roc_auc", "pr_auc"} & set(found)
    assert all(np.isfinite(list(found.values())))


def test_the_majority_says_the_shares_of_train() -> None:
    assert evaluation.majority(np.array([0, 1, 1, 1]), 2, 2).tolist() == [[0.25, 0.75]] * 2


def reviews_of(texts: list[list[int]], labels: list[int]) -> Reviews:
    rows = torch.zeros(len(texts), 4, dtype=torch.int32)
    for row, text in zip(rows, texts, strict=True):
        row[: len(text)] = torch.tensor(text, dtype=torch.int32)
    lengths = torch.tensor([len(text) for text in texts], dtype=torch.int32)
    return Reviews(rows, lengths, torch.tensor(labels, dtype=torch.int32))


def test_naive_bayes_by_hand() -> None:
    train = reviews_of([[2, 2, 3], [3]], [1, 0])
    chances = evaluation.naive_bayes(train, reviews_of([[2], []], [1, 0]), words=4)
    # Counts plus one over all four rows: second label (1, 1, 3, 2) / 7, first (1, 1, 1, 2) / 5.
    second, first = 3 / 7, 1 / 5
    assert chances[0, 1] == pytest.approx(second / (second + first))
    assert chances[1].tolist() == pytest.approx([0.5, 0.5])


def test_padding_is_not_counted() -> None:
    assert evaluation.word_counts(reviews_of([[2, 3, 2], []], [0, 1]), 4).toarray().tolist() == [
        [0, 0, 2, 1],
        [0, 0, 0, 0],
    ]


def test_the_curve_of_two_labels_runs_from_corner_to_corner() -> None:
    points = evaluation.roc(TRUTH, CHANCES, ["bad", "good"])
    assert points[0] == ("good", 0.0, 0.0)
    assert points[-1] == ("good", 1.0, 1.0)


def test_the_confusion_counts_every_pair() -> None:
    rows = evaluation.confusion(TRUTH, decide(torch.from_numpy(CHANCES), 0.5).numpy(), ["bad", "good"])
    assert rows == [("bad", "bad", 2), ("bad", "good", 1), ("good", "bad", 1), ("good", "good", 2)]


def clear_cut(labels: int, rows: int, seed: int) -> Reviews:
    """Reviews of six words, where one word or one pair in order tells the label."""
    draw = np.random.default_rng(seed)
    told = draw.integers(0, labels, rows)
    texts = draw.integers(2, 8, (rows, 6))
    texts[:, 2], texts[:, 3] = 8, 8 + told
    lengths = torch.full((rows,), 6, dtype=torch.int32)
    return Reviews(torch.from_numpy(texts).int(), lengths, torch.from_numpy(told).int())


def test_nbsvm_is_a_logistic_regression_on_scaled_presence() -> None:
    train, test = clear_cut(2, 60, 1), clear_cut(2, 20, 2)
    noisy = train._replace(labels=train.labels ^ (torch.arange(60) % 5 == 0).int())
    found = evaluation.nbsvm(noisy, test, words=16, seed=1)
    counts = CountVectorizer(ngram_range=(1, 2), binary=True, token_pattern=r"\S+", lowercase=False)
    text = [[" ".join(map(str, row)) for row in part.ids.tolist()] for part in (noisy, test)]
    present, asked = counts.fit_transform(text[0]).toarray(), counts.transform(text[1]).toarray()
    labels = noisy.labels.numpy()
    ours, others = 1 + present[labels == 1].sum(0), 1 + present[labels == 0].sum(0)
    ratios = np.log(ours / ours.sum()) - np.log(others / others.sum())
    line = LogisticRegression(C=1.0, tol=1e-8).fit(present * ratios, labels)
    weights = 0.5 * np.abs(line.coef_[0]).mean() + 0.5 * line.coef_[0]
    wanted = 1 / (1 + np.exp(-(asked * ratios @ weights + line.intercept_)))
    # The two solvers weigh the intercept differently.
    assert found[:, 1] == pytest.approx(wanted, abs=0.03)
    assert found.sum(1) == pytest.approx(np.ones(20))


@pytest.mark.parametrize("labels", [2, 3])
def test_nbsvm_tells_what_a_pair_tells_and_repeats_itself(labels: int) -> None:
    train, test = clear_cut(labels, 90, 1), clear_cut(labels, 30, 2)
    chances = evaluation.nbsvm(train, test, 16, seed=1)
    assert (chances.argmax(1) == test.labels.numpy()).all()
    assert chances.sum(1) == pytest.approx(np.ones(30))
    assert (evaluation.nbsvm(train, test, 16, seed=1) == chances).all()
    padded = test._replace(ids=torch.nn.functional.pad(test.ids, (0, 3)))
    assert (evaluation.nbsvm(train, padded, 16, seed=1) == chances).all()


def test_nbsvm_of_words_never_seen_and_of_no_words_is_its_intercept() -> None:
    train = reviews_of([[2, 3], [3], [2, 4], [4, 4], [3, 3]], [1, 0, 1, 1, 0])
    unseen, empty = evaluation.nbsvm(train, reviews_of([[5, 6], []], [0, 0]), words=9, seed=1)
    assert unseen.tolist() == empty.tolist()


@pytest.mark.filterwarnings("ignore")  # scikit-learn's, of labels that do not occur
def test_the_figures_of_each_label_are_scikit_learns() -> None:
    draw = np.random.default_rng(1)
    truth, guess = draw.integers(0, 3, 40), draw.integers(0, 4, 40)
    names = ["a", "b", "c", "d"]
    weights = draw.integers(0, 3, (2, 40)).astype(np.int32)
    found = evaluation.by_label(truth, guess, names)(weights)
    for row, drawn in enumerate(weights):
        told = {"labels": np.arange(4), "sample_weight": drawn, "zero_division": 0.0}
        each, macro, weighted = (
            sk.precision_recall_fscore_support(truth, guess, average=kind, **told)
            for kind in (None, "macro", "weighted")
        )
        for place, kind in enumerate(("precision", "recall", "f1")):
            of_labels = [found["labels", name, kind][row] for name in names]
            assert of_labels == pytest.approx(each[place])
            assert found["averages", "macro", kind][row] == pytest.approx(macro[place])
            assert found["averages", "weighted", kind][row] == pytest.approx(weighted[place])


@given(values=st.lists(st.integers(0, 9), min_size=1, max_size=40), parts=st.integers(1, 6))
@settings(deadline=None)
def test_parts_of_equal_mass_keep_equal_values_together_and_in_order(values: list[int], parts: int) -> None:
    number = dict(zip(values, evaluation.equal_mass(np.array(values), parts).tolist(), strict=True))
    assert [number[v] for v in values] == evaluation.equal_mass(np.array(values), parts).tolist()
    assert [number[v] for v in sorted(number)] == sorted(number.values())
    assert set(number.values()) <= set(range(parts))


def test_parts_of_equal_mass_are_of_equal_mass() -> None:
    values = np.random.default_rng(1).permutation(100)
    assert np.bincount(evaluation.equal_mass(values, 10)).tolist() == [10] * 10


@given(rows=st.lists(st.tuples(st.floats(0.5, 1), st.booleans()), min_size=1, max_size=40))
@settings(deadline=None)
def test_the_calibration_error_is_that_of_its_definition(rows: list[tuple[float, bool]]) -> None:
    sure, right = np.array([r[0] for r in rows]), np.array([r[1] for r in rows])
    found = evaluation.calibration_error(sure - right, evaluation.equal_width(sure, 15))
    error = 0.0
    for m in range(1, 16):  # Guo et al. 2017, equation 3
        mine = (sure > (m - 1) / 15) & (sure <= m / 15)
        if mine.any():
            error += mine.sum() / len(rows) * abs(right[mine].mean() - sure[mine].mean())
    assert found == pytest.approx(error)


def test_a_calibrated_model_is_as_far_off_as_chance_and_a_boaster_is_farther() -> None:
    draw = np.random.default_rng(1)
    second = draw.uniform(0.05, 0.95, 4000)
    truth = (draw.random(4000) < second).astype(np.int64)
    boast = 1 / (1 + (1 / second - 1) ** 3)
    chances = {"before": np.stack([1 - boast, boast], 1), "after": np.stack([1 - second, second], 1)}
    found = evaluation.calibration_errors(truth, chances, seed=1)
    for kind in ("ece_equal_width", "ece_equal_mass"):
        before, after, by_chance = (found["calibration", n, kind] for n in ("before", "after", "by_chance"))
        assert after < by_chance < before
        assert before > 0.1


def test_the_reliability_table_has_every_row_once() -> None:
    rows = list(evaluation.reliability(TRUTH, {"after": CHANCES}))
    assert sum(row[-1] for row in rows) == len(TRUTH)
    assert [row[1] for row in rows] == pytest.approx([0.6, 0.7, 0.8, 0.9])  # 0.6 and 0.9 twice
    assert [row[2] for row in rows] == [0.5, 0.0, 1.0, 1.0]
    assert all(row[3] <= row[2] <= row[4] for row in rows)


@pytest.mark.parametrize(
    ("text", "negated", "contrasted"),
    [
        ("Not bad", True, False),
        ("I didn't laugh", True, False),
        ("I DIDN’T laugh", True, False),
        ("i dont know", True, False),
        ("a knot, a note, different", False, False),
        ("Slow, but good", False, True),
        ("a butler, yes", False, False),
        ("Though never dull", True, True),
        ("", False, False),
    ],
)
def test_negation_and_contrast_are_told_by_words(text: str, negated: bool, contrasted: bool) -> None:
    assert bool(evaluation.NEGATION.search(text)) == negated
    assert bool(evaluation.CONTRAST.search(text)) == contrasted


def rows_of(count: int, **changed: object) -> evaluation.Rows:
    plain: dict[str, Any] = {
        "ids": [str(n) for n in range(count)],
        "hashes": [str(n) for n in range(count)],
        "negated": np.zeros(count, bool),
        "contrasted": np.zeros(count, bool),
        "groups": [None] * count,
        "lengths": np.full(count, 5),
        "unknown": np.zeros(count, int),
    }
    return evaluation.Rows(**{**plain, **changed})


def test_slices_by_hand() -> None:
    rows = rows_of(
        4,
        hashes=["a", "b", "a", "c"],
        negated=np.array([True, False, False, False]),
        groups=["x", "y", "x", None],
        lengths=np.array([4, 0, 9, 100]),
        unknown=np.array([1, 0, 0, 1]),
    )
    right = np.array([True, True, False, True])
    table = list(evaluation.sliced(right, evaluation.slices(rows, kept=np.array([4, 0, 9, 50]))))
    found = {part: (count, accuracy) for _, part, count, accuracy, *_ in table}
    assert found == {
        "all": (4, 0.75),
        "0 to 0 tokens": (1, 1.0),
        "4 to 4 tokens": (1, 1.0),
        "9 to 9 tokens": (1, 0.0),
        "100 to 100 tokens": (1, 1.0),
        "with a negation": (1, 1.0),
        "without a negation": (3, 2 / 3),
        "none unknown": (2, 0.5),
        "up to 1 % unknown": (1, 1.0),
        "over 10 % unknown": (1, 1.0),
        "cut to fit": (1, 1.0),
        "whole": (3, 2 / 3),
        "text is in test again": (2, 0.5),
        "text is in test once": (2, 1.0),
        "x": (2, 0.5),
        "y": (1, 1.0),
        "other groups or none": (1, 1.0),
    }
    assert [row[-1] for row in table] == pytest.approx([row[3] - 0.75 for row in table])
    assert all(low <= accuracy <= high for _, _, _, accuracy, low, high, _ in table)


def test_a_part_that_is_all_rows_tells_nothing_and_is_left_out() -> None:
    table = list(evaluation.sliced(np.array([True]), evaluation.slices(rows_of(1), np.array([5]))))
    assert [row[:2] for row in table] == [("all", "all")]


def test_rare_groups_share_a_slice() -> None:
    count = evaluation.GROUPS + 3
    groups = [f"g{n:02}" for n in range(count)] + ["g32"]
    parts = evaluation.slices(rows_of(count + 1, groups=groups), np.full(count + 1, 5))
    named = [part for name, part, _ in parts if name == "group"]
    assert named == ["g32", *(f"g{n:02}" for n in range(evaluation.GROUPS - 1)), "other groups or none"]


def judged(
    truth: Sequence[int], second: Sequence[float], write_params: Callable[..., Path], **choices: object
) -> dict[str, Any]:
    """The figures of a model that gives the second label these probabilities, beside three coins."""
    params = read_params(
        write_params(evaluation={"resamples": 300, **choices}), "evaluation", evaluation.Params
    )
    chances = np.stack([1 - np.array(second), np.array(second)], 1)
    coin = evaluation.contender(np.full_like(chances, 0.5))
    contenders = {"classifier": evaluation.contender(chances), **dict.fromkeys(evaluation.BASELINES, coin)}
    return evaluation.evaluate(np.array(truth), contenders, chances, ["bad", "good"], params)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("truth", "second"),
    [
        ([1], [0.9]),  # one row
        ([1], [0.1]),
        ([0, 0, 0], [0.1, 0.2, 0.7]),  # a label that does not occur
        ([0, 1, 0, 1], [0.0, 1.0, 0.0, 1.0]),  # all right, and sure of it
        ([0, 1, 0, 1], [1.0, 0.0, 1.0, 0.0]),  # all wrong, and sure of it
        ([0, 1] * 5, [0.5] * 10),  # no opinion
    ],
)
def test_odd_test_splits_have_sensible_figures_and_no_warning(
    truth: list[int], second: list[float], write_params: Callable[..., Path]
) -> None:
    found = judged(truth, second, write_params)
    json.dumps(found, allow_nan=False)
    figures, intervals = found["classifier"], found["intervals"]["classifier"]
    assert set(intervals) == set(figures)
    assert ("roc_auc" in figures) == (len(set(truth)) == 2)
    for name, interval in intervals.items():
        assert interval["low"] - 1e-9 <= figures[name] <= interval["high"] + 1e-9
    chances = np.stack([1 - np.array(second), np.array(second)], 1)
    table = list(evaluation.reliability(np.array(truth), {"after": chances}))
    assert sum(row[-1] for row in table) == len(truth)


def test_every_interval_stands_where_its_figure_does(write_params: Callable[..., Path]) -> None:
    found = judged(TRUTH.tolist(), SECOND.tolist(), write_params)
    intervals = found.pop("intervals")

    def places(tree: dict[str, Any], *above: str) -> Iterator[tuple[str, ...]]:
        for name, branch in tree.items():
            if isinstance(branch, dict) and set(branch) != {"low", "high"}:
                yield from places(branch, *above, name)
            else:
                yield (*above, name)

    without = {place for place in places(found) if place not in set(places(intervals))}
    assert set(places(intervals)) <= set(places(found))
    assert {place[-1] for place in without} == {
        "ece_equal_width", "ece_equal_mass", "mcnemar_p", "only_classifier_right", "only_baseline_right",
    }  # fmt: skip


def test_accuracy_has_wilsons_interval_and_differences_a_paired_one(
    write_params: Callable[..., Path],
) -> None:
    draw = np.random.default_rng(1)
    truth = draw.integers(0, 2, 400)
    second = np.where(draw.random(400) < 0.8, truth, 1 - truth) * 0.8 + 0.1
    found = judged(truth.tolist(), second.tolist(), write_params)
    hits = int(((second > 0.5) == truth).sum())
    assert found["intervals"]["classifier"]["accuracy"] == wilson(hits, 400)._asdict()
    told, interval = found["differences"]["nbsvm"], found["intervals"]["differences"]["nbsvm"]["accuracy"]
    coin = (truth == 1).mean()
    assert told["accuracy"] == pytest.approx(hits / 400 - coin)
    # The variance of a paired difference is that of the rows' own differences.
    gaps = ((second > 0.5) == truth).astype(float) - (truth == 1)
    half = 1.96 * gaps.std() / 20
    assert (interval["low"], interval["high"]) == pytest.approx(
        (gaps.mean() - half, gaps.mean() + half), abs=half / 4
    )
    assert told["only_classifier_right"] - told["only_baseline_right"] == hits - (truth == 1).sum()
    assert told["mcnemar_p"] == mcnemar(told["only_classifier_right"], told["only_baseline_right"])


def test_a_seed_draws_the_same_intervals_and_another_others(write_params: Callable[..., Path]) -> None:
    one, again, other = (
        judged(TRUTH.tolist(), SECOND.tolist(), write_params, seed=seed)["intervals"] for seed in (1, 1, 2)
    )
    assert one == again
    assert one["classifier"]["log_loss"] != other["classifier"]["log_loss"]


@pytest.mark.filterwarnings("error")
def test_three_labels_have_figures_each(write_params: Callable[..., Path]) -> None:
    draw = np.random.default_rng(1)
    chances = draw.dirichlet(np.ones(3), 50)
    ours = evaluation.contender(chances)
    contenders = {"classifier": ours, **dict.fromkeys(evaluation.BASELINES, ours)}
    params = read_params(write_params(evaluation={"resamples": 200}), "evaluation", evaluation.Params)
    truth = draw.integers(0, 2, 50)  # the third label never occurs
    found = evaluation.evaluate(truth, contenders, chances, ["a", "b", "c"], params)
    json.dumps(found, allow_nan=False)
    assert "at_half" not in found
    assert found["labels"]["c"] == {"precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 0}
    assert found["labels"]["a"]["support"] == (truth == 0).sum()
    assert found["averages"]["macro"]["f1"] == found["classifier"]["f1"]
    assert found["averages"]["weighted"]["recall"] == pytest.approx(found["classifier"]["accuracy"])
    assert found["differences"]["nbsvm"]["accuracy"] == 0
    assert found["intervals"]["differences"]["nbsvm"]["accuracy"] == {"low": 0.0, "high": 0.0}


TRAIN_TEXTS = ["fine", "dull", "fine fine", "dull"] * 2
TEST_TEXTS = ["fine dull", "", "what is that", "fine", "fine"]
NUMBERS = {"fine": 2, "dull": 3}
INPUTS = ("tensors.safetensors", "classifier.safetensors", "ids.parquet", "raw.parquet", "labels.json")
OUTPUTS = ("predictions.parquet", "metrics.json", "roc.csv", "confusion.csv", "reliability.csv", "slices.csv")


def write_inputs(folder: Path, groups: Sequence[str | None] | None = None) -> list[Path]:
    """All that the stage reads, of eight train and five test reviews, and where it writes."""
    tensors = {}
    labels = {"train": [1, 0, 1, 0] * 2, "test": [1, 0, 0, 0, 1]}
    texts = {"train": TRAIN_TEXTS, "test": TEST_TEXTS}
    numbers = {split: [[NUMBERS.get(w, 1) for w in t.split()] for t in ts] for split, ts in texts.items()}
    for split, found in numbers.items():
        part = reviews_of(found, labels[split])
        tensors |= {f"{split}.{name}": getattr(part, name) for name in Reviews._fields}
    save_file(tensors, folder / "tensors.safetensors")
    weights = {
        "embedding.weight": torch.tensor([[0.0], [0.0], [2.0], [-1.0]]),
        "linear.weight": torch.tensor([[1.0]]),
        "linear.bias": torch.tensor([0.25]),
    }
    about = {"model": '{"vocabulary": "0", "width": 4, "keep": "head", "temperature": 2.0, "threshold": 0.6}'}
    save_file(weights, folder / "classifier.safetensors", about)
    (folder / "labels.json").write_text('{"labels": ["bad", "good"]}', encoding="utf-8")
    names, splits = list("abcdefghijklm"), ["train"] * 8 + ["test"] * 5
    of_rows = labels["train"] + labels["test"]
    with table_writer(folder / "ids.parquet", ids.SCHEMA) as writer:
        rows = [names, of_rows, splits, numbers["train"] + numbers["test"]]
        writer.write_table(pa.table(rows, schema=ids.SCHEMA))
    columns = [names, TRAIN_TEXTS + TEST_TEXTS, of_rows, splits]
    if groups is not None:
        columns.append([None] * 8 + list(groups))
    schema = raw.SCHEMA if groups is None else raw.GROUPED
    with table_writer(folder / "raw.parquet", schema) as writer:
        writer.write_table(pa.table(columns, schema=schema))
    return [folder / name for name in INPUTS + OUTPUTS]


@pytest.mark.filterwarnings("error")
def test_predictions_carry_id_label_probability_and_the_hash_of_the_text(
    tmp_path: Path, write_params: Callable[..., Path]
) -> None:
    paths = write_inputs(tmp_path)
    evaluation.main(write_params(evaluation={"resamples": 100}), *paths)
    table = pd.read_parquet(paths[5])
    assert list(table) == [
        "id", "label", "predicted", "probability", "probability_bad", "probability_good", "text_hash",
    ]  # fmt: skip
    assert table["id"].tolist() == list("ijklm")
    assert table["label"].tolist() == ["good", "bad", "bad", "bad", "good"]
    # The logits over the temperature, and from 0.6 on it is good.
    good = [1 / (1 + np.exp(-logit / 2)) for logit in (0.75, 0.25, 0.25, 2.25, 2.25)]
    assert table["probability_good"].tolist() == pytest.approx(good)
    assert table["predicted"].tolist() == ["bad", "bad", "bad", "good", "good"]
    assert table["probability"].tolist() == pytest.approx([1 - good[0], 1 - good[1], 1 - good[2], *good[3:]])
    assert table["text_hash"].tolist() == [hashlib.sha256(t.encode()).hexdigest() for t in TEST_TEXTS]
    figures = json.loads(paths[6].read_text(encoding="utf-8"))
    assert {"classifier", "intervals", *evaluation.BASELINES} <= set(figures)
    assert figures["classifier"]["accuracy"] == 0.6
    assert figures["at_half"]["accuracy"] == 0.4  # everything is good
    assert figures["calibration"]["before"]["log_loss"] != figures["calibration"]["after"]["log_loss"]
    assert figures["calibration"]["after"]["log_loss"] == figures["classifier"]["log_loss"]


def test_slices_know_the_texts_the_words_and_the_groups(
    tmp_path: Path, write_params: Callable[..., Path]
) -> None:
    paths = write_inputs(tmp_path, ["north", None, "south", "south", "north"])
    evaluation.main(write_params(evaluation={"resamples": 100}), *paths)
    table = pd.read_csv(paths[-1]).set_index("part")
    assert list(table.columns) == ["slice", "reviews", "accuracy", "low", "high", "difference"]
    counts = table["reviews"].to_dict()
    assert (counts["north"], counts["south"], counts["other groups or none"]) == (2, 2, 1)
    assert counts["text is in test again"] == 2
    assert counts["over 10 % unknown"] == 1
    assert table.loc["south", "accuracy"] == 0.5
    assert table.loc["south", "difference"] == pytest.approx(-0.1)


def test_the_same_inputs_give_the_same_bytes(tmp_path: Path, write_params: Callable[..., Path]) -> None:
    paths = write_inputs(tmp_path, ["n", None, "s", "s", "n"])
    params = write_params(evaluation={"resamples": 100})
    evaluation.main(params, *paths)
    before = [path.read_bytes() for path in paths[5:]]
    evaluation.main(params, *paths)
    assert [path.read_bytes() for path in paths[5:]] == before


def test_rows_of_another_corpus_are_refused(tmp_path: Path, write_params: Callable[..., Path]) -> None:
    paths = write_inputs(tmp_path)
    table = pq.read_table(paths[3])
    pq.write_table(table.set_column(0, "id", [[name.upper() for name in table["id"].to_pylist()]]), paths[3])
    with pytest.raises(Refusal, match=r"ids\.parquet: its test rows are not those of .*raw\.parquet"):
        evaluation.main(write_params(), *paths)
    assert not paths[5].exists()
