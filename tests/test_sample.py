"""The bundled corpus: balanced, of the documented lengths, without repeated phrases or decisive words."""

import csv
import re
from collections import Counter, defaultdict
from functools import cache
from itertools import combinations

from tests.conftest import ROOT

WORD = re.compile(r"[a-z0-9]+(?:['’][a-z]+)*")


@cache
def reviews() -> list[tuple[str, list[str]]]:
    """(label, words) of each review."""
    with (ROOT / "data/corpora/sample/reviews.csv").open(encoding="utf-8", newline="") as file:
        return [(row["label"], WORD.findall(row["text"].lower())) for row in csv.DictReader(file)]


def grams(words: list[str]) -> set[tuple[str, ...]]:
    return {tuple(words[n : n + 5]) for n in range(len(words) - 4)}


def test_half_of_1000_reviews_are_positive() -> None:
    labels = Counter(label for label, _ in reviews())
    assert labels.total() >= 1000
    assert labels["positive"] == labels["negative"]


def test_each_review_has_20_to_90_words() -> None:
    assert [len(words) for _, words in reviews() if not 20 <= len(words) <= 90] == []


def test_no_two_reviews_share_a_tenth_of_their_five_word_phrases() -> None:
    phrases = [grams(words) for _, words in reviews()]
    holders = defaultdict(list)
    for number, of_review in enumerate(phrases):
        for phrase in of_review:
            holders[phrase].append(number)
    shared = Counter(pair for numbers in holders.values() for pair in combinations(numbers, 2))
    close = [
        (pair, count) for pair, count in shared.items() if count > 0.1 * min(len(phrases[n]) for n in pair)
    ]
    assert close == []


def test_no_five_word_phrase_is_frequent() -> None:
    counts = Counter(phrase for _, words in reviews() for phrase in grams(words))
    assert [phrase for phrase, count in counts.items() if count > 2] == []


def test_no_three_words_start_more_than_two_reviews() -> None:
    openings = Counter(" ".join(words[:3]) for _, words in reviews())
    assert [opening for opening, count in openings.items() if count > 2] == []


def test_no_single_word_predicts_the_label() -> None:
    seen: dict[str, Counter[str]] = defaultdict(Counter)
    for label, words in reviews():
        for word in set(words):
            seen[word][label] += 1
    telling = {
        word: counts for word, counts in seen.items()
        if counts.total() >= 18 and max(counts.values()) > 0.88 * counts.total()
    }  # fmt: skip
    assert telling == {}
