"""Corpora that a careful user would not make: from the table to the figures, with dvc.yaml's commands.

Whatever they hold, a stage ends well, with figures that are numbers, or it refuses in one line. The
stages of a chain share one process, as eight would import torch three times.
"""

import csv
import json
import math
import os
import random
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
CHAIN = ("raw", "tokens", "vocabulary", "ids", "tensors", "embeddings", "classifier", "evaluation")
QUICK: dict[str, dict[str, Any]] = {
    "vocabulary": {"min_count": 1},
    "embeddings": {"epochs": 1, "dim": 6, "threads": 1},
    "classifier": {"epochs": 3, "patience": 3, "threads": 1, "threshold": "validation"},
    "evaluation": {"resamples": 100, "threads": 1},
}


# Runs stages one after the other, as `python -m stages.NAME` would: their names and paths are in JSON.
RUNNER = """
import json, resource, sys
from importlib import import_module
from stages.lib.command import run
for name, *paths in json.loads(sys.stdin.read()):
    sys.argv = [f"stages/{name}.py", *paths]
    run(import_module(f"stages.{name}").main)
print("peak", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


class Chain:
    """The stages from the corpus to the figures, in a folder of their own."""

    def __init__(self, folder: Path, write_params: Callable[..., Path]) -> None:
        self.folder, self.write_params = folder, write_params
        self.pipeline = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]

    def run(self, rows: Sequence[Row], columns: int = 3, **sections: dict[str, Any]) -> Ended:
        """How the chain ended: with evaluation, or with the first stage that refused."""
        corpus = self.folder / "data/corpora/odd"
        corpus.mkdir(parents=True)
        for name in ("data/pretrained", "data/wordsets", "metrics"):
            (self.folder / name).mkdir()
        names = ["text", "label", "split"][:columns]
        with (corpus / "reviews.csv").open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([names, *(row[:columns] for row in rows)])
        told = ", ".join(f"{name}: {name}" for name in names)
        source = f"origin: a test\nlicence: none\nfile: reviews.csv\ncolumns: {{{told}}}\n"
        (corpus / "source.yaml").write_text(source, encoding="utf-8")
        self.write_params(**{n: QUICK.get(n, {}) | sections.get(n, {}) for n in {*QUICK, *sections}})
        return self.stages(*CHAIN)

    def stages(self, *names: str) -> Ended:
        """Runs some stages on what lies in the folder."""
        commands = []
        for name in names:
            words = self.pipeline[name]["cmd"].replace("${corpus}", "odd").split()[3:]
            is_flag = [word.startswith("--") for word in words]
            paths = [w if flag else str(self.folder / w) for w, flag in zip(words, is_flag, strict=True)]
            commands.append([name, *paths])
        ended = subprocess.run(
            [sys.executable, "-c", RUNNER],
            input=json.dumps(commands),
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert "Warning" not in ended.stderr, ended.stderr
        return ended

    def figures(self, name: str) -> dict[str, Any]:
        """A stage's metrics, of which every figure is a number."""
        path = self.folder / f"metrics/{name}.json"
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"), parse_constant=pytest.fail)
        assert all(math.isfinite(figure) for figure in leaves(found))
        return found


def leaves(tree: Any) -> Iterator[float]:
    if isinstance(tree, dict):
        for branch in tree.values():
            yield from leaves(branch)
    else:
        yield tree


@pytest.fixture
def chain(tmp_path: Path, write_params: Callable[..., Path]) -> Chain:
    return Chain(tmp_path, write_params)


def sound(chain: Chain, ended: Ended) -> tuple[dict[str, Any], dict[str, Any]]:
    """The classifier's and evaluation's figures of a chain that ended well, and nothing in it NaN."""
    assert ended.returncode == 0, ended.stderr
    for path in (chain.folder / "metrics").glob("*.csv"):
        assert "nan" not in path.read_text(encoding="utf-8").lower().split(","), path
    table = pd.read_parquet(chain.folder / "data/predictions.parquet")
    assert table["probability"].between(0, 1).all()
    found = chain.figures("classifier"), chain.figures("evaluation")
    assert 0.02 <= found[0]["scaled_by"] <= 50  # nothing is certain that so few reviews say
    assert 0 < found[0]["decided_from"] < 1
    assert all(say >= 0 for say in found[0]["say"].values())
    return found


def text_of(draw: random.Random, *words: str) -> str:
    return " ".join([*words, *draw.choices(WORDS, k=6)])


def rows_of(labels: str = "ab", count: int = 48) -> list[Row]:
    """Reviews whose label one of their words tells: half in train, a quarter in validation and test each."""
    draw = random.Random(1)
    splits = ("train", "train", "validation", "test")
    return [
        (text_of(draw, f"word{label}", str(n)), label, splits[n // len(labels) % 4])
        for n, label in zip(range(count), labels * count, strict=False)
    ]


def test_a_label_that_occurs_once_is_learnt_and_measured(chain: Chain) -> None:
    _, figures = sound(chain, chain.run([*rows_of(), ("odd one out", "c", "train")]))
    assert figures["labels"]["c"] == {"precision": 0, "recall": 0, "f1": 0, "support": 0}
    assert 0 <= figures["classifier"]["roc_auc"] <= 1


@pytest.mark.parametrize("split", ["validation", "test"])
def test_a_label_that_train_does_not_have_is_refused(chain: Chain, split: str) -> None:
    ended = chain.run([*rows_of(), ("odd one out", "c", split)])
    assert refused(ended, "raw: ", "reviews.csv: no train review has the label 'c'; allowed: a, b, c")


def test_a_label_that_occurs_once_and_is_dealt_is_learnt_or_refused(chain: Chain) -> None:
    ended = chain.run([*rows_of(), ("odd one out", "c", "")], columns=2)
    if ended.returncode:
        assert refused(ended, "no train review has the label 'c'")
    else:
        sound(chain, ended)


@pytest.mark.parametrize("labels", ["ab", "abc"])
def test_a_validation_split_of_one_label_chooses_nothing(chain: Chain, labels: str) -> None:
    rows = [row for row in rows_of(labels) if row[2] != "validation" or row[1] == "b"]
    facts, figures = sound(chain, chain.run(rows))
    assert facts["validation"]["labels"] == 1
    assert (facts["scaled_by"], facts["decided_from"]) == (1, 0.5)
    assert facts["say"] == {"words": 0.5, "ngrams": 0.5}
    assert figures["classifier"]["accuracy"] == 1
    assert figures["calibration"]["before"] == figures["calibration"]["after"]


def test_a_test_split_of_one_label_has_no_areas(chain: Chain) -> None:
    _, figures = sound(chain, chain.run([row for row in rows_of() if row[2] != "test" or row[1] == "b"]))
    assert not {"roc_auc", "pr_auc"} & set(figures["classifier"])
    assert figures["classifier"]["accuracy"] == 1


def test_a_validation_split_of_one_review(chain: Chain) -> None:
    rows = rows_of()
    first = next(row for row in rows if row[2] == "validation")
    facts, _ = sound(chain, chain.run([row for row in rows if row[2] != "validation" or row is first]))
    assert facts["validation"]["labels"] == 1


def test_a_validation_split_that_is_all_told_apart_makes_no_certainty(chain: Chain) -> None:
    facts, figures = sound(chain, chain.run(rows_of()))
    assert facts["validation"]["accuracy"] == 1
    table = pd.read_parquet(chain.folder / "data/predictions.parquet")
    assert table["probability"].between(0.6, 0.99).all()  # six reviews of a label: 7 / 8
    assert 0.01 < figures["classifier"]["log_loss"] < 0.5


def test_texts_of_emoji_alone(chain: Chain) -> None:
    draw = random.Random(1)
    rows = [("".join(draw.choices("🙃🎬😀👍👎", k=7)), label, split) for _, label, split in rows_of()]
    sound(chain, chain.run(rows))


def test_half_of_the_texts_are_empty_or_without_a_word(chain: Chain) -> None:
    rows = rows_of()
    nothing = ["", " ", "\t", "\u200b", "...", "<br />"]
    rows[::4] = [(nothing[n % 6], label, split) for n, (_, label, split) in enumerate(rows[::4])]
    sound(chain, chain.run(rows))


def test_all_train_reviews_are_one_text(chain: Chain) -> None:
    rows = [("the same old film" if s == "train" else text, label, s) for text, label, s in rows_of()]
    facts, figures = sound(chain, chain.run(rows, embeddings={"subsample": 0}))
    assert facts["say"]["ngrams"] >= 0
    assert figures["classifier"]["accuracy"] == 0.5


def test_all_train_reviews_are_one_word(chain: Chain) -> None:
    rows = [("film" if s == "train" else text, label, s) for text, label, s in rows_of()]
    assert refused(chain.run(rows), "embeddings: no two known words stand side by side", "min_count")


def test_all_train_reviews_are_empty(chain: Chain) -> None:
    rows = [("" if s == "train" else text, label, s) for text, label, s in rows_of()]
    assert refused(chain.run(rows), "vocabulary.min_count", "which leaves no word")


@pytest.mark.parametrize("columns", [2, 3])
def test_all_reviews_are_empty(chain: Chain, columns: int) -> None:
    # They are one text, which stands in one split.
    ended = chain.run([("", label, split) for _, label, split in rows_of()], columns=columns)
    told = "0 labelled train reviews" if columns == 3 else "no review landed in"
    assert refused(ended, "raw: ", "reviews.csv: ", told)


def test_all_texts_that_are_tested_are_empty(chain: Chain) -> None:
    rows = [("" if s != "train" else text, label, s) for text, label, s in rows_of()]
    _, figures = sound(chain, chain.run(rows))
    assert figures["classifier"]["accuracy"] == 0.5


def test_five_labels_come_through(chain: Chain) -> None:
    facts, figures = sound(chain, chain.run(rows_of("abcde", 120)))
    assert facts["validation"]["labels"] == 5
    assert set(figures["labels"]) == set("abcde")
    assert all(of_label["support"] == 6 for of_label in figures["labels"].values())
    assert figures["classifier"]["accuracy"] == 1
    assert figures["averages"]["macro"]["f1"] == 1
    table = pd.read_parquet(chain.folder / "data/predictions.parquet")
    assert table[[f"probability_{label}" for label in "abcde"]].sum(axis=1).to_numpy() == pytest.approx(1)
    confusion = pd.read_csv(chain.folder / "metrics/evaluation_confusion.csv")
    assert len(confusion) == 25
    weights = load_file(chain.folder / "data/classifier.safetensors")
    assert weights["ngrams.weight"].shape[1] == weights["linear.weight"].shape[0] == 5


@pytest.mark.parametrize("tuning", ["frozen", "fine_tuned"])
def test_few_words_of_many_labels_with_all_choices_on(chain: Chain, tuning: str) -> None:
    choices = {
        "tuning": tuning, "pool": "idf_mean", "word_dropout": 0.5, "averaging": True, "weight_decay": 0.1,
        "class_weight": "balanced", "start": "random", "calibration": "none",
    }  # fmt: skip
    facts, _ = sound(chain, chain.run([*rows_of("abc"), ("odd one", "d", "train")], classifier=choices))
    assert facts["scaled_by"] == 1


def test_reviews_of_100_000_words_take_no_gigabytes(chain: Chain) -> None:
    draw = np.random.default_rng(1)
    many = np.array([f"w{n}" for n in range(2000)])
    rows = rows_of()
    for n, (_, label, split) in enumerate(rows):
        if split == "train" or n < 8:
            words = [f"word{label}", *many[draw.zipf(1.3, 99_999).clip(1, 2000) - 1]]
            rows[n] = (" ".join(words), label, split)
    sound(chain, chain.run(rows, embeddings={"subsample": 1e-5}))
    path = chain.folder / "data/embeddings.safetensors"
    vectors = load_file(path)["embeddings"]
    save_file({"embeddings": vectors.repeat(1, 17)}, path)  # D = 102, about as many as are shipped
    for pool in ("mean", "mean_max"):
        chain.write_params(**QUICK | {"classifier": QUICK["classifier"] | {"epochs": 1, "pool": pool}})
        ended = chain.stages("classifier", "evaluation")
        sound(chain, ended)
        kilobytes = int(ended.stdout.split()[-1]) // (1024 if sys.platform == "darwin" else 1)
        assert kilobytes < 1_200_000, pool
