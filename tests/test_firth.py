"""Firth, the package: a folder with a model is a scikit-learn classifier."""

import copy
import os
import pickle
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn.base import clone, is_classifier
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import VotingClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.metrics import log_loss
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.validation import check_is_fitted

import firth
from stages.lib.files import sha256
from stages.lib.tables import batch_of, table_writer
from stages.vocabulary import SCHEMA
from tests.conftest import ROOT
from tests.toys import save_toy_model

TOKENS = ["<pad>", "<unk>", "fine", "dull", "film"]
TEXTS = ["a fine film", "dull dull", "fine", "", "so dull a film", "film"]
TRUE = ["good", "bad", "good", "bad", "bad", "good"]


def write_model(folder: Path, labels: list[str], **choices: Any) -> Path:
    """Writes the files of a model for two or three labels."""
    folder.mkdir(exist_ok=True)
    with table_writer(folder / "vocabulary.parquet", SCHEMA) as writer:
        writer.write_batch(batch_of([range(5), TOKENS, range(5)], SCHEMA))
    (folder / "tokeniser.json").write_text('{"lowercase": true, "unit": "words"}')
    table = [[0, 0, 0], [0, 0, 0.5], [-2, 1, 0], [3, -1, 0], [0.25, 0, 1]]
    outputs = 1 if len(labels) == 2 else 3
    save_toy_model(
        folder / "model.safetensors", [row[:outputs] for row in table], [0.25, 0.1, 0][:outputs], labels,
        vocabulary=sha256(folder / "vocabulary.parquet"), **choices,
    )  # fmt: skip
    return folder


@pytest.fixture
def model(tmp_path: Path) -> firth.Classifier:
    return firth.load(write_model(tmp_path / "model", ["good", "bad"]))


def test_classes_are_sorted_and_columns_are_in_their_order(model: firth.Classifier) -> None:
    assert model.classes_.tolist() == ["bad", "good"]
    own = model.predictor.probabilities(TEXTS)  # in the order of the model: good, bad
    assert model.predict_proba(TEXTS).tolist() == own[:, ::-1].tolist()
    assert model.predict(TEXTS).tolist() == ["good", "bad", "good", "bad", "bad", "bad"]
    assert model.predict_log_proba(TEXTS) == pytest.approx(np.log(own[:, ::-1]))
    assert log_loss(TRUE, model.predict_proba(TEXTS)) < 0.6


def test_three_labels(tmp_path: Path) -> None:
    model = firth.load(write_model(tmp_path, ["so-so", "good", "bad"]))
    assert model.classes_.tolist() == ["bad", "good", "so-so"]
    texts = [text for text in TEXTS if text]  # all labels of an empty text have the same probability
    best = model.classes_[model.predict_proba(texts).argmax(1)]
    assert model.predict(texts).tolist() == best.tolist()


def test_any_column_of_texts_is_accepted(model: firth.Classifier) -> None:
    expected = model.predict_proba(TEXTS).tolist()
    for column in (tuple(TEXTS), np.array(TEXTS), np.array(TEXTS, object), pl.Series(TEXTS)):
        assert model.predict_proba(column).tolist() == expected
    assert model.predict_proba([]).shape == (0, 2)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ("a fine film", "found str, expected a list or a column of texts"),
        (np.array([["a fine film"]]), "found ndarray, expected a list or a column"),
        (["fine", None], "text 1: found None, expected str"),
        (["fine", float("nan")], "text 1: found nan, expected str"),
    ],
)
def test_other_input_is_refused(model: firth.Classifier, texts: object, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        model.predict_proba(texts)  # type: ignore[arg-type]


def test_an_explanation_sums_to_the_logit(model: firth.Classifier) -> None:
    for label in ("good", "bad"):
        explained = model.explain("A fine film", label)
        assert explained.label == label
        values = [part.value for part in explained.contributions or []]
        assert explained.bias + sum(values) == pytest.approx(explained.logit)
    assert model.explain("dull").label == "bad"
    with pytest.raises(ValueError, match="label: found 'great', expected one of good, bad"):
        model.explain("dull", "great")


def test_copies_hold_the_name_of_the_folder_only(model: firth.Classifier) -> None:
    expected = model.predict_proba(TEXTS).tolist()
    for copied in (clone(model), copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert vars(copied) == {"folder": model.folder}
        assert copied.predict_proba(TEXTS).tolist() == expected


def test_another_folder_can_be_set(model: firth.Classifier, tmp_path: Path) -> None:
    other = write_model(tmp_path / "other", ["positive", "negative"])
    assert model.set_params(folder=other) is model
    assert model.get_params() == {"folder": other}
    assert model.classes_.tolist() == ["negative", "positive"]
    with pytest.raises(ValueError, match="lr: no such parameter; allowed: folder"):
        model.set_params(lr=1)


def test_scikit_learn_recognises_a_fitted_classifier(model: firth.Classifier) -> None:
    assert is_classifier(model)
    check_is_fitted(model)
    assert model.fit(TEXTS, TRUE) is model
    with pytest.raises(ValueError, match="labels: found 'great'; the model predicts bad, good"):
        model.fit(TEXTS, ["great"] * len(TEXTS))


def test_it_is_the_last_step_of_a_pipeline(model: firth.Classifier) -> None:
    steps = make_pipeline(
        FunctionTransformer(lambda texts: [text.replace("boring", "dull") for text in texts]), model
    )
    assert steps.predict(["so boring"]).tolist() == ["bad"]
    assert steps.fit(TEXTS, TRUE).classes_.tolist() == ["bad", "good"]
    assert steps.score(TEXTS, TRUE) == model.score(TEXTS, TRUE) == pytest.approx(5 / 6)
    assert model.score(TEXTS, TRUE, [0, 0, 0, 0, 0, 1]) == 0


def test_its_probabilities_can_be_calibrated_again(model: firth.Classifier) -> None:
    calibrated = CalibratedClassifierCV(FrozenEstimator(model)).fit(TEXTS * 5, TRUE * 5)
    assert calibrated.classes_.tolist() == ["bad", "good"]
    ours, theirs = model.predict_proba(TEXTS)[:, 1], calibrated.predict_proba(TEXTS)[:, 1]
    assert np.argsort(theirs, stable=True).tolist() == np.argsort(ours, stable=True).tolist()


def test_it_can_be_cross_validated_and_combined(model: firth.Classifier) -> None:
    assert cross_val_score(model, np.array(TEXTS), TRUE, cv=2).mean() == pytest.approx(5 / 6)
    frozen = FrozenEstimator(model)
    both = VotingClassifier([("one", frozen), ("other", frozen)], voting="soft").fit(TEXTS, TRUE)
    assert both.predict(TEXTS).tolist() == model.predict(TEXTS).tolist()


@pytest.mark.parametrize("name", ["tokeniser.json", "vocabulary.parquet", "model.safetensors"])
def test_a_folder_without_a_model_is_refused(model: firth.Classifier, name: str) -> None:
    folder = Path(model.folder)
    (folder / name).unlink()
    with pytest.raises(firth.Refusal, match=f"{name}: no such file; name a folder written by"):
        firth.load(folder)


def test_the_folder_of_a_run_is_read(model: firth.Classifier) -> None:
    folder = Path(model.folder)
    expected = model.predict_proba(TEXTS).tolist()
    (folder / "model.safetensors").rename(folder / "ensemble.safetensors")
    assert firth.load(folder).predict_proba(TEXTS).tolist() == expected


def test_the_examples_in_the_docs_run(tmp_path: Path) -> None:
    write_model(tmp_path / "my-model", ["negative", "positive"])
    page = (ROOT / "docs/deploy.md").read_text(encoding="utf-8")
    first, second, _ = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    end = "print(len(explained.contributions) > 0, calibrated.classes_.tolist())"
    done = subprocess.run(
        [sys.executable, "-c", first + second + end],
        cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("True ['negative', 'positive']\n", "")
