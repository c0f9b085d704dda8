"""Evaluation: metrics beside baselines and intervals, slices and predictions."""

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import save_file
from sklearn import metrics as sk

from stages import evaluation, ids, raw
from stages.lib.calibration import reliability
from stages.lib.command import Refusal
from stages.lib.intervals import mcnemar, wilson
from stages.lib.params import read_params
from stages.lib.scores import LabelSet
from stages.lib.tables import table_writer
from tests.conftest import ROOT
from tests.test_baselines import reviews_of
from tests.test_scores import LABELS, PROBABILITIES, SECOND
from tests.toys import save_toy_model


def test_the_roc_curve_of_two_labels_is_that_of_the_second() -> None:
    points = evaluation.roc(LABELS, PROBABILITIES, LabelSet(["bad", "good"]))
    assert points[0] == ("good", 0.0, 0.0)
    assert points[-1] == ("good", 1.0, 1.0)


def test_the_confusion_counts_every_pair() -> None:
    labels, predicted = np.array([0, 0, 1, 1, 1, 2]), np.array([0, 1, 1, 1, 2, 0])
    rows = evaluation.confusion(labels, predicted, ["a", "b", "c"])
    assert [row[:2] for row in rows] == [(a, b) for a in "abc" for b in "abc"]
    expected = sk.confusion_matrix(labels, predicted)
    assert [row[2] for row in rows] == expected.ravel().tolist() == [1, 1, 0, 0, 2, 1, 1, 0, 0]


def test_the_confusion_of_many_labels_lists_the_pairs_that_occur(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation, "ALL_PAIRS", 2)
    rows = evaluation.confusion(np.array([0, 0, 1]), np.array([0, 1, 1]), ["a", "b", "c"])
    assert rows == [("a", "a", 1), ("a", "b", 1), ("b", "b", 1), ("c", "c", 0)]


@pytest.mark.filterwarnings("ignore")  # scikit-learn's, of labels that do not occur
def test_the_metrics_of_each_label_equal_scikit_learn() -> None:
    draw = np.random.default_rng(1)
    labels, predicted = draw.integers(0, 3, 40), draw.integers(0, 4, 40)
    names = ["a", "b", "c", "d"]
    weights = draw.integers(0, 3, (2, 40)).astype(np.int32)
    result = evaluation.by_label(labels, predicted, names)(weights)
    for row, drawn in enumerate(weights):
        options = {"labels": np.arange(4), "sample_weight": drawn, "zero_division": 0.0}
        each, macro, weighted = (
            sk.precision_recall_fscore_support(labels, predicted, average=kind, **options)
            for kind in (None, "macro", "weighted")
        )
        for number, kind in enumerate(("precision", "recall", "f1")):
            of_labels = [result["labels", name, kind][row] for name in names]
            assert of_labels == pytest.approx(each[number])
            assert result["averages", "macro", kind][row] == pytest.approx(macro[number])
            assert result["averages", "weighted", kind][row] == pytest.approx(weighted[number])


def evaluated(
    labels: Sequence[int], second: Sequence[float], write_params: Callable[..., Path], **choices: object
) -> dict[str, Any]:
    """The metrics of a model with these probabilities of the second label, beside random baselines."""
    params = read_params(
        write_params(evaluation={"resamples": 300, **choices}), "evaluation", evaluation.Params
    )
    probabilities = np.stack([1 - np.array(second), np.array(second)], 1)
    random = evaluation.predict(np.full_like(probabilities, 0.5))
    models = {"ensemble": evaluation.predict(probabilities), **dict.fromkeys(evaluation.BASELINES, random)}
    known = LabelSet(["bad", "good"])
    return evaluation.evaluate(np.array(labels), models, probabilities, known, params)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("labels", "second"),
    [
        ([1], [0.9]),  # one row
        ([1], [0.1]),
        ([0, 0, 0], [0.1, 0.2, 0.7]),  # a label that does not occur
        ([0, 1, 0, 1], [0.0, 1.0, 0.0, 1.0]),  # all correct, with certainty
        ([0, 1, 0, 1], [1.0, 0.0, 1.0, 0.0]),  # all wrong, with certainty
        ([0, 1] * 5, [0.5] * 10),  # all probabilities equal
    ],
)
def test_unusual_test_splits_have_finite_metrics_and_no_warning(
    labels: list[int], second: list[float], write_params: Callable[..., Path]
) -> None:
    result = evaluated(labels, second, write_params)
    json.dumps(result, allow_nan=False)
    metrics, intervals = result["ensemble"], result["intervals"]["ensemble"]
    assert set(intervals) == set(metrics)
    assert ("roc_auc" in metrics) == (len(set(labels)) == 2)
    for name, interval in intervals.items():
        assert interval["low"] - 1e-9 <= metrics[name] <= interval["high"] + 1e-9
    probabilities = np.stack([1 - np.array(second), np.array(second)], 1)
    table = list(reliability(np.array(labels), {"after": probabilities}))
    assert sum(row[-1] for row in table) == len(labels)


def test_every_interval_has_the_path_of_its_metric(write_params: Callable[..., Path]) -> None:
    result = evaluated(LABELS.tolist(), SECOND.tolist(), write_params)
    intervals = result.pop("intervals")

    def paths_of(tree: dict[str, Any], *above: str) -> Iterator[tuple[str, ...]]:
        for name, branch in tree.items():
            if isinstance(branch, dict) and set(branch) != {"low", "high"}:
                yield from paths_of(branch, *above, name)
            else:
                yield (*above, name)

    without = {path for path in paths_of(result) if path not in set(paths_of(intervals))}
    assert set(paths_of(intervals)) <= set(paths_of(result))
    assert {path[-1] for path in without} == {
        "ece_equal_width", "ece_equal_mass", "mcnemar_p", "only_ensemble_right", "only_baseline_right",
        "best_baseline", "positive",
    }  # fmt: skip


def test_accuracy_has_wilsons_interval_and_differences_a_paired_one(
    write_params: Callable[..., Path],
) -> None:
    draw = np.random.default_rng(1)
    labels = draw.integers(0, 2, 400)
    second = np.where(draw.random(400) < 0.8, labels, 1 - labels) * 0.8 + 0.1
    result = evaluated(labels.tolist(), second.tolist(), write_params)
    hits = int(((second > 0.5) == labels).sum())
    assert result["intervals"]["ensemble"]["accuracy"] == wilson(hits, 400)._asdict()
    difference = result["differences"]["nbsvm"]
    interval = result["intervals"]["differences"]["nbsvm"]["accuracy"]
    coin = (labels == 1).mean()
    assert difference["accuracy"] == pytest.approx(hits / 400 - coin)
    # The variance of a paired difference is that of the differences of the rows.
    gaps = ((second > 0.5) == labels).astype(float) - (labels == 1)
    half = 1.96 * gaps.std() / 20
    assert (interval["low"], interval["high"]) == pytest.approx(
        (gaps.mean() - half, gaps.mean() + half), abs=half / 4
    )
    assert difference["only_ensemble_right"] - difference["only_baseline_right"] == hits - (labels == 1).sum()
    assert difference["mcnemar_p"] == mcnemar(
        difference["only_ensemble_right"], difference["only_baseline_right"]
    )


def test_intervals_depend_on_the_seed(write_params: Callable[..., Path]) -> None:
    one, again, other = (
        evaluated(LABELS.tolist(), SECOND.tolist(), write_params, seed=seed)["intervals"]
        for seed in (1, 1, 2)
    )
    assert one == again
    assert one["ensemble"]["log_loss"] != other["ensemble"]["log_loss"]


@pytest.mark.filterwarnings("error")
def test_each_of_three_labels_has_metrics(write_params: Callable[..., Path]) -> None:
    draw = np.random.default_rng(1)
    probabilities = draw.dirichlet(np.ones(3), 50)
    model = evaluation.predict(probabilities)
    models = {"ensemble": model, **dict.fromkeys(evaluation.BASELINES, model)}
    params = read_params(write_params(evaluation={"resamples": 200}), "evaluation", evaluation.Params)
    labels = draw.integers(0, 2, 50)  # the third label never occurs
    result = evaluation.evaluate(labels, models, probabilities, LabelSet(["a", "b", "c"]), params)
    json.dumps(result, allow_nan=False)
    assert "at_half" not in result
    assert result["labels"]["c"] == {"precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 0}
    assert result["labels"]["a"]["support"] == (labels == 0).sum()
    assert result["averages"]["macro"]["f1"] == result["ensemble"]["f1"]
    assert result["averages"]["weighted"]["recall"] == pytest.approx(result["ensemble"]["accuracy"])
    assert result["differences"]["nbsvm"]["accuracy"] == 0
    assert result["intervals"]["differences"]["nbsvm"]["accuracy"] == {"low": 0.0, "high": 0.0}


TRAIN_TEXTS = ["fine", "dull", "fine fine", "dull"] * 2
TEST_TEXTS = ["fine dull", "", "what is that", "fine", "fine"]
NUMBERS = {"fine": 2, "dull": 3}
INPUTS = ("tensors.safetensors", "labels.json", "ensemble.safetensors", "ids.parquet", "raw.parquet")
OUTPUTS = (
    "predictions.parquet", "metrics.json", "roc.csv", "confusion.csv", "reliability.csv", "coverage.csv",
    "slices.csv",
)  # fmt: skip


def write_inputs(folder: Path, groups: Sequence[str | None] | None = None) -> list[Path]:
    """All that the stage reads, of eight train, two validation and five test reviews, and where it writes."""
    tensors: dict[str, Any] = {}
    labels = {"train": [1, 0, 1, 0] * 2, "validation": [1, 0], "test": [1, 0, 0, 0, 1]}
    texts = {"train": TRAIN_TEXTS, "validation": ["fine", "dull"], "test": TEST_TEXTS}
    (folder / "labels.json").write_text('{"labels": ["bad", "good"]}', encoding="utf-8")
    numbers = {split: [[NUMBERS.get(w, 1) for w in t.split()] for t in ts] for split, ts in texts.items()}
    for split, result in numbers.items():
        part = reviews_of(result, labels[split])
        tensors |= {f"{split}.{name}": getattr(part, name) for name in ("ids", "lengths", "labels")}
        spelled = "".join(f"word{n}\n" for row in result for n in row if n == 1)
        tensors[f"{split}.unknown"] = np.frombuffer(spelled.encode(), np.uint8)
    save_file(tensors, folder / "tensors.safetensors")
    words, choices = [[0.0], [0.0], [2.0], [-1.0]], {"width": 4, "temperature": 2.0, "threshold": 0.6}
    save_toy_model(folder / "ensemble.safetensors", words, [0.25], ["bad", "good"], **choices)
    names, splits = list("abcdefghijklm"), ["train"] * 8 + ["test"] * 5
    of_rows = labels["train"] + labels["test"]
    with table_writer(folder / "ids.parquet", ids.SCHEMA) as writer:
        tokens = numbers["train"] + numbers["test"]
        rows = [names, of_rows, splits, tokens, [["word1"] * row.count(1) for row in tokens]]
        writer.write_table(pa.table(rows, schema=ids.SCHEMA))
    columns = [names, TRAIN_TEXTS + TEST_TEXTS, of_rows, splits]
    if groups is not None:
        columns.append([None] * 8 + list(groups))
    schema = raw.SCHEMA if groups is None else raw.GROUPED
    with table_writer(folder / "raw.parquet", schema) as writer:
        writer.write_table(pa.table(columns, schema=schema))
    return [folder / name for name in INPUTS + OUTPUTS]


@pytest.mark.filterwarnings("error")
def test_predictions_have_id_label_probability_and_text_hash(
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
    # Logits divided by the temperature; an empty text has the prior, 0. The threshold is 0.6.
    good = [1 / (1 + np.exp(-logit / 2)) for logit in (0.75, 0, 0.25, 2.25, 2.25)]
    assert table["probability_good"].tolist() == pytest.approx(good)
    assert table["predicted"].tolist() == ["bad", "bad", "bad", "good", "good"]
    assert table["probability"].tolist() == pytest.approx([1 - good[0], 1 - good[1], 1 - good[2], *good[3:]])
    assert table["text_hash"].tolist() == [hashlib.sha256(t.encode()).hexdigest() for t in TEST_TEXTS]
    metrics = json.loads(paths[6].read_text(encoding="utf-8"))
    assert {"ensemble", "intervals", *evaluation.BASELINES} <= set(metrics)
    assert metrics["ensemble"]["accuracy"] == 0.6
    assert metrics["at_half"]["accuracy"] == 0.4  # all are predicted good
    assert metrics["calibration"]["before"]["log_loss"] != metrics["calibration"]["after"]["log_loss"]
    assert metrics["calibration"]["after"]["log_loss"] == metrics["ensemble"]["log_loss"]


def test_slices_by_text_words_and_groups(tmp_path: Path, write_params: Callable[..., Path]) -> None:
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
    table = pq.read_table(paths[4])
    pq.write_table(table.set_column(0, "id", [[name.upper() for name in table["id"].to_pylist()]]), paths[4])
    with pytest.raises(Refusal, match=r"ids\.parquet: its test rows differ from those of .*raw\.parquet"):
        evaluation.main(write_params(), *paths)
    assert not paths[5].exists()


def test_the_stage_imports_neither_torch_nor_scikit_learn() -> None:
    code = "import sys, stages.evaluation; print({'torch', 'sklearn'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_the_best_baseline_is_that_with_the_highest_accuracy(write_params: Callable[..., Path]) -> None:
    result = evaluated([0, 1, 1, 0], [0.1, 0.9, 0.8, 0.2], write_params)
    assert result["best_baseline"] == evaluation.BASELINES[0]  # all are equal
    labels = np.array([0, 1, 1, 0])
    models = {name: evaluation.predict(np.full((4, 2), 0.5)) for name in ("ensemble", *evaluation.BASELINES)}
    models["tfidf"] = evaluation.predict(np.eye(2)[labels])
    params = read_params(write_params(evaluation={"resamples": 100}), "evaluation", evaluation.Params)
    before = models["ensemble"].probabilities
    result = evaluation.evaluate(labels, models, before, LabelSet(["bad", "good"]), params)
    assert result["best_baseline"] == "tfidf"
    assert result["differences"]["tfidf"]["accuracy"] == -0.5


def test_an_order_and_a_positive_label_are_used(tmp_path: Path, write_params: Callable[..., Path]) -> None:
    paths = write_inputs(tmp_path)
    described = {"labels": ["bad", "good"], "positive": "bad", "order": ["bad", "good"]}
    (tmp_path / "labels.json").write_text(json.dumps(described), encoding="utf-8")
    evaluation.main(write_params(evaluation={"resamples": 100}), *paths)
    metrics = json.loads(paths[6].read_text(encoding="utf-8"))
    assert metrics["positive"] == "bad"
    # Labels good bad bad bad good, predicted bad bad bad good good.
    assert metrics["ensemble"]["recall"] == pytest.approx(2 / 3, abs=1e-6)
    assert metrics["ensemble"]["mean_absolute_error"] == 0.4
    interval = metrics["intervals"]["ensemble"]["mean_absolute_error"]
    assert interval["low"] <= 0.4 <= interval["high"]
    assert "mean_absolute_error" in metrics["differences"]["majority"]
    assert set(pd.read_csv(tmp_path / "roc.csv")["label"]) == {"bad"}
    stored = json.loads(pq.read_schema(paths[5]).metadata[b"labels"])
    assert stored == {"positive": "bad", "order": ["bad", "good"]}


def test_the_coverage_curve_is_written(tmp_path: Path, write_params: Callable[..., Path]) -> None:
    paths = write_inputs(tmp_path)
    evaluation.main(write_params(evaluation={"resamples": 100}), *paths)
    table = pd.read_csv(tmp_path / "coverage.csv")
    assert list(table.columns) == ["threshold", "coverage", "accuracy", "low", "high", "reviews"]
    assert table["coverage"].iloc[0] == 1.0
    assert table["accuracy"].iloc[0] == 0.6
    assert (table["coverage"].diff().dropna() <= 0).all()
