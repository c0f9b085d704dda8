"""What a visitor types first: the n-grams learnt from the bundled sample answer it sensibly.

The n-grams have most of the weight in the sample's ensemble, and are trained in seconds. The texts were
written before the short reviews of the sample (tests/first_contact.py).
"""

from pathlib import Path

import numpy as np
import pytest

from stages import ids, ngrams, raw, tensors, tokens, vocabulary
from stages.lib.model import probabilities
from stages.lib.ngram.model import NGramModel
from stages.lib.reviews import Documents
from stages.tokens import read_tokeniser
from tests.conftest import ROOT
from tests.first_contact import NEGATIVE, POSITIVE


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the outputs of raw to ngrams on the sample, with the shipped parameters."""
    folder = tmp_path_factory.mktemp("sample")
    params, metrics = ROOT / "params.yaml", folder / "metrics.json"
    table = {name: folder / f"{name}.parquet" for name in ("raw", "tokens", "vocabulary", "ids")}
    labels, tensor_file, tokeniser = (
        folder / "labels.json",
        folder / "t.safetensors",
        folder / "tokeniser.json",
    )
    raw.main(params, folder / "none", ROOT / "data/corpora/sample", table["raw"], labels, metrics)
    tokens.main(params, table["raw"], table["tokens"], tokeniser, metrics)
    vocabulary.main(params, table["tokens"], table["vocabulary"], metrics)
    ids.main(params, table["tokens"], table["vocabulary"], table["ids"], metrics)
    tensors.main(params, table["ids"], tensor_file, metrics)
    model, logits = folder / "ngrams.safetensors", folder / "held_out.safetensors"
    ngrams.main(params, tensor_file, table["vocabulary"], labels, model, logits, metrics)
    return folder


def positive(run: Path, texts: list[str]) -> list[float]:
    """The probability of the positive label for each text."""
    import polars as pl
    import pyarrow as pa

    split = read_tokeniser(run / "tokeniser.json").split(pl.DataFrame({"text": texts}))
    lists = split.to_arrow().cast(pa.list_(pa.string()))
    codes, unknown = ids.encode(lists, ids.row_numbers(run / "vocabulary.parquet"))
    documents = Documents(np.asarray(codes.values), np.diff(np.asarray(codes.offsets)), unknown)
    logits = NGramModel.load(run / "ngrams.safetensors").logits(documents)
    values: list[float] = probabilities(logits)[:, 1].tolist()
    return values


def test_plain_praise_and_complaint_are_recognised(run: Path) -> None:
    wrong = [text for text, p in zip(POSITIVE, positive(run, POSITIVE), strict=True) if p < 0.5]
    wrong += [text for text, p in zip(NEGATIVE, positive(run, NEGATIVE), strict=True) if p >= 0.5]
    assert len(wrong) <= 1, wrong


def test_a_verdict_of_two_words_is_confident_and_not_certain(run: Path) -> None:
    (probability,) = positive(run, ["Great film"])
    assert 0.6 < probability < 0.99


def test_the_texts_are_not_in_the_sample() -> None:
    sample = (ROOT / "data/corpora/sample/reviews.csv").read_text(encoding="utf-8").lower()
    lines = {line.rpartition(",")[0].strip('".!? ') for line in sample.splitlines()}
    assert [text for text in POSITIVE + NEGATIVE if text.lower().strip(".!? ") in lines] == []
