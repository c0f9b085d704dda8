"""Agreement: word sets and nearest neighbours, without training."""

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from stages import agreement, ids
from stages.agreement import lookup_in, nearest_neighbours, telling_words
from stages.lib.char_ngrams import CharNgrams, bucket
from stages.lib.command import Refusal
from stages.lib.files import read_json, write_json
from stages.lib.tables import table_writer
from stages.lib.wordsets import Similarity, read_wordset
from tests.conftest import ROOT, refused

TOKENS = ["<pad>", "<unk>", "good", "great", "bad", "film"]
VECTORS = np.array([[0, 0], [9, 9], [1, 0], [3, 1], [-1, 0.1], [0, 2]], np.float32)
CONFIG = {"min": 3, "max": 3, "buckets": 1000}


def inputs(folder: Path, char_ngrams: dict[str, Any] | None = None) -> list[Path]:
    """The files that the stage reads after params.yaml, and the two that it writes."""
    tables = {"embeddings": VECTORS}
    if char_ngrams:
        tables["char_ngrams"] = np.ones((char_ngrams["buckets"], 2), np.float32)
    save_file(tables, folder / "embeddings.safetensors")
    # Two reviews of each label, and an unlabelled and a test review, which do not count.
    lists = [[2, 5, 2], [3, 5, 1], [4, 5], [4], [4, 4], [2]]
    splits, labels = ["train"] * 4 + ["unlabelled", "test"], [1, 1, 0, 0, -1, 0]
    unknown = [["odd"] * row.count(1) for row in lists]
    rows = pa.table([list("abcdef"), labels, splits, lists, unknown], schema=ids.SCHEMA)
    with table_writer(folder / "ids.parquet", ids.SCHEMA) as writer:
        writer.write_table(rows)
    pq.write_table(pa.table({"token": TOKENS}), folder / "vocabulary.parquet")
    parameters = {"char_ngrams": char_ngrams, "pretrained": None}
    write_json(folder / "facts.json", {"parameters": parameters, "tokens": 1204})
    (folder / "wordsets").mkdir()
    names = ("ids.parquet", "embeddings.safetensors", "vocabulary.parquet", "facts.json", "wordsets")
    return [*(folder / name for name in names), folder / "agreement.parquet", folder / "metrics.json"]


def test_neighbours_by_hand() -> None:
    words, vectors = TOKENS[2:], VECTORS[2:]
    rows = nearest_neighbours(words, vectors, ["good", "absent"], 2)
    assert [(row.word, row.neighbour) for row in rows] == [("good", "great"), ("good", "film")]
    assert rows[0].similarity == pytest.approx(3 / 10**0.5)
    assert rows[1].similarity == pytest.approx(0)


def test_a_word_is_not_its_own_neighbour() -> None:
    rows = nearest_neighbours(["a", "b"], np.ones((2, 3), np.float32), ["a", "b"], 5)
    assert [(row.word, row.neighbour) for row in rows] == [("a", "b"), ("b", "a")]


@given(seed=st.integers(0, 1000), count=st.integers(1, 9))
@settings(deadline=None, max_examples=30)
def test_neighbours_are_the_highest_cosines(seed: int, count: int) -> None:
    vectors = np.random.default_rng(seed).normal(size=(8, 4)).astype(np.float32)
    words = [f"w{n}" for n in range(8)]
    rows = nearest_neighbours(words, vectors, ["w3"], count)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    cosine = unit @ unit[3]
    expected = [n for n in np.argsort(-cosine) if n != 3][:count]
    assert [row.neighbour for row in rows] == [words[n] for n in expected]


def test_an_unknown_word_is_looked_up_by_its_character_ngrams() -> None:
    table = np.zeros((1000, 2), np.float32)
    table[[bucket(ngram, 1000) for ngram in ("<he", "her", "er>")]] = [[0, 3], [0, 3], [3, 3]]  # mean (1, 3)
    unknown = lookup_in(table, CharNgrams(**CONFIG))
    vectors = np.array([[1, 0], [0, 5], [2, 2]], np.float32)
    rows = nearest_neighbours(["x", "y", "xy"], vectors, ["her", "x", ""], 2, unknown)
    assert [(row.word, row.known, row.neighbour) for row in rows] == [
        ("her", False, "y"), ("her", False, "xy"), ("x", True, "xy"), ("x", True, "y"),
    ]  # fmt: skip
    assert rows[0].similarity == pytest.approx(3 / 10**0.5)
    assert not nearest_neighbours(
        ["x", "y", "xy"], vectors, ["her"], 2, lookup_in(None, CharNgrams(**CONFIG))
    )
    assert not nearest_neighbours(["x", "y", "xy"], vectors, ["her"], 2, lookup_in(table, None))


def test_the_stage_writes_neighbours_and_word_set_metrics(
    tmp_path: Path, write_params: Callable[..., Path]
) -> None:
    paths = inputs(tmp_path)
    (tmp_path / "wordsets/pairs.txt").write_text("good great 9\ngood bad 1\ngood film 5\nabsent film 3\n")
    choices = {"wordsets": ["pairs.txt"], "words": ["good", "absent"], "neighbours": 2}
    agreement.main(write_params(agreement=choices), *paths)
    assert pq.read_table(tmp_path / "agreement.parquet").to_pylist() == [
        {"word": "good", "known": True, "neighbour": "great", "similarity": pytest.approx(0.9486833)},
        {"word": "good", "known": True, "neighbour": "film", "similarity": 0.0},
    ]
    assert read_json(tmp_path / "metrics.json") == {
        "words_listed": 1,
        "words_of_text": 1204,
        "enough_text": False,
        "wordsets": {"pairs": {"covered": 0.75, "pairs": 3, "spearman": 1.0}},
    }


def test_by_default_the_words_that_tell_the_labels_apart_are_listed(
    tmp_path: Path, write_params: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agreement, "AUTO", 3)
    agreement.main(write_params(agreement={"words": "auto", "neighbours": 1}), *inputs(tmp_path))
    rows = pq.read_table(tmp_path / "agreement.parquet").to_pylist()
    assert [row["word"] for row in rows] == ["bad", "good", "great"]


def test_telling_words_take_turns_and_leave_out_what_is_no_word() -> None:
    frequencies = np.array([[9, 9, 0, 0, 8, 7, 0], [0, 0, 1, 2, 0, 0, 0], [0, 0, 0, 0, 0, 1, 9]], float)
    rows = telling_words(frequencies, np.array([10.0, 10.0, 10.0]), 4)
    assert rows == [5, 3, 6, 4]
    assert len(telling_words(frequencies, np.array([10.0, 10.0, 10.0]), 100)) == 5


@pytest.mark.parametrize(
    ("tokens", "pretrained", "enough"),
    [(999_999, None, False), (1_000_000, None, True), (10, "glove.txt", True)],
)
def test_little_text_is_stated_unless_the_vectors_are_pretrained(
    tmp_path: Path, write_params: Callable[..., Path], tokens: int, pretrained: str | None, enough: bool
) -> None:
    paths = inputs(tmp_path)
    parameters = {"char_ngrams": None, "pretrained": pretrained}
    write_json(tmp_path / "facts.json", {"parameters": parameters, "tokens": tokens})
    agreement.main(write_params(), *paths)
    assert read_json(tmp_path / "metrics.json")["enough_text"] is enough


def test_the_shipped_word_set_is_measured() -> None:
    shipped = read_wordset(ROOT / "data/wordsets/everyday.csv")
    assert isinstance(shipped, Similarity)
    assert len(shipped.pairs) == 50
    assert all(0 <= score <= 10 for score in shipped.scores)


def test_unknown_words_are_marked(tmp_path: Path, write_params: Callable[..., Path]) -> None:
    paths = inputs(tmp_path, {"min": 3, "max": 4, "buckets": 7})
    agreement.main(write_params(agreement={"words": ["films", "film"], "neighbours": 1}), *paths)
    rows = pq.read_table(tmp_path / "agreement.parquet").to_pylist()
    assert [(row["word"], row["known"]) for row in rows] == [("films", False), ("film", True)]


def test_two_runs_write_the_same_bytes(tmp_path: Path, write_params: Callable[..., Path]) -> None:
    paths, params = inputs(tmp_path), write_params(agreement={"words": ["good"]})
    agreement.main(params, *paths)
    first = [path.read_bytes() for path in paths[-2:]]
    agreement.main(params, *paths)
    assert [path.read_bytes() for path in paths[-2:]] == first


def test_no_words_and_no_word_sets_give_an_empty_table(
    tmp_path: Path, write_params: Callable[..., Path]
) -> None:
    paths = inputs(tmp_path)
    agreement.main(write_params(agreement={"words": [], "wordsets": []}), *paths)
    assert pq.read_table(tmp_path / "agreement.parquet").num_rows == 0
    metrics = read_json(tmp_path / "metrics.json")
    assert (metrics["words_listed"], metrics["wordsets"]) == (0, {})


def test_a_missing_word_set_is_refused_in_one_line(
    tmp_path: Path,
    write_params: Callable[..., Path],
    stage: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    ended = stage("agreement", write_params(agreement={"wordsets": ["men.txt"]}), *inputs(tmp_path))
    assert refused(ended, "agreement: agreement.wordsets: no file 'men.txt'", "found there: nothing")
    assert not (tmp_path / "agreement.parquet").exists()


def test_two_word_sets_of_one_name_are_refused(tmp_path: Path, write_params: Callable[..., Path]) -> None:
    params = write_params(agreement={"wordsets": ["a/men.txt", "b/men.txt"]})
    with pytest.raises(Refusal, match="two files named 'men'"):
        agreement.main(params, *inputs(tmp_path))
