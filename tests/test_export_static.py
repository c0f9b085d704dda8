"""Static vectors: the tokens of the pipeline, and the libraries that load the folder."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file
from tokenizers import Tokenizer

from stages.lib.command import Refusal
from stages.tokens import learn_subwords, tokeniser_of
from tests.test_export import TOKENS, VECTORS, contents, exported, project, write_run
from tools.exports import static

__all__ = ["project"]  # the fixture

TEXTS = st.text(
    st.sampled_from("ag dofilmn't ’\u2581.!<br/>\n\t\u00a0\u0301ΣΟσéßİ\u200d\u200b\u00ad👍🏽\ufe0f中🇩🇪#*1")
    | st.characters(exclude_categories=["Cs", "Cn"]),
    max_size=30,
)


def described(unit: str, lowercase: bool = True) -> str:
    return json.dumps({"unit": unit, "lowercase": lowercase})


@pytest.mark.parametrize("lowercase", [True, False])
@pytest.mark.parametrize("unit", ["words", "characters"])
def test_a_text_has_the_tokens_of_the_pipeline(unit: str, lowercase: bool) -> None:
    description = described(unit, lowercase)

    @settings(max_examples=300, deadline=None)
    @given(TEXTS)
    def compare(text: str) -> None:
        expected = tokeniser_of(description).split(pl.DataFrame({"text": [text]})).to_list()[0]
        vocabulary = ["<unk>", *dict.fromkeys(expected)]
        encoded = static.tokeniser_for(description, vocabulary).encode(text)
        assert [vocabulary[number] for number in encoded.ids] == expected

    compare()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ΟΔΟΣ ΣΑΣ", ["οδος", "σας"]),  # two forms of a small sigma
        ("Don’t — 10€!", ["don't", "—", "10", "€", "!"]),
        ("👍🏽🇩🇪 我爱", ["👍🏽", "🇩🇪", "我", "爱"]),
    ],
)
def test_words_are_split_as_in_the_pipeline(text: str, expected: list[str]) -> None:
    encoded = static.tokeniser_for(described("words"), ["<unk>", *expected]).encode(text)
    assert encoded.tokens == expected


def test_each_token_has_its_vector(project: Path) -> None:
    folder = exported("static")
    assert sorted(contents(folder)) == [
        "config.json", "facts.json", "model.safetensors", "modules.json", "tokenizer.json",
    ]  # fmt: skip
    tokeniser = Tokenizer.from_file(str(folder / "tokenizer.json"))
    vectors = load_file(folder / "model.safetensors")["embeddings"]
    assert vectors.tobytes() == VECTORS[1:].tobytes()
    assert [tokeniser.id_to_token(number) for number in range(len(vectors))] == TOKENS[1:]
    assert tokeniser.encode("Film é字 zzz").ids == [1, 0, 0, 0]


def test_subwords_keep_their_numbers(project: Path) -> None:
    learned = learn_subwords(iter(["film films"] * 5), 100, True)
    pieces = sorted(learned.get_vocab(), key=learned.token_to_id)
    write_run(project, ["<pad>", "<unk>", *reversed(pieces[2:10])], "{}")
    (project / static.TOKENISER).write_text(learned.to_str(), encoding="utf-8")
    folder = exported("static")
    vectors = load_file(folder / "model.safetensors")["embeddings"]
    assert len(vectors) == len(pieces)
    assert vectors[2:10].tobytes() == VECTORS[2:][::-1].tobytes()
    others = [number for number in range(len(pieces)) if not 2 <= number < 10]
    assert (vectors[others] == VECTORS[1]).all()  # <unk>
    copied = Tokenizer.from_file(str(folder / "tokenizer.json"))
    assert copied.encode("a film").ids == learned.encode("a film").ids


def test_model2vec_loads_it(project: Path) -> None:
    model2vec = pytest.importorskip("model2vec", reason="model2vec, which reads the folder, is not installed")
    folder = exported("static")
    model = model2vec.StaticModel.from_pretrained(folder)
    encoded = model.encode(["Film ▁", "film zzz", "zzz", "▁ " * 2000])
    film, mark = VECTORS[2], VECTORS[7]
    assert encoded == pytest.approx(np.array([(film + mark) / 2, film, 0 * film, mark]), abs=1e-5)


def test_sentence_transformers_loads_it(project: Path) -> None:
    library = pytest.importorskip(
        "sentence_transformers", reason="sentence-transformers, which reads the folder, is not installed"
    )
    model = library.SentenceTransformer(str(exported("static")), device="cpu")
    film, mark, unknown = VECTORS[2], VECTORS[7], VECTORS[1]
    expected = np.array([(film + mark) / 2, (film + unknown) / 2])
    assert model.encode(["Film ▁", "film zzz"]) == pytest.approx(expected, abs=1e-6)


def test_a_folder_of_other_origin_is_not_overwritten(project: Path) -> None:
    folder = project / "out"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "bert"}')
    before = contents(project)
    with pytest.raises(Refusal, match=r"config\.json: not from an earlier export, and would be overwritten"):
        exported("static")
    assert contents(project) == before


def test_a_missing_tokeniser_is_refused(project: Path) -> None:
    static.TOKENISER.unlink()
    with pytest.raises(Refusal, match=r"tokeniser\.json: no such file; run the pipeline first"):
        exported("static")
