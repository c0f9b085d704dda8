"""Robustness: each alteration and each kind of minimal pair, by hand and on a run of the sample."""

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages import robustness
from stages.lib.pairs import Pair, metrics_by_kind
from stages.predictor import Predictor
from stages.robustness import (
    alterations_of_text,
    alterations_of_words,
    answer,
    effect,
    ends_of,
    shuffled,
)
from stages.tokens import tokeniser_of
from tests.conftest import ROOT, refused
from tests.test_pairs import HEADER
from tests.test_predictor import run_in
from tests.toys import toy_model


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_in(tmp_path_factory.mktemp("run"))


LISTS = st.lists(st.lists(st.sampled_from(["a", "é", "film", ""]), max_size=8), min_size=1, max_size=8)


def as_arrow(lists: list[list[str]], numbered: bool = False) -> pa.ListArray:
    """Lists of tokens, as numbers into a list of distinct tokens if `numbered`."""
    plain = pa.array(lists, pa.list_(pa.string()))
    if not numbered:
        return plain
    return pa.ListArray.from_arrays(plain.offsets, plain.values.dictionary_encode())


@given(lists=LISTS, seed=st.integers(0, 99), numbered=st.booleans())
def test_shuffling_keeps_the_words_of_each_review(lists: list[list[str]], seed: int, numbered: bool) -> None:
    result = shuffled(as_arrow(lists, numbered), np.random.default_rng(seed)).to_pylist()
    assert list(map(Counter, result)) == list(map(Counter, lists))


def test_shuffling_gives_all_orders_equally_often() -> None:
    result = shuffled(as_arrow([["a", "b", "c"]] * 6000), np.random.default_rng(1)).to_pylist()
    counts = Counter(map(tuple, result))
    assert len(counts) == 6
    assert all(900 < count < 1100 for count in counts.values())


@given(lists=LISTS, kept=st.integers(1, 9), start=st.integers(0, 3), numbered=st.booleans())
def test_ends_equal_slices_of_lists(lists: list[list[str]], kept: int, start: int, numbered: bool) -> None:
    part = as_arrow(lists, numbered)[start:]  # a batch may be a part of another
    assert ends_of(part, kept, "head").to_pylist() == [one[:kept] for one in lists[start:]]
    assert ends_of(part, kept, "tail").to_pylist() == [one[-kept:] for one in lists[start:]]


def test_alterations_depend_on_the_seed_only() -> None:
    lists, texts = as_arrow([[str(n) for n in range(28)]]), ["a film about a lighthouse and its keeper"]

    def drawn(seed: int, *typos: int) -> tuple[object, object]:
        choices = robustness.Params(typos=list(typos), kept=1, pairs=[], seed=seed)
        return alterations_of_words(choices)["shuffled"](lists).to_pylist(), alterations_of_text(choices)[
            "typos_50"
        ](texts)

    assert drawn(1, 50) == drawn(1, 5, 50)
    assert drawn(1, 50)[0] != drawn(2, 50)[0]
    assert drawn(1, 50)[1] != drawn(2, 50)[1]


def test_the_effect_of_an_alteration_by_hand() -> None:
    labels, before, after = (np.array(rows) for rows in ([0, 0, 1, 1], [0, 1, 1, 1], [0, 0, 0, 0]))
    result = effect(labels, before, after)
    assert {name: result[name] for name in ("accuracy", "difference", "changed")} == {
        "accuracy": 0.5,
        "difference": -0.25,
        "changed": 0.75,
    }
    assert result["difference_low"] < -0.25 < result["difference_high"]
    assert result["accuracy_low"] == pytest.approx(0.15, abs=0.001)  # Wilson's of 2 in 4


def toy_predictor(labels: list[str], threshold: float = 0.5) -> Predictor:
    """A predictor with a score for each of a few words. A text's logit is their mean."""
    scores = {"good": 2.0, "great": 4.0, "bad": -2.0, "awful": -4.0, "so": 0.0}
    words = [[0.0], [0.0], *([score] for score in scores.values())]
    model = toy_model(words, [0.0], labels, threshold=threshold)
    numbers = {word: number for number, word in enumerate(scores, 2)}
    return Predictor(tokeniser_of('{"unit": "words", "lowercase": true}'), numbers, model)


N, P = "negative", "positive"
PAIRS = [
    Pair("turned", "negation", "Good!", "Bad!", P, N),
    Pair("not turned", "negation", "Good so", "So good", P, N),
    Pair("surer", "intensity", "Bad", "Awful", N, N),
    Pair("less sure", "intensity", "Great", "Good", P, P),
    Pair("as sure", "intensity", "Great", "GREAT", P, P),
    Pair("surer and wrong", "intensity", "Good", "Great", N, N),
    Pair("kept", "irrelevant", "Good Tom", "Good Bo", P, P),
    Pair("kept and wrong", "irrelevant", "Good Tom", "Good Bo", N, N),
]


def test_metrics_of_pairs_by_hand() -> None:
    answers = answer(PAIRS, toy_predictor([N, P]))
    right = dict(zip(answers["id"].to_pylist(), answers["right"].to_pylist(), strict=True))
    assert [name for name, is_right in right.items() if is_right] == ["turned", "surer", "kept"]
    assert answers["predicted_a"].to_pylist() == [P, P, N, P, P, P, P, P]
    assert answers["probability_b"].to_pylist()[0] == pytest.approx(1 / (1 + np.exp(-1)))  # "bad", "!"
    result = metrics_by_kind(answers)
    assert list(result) == ["negation", "intensity", "irrelevant"]  # there are no contrast pairs
    shown = ("pairs", "right", "sides", "changed")
    assert [result["negation"][name] for name in shown] == [2, 0.5, 0.75, 0.5]
    assert [result["intensity"][name] for name in shown] == [4, 0.25, 0.75, 0.0]
    assert [result["irrelevant"][name] for name in shown] == [2, 0.5, 0.5, 0.0]
    assert result["negation"]["right_low"] == pytest.approx(0.0945, abs=1e-4)


def test_pairs_are_predicted_with_the_threshold_of_the_model() -> None:
    answers = answer(PAIRS[:1], toy_predictor([N, P], threshold=0.99))
    assert answers["predicted_a"].to_pylist() == [N]
    assert toy_predictor([N, P], threshold=0.99).predict(["good", "great great"]).tolist() == [0, 0]
    assert toy_predictor([N, P], threshold=0.9).predict(["good", "great great"]).tolist() == [0, 1]


def test_irrelevant_pairs_with_different_predictions_are_counted_as_changed() -> None:
    result = metrics_by_kind(answer([Pair("x", "irrelevant", "Good", "Bad", P, P)], toy_predictor([N, P])))[
        "irrelevant"
    ]
    assert (result["right"], result["sides"], result["changed"]) == (0.0, 0.5, 1.0)


def test_no_pairs_give_no_metrics() -> None:
    assert metrics_by_kind(answer([], toy_predictor([N, P]))) == {}


def paths(folder: Path, pairs: Path, out: Path) -> list[Path]:
    inputs = ["raw.parquet", "tokeniser.json", "vocabulary.parquet", "tokens.parquet", "tensors.safetensors"]
    inputs += ["ensemble.safetensors"]
    outputs = ["robustness.parquet", "robustness_pairs.parquet", "robustness.json"]
    return [*(folder / name for name in inputs), pairs, *(out / name for name in outputs)]


def test_there_is_a_row_for_each_review_and_alteration(
    tmp_path: Path, run: Path, write_params: Callable[..., Path]
) -> None:
    where = paths(run, ROOT / "data/pairs", tmp_path)
    robustness.main(write_params(robustness={"typos": [3], "kept": 5}), *where)
    metrics, evaluated = (json.loads(path.read_text()) for path in (where[-1], run / "evaluation.json"))
    assert metrics["unaltered"]["accuracy"] == evaluated["ensemble"]["accuracy"]
    names = ["first_5", "last_5", "shuffled", "typos_3", "upper_case"]
    assert list(metrics["altered"]) == names
    assert metrics["altered"]["upper_case"]["changed"] == 0  # all is lower case to this tokeniser
    assert metrics["pairs_left_out"] == 0
    assert sum(kind["pairs"] for kind in metrics["pairs"].values()) == len(pl.read_parquet(where[-2]))
    table, predictions = pl.read_parquet(where[-3]), pl.read_parquet(run / "predictions.parquet")
    assert sorted(set(table["alteration"])) == [*names[:3], "typos_3", "unaltered", "upper_case"]
    plain = table.filter(pl.col("alteration") == "unaltered")
    assert plain.drop("alteration").equals(predictions.select(plain.drop("alteration").columns))
    for name, result in metrics["altered"].items():
        part = table.filter(pl.col("alteration") == name)
        assert part["id"].to_list() == plain["id"].to_list()
        assert (part["label"] == part["predicted"]).mean() == pytest.approx(result["accuracy"], abs=1e-6)
        assert (part["predicted"] != plain["predicted"]).mean() == pytest.approx(result["changed"], abs=1e-6)


def test_two_runs_give_the_same_bytes_and_another_seed_gives_others(
    tmp_path: Path, run: Path, write_params: Callable[..., Path]
) -> None:
    bytes_of = {}
    for name, seed in (("one", 1), ("same", 1), ("other", 2)):
        where = paths(run, ROOT / "data/pairs", tmp_path / name)
        robustness.main(write_params(robustness={"seed": seed}), *where)
        bytes_of[name] = [path.read_bytes() for path in where[-3:]]
    assert bytes_of["one"] == bytes_of["same"]
    assert bytes_of["one"][0] != bytes_of["other"][0]
    assert bytes_of["one"][1] == bytes_of["other"][1]


def test_pairs_with_labels_not_in_the_corpus_are_left_out_and_counted(
    tmp_path: Path, run: Path, write_params: Callable[..., Path]
) -> None:
    lines = ["1,negation,good,bad,positive,negative", "2,negation,good,bad,5 stars,1 star"]
    (tmp_path / "part.csv").write_text("\n".join([HEADER, *lines]), encoding="utf-8")
    where = paths(run, tmp_path, tmp_path / "out")
    robustness.main(write_params(robustness={"pairs": ["part.csv"], "typos": []}), *where)
    metrics = json.loads(where[-1].read_text())
    assert metrics["pairs_left_out"] == 1
    assert metrics["pairs"]["negation"]["pairs"] == 1
    assert pl.read_parquet(where[-2])["id"].to_list() == ["1"]


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"typos": [0]}, "robustness.typos"),
        ({"kept": 0}, "robustness.kept"),
        ({"pairs": ["minimal_pair.csv"]}, "no file 'minimal_pair.csv'"),
    ],
)
def test_invalid_parameters_are_refused_in_one_line(
    tmp_path: Path,
    run: Path,
    write_params: Callable[..., Path],
    stage: Callable[..., subprocess.CompletedProcess[str]],
    choice: dict[str, Any],
    message: str,
) -> None:
    ended = stage("robustness", write_params(robustness=choice), *paths(run, ROOT / "data/pairs", tmp_path))
    assert refused(ended, "robustness: ", message)


def test_the_stage_does_not_import_torch() -> None:
    code = "import sys, stages.robustness, stages.report, tools.predict; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
