"""Ids: lookup of words, unknown words and their spelling, and reviews without known words."""

import json
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.ids import encode, look_up, main, row_numbers
from stages.lib.command import Refusal
from stages.lib.tables import table_writer
from stages.tokens import SCHEMA as TOKENS
from stages.vocabulary import SCHEMA as VOCABULARY
from tests.conftest import refused

Review = tuple[str, int | None, str, list[str]]
Made = Callable[..., tuple[Path, Path]]

WORDS = ["<pad>", "<unk>", "film", "good", "é", "字"]
REVIEWS: list[Review] = [
    ("a", 1, "train", ["good", "film", "ever", "é"]),
    ("b", 0, "train", []),
    ("c", 0, "validation", ["never", "seen"]),
    ("d", 1, "test", ["film", "<pad>", "<unk>", "字"]),
    ("e", None, "unlabelled", ["good", "good"]),
    ("f", 1, "train", ["ever"]),
]
WORD = st.sampled_from([*WORDS, "other", ""]) | st.text(max_size=3)
TEXTS = st.lists(st.lists(WORD, max_size=6), max_size=6)


def write_tokens(path: Path, reviews: Sequence[Review] = REVIEWS, rows_in_group: int = 4) -> Path:
    with table_writer(path, TOKENS) as writer:
        for first in range(0, len(reviews), rows_in_group):
            columns = zip(*reviews[first : first + rows_in_group], strict=True)
            arrays = [pa.array(c, f.type) for c, f in zip(columns, TOKENS, strict=True)]
            writer.write_batch(pa.record_batch(arrays, TOKENS))
    return path


def write_vocabulary(path: Path, words: Sequence[str] = WORDS) -> Path:
    columns = (range(len(words)), words, [1] * len(words))
    with table_writer(path, VOCABULARY) as writer:
        arrays = [pa.array(c, f.type) for c, f in zip(columns, VOCABULARY, strict=True)]
        writer.write_batch(pa.record_batch(arrays, VOCABULARY))
    return path


@pytest.fixture
def made(tmp_path: Path, write_params: Callable[..., Path]) -> Made:
    def make(reviews: Sequence[Review] = REVIEWS, rows_in_group: int = 4) -> tuple[Path, Path]:
        tokens = write_tokens(tmp_path / "tokens.parquet", reviews, rows_in_group)
        vocabulary = write_vocabulary(tmp_path / "vocabulary.parquet")
        ids, metrics = tmp_path / "ids.parquet", tmp_path / "metrics.json"
        main(write_params(), tokens, vocabulary, ids, metrics)
        return ids, metrics

    return make


def numbered(texts: list[list[str]]) -> pa.ListArray:
    """The same lists with their words as numbers into a list of distinct words."""
    plain = pa.array(texts, pa.list_(pa.string()))
    return pa.ListArray.from_arrays(plain.offsets, plain.values.dictionary_encode())


def test_words_become_row_numbers_and_unknown_words_become_1() -> None:
    texts = pa.array([["good", "film"], [], ["so", "so", "good"]])
    ids, unknown = look_up(texts, {"film": 2, "good": 3})
    assert ids.to_pylist() == [[3, 2], [], [1, 1, 3]]
    assert unknown.to_pylist() == [[], [], ["so", "so"]]


def test_unknown_words_have_negative_codes() -> None:
    codes, unknown = encode(pa.array([["so", "good"], [], ["it", "so"]]), {"good": 3})
    assert codes.to_pylist() == [[-1, 3], [], [-2, -1]]
    assert unknown == ["so", "it"]


def test_row_numbers_are_int32() -> None:
    for texts in (pa.array([["good"]]), pa.array([[]], pa.list_(pa.string()))):
        lists, unknown = look_up(texts, {"good": 2})
        assert lists.type.value_type == pa.int32()
        assert unknown.type == pa.list_(pa.string())


@given(texts=TEXTS, words=st.lists(WORD, unique=True))
@settings(deadline=None)
def test_look_up_equals_dict_get(texts: list[list[str]], words: list[str]) -> None:
    numbers = {word: n for n, word in enumerate(words, 2)}
    expected = [[numbers.get(word, 1) for word in text] for text in texts]
    spelled = [[word for word in text if word not in numbers] for text in texts]
    for lists in (pa.array(texts, pa.list_(pa.string())), numbered(texts)):
        ids, unknown = look_up(lists, numbers)
        assert (ids.to_pylist(), unknown.to_pylist()) == (expected, spelled)


@given(texts=TEXTS, words=st.lists(WORD, unique=True))
@settings(deadline=None)
def test_codes_spell_the_texts(texts: list[list[str]], words: list[str]) -> None:
    word_of = dict(enumerate(words, 2))
    for lists in (pa.array(texts, pa.list_(pa.string())), numbered(texts)):
        codes, unknown = encode(lists, {word: n for n, word in word_of.items()})
        assert codes.type.value_type == pa.int32()
        assert len(set(unknown)) == len(unknown)
        word_of |= {-1 - n: word for n, word in enumerate(unknown)}
        assert [[word_of[code] for code in row] for row in codes.to_pylist()] == texts


def test_a_slice_of_a_table_gives_the_same_ids_as_the_table() -> None:
    texts = pa.array([["film"], ["good", "film"], [], ["so"]])
    ids, unknown = look_up(texts[1:], {"film": 2, "good": 3})
    assert (ids.to_pylist(), unknown.to_pylist()) == ([[3, 2], [], [1]], [[], [], ["so"]])
    ids, unknown = look_up(texts[1:3], {"film": 2})
    assert (ids.to_pylist(), unknown.to_pylist()) == ([[1, 2], []], [["good"], []])


@given(words=st.lists(st.text(max_size=4).filter(lambda w: w not in WORDS[:2]), unique=True))
@settings(deadline=None, max_examples=50)
def test_every_word_of_the_vocabulary_has_its_own_row(
    tmp_path_factory: pytest.TempPathFactory, words: list[str]
) -> None:
    path = tmp_path_factory.mktemp("made") / "vocabulary.parquet"
    numbers = row_numbers(write_vocabulary(path, [*WORDS[:2], *words]))
    ids, unknown = look_up(pa.array([words], pa.list_(pa.string())), numbers)
    assert ids.to_pylist() == [list(range(2, 2 + len(words)))]
    assert unknown.to_pylist() == [[]]


def test_reserved_tokens_in_a_text_are_unknown_words(tmp_path: Path) -> None:
    numbers = row_numbers(write_vocabulary(tmp_path / "vocabulary.parquet"))
    ids, unknown = look_up(pa.array([["<pad>", "<unk>", "film"]]), numbers)
    assert (ids.to_pylist(), unknown.to_pylist()) == ([[1, 1, 2]], [["<pad>", "<unk>"]])


def test_rows_keep_id_label_and_split(made: Made) -> None:
    result = pq.read_table(made()[0])
    assert result.schema.names == ["id", "label", "split", "ids", "unknown"]
    lists = [pa.list_(pa.int32()), pa.list_(pa.string())]
    assert result.schema.types == [pa.string(), pa.int32(), pa.string(), *lists]
    columns = [result[name].to_pylist() for name in ("id", "label", "split")]
    assert list(zip(*columns, strict=True)) == [review[:3] for review in REVIEWS]
    assert result["ids"].to_pylist() == [[3, 2, 1, 4], [], [1, 1], [2, 1, 1, 5], [3, 3], [1]]
    assert result["unknown"].to_pylist() == [
        ["ever"], [], ["never", "seen"], ["<pad>", "<unk>"], [], ["ever"],
    ]  # fmt: skip


def test_rows_do_not_depend_on_row_groups(made: Made) -> None:
    whole = pq.read_table(made(rows_in_group=100)[0]).to_pylist()
    assert pq.read_table(made(rows_in_group=1)[0]).to_pylist() == whole


@pytest.mark.parametrize("rows_in_group", [1, 4, 100])
def test_unknown_words_are_counted_per_split(made: Made, rows_in_group: int) -> None:
    _, metrics = made(rows_in_group=rows_in_group)
    assert json.loads(metrics.read_text()) == {
        "unknown_rate": {"train": 2 / 5, "validation": 1, "test": 2 / 4, "unlabelled": 0},
        "reviews_without_known_word": {"train": 2, "validation": 1, "test": 0, "unlabelled": 0},
    }


def test_empty_reviews_have_an_unknown_rate_of_0(made: Made) -> None:
    _, metrics = made([("a", 1, "train", []), ("b", 0, "train", [])])
    assert json.loads(metrics.read_text()) == {
        "unknown_rate": {"train": 0},
        "reviews_without_known_word": {"train": 2},
    }


def test_two_runs_give_the_same_bytes(made: Made) -> None:
    first = [path.read_bytes() for path in made()]
    assert [path.read_bytes() for path in made()] == first


def test_the_section_has_no_parameters(tmp_path: Path, write_params: Callable[..., Path]) -> None:
    with pytest.raises(Refusal, match=r"params\.yaml: ids\.unknown: unknown parameter"):
        main(write_params(ids={"unknown": 1}), *[tmp_path / "missing"] * 4)


def test_a_missing_file_is_refused_in_one_line(
    tmp_path: Path, write_params: Callable[..., Path], stage: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    vocabulary = write_vocabulary(tmp_path / "vocabulary.parquet")
    outs = tmp_path / "ids.parquet", tmp_path / "metrics.json"
    assert refused(stage("ids", write_params(), tmp_path / "none", vocabulary, *outs), "ids: ", "none")
    assert not any(path.exists() for path in outs)
