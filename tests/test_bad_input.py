"""Unusual corpora, from the table to the metrics, with the commands of dvc.yaml.

Each stage either succeeds with finite metrics or fails with one line. The stages of a pipeline run in one
process, a fork of another one that has imported the libraries.
"""

import csv
import json
import math
import os
import random
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from safetensors.torch import load_file, save_file

from tests.conftest import ROOT, refused

WORDS = ["the", "a", "film", "plot", "cast", "scene", "end", "start"]
Ended = subprocess.CompletedProcess[str]
Row = tuple[str, str, str]  # text, label, split
CHAIN = (
    "raw", "tokens", "vocabulary", "ids", "tensors", "embeddings", "ngrams", "classifier", "ensemble",
    "evaluation",
)  # fmt: skip
QUICK: dict[str, dict[str, Any]] = {
    "vocabulary": {"min_count": 1},
    "embeddings": {"epochs": 1, "dim": 6, "threads": 1},
    "classifier": {"epochs": 3, "patience": 3, "threads": 1},
    "ensemble": {"threshold": "validation"},
    "evaluation": {"resamples": 100},
}


# Reads lists of stages and their flags, as lines of JSON. Runs each list in a fork, one stage after the other
# as `python -m stages.NAME` would, and prints the exit code and the most memory that the fork used.
SERVER = """
import json, os, resource, sys, traceback
from importlib import import_module
from pathlib import Path
from stages.lib.command import run

def run_all(root, commands):
    os.environ["DVC_ROOT"] = root
    for number, name in enumerate(("stdout", "stderr"), 1):
        os.dup2(os.open(Path(root) / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    for name, *paths in commands:
        sys.argv = [f"stages/{name}.py", *paths]
        run(import_module(f"stages.{name}").main)

for name in sys.argv[1:]:
    import_module(f"stages.{name}")
for name in ("polars", "scipy.optimize"):
    import_module(name)
for line in sys.stdin:
    if child := os.fork():
        _, status, usage = os.wait4(child, 0)
        print(json.dumps([os.waitstatus_to_exitcode(status), usage.ru_maxrss]), flush=True)
        continue
    code = 1
    try:
        run_all(*json.loads(line))
        code = 0
    except SystemExit as end:
        code = end.code or 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
"""
Server = subprocess.Popen[str]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with subprocess.Popen(
        [sys.executable, "-c", SERVER, *CHAIN],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield process


class Pipeline:
    """The stages from the corpus to the evaluation, in a separate folder."""

    def __init__(self, folder: Path, write_params: Callable[..., Path], server: Server) -> None:
        self.folder, self.write_params, self.server = folder, write_params, server
        self.pipeline = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]

    def run(self, rows: Sequence[Row], columns: int = 3, **sections: dict[str, Any]) -> Ended:
        """Runs all stages on `rows` until one of them fails."""
        corpus = self.folder / "data/corpora/odd"
        corpus.mkdir(parents=True)
        for name in ("data/pretrained", "data/wordsets", "metrics"):
            (self.folder / name).mkdir()
        names = ["text", "label", "split"][:columns]
        with (corpus / "reviews.csv").open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([names, *(row[:columns] for row in rows)])
        columns_yaml = ", ".join(f"{name}: {name}" for name in names)
        source = f"origin: a test\nlicence: none\nfile: reviews.csv\ncolumns: {{{columns_yaml}}}\n"
        (corpus / "source.yaml").write_text(source, encoding="utf-8")
        self.write_params(**{n: QUICK.get(n, {}) | sections.get(n, {}) for n in {*QUICK, *sections}})
        return self.stages(*CHAIN)

    def stages(self, *names: str) -> Ended:
        """Runs some stages on the files in the folder."""
        commands = []
        for name in names:
            words = shlex.split(self.pipeline[name]["cmd"].replace("${corpus}", "odd"))[3:]
            is_flag = [word.startswith("--") for word in words]
            paths = [w if flag else str(self.folder / w) for w, flag in zip(words, is_flag, strict=True)]
            commands.append([name, *paths])
        assert self.server.stdin
        assert self.server.stdout
        self.server.stdin.write(json.dumps([str(self.folder), commands]) + "\n")
        self.server.stdin.flush()
        code, self.memory = json.loads(self.server.stdout.readline())
        printed = [(self.folder / name).read_text(encoding="utf-8") for name in ("stdout", "stderr")]
        ended = Ended(commands, code, *printed)
        assert "Warning" not in ended.stderr, ended.stderr
        return ended

    def metrics(self, name: str) -> dict[str, Any]:
        """The metrics of a stage. All of them must be finite numbers."""
        path = self.folder / f"metrics/{name}.json"
        metrics: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"), parse_constant=pytest.fail)
        assert all(isinstance(value, str) or math.isfinite(value) for value in leaves(metrics))
        return metrics


def leaves(tree: Any) -> Iterator[float | str]:
    if isinstance(tree, dict | list):
        for branch in tree.values() if isinstance(tree, dict) else tree:
            yield from leaves(branch)
    else:
        yield tree


@pytest.fixture
def pipeline(tmp_path: Path, write_params: Callable[..., Path], server: Server) -> Pipeline:
    return Pipeline(tmp_path, write_params, server)


def valid(pipeline: Pipeline, ended: Ended) -> tuple[dict[str, Any], dict[str, Any]]:
    """The metrics of ensemble and evaluation after a run without errors. No value is NaN."""
    assert ended.returncode == 0, ended.stderr
    for path in (pipeline.folder / "metrics").glob("*.csv"):
        assert "nan" not in path.read_text(encoding="utf-8").lower().split(","), path
    table = pd.read_parquet(pipeline.folder / "data/predictions.parquet")
    assert table["probability"].between(0, 1).all()
    facts, evaluated = pipeline.metrics("ensemble"), pipeline.metrics("evaluation")
    assert 0.02 <= facts["temperature"] <= 50  # few reviews do not justify certainty
    assert 0 < facts["threshold"] < 1
    assert all(weight >= 0 for weight in facts["weights"].values())
    return facts, evaluated


def text_of(draw: random.Random, *words: str) -> str:
    return " ".join([*words, *draw.choices(WORDS, k=6)])


def rows_of(labels: str = "ab", count: int = 48) -> list[Row]:
    """Reviews in which one word determines the label: half train, a quarter each validation and test."""
    draw = random.Random(1)
    splits = ("train", "train", "validation", "test")
    return [
        (text_of(draw, f"word{label}", str(n)), label, splits[n // len(labels) % 4])
        for n, label in zip(range(count), labels * count, strict=False)
    ]


def test_a_label_that_occurs_once_is_trained_on_and_evaluated(pipeline: Pipeline) -> None:
    _, evaluated = valid(pipeline, pipeline.run([*rows_of(), ("odd one out", "c", "train")]))
    assert evaluated["labels"]["c"] == {"precision": 0, "recall": 0, "f1": 0, "support": 0}
    assert 0 <= evaluated["ensemble"]["roc_auc"] <= 1


@pytest.mark.parametrize("split", ["validation", "test"])
def test_a_label_missing_from_train_is_refused(pipeline: Pipeline, split: str) -> None:
    ended = pipeline.run([*rows_of(), ("odd one out", "c", split)])
    assert refused(ended, "raw: ", "reviews.csv: no train review has the label 'c'; allowed: 'a', 'b', 'c'")


def test_a_label_that_occurs_once_and_is_split_at_random_is_trained_on_or_refused(pipeline: Pipeline) -> None:
    ended = pipeline.run([*rows_of(), ("odd one out", "c", "")], columns=2)
    if ended.returncode:
        assert refused(ended, "no train review has the label 'c'")
    else:
        valid(pipeline, ended)


@pytest.mark.parametrize("labels", ["ab", "abc"])
def test_nothing_is_fitted_on_a_validation_split_of_one_label(pipeline: Pipeline, labels: str) -> None:
    rows = [row for row in rows_of(labels) if row[2] != "validation" or row[1] == "b"]
    facts, evaluated = valid(pipeline, pipeline.run(rows, ngrams={"folds": 0}, classifier={"folds": 0}))
    assert facts["validation"]["labels"] == 1
    assert (facts["temperature"], facts["threshold"]) == (1, 0.5)
    assert facts["weights"] == {"classifier": 0.5, "ngrams": 0.5}
    assert evaluated["ensemble"]["accuracy"] == 1
    assert evaluated["calibration"]["before"] == evaluated["calibration"]["after"]


def test_a_test_split_of_one_label_has_no_area_under_a_curve(pipeline: Pipeline) -> None:
    _, evaluated = valid(
        pipeline, pipeline.run([row for row in rows_of() if row[2] != "test" or row[1] == "b"])
    )
    assert not {"roc_auc", "pr_auc"} & set(evaluated["ensemble"])
    assert evaluated["ensemble"]["accuracy"] == 1


def test_a_validation_split_of_one_review_is_accepted(pipeline: Pipeline) -> None:
    rows = rows_of()
    first = next(row for row in rows if row[2] == "validation")
    rows = [row for row in rows if row[2] != "validation" or row is first]
    facts, _ = valid(pipeline, pipeline.run(rows, ngrams={"folds": 0}, classifier={"folds": 0}))
    assert facts["validation"]["labels"] == 1


def test_a_validation_split_without_errors_does_not_give_certain_probabilities(pipeline: Pipeline) -> None:
    facts, evaluated = valid(pipeline, pipeline.run(rows_of()))
    assert facts["validation"]["accuracy"] == 1
    table = pd.read_parquet(pipeline.folder / "data/predictions.parquet")
    assert table["probability"].between(0.6, 0.99).all()  # six reviews of a label: 7 / 8
    assert 0.01 < evaluated["ensemble"]["log_loss"] < 0.5


def test_reviews_of_emoji_only_are_accepted(pipeline: Pipeline) -> None:
    draw = random.Random(1)
    rows = [("".join(draw.choices("🙃🎬😀👍👎", k=7)), label, split) for _, label, split in rows_of()]
    valid(pipeline, pipeline.run(rows))


def test_empty_texts_and_texts_without_words_are_accepted(pipeline: Pipeline) -> None:
    rows = rows_of()
    nothing = ["", " ", "\t", "\u200b", "...", "<br />"]
    rows[::4] = [(nothing[n % 6], label, split) for n, (_, label, split) in enumerate(rows[::4])]
    valid(pipeline, pipeline.run(rows))


def test_identical_train_reviews_give_chance_accuracy(pipeline: Pipeline) -> None:
    same = {"train": "the same old film", "validation": "the same new film"}
    rows = [(same.get(s, text), label, s) for text, label, s in rows_of()]
    facts, evaluated = valid(pipeline, pipeline.run(rows, embeddings={"subsample": 0}))
    assert facts["weights"]["ngrams"] >= 0
    assert evaluated["ensemble"]["accuracy"] == 0.5


def test_train_reviews_of_one_word_are_refused(pipeline: Pipeline) -> None:
    rows = [("film" if s == "train" else text, label, s) for text, label, s in rows_of()]
    ended = pipeline.run(rows)
    assert ended.returncode == 1
    *warnings, refusal = ended.stderr.splitlines()
    assert all(line.startswith("raw: ") for line in warnings)
    assert refusal.startswith("embeddings: no two known words are adjacent")
    assert "min_count" in refusal


def test_empty_train_reviews_are_refused(pipeline: Pipeline) -> None:
    rows = [("" if s == "train" else text, label, s) for text, label, s in rows_of()]
    assert refused(pipeline.run(rows), "raw: ", "0 labelled train reviews")


@pytest.mark.parametrize("columns", [2, 3])
def test_a_corpus_of_empty_reviews_is_refused(pipeline: Pipeline, columns: int) -> None:
    ended = pipeline.run([("", label, split) for _, label, split in rows_of()], columns=columns)
    assert refused(ended, "raw: ", "reviews.csv: found no row with a text")


def test_unknown_words_in_validation_and_test_give_chance_accuracy(pipeline: Pipeline) -> None:
    rows = [("zxqv" if s != "train" else text, label, s) for text, label, s in rows_of()]
    _, evaluated = valid(pipeline, pipeline.run(rows))
    assert evaluated["ensemble"]["accuracy"] == 0.5


def test_a_corpus_of_five_labels_is_accepted(pipeline: Pipeline) -> None:
    facts, evaluated = valid(pipeline, pipeline.run(rows_of("abcde", 120)))
    assert facts["validation"]["labels"] == 5
    assert set(evaluated["labels"]) == set("abcde")
    assert all(of_label["support"] == 6 for of_label in evaluated["labels"].values())
    assert evaluated["ensemble"]["accuracy"] == 1
    assert evaluated["averages"]["macro"]["f1"] == 1
    table = pd.read_parquet(pipeline.folder / "data/predictions.parquet")
    assert table[[f"probability_{label}" for label in "abcde"]].sum(axis=1).to_numpy() == pytest.approx(1)
    confusion = pd.read_csv(pipeline.folder / "metrics/evaluation_confusion.csv")
    assert len(confusion) == 25
    linear = load_file(pipeline.folder / "data/classifier.safetensors")["linear.weight"]
    ngrams = load_file(pipeline.folder / "data/ngrams.safetensors")["weight"]
    assert linear.shape[0] == ngrams.shape[1] == 5


@pytest.mark.parametrize("freeze", [True, False])
def test_four_labels_with_every_option_are_accepted(pipeline: Pipeline, freeze: bool) -> None:
    choices = {
        "freeze": freeze, "pool": "idf_mean", "word_dropout": 0.5, "weight_averaging": True,
        "weight_decay": 0.1, "class_weight": "balanced", "init": "random",
    }  # fmt: skip
    facts, _ = valid(
        pipeline,
        pipeline.run(
            [*rows_of("abc"), ("odd one", "d", "train")], classifier=choices, ensemble={"calibration": "none"}
        ),
    )
    assert facts["temperature"] == 1


def test_documents_of_100_000_words_need_less_than_1_200_megabytes(pipeline: Pipeline) -> None:
    draw = np.random.default_rng(1)
    many = np.array([f"w{n}" for n in range(2000)])
    rows = rows_of()
    for n, (_, label, split) in enumerate(rows):
        if split == "train" or n < 8:
            words = [f"word{label}", *many[draw.zipf(1.3, 99_999).clip(1, 2000) - 1]]
            rows[n] = (" ".join(words), label, split)
    quick = {"embeddings": QUICK["embeddings"] | {"subsample": 1e-5}, "ngrams": {"max_n": 1, "char_max_n": 0}}
    quick["classifier"] = QUICK["classifier"] | {"epochs": 1, "folds": 0}
    valid(pipeline, pipeline.run(rows, **quick))
    path = pipeline.folder / "data/embeddings.safetensors"
    vectors = load_file(path)["embeddings"]
    save_file({"embeddings": vectors.repeat(1, 17)}, path)  # D = 102, about as many as are shipped
    for pool, names in (("mean", ["classifier"]), ("mean_max", ["classifier", "ensemble", "evaluation"])):
        pipeline.write_params(**QUICK | quick | {"classifier": quick["classifier"] | {"pool": pool}})
        ended = pipeline.stages(*names)
        assert ended.returncode == 0, ended.stderr
        kilobytes = pipeline.memory // (1024 if sys.platform == "darwin" else 1)
        assert kilobytes < 1_200_000, pool
    valid(pipeline, ended)
