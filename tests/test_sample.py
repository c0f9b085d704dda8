"""The bundled corpus: long reviews without decisive words, short plain ones for a first contact.

A long review has 20 to 90 words, a short one 2 to 15. Both kinds are balanced and without repeated phrases.
"""

import csv
import re
from collections import Counter, defaultdict
from functools import cache
from itertools import combinations

import pytest

from tests.conftest import ROOT

WORD = re.compile(r"[a-z0-9]+(?:['’][a-z]+)*")

Review = tuple[str, list[str]]  # label, words


@cache
def reviews() -> list[Review]:
    with (ROOT / "data/corpora/sample/reviews.csv").open(encoding="utf-8", newline="") as file:
        return [(row["label"], WORD.findall(row["text"].lower())) for row in csv.DictReader(file)]


def long_reviews() -> list[Review]:
    return [review for review in reviews() if len(review[1]) >= 20]


def short_reviews() -> list[Review]:
    return [review for review in reviews() if len(review[1]) <= 15]


def grams(words: list[str]) -> set[tuple[str, ...]]:
    return {tuple(words[n : n + 5]) for n in range(len(words) - 4)}


def labels_of(phrase: str) -> Counter[str]:
    """How many short reviews of each label contain a phrase."""
    return Counter(label for label, words in short_reviews() if f" {phrase} " in f" {' '.join(words)} ")


def frequent_openings(of: list[Review], at_most: int) -> list[str]:
    openings = Counter(" ".join(words[:3]) for _, words in of if len(words) >= 3)
    return [opening for opening, count in openings.items() if count > at_most]


# All reviews


def test_each_review_is_long_or_short() -> None:
    lengths = [len(words) for _, words in reviews()]
    assert [length for length in lengths if not (2 <= length <= 15 or 20 <= length <= 90)] == []


def test_half_of_1120_long_and_800_short_reviews_are_positive() -> None:
    assert Counter(label for label, _ in long_reviews()) == {"negative": 560, "positive": 560}
    assert Counter(label for label, _ in short_reviews()) == {"negative": 400, "positive": 400}


def test_no_review_is_repeated() -> None:
    texts = Counter(" ".join(words) for _, words in reviews())
    assert [text for text, count in texts.items() if count > 1] == []


def test_no_five_word_phrase_is_frequent() -> None:
    counts = Counter(phrase for _, words in reviews() for phrase in grams(words))
    assert [phrase for phrase, count in counts.items() if count > 2] == []


# The long reviews


def test_no_two_reviews_share_a_tenth_of_their_five_word_phrases() -> None:
    phrases = [grams(words) for _, words in long_reviews()]
    holders = defaultdict(list)
    for number, of_review in enumerate(phrases):
        for phrase in of_review:
            holders[phrase].append(number)
    shared = Counter(pair for numbers in holders.values() for pair in combinations(numbers, 2))
    close = [
        (pair, count) for pair, count in shared.items() if count > 0.1 * min(len(phrases[n]) for n in pair)
    ]
    assert close == []


def test_no_three_words_start_more_than_two_long_reviews() -> None:
    assert frequent_openings(long_reviews(), 2) == []


def test_no_single_word_predicts_the_label_of_a_long_review() -> None:
    seen: dict[str, Counter[str]] = defaultdict(Counter)
    for label, words in long_reviews():
        for word in set(words):
            seen[word][label] += 1
    telling = {
        word: counts for word, counts in seen.items()
        if counts.total() >= 18 and max(counts.values()) > 0.88 * counts.total()
    }  # fmt: skip
    assert telling == {}


# The short reviews


def test_the_short_reviews_have_many_lengths() -> None:
    lengths = Counter(len(words) for _, words in short_reviews())
    assert set(lengths) == set(range(2, 16))
    assert max(lengths.values()) <= 0.2 * lengths.total()


def test_no_three_words_start_more_than_eight_short_reviews() -> None:
    assert frequent_openings(short_reviews(), 8) == []


def test_no_two_short_reviews_share_three_quarters_of_their_words() -> None:
    """Two that differ in one word come from a template. Below five words it happens by chance."""
    bags = [set(words) for _, words in short_reviews() if len(set(words)) >= 5]
    close = [(a, b) for a, b in combinations(bags, 2) if len(a & b) >= 0.75 * max(len(a), len(b))]
    assert close == []


EVERYDAY = {
    "positive": ["good", "great", "best", "love", "loved", "fun", "funny", "excellent", "wonderful"],
    "negative": ["bad", "worst", "boring", "waste", "hate", "hated", "stupid", "awful", "terrible", "dull"],
}
NEGATED = {
    "positive": ["not bad", "not a bad", "not boring", "never boring"],
    "negative": ["not good", "not a good", "not funny", "no fun", "not recommend"],
}


@pytest.mark.parametrize("label", ["positive", "negative"])
def test_everyday_words_occur_often_and_with_their_usual_label(label: str) -> None:
    counts = {word: labels_of(word) for word in EVERYDAY[label]}
    rare_or_mixed = {
        word: labels for word, labels in counts.items()
        if labels.total() < 9 or labels[label] < 0.55 * labels.total()
    }  # fmt: skip
    assert rare_or_mixed == {}


@pytest.mark.parametrize("label", ["positive", "negative"])
def test_a_negation_turns_the_label_of_a_word(label: str) -> None:
    counts = {phrase: labels_of(phrase) for phrase in NEGATED[label]}
    assert {phrase: labels for phrase, labels in counts.items() if labels[label] < 4} == {}
    assert {phrase: labels for phrase, labels in counts.items() if labels[label] < labels.total()} == {}


def test_neutral_words_occur_as_often_with_either_label() -> None:
    counts = {
        word: labels_of(word) for word in ["film", "movie", "story", "acting", "ending", "a", "it", "this"]
    }
    shares = {word: labels["positive"] / labels.total() for word, labels in counts.items()}
    assert {word: share for word, share in shares.items() if not 0.4 <= share <= 0.6} == {}
