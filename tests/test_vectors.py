"""Vectors: reading and writing the file formats of other programs."""

import re
import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.lib import vectors
from stages.lib.command import Refusal
from stages.lib.vectors import read_vectors, spelled, write_word2vec

WORD = st.sampled_from(["the", " ", "▁", "▁▁", "\u00a0", "a b", "é", "字", '"', ",", "<unk>", "5", "nan", ""])
WORDS = st.lists(WORD | st.text(max_size=3), min_size=1, max_size=6, unique=True)
FLOAT = st.floats(width=32, allow_nan=False, allow_infinity=False)
BINARY = pytest.mark.parametrize("binary", [False, True], ids=["text", "binary"])

TEXT = b"3 2\nthe 0.5 -1\nof 2 3e-1\nand 4 5\n"
GLOVE = TEXT.partition(b"\n")[2]


def packed(word: str, *numbers: float, end: bytes = b"\n") -> bytes:
    return word.encode() + b" " + struct.pack(f"<{len(numbers)}f", *numbers) + end


def table_of(rows: int, dim: int = 2) -> vectors.Float32:
    return np.full((rows, dim), 9, np.float32)


def read(folder: Path, content: bytes, *words: str, dim: int = 2) -> list[list[float]]:
    """The vectors of `words` in a file, 9 for words without a vector."""
    path = folder / "vectors.bin.txt"  # the format does not depend on the name
    path.write_bytes(content)
    table = table_of(len(words), dim)
    result = read_vectors(path, {word: row for row, word in enumerate(words)}, table)
    assert result == len(words) - int((table == 9).all(1).sum())
    return table.tolist()


@pytest.mark.parametrize(
    "content",
    [
        TEXT,
        GLOVE,
        TEXT.replace(b"\n", b"\r\n"),
        TEXT.replace(b"\n", b" \n"),  # as fastText ends its lines
        GLOVE.replace(b" ", b"\t"),
        GLOVE.removesuffix(b"\n"),
        TEXT + b"\n",
        TEXT.replace(b"\n", b"\r\n") + b"\r\n",
        vectors.BOM + TEXT,
        vectors.BOM + GLOVE,
        b"3 2\n" + packed("the", 0.5, -1) + packed("of", 2, 0.3) + packed("and", 4, 5),
        b"3 2\n" + b"".join([packed("the", 0.5, -1, end=b""), packed("of", 2, 0.3), packed("and", 4, 5)]),
    ],
)
@pytest.mark.parametrize("block", [1, 7, 1 << 22])
def test_vectors_of_every_format_are_read(
    tmp_path: Path, content: bytes, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vectors, "BLOCK", block)
    expected = np.array([[2, 0.3], [9, 9], [0.5, -1], [4, 5]], np.float32)
    assert read(tmp_path, content, "of", "absent", "the", "and") == expected.tolist()


def test_the_first_of_several_vectors_is_used(tmp_path: Path) -> None:
    assert read(tmp_path, b"a 1 2\nb 3 4\na 5 6\n", "a") == [[1, 2]]
    assert read(tmp_path, b"2 2\n" + packed("a", 1, 2) + packed("a", 5, 6), "a") == [[1, 2]]


def test_a_word_of_glove_may_have_spaces(tmp_path: Path) -> None:
    content = b"the 1 2\n. . . 3 4\nat name@domain.com 5 6\n"
    assert read(tmp_path, content, ". . .", "at name@domain.com") == [[3, 4], [5, 6]]
    assert read(tmp_path, b". . . 3 4\nthe 1 2\n", "the") == [[1, 2]]


def test_bytes_that_are_not_utf8_match_no_word(tmp_path: Path) -> None:
    assert read(tmp_path, b"\xff\xfe 1 2\n\xc3 3 4\n\x85 5 6\nthe 7 8\n", "the", "�") == [[7, 8], [9, 9]]


def test_the_numbers_of_other_words_are_not_parsed(tmp_path: Path) -> None:
    assert read(tmp_path, b"the 1 2\nof x nan\n", "the") == [[1, 2]]


def test_a_word_with_white_space_is_matched_by_its_spelling(tmp_path: Path) -> None:
    assert read(tmp_path, "▁ 1 2\na▁b 3 4\n".encode(), " ", "a b") == [[1, 2], [3, 4]]
    assert read(tmp_path, "▁ 1 2\n▁▁ 3 4\n".encode(), " ", "▁") == [[3, 4], [1, 2]]


def test_binary_numbers_may_have_the_bytes_of_spaces_and_newlines(tmp_path: Path) -> None:
    (odd,) = struct.unpack("<f", b" \n \n")
    content = b"2 2\n" + packed("a", odd, odd) + packed("b", 1, odd)
    assert read(tmp_path, content, "b", "a") == [[1, odd], [odd, odd]]


BINARY_TEXT = b"2 2\n" + packed("the", 1, 2)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"\n \n", "the file is empty"),
        (b"3 5\nthe 1 2 3 4 5\n", "have 5 dimensions, but embeddings.dim is 2; set embeddings.dim: 5"),
        (b"the 1 2 3\n", "have 3 dimensions, but embeddings.dim is 2; set embeddings.dim: 3"),
        (b"the 1\n", "have 1 dimensions"),
        (b"3 5\n" + packed("the", 1, 2, 3, 4, 5), "have 5 dimensions"),
        (b"2 2\nthe 1 2\nof 1\n", "line 3: found 1 numbers after the word 'of', expected 2"),
        (b"the 1 2\nof\n", "line 2: found 0 numbers after the word 'of', expected 2"),
        (b"the 1 2\nof 1 2 3\n", "line 2: found 3 numbers after the word 'of', expected 2"),
        (b"1 2\nthe 1 2 3\n", "line 2: found 3 numbers"),
        (b"the x 1\n", "line 1: 'the': found 'x', expected a number"),
        (b"1 2\nthe 0,5 1\n", "line 2: 'the': found '0,5', expected a number"),
        (b"of 1 2\nthe nan 2\n", "line 2: 'the' has a number that is not finite"),
        (b"the 1 -inf\n", "line 1: 'the' has a number that is not finite"),
        (b"the 1 1e39\n", "line 1: 'the' has a number that is not finite"),
        (b"1 2\n" + packed("the", float("nan"), 0), "word 1: 'the' has a number that is not finite"),
        (b"3 2\nthe 1 2\nof 1 2\n", "states 3 words, found 2"),
        (b"1 2\nthe 1 2\nof 1 2\n", "states 1 words, found 2"),
        (b"5 2\n", "states 5 words, found 0"),
        (BINARY_TEXT, "states 2 words, found 1"),
        (BINARY_TEXT + packed("of", 1, 2)[:-2], "states 2 words, found 1"),
        (BINARY_TEXT + packed("of", 1, 2) + packed("and", 1, 2), "states 2 words, found more"),
        (b"It was a dark night\n", "line 1: found 'It was a dark night'; supported are vectors of word2vec"),
        ((793712314).to_bytes(4, "little") + bytes(50), "fastText; name the .vec file"),
        (b"\x1f\x8b" + bytes(50), "gzip archive; unpack it first"),
        (b"PK\x03\x04" + bytes(50), "zip archive; unpack it first"),
    ],
)
def test_a_bad_file_is_refused_in_one_line(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(Refusal, match=re.escape(message)) as refusal:
        read(tmp_path, content, "the")
    assert str(refusal.value).startswith(str(tmp_path / "vectors.bin.txt"))
    assert "\n" not in str(refusal.value)


def test_a_file_of_one_long_line_is_not_read_completely(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vectors, "MAX_LINE", 100)
    monkeypatch.setattr(vectors, "BLOCK", 50)
    with pytest.raises(Refusal, match="a line has more than 100 bytes"):
        read(tmp_path, b"the 1 2\n" + b"x" * 1000, "the")
    with pytest.raises(Refusal, match="word 2 has more than 100 bytes"):
        read(tmp_path, b"2 2\n" + packed("the", 1, 2) + b"x" * 1000, "the")


def test_spellings_without_white_space_by_hand() -> None:
    assert spelled(["film", " ", "a\tb", "▁film", ""]) == ["film", "▁", "a▁b", "▁film", "▁▁"]
    assert spelled(["\u00a0", "\u2003", "▁"]) == ["▁▁", "▁▁▁", "▁"]


@given(words=WORDS)
def test_spellings_are_distinct_and_most_are_unchanged(words: list[str]) -> None:
    forms = spelled(words)
    assert len(set(forms)) == len(words)
    for word, form in zip(words, forms, strict=True):
        assert form.split() == [form]
        assert form == word or word.split() != [word]


def test_written_files_by_hand(tmp_path: Path) -> None:
    table = np.array([[0.1, -0.0], [1e-5, 3]], np.float32)
    write_word2vec(tmp_path / "a.vec", ["é", "a b"], table, binary=False)
    assert (tmp_path / "a.vec").read_bytes() == "2 2\né 0.1 -0.0\na▁b 0.00001 3.0\n".encode()
    write_word2vec(tmp_path / "a.bin", ["é", "a b"], table, binary=True)
    expected = b"2 2\n" + packed("é", 0.1, -0.0) + packed("a▁b", 1e-5, 3)
    assert (tmp_path / "a.bin").read_bytes() == expected


def fail_half_way(*_: object) -> None:
    raise KeyboardInterrupt


def test_a_file_is_written_completely_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_text("old")
    with pytest.raises(ValueError, match="1 words, but 2 vectors"):
        write_word2vec(tmp_path / "a", ["one"], table_of(2), binary=False)
    monkeypatch.setattr(vectors, "write_rows", fail_half_way)
    with pytest.raises(KeyboardInterrupt):
        write_word2vec(tmp_path / "a", ["one"], table_of(1), binary=False)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]


def matrix(rows: Sequence[Sequence[float]]) -> vectors.Float32:
    return np.array(rows, np.float32)


@BINARY
@given(words=WORDS, dim=st.integers(1, 5), data=st.data())
@settings(deadline=None)
def test_written_vectors_are_read_back_bit_for_bit(
    tmp_path_factory: pytest.TempPathFactory, binary: bool, words: list[str], dim: int, data: st.DataObject
) -> None:
    rows = st.lists(st.lists(FLOAT, min_size=dim, max_size=dim), min_size=len(words), max_size=len(words))
    # A single short vector in binary could be read as text, hence the row of zeros.
    words, table = [*words, "zeros"], matrix([*data.draw(rows), [0] * dim])
    path = tmp_path_factory.mktemp("vectors") / "a"
    write_word2vec(path, words, table, binary)
    again = table_of(len(words), dim)
    assert read_vectors(path, {word: n for n, word in enumerate(words)}, again) == len(words)
    assert again.tobytes() == table.tobytes()


@BINARY
@given(words=WORDS, data=st.data())
@settings(deadline=None, max_examples=30)
def test_gensim_reads_the_written_vectors(
    tmp_path_factory: pytest.TempPathFactory, binary: bool, words: list[str], data: st.DataObject
) -> None:
    models = pytest.importorskip("gensim.models", reason="gensim, the oracle, is not installed")
    rows = st.lists(st.lists(FLOAT, min_size=3, max_size=3), min_size=len(words), max_size=len(words))
    table = matrix(data.draw(rows))
    path = tmp_path_factory.mktemp("vectors") / "a"
    write_word2vec(path, words, table, binary)
    loaded = models.KeyedVectors.load_word2vec_format(str(path), binary=binary)
    assert loaded.index_to_key == spelled(words)
    assert loaded.vectors.tobytes() == table.tobytes()


@BINARY
def test_files_of_gensim_are_read(tmp_path: Path, binary: bool) -> None:
    models = pytest.importorskip("gensim.models", reason="gensim, the oracle, is not installed")
    table = np.random.default_rng(0).normal(size=(50, 7)).astype(np.float32)
    peer = models.KeyedVectors(7)
    peer.add_vectors([f"w{n}" for n in range(50)], table)
    peer.save_word2vec_format(str(tmp_path / "a"), binary=binary)
    again = table_of(50, 7)
    assert read_vectors(tmp_path / "a", {f"w{n}": n for n in range(50)}, again) == 50
    assert again.tobytes() == table.tobytes()


def test_the_bytes_do_not_depend_on_the_chunk_length(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = np.random.default_rng(0).normal(size=(50, 7)).astype(np.float32)
    words = [f"w{n}" for n in range(50)]
    write_word2vec(tmp_path / "a", words, table, binary=False)
    monkeypatch.setattr(vectors, "CHUNK", 7)
    write_word2vec(tmp_path / "b", words, table, binary=False)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
