"""Word sets: files of human judgements, and the agreement of vectors with them."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from stages.lib import wordsets
from stages.lib.command import Refusal
from stages.lib.wordsets import Analogies, Similarity, measure, read_wordset, spearman
from tests.conftest import ROOT

SHARED = ROOT.parent / "shared" / "wordsets"
WORDSIM, SIMLEX, GOOGLE = "EN-WS-353-ALL.txt", "EN-SIMLEX-999.txt", "questions-words-semantic.txt"

# Four words at angles of 0, 30, 50 and 90 degrees; cosines 0.87, 0.64, 0 from the first.
ANGLES = np.radians([0, 30, 50, 90])
PLANE = np.stack([np.cos(ANGLES), np.sin(ANGLES)], 1).astype(np.float32) * np.float32(3)
NUMBER = {"a": 0, "b": 1, "c": 2, "d": 3}


def written(folder: Path, text: str | bytes) -> Path:
    path = folder / "set.txt"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def shared(name: str) -> Path:
    path = SHARED / name
    if not path.is_file():
        pytest.skip(f"{path} is not there")
    return path


@pytest.mark.parametrize(
    "text",
    [
        "love\tsex\t6.77\nTiger\tcat\t7\n",
        "love sex 6.77\r\nTiger  cat 7\r\n",
        "love,sex,6.77\nTiger, cat ,7",
        "love;sex;6.77\n\nTiger;cat;7\n",
        "# people's\nWord 1,Word 2,Human (mean)\nlove,sex,6.77\n# more\nTiger,cat,7\n",
        "word1\tword2\tscore\tfirst\nlove\tsex\t6.77\t9\t8\nTiger\tcat\t7\t1\t2\n",
        "\ufefflove sex 6.77\nTiger cat 7.0\n",
    ],
)
def test_similarity_sets_are_read_in_every_format(tmp_path: Path, text: str) -> None:
    assert read_wordset(written(tmp_path, text)) == Similarity([("love", "sex"), ("Tiger", "cat")], [6.77, 7])


def test_a_cell_between_tabs_may_have_spaces_and_commas(tmp_path: Path) -> None:
    text = "New York\tParis, France\t3\n:)\t:(\t1\n"
    expected = Similarity([("New York", "Paris, France"), (":)", ":(")], [3, 1])
    assert read_wordset(written(tmp_path, text)) == expected


@pytest.mark.parametrize(
    "text",
    [
        ": capitals, and more\nAthens Greece Oslo Norway\n: family\nboy girl he she\n",
        "# no headings\nAthens Greece Oslo Norway\nboy girl he she",
        "Athens\tGreece\tOslo\tNorway\nboy\tgirl\the\tshe\n: at the end",
    ],
)
def test_analogy_sets_are_read_in_every_format(tmp_path: Path, text: str) -> None:
    expected = Analogies([("Athens", "Greece", "Oslo", "Norway"), ("boy", "girl", "he", "she")])
    assert read_wordset(written(tmp_path, text)) == expected


def test_a_number_under_a_heading_is_a_word(tmp_path: Path) -> None:
    expected = Analogies([("one", "1", "two", "2"), ("one", "two", "1", "2")])
    assert read_wordset(written(tmp_path, ": figures\none 1 two 2\none two 1 2\n")) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", ": no words in it; each line must have two words and a score, or four words"),
        ("# nothing\n: but a heading\n", ": no words in it"),
        ("a b 1\na b\n", "line 2: found 'a, b'; expected two words and a score"),
        ("a b 1\nc d 2\na b x\n", "line 3: found 'a, b, x'; expected two words and a score"),
        ("a b 1\nc d 2\na b nan\n", "line 3: found 'a, b, nan'"),
        ("a;b;1,5\na;b;2\nc;d;3,5\n", "line 3: found 'c, d, 3,5'"),
        ("a,b,1\n,b,2\n", "line 2: found ', b, 2'"),
        ("a b 1\nNew York city 3\n", "line 2: found 'New, York, city, 3'"),
        ("a b 1 x\n", "line 1: found 'a, b, 1, x'"),
        ("a b\na b 1\n", "line 1: found 'a, b'"),
        ("word1 word2 score\n", "line 1: found 'word1, word2, score'; expected four words, or two words and"),
        ("a b c d\na b c\n", "line 2: found 'a, b, c'; expected four words"),
        (": one\na b c d e\n", "line 2: found 'a, b, c, d, e'; expected four words"),
        (b"a b 1\n\xff b 2\n", "line 2: not UTF-8 (byte 0xff); save it as UTF-8"),
    ],
)
def test_a_bad_file_is_refused_in_one_line(tmp_path: Path, text: str | bytes, message: str) -> None:
    with pytest.raises(Refusal, match=re.escape(message)) as refusal:
        read_wordset(written(tmp_path, text))
    assert str(refusal.value).startswith(str(tmp_path / "set.txt"))
    assert "\n" not in str(refusal.value)


def test_agreement_by_hand() -> None:
    # Cosines fall from b to d; people put c before b: ranks 3 2 1 against 2 3 1.
    pairs = Similarity([("a", "b"), ("A", "c"), ("d", "a"), ("a", "z")], [5, 6, 1, 9])
    assert measure(pairs, NUMBER, PLANE) == {"spearman": pytest.approx(0.5), "pairs": 3, "covered": 0.75}


def test_a_word_is_looked_up_unchanged_and_then_in_lower_case() -> None:
    pairs = Similarity([("a", "b"), ("a", "C"), ("a", "d")], [3, 2, 1])
    assert measure(pairs, NUMBER, PLANE)["spearman"] == pytest.approx(1)
    assert measure(pairs, {**NUMBER, "C": 3}, PLANE)["spearman"] == pytest.approx(np.sqrt(0.75))


def test_unknown_words_may_get_a_vector() -> None:
    pairs = Similarity([("a", "b"), ("a", "c"), ("a", "Zz"), ("a", "q")], [3, 2, 9, 1])
    asked = []

    def unknown(word: str) -> Any:
        asked.append(word)
        return PLANE[0] if word == "zz" else None

    result = measure(pairs, NUMBER, PLANE, unknown)
    assert result == {"spearman": pytest.approx(1), "pairs": 3, "covered": 0.75}
    assert asked == ["zz", "q"]


@pytest.mark.parametrize(
    ("pairs", "scores", "known"),
    [
        ([("a", "z")], [1], 0),
        ([("a", "b"), ("a", "z")], [1, 2], 1),
        ([("a", "b"), ("a", "c")], [2, 2], 2),
        ([("a", "b"), ("b", "a"), ("a", "b")], [1, 2, 3], 3),
    ],
)
def test_an_undefined_correlation_is_left_out(
    pairs: list[tuple[str, str]], scores: list[float], known: int
) -> None:
    result = measure(Similarity(pairs, scores), NUMBER, PLANE)
    assert result == {"pairs": known, "covered": known / len(pairs)}


def test_a_vector_of_zeros_does_not_give_nan() -> None:
    table = PLANE * np.array([[1], [1], [1], [0]], np.float32)
    pairs = Similarity([("a", "b"), ("a", "c"), ("a", "d")], [3, 2, 1])
    assert measure(pairs, NUMBER, table)["spearman"] == pytest.approx(1)


FIGURES = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=12)


@given(figures=FIGURES)
def test_spearman_equals_scipy(figures: list[tuple[int, int]]) -> None:
    one, other = np.array(figures, float).T
    actual = spearman(one, other)
    if len(set(one)) < 2 or len(set(other)) < 2:
        assert actual is None
    else:
        assert actual == pytest.approx(spearmanr(one, other).statistic, abs=1e-12)


# woman - man = queen - king; "odd" is on the opposite side of "king".
ROYAL = {"man": [1, 0, 0], "woman": [1, 1, 0], "king": [1, 0, 2], "queen": [1, 1, 2], "odd": [1, -1, 2]}
ROYAL_NUMBER = {word: n for n, word in enumerate(ROYAL)}
ROYAL_TABLE = np.array(list(ROYAL.values()), np.float32)


def test_analogies_by_hand() -> None:
    questions = Analogies(
        [
            ("man", "woman", "king", "queen"),
            ("Man", "king", "woman", "Queen"),
            ("man", "woman", "king", "man"),
            ("man", "woman", "king", "prince"),
        ]
    )
    result = measure(questions, ROYAL_NUMBER, ROYAL_TABLE)
    assert result == {"accuracy": pytest.approx(2 / 3), "questions": 3, "covered": 0.75}


def test_the_answer_is_not_a_word_of_the_question() -> None:
    # b - a + c is nearest to b and c themselves.
    number, table = (
        {"a": 0, "b": 1, "c": 2, "d": 3},
        np.array([[0, 0], [1, 0], [1, 0.1], [0, -1]], np.float32),
    )
    assert measure(Analogies([("a", "b", "c", "d")]), number, table)["accuracy"] == 1
    assert measure(Analogies([("a", "b", "c", "b")]), number, table)["accuracy"] == 0


def test_only_the_most_frequent_words_are_candidates(monkeypatch: pytest.MonkeyPatch) -> None:
    question = Analogies([("man", "woman", "king", "queen")])
    monkeypatch.setattr(wordsets, "CANDIDATES", 4)
    assert measure(question, ROYAL_NUMBER, ROYAL_TABLE)["questions"] == 1
    monkeypatch.setattr(wordsets, "CANDIDATES", 3)
    assert measure(question, ROYAL_NUMBER, ROYAL_TABLE) == {"questions": 0, "covered": 0}


def test_rows_without_a_word_are_not_candidates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wordsets, "CANDIDATES", 4)
    reserved = np.array([[0, 0, 0], [1, 1, 2]], np.float32)  # <pad>, and <unk> where the answer is
    result = measure(
        Analogies([("man", "woman", "king", "queen")]),
        {word: row + 2 for word, row in ROYAL_NUMBER.items()},
        np.concatenate([reserved, ROYAL_TABLE]),
    )
    assert result == {"accuracy": 1, "questions": 1, "covered": 1}


def test_the_result_does_not_depend_on_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    table = random.normal(size=(30, 4)).astype(np.float32)
    number = {f"w{n}": n for n in range(30)}
    words = random.choice(list(number), (100, 4)).tolist()
    questions = Analogies([tuple(four) for four in words])
    whole = measure(questions, number, table)
    assert 0 < whole["accuracy"] < 1
    for at_a_time in (1, 7, 99, 100, 101):
        monkeypatch.setattr(wordsets, "BATCH", at_a_time)
        assert measure(questions, number, table) == whole


@pytest.mark.parametrize(("name", "pairs"), [(WORDSIM, 353), (SIMLEX, 999)])
def test_published_similarity_sets_are_read(name: str, pairs: int) -> None:
    actual = read_wordset(shared(name))
    assert isinstance(actual, Similarity)
    assert len(actual.pairs) == len(actual.scores) == pairs
    assert all(0 <= score <= 10 for score in actual.scores)


def test_published_analogies_are_read() -> None:
    actual = read_wordset(shared(GOOGLE))
    assert isinstance(actual, Analogies)
    assert len(actual.questions) == 8869
    assert actual.questions[0] == ("Athens", "Greece", "Baghdad", "Iraq")


@pytest.mark.parametrize("name", [WORDSIM, SIMLEX])
def test_similarity_equals_gensim(name: str) -> None:
    models = pytest.importorskip("gensim.models", reason="gensim, the oracle, is not installed")
    path = shared(name)
    actual = read_wordset(path)
    assert isinstance(actual, Similarity)
    words = list(dict.fromkeys(word.lower() for pair in actual.pairs for word in pair))[::2]
    table = np.random.default_rng(0).normal(size=(len(words), 20)).astype(np.float32)
    peer = models.KeyedVectors(20)
    peer.add_vectors(words, table)
    _, correlation, missing = peer.evaluate_word_pairs(str(path))
    result = measure(actual, {word: n for n, word in enumerate(words)}, table)
    assert result["spearman"] == pytest.approx(correlation.statistic, abs=1e-4)
    assert 100 * (1 - result["covered"]) == pytest.approx(missing)


def test_analogies_equal_gensim(tmp_path: Path) -> None:
    models = pytest.importorskip("gensim.models", reason="gensim, the oracle, is not installed")
    random = np.random.default_rng(0)
    words = [f"w{n}" for n in range(12)]
    table = random.normal(size=(12, 3)).astype(np.float32)
    lines = [" ".join(four) for four in (random.permutation(words)[:4] for _ in range(200))]
    path = written(tmp_path, "\n".join([": one", *lines]))
    peer = models.KeyedVectors(3)
    peer.add_vectors(words, table)
    # gensim weights all words equally only if their vectors have length 1.
    peer.vectors = table / np.linalg.norm(table, axis=1, keepdims=True)
    accuracy, _ = peer.evaluate_word_analogies(str(path))
    result = measure(read_wordset(path), {word: n for n, word in enumerate(words)}, table)
    assert result == {"accuracy": pytest.approx(accuracy), "questions": 200, "covered": 1}
    assert 0 < accuracy < 1
