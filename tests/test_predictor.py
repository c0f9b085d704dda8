"""Predictor: new texts get the tokens, ids and probabilities of the pipeline."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from stages import classifier, ensemble, evaluation, ids, ngrams, raw, tensors, tokens, vocabulary
from stages import predictor as predictor_module
from stages.ids import look_up
from stages.lib.command import Refusal
from stages.lib.reviews import Documents, read_split, unpadded
from stages.predictor import Encoded, Predictor, as_lists
from stages.tokens import learn_subwords, tokeniser_of
from tests.conftest import ROOT
from tests.toys import toy_model

WORDS = ["a", "good", "film", "don't", "!", "▁a", "▁good", "g", "o", " ", "é"]
NUMBERS = {word: number for number, word in enumerate(WORDS, 2)}


def run_in(folder: Path) -> Path:
    """Runs the pipeline on the bundled sample, with small random vectors and reviews cut to 30 tokens."""
    params: dict[str, Any] = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    params["tensors"] |= {"max_length": 30, "keep": "both"}
    params["classifier"] |= {"epochs": 2, "threads": 1}
    params["evaluation"] |= {"resamples": 100}
    choices = folder / "params.yaml"
    choices.write_text(yaml.safe_dump(params), encoding="utf-8")

    def at(*names: str) -> list[Path]:
        return [folder / name for name in names]

    sample = ROOT / "data/corpora/sample"
    raw.main(choices, folder / "check.json", sample, *at("raw.parquet", "labels.json", "raw.json"))
    tokens.main(choices, *at("raw.parquet", "tokens.parquet", "tokeniser.json", "tokens.json"))
    vocabulary.main(choices, *at("tokens.parquet", "vocabulary.parquet", "vocabulary.json"))
    ids.main(choices, *at("tokens.parquet", "vocabulary.parquet", "ids.parquet", "ids.json"))
    tensors.main(choices, *at("ids.parquet", "tensors.safetensors", "tensors.json"))
    rows = pq.read_metadata(folder / "vocabulary.parquet").num_rows
    vectors = np.random.default_rng(1).normal(size=(rows, 8)).astype(np.float32)
    vectors[0] = 0
    save_file({"embeddings": vectors}, folder / "embeddings.safetensors")
    inputs = at("tensors.safetensors", "embeddings.safetensors", "vocabulary.parquet", "labels.json")
    outputs = at("classifier.safetensors", "classifier_held_out.safetensors", "classifier.json", "curve.csv")
    classifier.main(choices, *inputs, *outputs)
    inputs = at("tensors.safetensors", "vocabulary.parquet", "labels.json")
    ngrams.main(choices, *inputs, *at("ngrams.safetensors", "ngrams_held_out.safetensors", "ngrams.json"))
    inputs = at("tensors.safetensors", "labels.json", "classifier.safetensors", "ngrams.safetensors")
    inputs += at("classifier_held_out.safetensors", "ngrams_held_out.safetensors", "tokeniser.json")
    ensemble.main(choices, *inputs, *at("ensemble.safetensors", "ensemble.json"))
    inputs = at("tensors.safetensors", "labels.json", "ensemble.safetensors", "ids.parquet", "raw.parquet")
    outputs = at("predictions.parquet", "evaluation.json", "roc.csv", "confusion.csv")
    evaluation.main(choices, *inputs, *outputs, *at("reliability.csv", "coverage.csv", "slices.csv"))
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_in(tmp_path_factory.mktemp("run"))


def artefacts(folder: Path) -> list[Path]:
    return [folder / name for name in ("tokeniser.json", "vocabulary.parquet", "ensemble.safetensors")]


def held_out(folder: Path) -> list[str]:
    return pl.read_parquet(folder / "raw.parquet").filter(pl.col("split") == "test")["text"].to_list()


def test_a_text_has_the_probability_of_the_pipeline(run: Path) -> None:
    predictor, texts = Predictor.load(*artefacts(run)), held_out(run)
    expected = pl.read_parquet(run / "predictions.parquet")
    result = predictor.probabilities(texts)
    assert len(texts) > 200
    for number, name in enumerate(predictor.labels):
        assert result[:, number] == pytest.approx(expected[f"probability_{name}"].to_numpy(), abs=1e-6)
    assert [predictor.labels[n] for n in predictor.predict(texts)] == expected["predicted"].to_list()


def test_a_text_has_the_row_numbers_of_the_pipeline(run: Path) -> None:
    predictor, expected = Predictor.load(*artefacts(run)), read_split(run / "tensors.safetensors", "test")
    documents = predictor.cut(predictor.encode(held_out(run)))
    assert (documents.ids == unpadded(expected.ids, expected.lengths)[0]).all()
    assert (documents.lengths == expected.lengths).all()
    assert spelled(documents) == expected.unknown
    assert len(expected.unknown) > 100


def spelled(documents: Documents) -> list[str]:
    """The unknown words of documents, in order."""
    return [documents.unknown[-1 - code] for code in documents.codes.tolist() if code < 0]


def test_a_text_is_cleaned(run: Path) -> None:
    predictor = Predictor.load(*artefacts(run))
    assert predictor.tokens(["Good.<br /><br />Film", "half an \ud83d emoji"]) == [
        ["good", ".", "film"],
        ["half", "an", "?", "emoji"],
    ]
    assert (predictor.logits(["Good.<br /><br />Film"]) == predictor.logits(["good . film"])).all()


def test_texts_without_known_words_have_a_probability(run: Path) -> None:
    predictor = Predictor.load(*artefacts(run))
    result = predictor.probabilities(["", " \n ", "\u200b", "🙃", "zzxqv"])
    assert result.shape == (5, 2)
    assert np.isfinite(result).all()
    assert result[0].tolist() == result[1].tolist() == result[2].tolist()
    assert (predictor.logits([""])[0] == predictor.model.prior).all()
    assert predictor.probabilities([]).shape == (0, 2)
    assert len(predictor.encode([]).lists) == 0


def test_a_text_of_unknown_words_is_near_the_prior(run: Path) -> None:
    predictor = Predictor.load(*artefacts(run))
    model = predictor.model
    text = "zzxqv wqqk xxvv"
    explanation = predictor.explain(text)
    assert (explanation.known, len(explanation.tokens)) == (0, 3)
    assert model.config.shrinkage > 0
    unknown, *known = predictor.probabilities([text, *held_out(run)])[:, 1]
    prior = model.probabilities(model.prior[None])[0, 1]
    assert abs(unknown - prior) < 0.1 < np.abs(np.array(known) - prior).mean()
    assert np.isfinite(predictor.probabilities(["x" * 10_000, "\U0010ffff"])).all()


def test_a_misspelt_word_is_read_by_its_letters(run: Path) -> None:
    predictor = Predictor.load(*artefacts(run))
    (neutral, good, bad), prior = predictor.logits(["", "wonderfulll", "boringgg"]), predictor.model.prior
    assert predictor.explain("wonderfulll").known == predictor.explain("boringgg").known == 0
    assert neutral == prior
    assert bad < prior < good


def test_the_batch_does_not_change_a_probability(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    predictor, texts = Predictor.load(*artefacts(run)), held_out(run)
    whole = predictor.probabilities(texts)
    monkeypatch.setattr("stages.predictor.TEXTS", 7)
    assert predictor.probabilities(texts) == pytest.approx(whole, abs=1e-12)


@pytest.mark.parametrize("changed", ["vocabulary.parquet", "ensemble.safetensors", "tokeniser.json"])
def test_files_of_another_run_are_refused(tmp_path: Path, run: Path, changed: str) -> None:
    paths = artefacts(run)
    other = tmp_path / changed
    other.write_text("{}", encoding="utf-8")
    position = [path.name for path in paths].index(changed)
    with pytest.raises(Refusal, match=rf"{changed}.*`(dvc repro|python -m tools.verify --repair)`"):
        Predictor.load(*paths[:position], other, *paths[position + 1 :])


def test_another_valid_tokeniser_is_refused(tmp_path: Path, run: Path) -> None:
    tokeniser, *others = artefacts(run)
    content = json.loads(tokeniser.read_text(encoding="utf-8"))
    other = tmp_path / "tokeniser.json"
    other.write_text(json.dumps(content | {"lowercase": not content["lowercase"]}), encoding="utf-8")
    with pytest.raises(Refusal, match=r"trained with another tokeniser than .*tokeniser.json; run `dvc"):
        Predictor.load(other, *others)


def predictor_of(unit: str) -> Predictor:
    """A predictor with a small vocabulary."""
    if unit == "subwords":
        description = learn_subwords(iter(["a good film don't"] * 3), 100, True).to_str()
    else:
        description = json.dumps({"unit": unit, "lowercase": True})
    model = toy_model([[0.0]] * (len(WORDS) + 2), [0.0], ["bad", "good"])
    return Predictor(tokeniser_of(description), NUMBERS, model)


def words_of(texts: Encoded) -> list[list[int | str]]:
    """Known words as row numbers, unknown words as they are spelled."""
    return [[texts.unknown[-1 - n] if n < 0 else n for n in row] for row in texts.lists.to_pylist()]


TEXTS = st.lists(
    st.text(
        st.sampled_from("ag dofilmn't ’\u2581.!<br/>\n\t\u00a0\u0301ΣΟσéßİ\u200d\u200b👍🏽\ufe0f中")
        | st.characters(exclude_categories=["Cs"]),
        max_size=30,
    ),
    min_size=1,
    max_size=6,
)


@pytest.mark.parametrize("unit", ["words", "characters", "subwords"])
def test_tokenising_by_word_equals_tokenising_the_whole_text(unit: str) -> None:
    predictor = predictor_of(unit)

    @given(texts=TEXTS)
    @example(texts=["a \u2581good", "a\u2581good", " \u2581 good"])
    @settings(deadline=None, max_examples=300)
    def holds(texts: list[str]) -> None:
        whole = (
            pl.Series(predictor.tokens(texts), dtype=pl.List(pl.String))
            .to_arrow()
            .cast(pa.list_(pa.string()))
        )
        encoded, expected = predictor.encode(texts), predictor.encode_tokens(whole)
        assert words_of(encoded) == words_of(expected)
        ids, unknown = look_up(whole, NUMBERS)
        documents = predictor.cut(encoded)
        assert documents.ids.tolist() == ids.flatten().to_pylist()
        assert spelled(documents) == unknown.flatten().to_pylist()

    holds()


GOOD_FILM = {5: [1.0], 5 * 9 + 6: [2.0]}  # keys of "good" and "good film" in base 9


def toy_predictor(labels: tuple[str, ...] = ("bad", "good"), **choices: Any) -> Predictor:
    """A predictor with a weight for each of a few words, and for one bigram."""
    words = ["so", "great", "bad", "good", "film", "awful", "!"]
    outputs = 1 if len(labels) == 2 else len(labels)
    weights = [[float(n * (output + 1)) for output in range(outputs)] for n in range(len(words) + 2)]
    ngrams = {key: value * outputs for key, value in GOOD_FILM.items()}
    model = toy_model(weights, [0.25] * outputs, labels, ngrams, **choices)
    numbers = {word: number for number, word in enumerate(words, 2)}
    return Predictor(tokeniser_of('{"unit": "words", "lowercase": true}'), numbers, model)


def test_an_explanation_by_hand() -> None:
    explanation = toy_predictor().explain("Good FILM")
    assert (explanation.label, explanation.bias) == ("good", 0.25)
    assert explanation.logit == pytest.approx(0.25 + (5 + 6) / 2 + 1 + 2)
    assert explanation.contributions is not None
    assert [(c.text, c.start, c.end) for c in explanation.contributions] == [
        ("good", 0, 1), ("film", 1, 2), ("good film", 0, 2),
    ]  # fmt: skip
    assert [c.value for c in explanation.contributions] == pytest.approx([5 / 2 + 1, 6 / 2, 2])
    assert explanation.strongest(1) == ([("good", pytest.approx(3.5))], pytest.approx(5.0))


@pytest.mark.parametrize("shrinkage", [0.0, 1.5])
@pytest.mark.parametrize("labels", [("bad", "good"), ("a", "b", "c")])
@pytest.mark.parametrize("text", ["good film good film", "not a film", "zz", "", "good"])
def test_the_bias_and_the_contributions_sum_to_the_logit(
    labels: tuple[str, ...], text: str, shrinkage: float
) -> None:
    prior = [0.1] * (1 if len(labels) == 2 else len(labels))
    predictor = toy_predictor(labels, shrinkage=shrinkage, prior=prior)
    (logits,) = predictor.logits([text])
    for number, label in enumerate(labels):
        explanation = predictor.explain(text, number)
        assert explanation.contributions is not None
        total = explanation.bias + sum(c.value for c in explanation.contributions)
        assert total == pytest.approx(explanation.logit)
        own = logits[number] if len(labels) > 2 else logits[0] * (2 * number - 1)
        assert (explanation.label, explanation.logit) == (label, pytest.approx(own))
        shown, others = explanation.strongest(2)
        assert explanation.bias + sum(value for _, value in shown) + others == pytest.approx(own)


def test_contributions_of_equal_words_are_summed() -> None:
    explanation = toy_predictor().explain("film film so")
    merged, others = explanation.strongest(9)
    assert dict(merged) == pytest.approx({"film": 2 * 6 / 3, "so": 2 / 3})
    assert others == 0


def test_a_long_text_is_truncated_like_the_training_documents() -> None:
    explanation = toy_predictor(width=4, keep="both").explain("good one two three four film")
    assert explanation.tokens == ["good", "one", "four", "film"]
    assert (explanation.dropped, explanation.known) == (2, 2)


@pytest.mark.parametrize("kept", [1, 3, 5])
def test_of_a_long_text_the_strongest_contributions_are_listed_and_the_others_summed(
    kept: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    explain = toy_predictor(("bad", "good")).explain
    every = explain("good film not a film good").contributions or []
    monkeypatch.setattr(predictor_module, "KEPT", kept)
    explanation = explain("good film not a film good")
    assert explanation.contributions == every[:kept]
    assert explanation.others == pytest.approx(sum(one.value for one in every[kept:]))
    shown, others = explanation.strongest(2)
    assert explanation.bias + sum(value for _, value in shown) + others == pytest.approx(explanation.logit)


def test_with_several_labels_the_predicted_one_is_explained() -> None:
    explanation = toy_predictor(("a", "b", "c")).explain("good")
    assert explanation.label == "c"


@pytest.mark.parametrize("labels", [("bad", "good"), ("a", "b", "c")])
def test_texts_are_explained_together_as_one_by_one(labels: tuple[str, ...]) -> None:
    predictor = toy_predictor(labels, width=3, keep="tail")
    texts = ["good film", "", "zz so great film", "awful !", "", "bad"]
    for label in (None, 0, 1):
        assert predictor.explain_all(texts, label) == [predictor.explain(text, label) for text in texts]
    assert predictor.explain_all([]) == []


def test_a_maximum_has_no_contributions() -> None:
    explanation = toy_predictor(pool="mean_max").explain("good film")
    assert explanation.contributions is None
    assert explanation.strongest(3) == ([], 0.0)


def test_consecutive_values_become_lists() -> None:
    assert as_lists(pa.array([1, 2, 3]), np.array([1, 0, 2])).to_pylist() == [[1], [], [2, 3]]
