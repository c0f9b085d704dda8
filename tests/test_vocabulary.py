"""Vocabulary: the selection, order and counts of words."""

import json
import subprocess
import tracemalloc
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages import SPLITS
from stages.lib import tables
from stages.lib.command import Refusal
from stages.lib.tables import read_batches, table_writer
from stages.tokens import SCHEMA as TOKENS
from stages.vocabulary import build, count_tokens, coverage, main
from tests.conftest import refused

Review = tuple[str, list[str]]
Made = Callable[..., tuple[Path, Path]]

REVIEWS: list[Review] = [
    ("train", ["good", "film", "good"]),
    ("train", []),
    ("train", ["bad", "film", "once"]),
    ("validation", ["good", "held", "held"]),
    ("test", ["bad", "held", "film", "good"]),
    ("unlabelled", ["film", "extra", "extra"]),
]
WORD = st.sampled_from(["a", "b", "é", "字", "😀", "<pad>", "<unk>", ""]) | st.text(max_size=3)
CORPUS = st.lists(st.tuples(st.sampled_from(SPLITS), st.lists(WORD, max_size=6)), max_size=8)


def write_tokens(path: Path, reviews: Sequence[Review] = REVIEWS, rows_in_group: int = 2) -> Path:
    with table_writer(path, TOKENS) as writer:
        for first in range(0, len(reviews), rows_in_group):
            splits, tokens = zip(*reviews[first : first + rows_in_group], strict=True)
            ids = [str(n) for n in range(first, first + len(splits))]
            columns = (ids, [None] * len(splits), splits, tokens)
            arrays = [pa.array(c, f.type) for c, f in zip(columns, TOKENS, strict=True)]
            writer.write_batch(pa.record_batch(arrays, TOKENS))
    return path


def by_counter(reviews: Sequence[Review]) -> dict[str, Counter[str]]:
    counts: dict[str, Counter[str]] = {split: Counter() for split in SPLITS}
    for split, tokens in reviews:
        counts[split].update(tokens)
    return counts


def rows_of(vocabulary: Path) -> list[tuple[str, int]]:
    table = pq.read_table(vocabulary)
    return list(zip(table["token"].to_pylist(), table["count"].to_pylist(), strict=True))


@pytest.fixture
def made(tmp_path: Path, write_params: Callable[..., Path]) -> Made:
    def make(reviews: Sequence[Review] = REVIEWS, **choices: int | None) -> tuple[Path, Path]:
        tokens = write_tokens(tmp_path / "tokens.parquet", reviews)
        vocabulary, metrics = tmp_path / "vocabulary.parquet", tmp_path / "metrics.json"
        main(write_params(vocabulary=choices), tokens, vocabulary, metrics)
        return vocabulary, metrics

    return make


def test_the_most_frequent_word_comes_first() -> None:
    counts = Counter(["the", "film", "the", "end", "the", "film"])
    assert build(counts, 1, None) == [("<pad>", 0), ("<unk>", 0), ("the", 3), ("film", 2), ("end", 1)]


def test_ties_are_sorted_by_code_point() -> None:
    tied = Counter(["é", "z", "a", "Z", "字", "😀", "!", "ｚ"])
    assert [token for token, _ in build(tied, 1, None)[2:]] == ["!", "Z", "a", "z", "é", "字", "ｚ", "😀"]


def test_rare_words_are_counted_as_unknown() -> None:
    counts = Counter({"a": 3, "b": 2, "c": 1, "d": 1})
    assert build(counts, 2, None) == [("<pad>", 0), ("<unk>", 2), ("a", 3), ("b", 2)]
    assert build(counts, 2, 1) == [("<pad>", 0), ("<unk>", 4), ("a", 3)]
    assert build(counts, 1, 3)[-1] == ("c", 1)


def test_reserved_tokens_get_no_second_row() -> None:
    counts = Counter({"<pad>": 5, "<unk>": 4, "a": 1})
    assert build(counts, 1, None) == [("<pad>", 0), ("<unk>", 9), ("a", 1)]


@given(
    counts=st.dictionaries(WORD, st.integers(1, 9)),
    min_count=st.integers(1, 4),
    max_words=st.none() | st.integers(1, 5),
)
def test_every_token_is_counted_in_exactly_one_row(
    counts: dict[str, int], min_count: int, max_words: int | None
) -> None:
    rows = build(Counter(counts), min_count, max_words)
    assert sum(count for _, count in rows) == sum(counts.values())
    assert len({token for token, _ in rows}) == len(rows)
    known = rows[2:]
    assert known == sorted(known, key=lambda row: (-row[1], row[0]))
    assert all(counts[token] == count >= min_count for token, count in known)
    assert max_words is None or len(known) <= max_words
    left_out = set(counts) - {token for token, _ in rows}
    if max_words is None or len(known) < max_words:
        assert all(counts[token] < min_count for token in left_out)


@given(counts=st.dictionaries(WORD, st.integers(1, 3)), data=st.data())
def test_the_vocabulary_does_not_depend_on_the_order_of_words(
    counts: dict[str, int], data: st.DataObject
) -> None:
    shuffled = Counter(dict(data.draw(st.permutations(list(counts.items())))))
    assert build(shuffled, 1, 3) == build(Counter(counts), 1, 3)


@given(reviews=CORPUS, rows_in_group=st.integers(1, 4))
@settings(deadline=None, max_examples=60)
def test_count_tokens_equals_a_counter(
    tmp_path_factory: pytest.TempPathFactory, reviews: list[Review], rows_in_group: int
) -> None:
    path = write_tokens(tmp_path_factory.mktemp("made") / "tokens.parquet", reviews, rows_in_group)
    counts = by_counter(reviews)
    assert count_tokens(path) == counts["train"] + counts["unlabelled"]
    assert coverage(path, {"a"}) == {s: part["a"] / part.total() for s, part in counts.items() if part}


@given(data=st.data(), reviews=CORPUS)
@settings(deadline=None, max_examples=30)
def test_the_vocabulary_does_not_depend_on_the_order_of_reviews(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, reviews: list[Review]
) -> None:
    folder = tmp_path_factory.mktemp("made")
    first = count_tokens(write_tokens(folder / "first.parquet", reviews))
    shuffled = data.draw(st.permutations(reviews))
    second = count_tokens(write_tokens(folder / "second.parquet", shuffled))
    assert build(first, 1, 3) == build(second, 1, 3)


def test_dictionary_and_plain_columns_give_the_same_rows(tmp_path: Path) -> None:
    path = write_tokens(tmp_path / "tokens.parquet")
    numbered = list(read_batches(path, ["split", "tokens"], numbered=["tokens.list.element"]))
    plain = list(read_batches(path, ["split", "tokens"]))
    assert all(pa.types.is_dictionary(batch["tokens"].values.type) for batch in numbered)
    assert not any(pa.types.is_dictionary(batch["tokens"].values.type) for batch in plain)
    assert [batch.to_pylist() for batch in numbered] == [batch.to_pylist() for batch in plain]


def test_words_beyond_the_dictionary_limit_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "DICTIONARY_BYTES", 64)
    reviews: list[Review] = [("train", [f"word {n % 3000}" for n in range(20_000)])] * 2
    path = write_tokens(tmp_path / "tokens.parquet", reviews)
    encodings = pq.ParquetFile(path).metadata.row_group(0).column(3).encodings
    assert "PLAIN" in encodings
    assert count_tokens(path) == by_counter(reviews)["train"]


def test_words_of_unlabelled_reviews_get_rows_and_those_of_validation_and_test_do_not(
    made: Made,
) -> None:
    vocabulary, _ = made(min_count=2)
    assert rows_of(vocabulary) == [("<pad>", 0), ("<unk>", 2), ("film", 3), ("extra", 2), ("good", 2)]


def test_coverage_is_the_share_of_tokens_with_a_row(
    made: Made,
) -> None:
    _, metrics = made(min_count=2)
    assert json.loads(metrics.read_text()) == {
        "words": 5,
        "distinct": 5,
        "coverage": {
            "train": pytest.approx(4 / 6, abs=1e-6),
            "validation": pytest.approx(1 / 3, abs=1e-6),
            "test": 0.5,
            "unlabelled": 1.0,
        },
    }


def test_words_of_validation_and_test_take_no_memory(tmp_path: Path) -> None:
    reviews = [("test", [f"own{n}-{m}" for m in range(1000)]) for n in range(30)]
    path = write_tokens(tmp_path / "tokens.parquet", [("train", ["a", "a"]), *reviews])
    tracemalloc.start()
    assert count_tokens(path) == {"a": 2}
    assert coverage(path, {"a"}) == {"train": 1.0, "test": 0.0}
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000  # 30,000 words are 4 MB, and more in a Counter


def test_more_rows_of_the_same_words_take_no_more_memory(tmp_path: Path) -> None:
    peaks = []
    for rows in (500, 4000, 8000):  # the first run also imports
        reviews = [("train", [f"w{(n * m) % 997}" for m in range(10)]) for n in range(rows)]
        path = write_tokens(tmp_path / "tokens.parquet", reviews, rows_in_group=500)
        tracemalloc.start()
        count_tokens(path)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[2] < 1.1 * peaks[1]


def test_rows_are_numbered_from_zero(made: Made) -> None:
    table = pq.read_table(made(min_count=1)[0])
    assert table.schema.names == ["id", "token", "count"]
    assert table.schema.types == [pa.int32(), pa.string(), pa.int64()]
    assert table["id"].to_pylist() == list(range(len(table)))


def test_max_words_keeps_the_most_frequent_words(made: Made) -> None:
    assert rows_of(made(min_count=1, max_words=1)[0]) == [("<pad>", 0), ("<unk>", 6), ("film", 3)]


def test_two_runs_give_the_same_bytes(made: Made) -> None:
    first = [path.read_bytes() for path in made()]
    again = [path.read_bytes() for path in made()]
    shuffled = [path.read_bytes() for path in made(REVIEWS[::-1])]
    assert first == again == shuffled


@pytest.mark.parametrize(
    ("reviews", "message"),
    [
        (REVIEWS, "most frequent of 9 tokens occurs 3 times"),
        ([("train", []), ("test", ["a"] * 9)], "most frequent of 0 tokens occurs 0 times"),
    ],
)
def test_a_min_count_that_leaves_no_word_is_refused(made: Made, reviews: list[Review], message: str) -> None:
    with pytest.raises(Refusal, match=rf"vocabulary\.min_count: found 4, .*{message}"):
        made(reviews, min_count=4)


@pytest.mark.parametrize("choice", [{"min_count": 0}, {"max_words": 0}, {"max_words": "10"}])
def test_invalid_parameters_are_refused(made: Made, choice: dict[str, int]) -> None:
    (name, value) = next(iter(choice.items()))
    with pytest.raises(Refusal, match=rf"params\.yaml: vocabulary\.{name}: found {value!r}"):
        made(**choice)


def test_an_empty_vocabulary_is_refused_in_one_line(
    tmp_path: Path, write_params: Callable[..., Path], stage: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    tokens, out = write_tokens(tmp_path / "tokens.parquet"), tmp_path / "vocabulary.parquet"
    ended = stage("vocabulary", write_params(vocabulary={"min_count": 50}), tokens, out, tmp_path / "m.json")
    assert refused(ended, "vocabulary.min_count: found 50", "occurs 3 times")
    assert not out.exists()
