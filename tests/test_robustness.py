"""Robustness: a text's way to the model is the pipeline's own, whatever stands in the text."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from stages import classifier, evaluation, ids, raw, tensors, tokens, vocabulary
from stages.classifier import About, Classifier, read_split
from stages.ids import look_up
from stages.lib.command import Refusal
from stages.robustness import CELLS, Chain, blocks
from stages.tokens import learn_subwords, tokeniser_of
from tests.conftest import ROOT

WORDS = ["a", "good", "film", "don't", "!", "▁a", "▁good", "g", "o", " ", "é"]
NUMBERS = {word: number for number, word in enumerate(WORDS, 2)}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundled sample's way to predictions, with small random vectors and reviews cut to 30 tokens."""
    folder = tmp_path_factory.mktemp("run")
    params: dict[str, Any] = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    params["tensors"] |= {"max_length": 30, "keep": "both"}
    params["classifier"] |= {"epochs": 2, "threads": 1}
    choices = folder / "params.yaml"
    choices.write_text(yaml.safe_dump(params), encoding="utf-8")

    def at(*names: str) -> list[Path]:
        return [folder / name for name in names]

    raw.main(choices, ROOT / "data/corpora/sample", *at("raw.parquet", "labels.json", "raw.json"))
    tokens.main(choices, *at("raw.parquet", "tokens.parquet", "tokeniser.json", "tokens.json"))
    vocabulary.main(choices, *at("tokens.parquet", "vocabulary.parquet", "vocabulary.json"))
    ids.main(choices, *at("tokens.parquet", "vocabulary.parquet", "ids.parquet", "ids.json"))
    tensors.main(choices, *at("ids.parquet", "tensors.safetensors", "tensors.json"))
    rows = pq.read_metadata(folder / "vocabulary.parquet").num_rows
    vectors = np.random.default_rng(1).normal(size=(rows, 8)).astype(np.float32)
    vectors[0] = 0
    save_file({"embeddings": vectors}, folder / "embeddings.safetensors")
    inputs = at("tensors.safetensors", "embeddings.safetensors", "vocabulary.parquet", "labels.json")
    classifier.main(choices, *inputs, *at("classifier.safetensors", "classifier.json", "curve.csv"))
    inputs = at("tensors.safetensors", "classifier.safetensors", "ids.parquet", "labels.json")
    evaluation.main(
        choices, *inputs, *at("predictions.parquet", "evaluation.json", "roc.csv", "confusion.csv")
    )
    return folder


def artefacts(folder: Path) -> list[Path]:
    return [
        folder / name
        for name in ("tokeniser.json", "vocabulary.parquet", "classifier.safetensors", "labels.json")
    ]


def held_out(folder: Path) -> list[str]:
    return pl.read_parquet(folder / "raw.parquet").filter(pl.col("split") == "test")["text"].to_list()


def test_a_text_has_the_probability_that_the_pipeline_gave_it(run: Path) -> None:
    chain, texts = Chain.load(*artefacts(run)), held_out(run)
    wanted = pl.read_parquet(run / "predictions.parquet")
    found = chain.probabilities(texts).numpy()
    assert len(texts) > 200
    for number, name in enumerate(chain.labels):
        assert found[:, number] == pytest.approx(wanted[f"probability_{name}"].to_numpy(), abs=1e-6)
    assert [chain.labels[n] for n in chain.predict(texts)] == wanted["predicted"].to_list()


def test_a_text_has_the_row_numbers_that_the_pipeline_gave_it(run: Path) -> None:
    found, wanted = (
        Chain.load(*artefacts(run)).ids(held_out(run)),
        read_split(run / "tensors.safetensors", "test"),
    )
    assert torch.equal(found.ids, wanted.ids)
    assert torch.equal(found.lengths, wanted.lengths)


def test_a_text_comes_as_a_user_types_it(run: Path) -> None:
    chain = Chain.load(*artefacts(run))
    assert chain.tokens(["Good.<br /><br />Film", "half an \ud83d emoji"]) == [
        ["good", ".", "film"],
        ["half", "an", "?", "emoji"],
    ]
    assert torch.equal(chain.logits(["Good.<br /><br />Film"]), chain.logits(["good . film"]))


def test_texts_that_say_nothing_have_a_probability(run: Path) -> None:
    chain = Chain.load(*artefacts(run))
    found = chain.probabilities(["", " \n ", "\u200b", "🙃", "zzxqv"])
    assert found.shape == (5, 2)
    assert bool(torch.isfinite(found).all())
    assert found[0].tolist() == found[1].tolist() == found[2].tolist()
    assert torch.equal(chain.logits([""])[0], chain.model.bias())
    assert chain.probabilities([]).shape == (0, 2)
    assert chain.ids([]).ids.shape[0] == 0


def test_neighbours_and_their_number_change_no_probability(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain, texts = Chain.load(*artefacts(run)), held_out(run)
    whole = chain.probabilities(texts)
    monkeypatch.setattr("stages.robustness.BATCH", 7)
    monkeypatch.setattr("stages.robustness.CELLS", 40)
    assert torch.allclose(chain.probabilities(texts), whole, atol=1e-6)


def test_one_long_text_does_not_widen_the_others() -> None:
    lengths = np.array([3, CELLS, 2, CELLS // 2, 3], np.int32)
    parts = [part.tolist() for part in blocks(lengths)]
    assert parts == [[2, 0, 4], [3], [1]]


@pytest.mark.parametrize(
    "changed", ["vocabulary.parquet", "labels.json", "classifier.safetensors", "tokeniser.json"]
)
def test_artefacts_of_another_run_are_refused(tmp_path: Path, run: Path, changed: str) -> None:
    paths = artefacts(run)
    content = {"labels.json": '{"labels": ["a", "b", "c"]}'}.get(changed, "{}")
    other = tmp_path / changed
    other.write_text(content, encoding="utf-8")
    place = [path.name for path in paths].index(changed)
    with pytest.raises(Refusal, match=rf"{changed}.*`dvc repro`"):
        Chain.load(*paths[:place], other, *paths[place + 1 :])


def chain_of(unit: str) -> Chain:
    """A chain with a few words, for what comes before the model."""
    if unit == "subwords":
        description = learn_subwords(iter(["a good film don't"] * 3), 100, True).to_str()
    else:
        description = json.dumps({"unit": unit, "lowercase": True})
    model = Classifier(torch.eye(len(WORDS) + 2), 2, True, About(vocabulary="", width=None, keep="head"))
    return Chain(tokeniser_of(description), NUMBERS, model, ["bad", "good"])


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
def test_word_by_word_a_text_has_the_tokens_that_it_has_as_a_whole(unit: str) -> None:
    chain = chain_of(unit)

    @given(texts=TEXTS)
    @settings(deadline=None, max_examples=300)
    def holds(texts: list[str]) -> None:
        whole = (
            pl.Series(chain.tokens(texts), dtype=pl.List(pl.String)).to_arrow().cast(pa.list_(pa.string()))
        )
        assert chain.lists(texts).to_pylist() == look_up(whole, NUMBERS).to_pylist()

    holds()
