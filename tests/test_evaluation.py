"""Evaluation: every figure by hand on a few reviews, the baselines, the predictions."""

import json
from collections.abc import Callable
from math import log
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from safetensors.torch import save_file

from stages import evaluation, ids
from stages.classifier import decide
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


def test_predictions_carry_id_label_and_probability(
    tmp_path: Path, write_params: Callable[..., Path]
) -> None:
    tensors = {}
    for split, texts, labels in (
        ("train", [[2], [3], [2, 2], [3]], [1, 0, 1, 0]),
        ("test", [[2, 3], [], [1, 1], [2]], [1, 0, 0, 0]),
    ):
        part = reviews_of(texts, labels)
        tensors |= {f"{split}.{name}": getattr(part, name) for name in Reviews._fields}
    save_file(tensors, tmp_path / "tensors.safetensors")
    weights = {
        "embedding.weight": torch.tensor([[0.0], [0.0], [2.0], [-1.0]]),
        "linear.weight": torch.tensor([[1.0]]),
        "linear.bias": torch.tensor([0.25]),
    }
    about = {"model": '{"vocabulary": "0", "width": 4, "keep": "head"}'}
    save_file(weights, tmp_path / "classifier.safetensors", about)
    (tmp_path / "labels.json").write_text('{"labels": ["bad", "good"]}', encoding="utf-8")
    splits = ["train"] * 4 + ["test"] * 4
    rows = [list("abcdefgh"), [0] * 8, splits, [[2]] * 8]
    with table_writer(tmp_path / "ids.parquet", ids.SCHEMA) as writer:
        writer.write_table(pa.table(rows, schema=ids.SCHEMA))
    names = ("tensors.safetensors", "classifier.safetensors", "ids.parquet", "labels.json")
    outputs = [tmp_path / n for n in ("predictions.parquet", "metrics.json", "roc.csv", "confusion.csv")]
    evaluation.main(write_params(), *(tmp_path / n for n in names), *outputs)
    table = pd.read_parquet(outputs[0])
    assert table["id"].tolist() == list("efgh")
    assert table["label"].tolist() == ["good", "bad", "bad", "bad"]
    assert table["predicted"].tolist() == ["good"] * 4
    wanted = [1 / (1 + np.exp(-logit)) for logit in (0.75, 0.25, 0.25, 2.25)]
    assert table["probability"].tolist() == pytest.approx(wanted)
    assert table["probability_bad"].tolist() == pytest.approx([1 - p for p in wanted])
    figures = json.loads(outputs[1].read_text(encoding="utf-8"))
    assert set(figures) == {"classifier", "naive_bayes", "majority"}
    assert figures["classifier"]["accuracy"] == 0.25
