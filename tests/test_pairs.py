"""The bundled minimal pairs: balanced, without repeated phrases, and valid for their kind."""

import csv
from collections import Counter
from functools import cache
from itertools import chain
from pathlib import Path

import pytest

from stages.lib.command import Refusal
from stages.lib.pairs import KINDS, Pair, read_pairs
from tests.conftest import ROOT
from tests.test_sample import WORD, grams, reviews

FOLDER = ROOT / "data/pairs"


@cache
def pairs() -> list[Pair]:
    return read_pairs(FOLDER, ["minimal_pairs.csv"])


def words(text: str) -> list[str]:
    return WORD.findall(text.lower())


def phrases(pair: Pair) -> set[tuple[str, ...]]:
    return grams(words(pair.text_a)) | grams(words(pair.text_b))


def of(kind: str) -> list[Pair]:
    return [pair for pair in pairs() if pair.kind == kind]


def test_there_are_at_least_200_pairs_of_four_kinds() -> None:
    counts = Counter(pair.kind for pair in pairs())
    assert counts.total() >= 200
    assert set(counts) == set(KINDS)
    assert min(counts.values()) >= 50


@pytest.mark.parametrize("kind", KINDS)
def test_half_of_each_kind_is_positive_on_either_side(kind: str) -> None:
    for side in ("label_a", "label_b"):
        labels = Counter(getattr(pair, side) for pair in of(kind))
        assert set(labels) == {"negative", "positive"}
        assert abs(labels["positive"] / labels.total() - 0.5) <= 0.02


def test_no_text_is_repeated() -> None:
    texts = [" ".join(words(text)) for pair in pairs() for text in (pair.text_a, pair.text_b)]
    assert [text for text, count in Counter(texts).items() if count > 1] == []


def test_no_phrase_of_five_words_occurs_in_more_than_two_pairs() -> None:
    counts = Counter(chain.from_iterable(phrases(pair) for pair in pairs()))
    assert [phrase for phrase, count in counts.items() if count > 2] == []


def test_no_three_words_start_more_than_three_pairs() -> None:
    openings = Counter(" ".join(words(pair.text_a)[:3]) for pair in pairs())
    assert [opening for opening, count in openings.items() if count > 3] == []


def test_no_pair_is_taken_from_the_bundled_reviews() -> None:
    of_reviews = set(chain.from_iterable(grams(review) for _, review in reviews()))
    shared = [(pair.id, len(phrases(pair) & of_reviews)) for pair in pairs() if phrases(pair) & of_reviews]
    assert all(count <= 2 for _, count in shared), shared
    texts = {" ".join(review) for _, review in reviews()}
    whole = [
        text for pair in pairs() for text in (pair.text_a, pair.text_b) if " ".join(words(text)) in texts
    ]
    assert whole == []


def test_the_pairs_have_many_lengths() -> None:
    lengths = [len(words(pair.text_a)) for pair in pairs()]
    assert min(lengths) <= 2
    assert max(lengths) >= 20
    assert 8 <= sorted(lengths)[len(lengths) // 2] <= 14


def test_contrast_has_the_same_words_on_both_sides() -> None:
    for pair in of("contrast"):
        assert Counter(words(pair.text_a)) == Counter(words(pair.text_b)), pair.id


def test_irrelevant_swaps_change_a_few_words_in_place() -> None:
    for pair in of("irrelevant"):
        a, b = words(pair.text_a), words(pair.text_b)
        assert len(a) == len(b), pair.id
        assert 1 <= sum(x != y for x, y in zip(a, b, strict=True)) <= 3, pair.id


def test_the_texts_of_a_negation_differ_in_negating_words() -> None:
    negating = {"no", "not", "never", "none", "nothing", "nobody", "neither", "nor", "hardly", "fails"}
    for pair in of("negation"):
        a, b = (
            Counter(
                w for w in words(text) if w in negating or w.endswith(("n't", "n’t")) or w.startswith("dis")
            )
            for text in (pair.text_a, pair.text_b)
        )
        assert a != b, pair.id


def test_the_file_has_the_expected_columns() -> None:
    with (FOLDER / "minimal_pairs.csv").open(encoding="utf-8", newline="") as file:
        assert next(csv.reader(file)) == list(Pair._fields)


HEADER = ",".join(Pair._fields)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["1,negation,good,bad,positive,positive"], "pair 1: found 'positive' and 'positive'.*two different"),
        (["1,irrelevant,good,bad,positive,negative"], "pair 1: found.*the same label twice"),
        (["1,negations,good,bad,positive,negative"], "unknown kind 'negations'; did you mean negation"),
        (["1,negation,good,,positive,negative"], "text_b is empty"),
        (["1,negation,good,bad,positive"], "row 2: 5 cells"),
        (["1,negation,good,bad,positive,negative"] * 2, "two pairs have the id '1'"),
    ],
)
def test_an_invalid_pair_is_refused(tmp_path: Path, lines: list[str], message: str) -> None:
    (tmp_path / "mine.csv").write_text("\n".join([HEADER, *lines]), encoding="utf-8")
    with pytest.raises(Refusal, match=message):
        read_pairs(tmp_path, ["mine.csv"])


def test_a_missing_file_of_pairs_is_refused(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("text", encoding="utf-8")
    with pytest.raises(Refusal, match=r"robustness.pairs: no file 'x.csv'.*found there: nothing"):
        read_pairs(tmp_path, ["x.csv"])
    (tmp_path / "mine.csv").write_text("id,kind\n1,negation\n", encoding="utf-8")
    with pytest.raises(Refusal, match="no column 'text_a'"):
        read_pairs(tmp_path, ["mine.csv"])
