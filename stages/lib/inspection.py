"""What is unusual about a corpus, one sentence each: `raw` prints them, and the report shows them."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from stages import TEST, VALIDATION
from stages.lib.store import Store

FEW_ROWS = 10  # of a label: fewer are hardly learned, and not measured
FEW_REVIEWS = 100  # in validation or test: an accuracy on fewer is off by ten points by chance
OFTEN = 0.01  # share of reviews from which HTML and addresses are worth a sentence
MANY_NUMBERS = 20  # different numbers as labels: an amount, or a number of the row
EXTREME = 20  # times as long as 95 % of the reviews

HTML = re.compile(r"</?[a-z][a-z0-9]*(?:\s[^<>]*)?/?>|&(?:amp|lt|gt|quot|nbsp|#\d+);", re.IGNORECASE)
ADDRESS = re.compile(r"https?://|www\.\w")
NO_SPACES = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]")
NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?")


def form_of(label: str) -> str:
    """What variants of a label have in common: `Happy ` and `HAPPY`, `1` and `1.0`.

    >>> form_of("Very  happy "), form_of("1.0"), form_of("1")
    ('very happy', '1', '1')
    """
    form = " ".join(label.casefold().split())
    if NUMBER.fullmatch(form) and "." in form:
        form = form.rstrip("0").rstrip(".")
    return form


class Inspection:
    """Counts that are taken while the reviews are read."""

    def __init__(self) -> None:
        self.reviews = self.html = self.addresses = self.no_spaces = self.empty = 0
        self.lengths: Counter[int] = Counter()  # how many texts have each number of characters
        self.missing: Counter[str] = Counter()

    def add(self, texts: Sequence[str]) -> None:
        """Counts what is in some texts. Cheap tests come first: most texts have none of it."""
        self.reviews += len(texts)
        self.lengths.update(map(len, texts))
        tagged = [text for text in texts if "<" in text or "&" in text]
        linked = [text for text in texts if "://" in text or "www." in text]
        foreign = [text for text in texts if not text.isascii()]
        self.html += sum(HTML.search(text) is not None for text in tagged)
        self.addresses += sum(ADDRESS.search(text) is not None for text in linked)
        self.no_spaces += sum(NO_SPACES.search(text) is not None for text in foreign)


def quantile(counts: Counter[int], share: float) -> int:
    """The number below or at which this share of all numbers is; 0 if there are none.

    >>> quantile(Counter([7, 7, 7, 9]), 0.5), quantile(Counter([7, 9]), 1.0)
    (7, 9)
    """
    position = int(share * (counts.total() - 1))
    for number in sorted(counts):
        position -= counts[number]
        if position < 0:
            return number
    return 0


def quoted(names: Iterable[str]) -> str:
    """Names in quotation marks, without characters that a terminal would obey; at most five."""
    listed = list(names)
    rest = f" and {len(listed) - 5} more" if len(listed) > 5 else ""
    return ", ".join(repr(name) for name in listed[:5]) + rest


def of_texts(seen: Inspection) -> dict[str, str]:
    """Sentences about the texts."""
    sentences = {}
    read = seen.reviews + seen.empty
    if seen.empty:
        sentences["empty"] = f"{seen.empty:,} of {read:,} texts are empty and were dropped"
    usual, longest = quantile(seen.lengths, 0.95), max(seen.lengths, default=0)
    if longest > EXTREME * usual:
        sentences["long"] = (
            f"the longest text has {longest:,} characters, and 95 of 100 have at most {usual:,}; "
            "tensors.max_length: auto cuts the longest"
        )
    if seen.html > OFTEN * seen.reviews:
        sentences["html"] = f"{seen.html:,} texts contain HTML, whose tags count as words; remove them first"
    if seen.addresses > OFTEN * seen.reviews:
        sentences["addresses"] = (
            f"{seen.addresses:,} texts contain web addresses, which are rarely seen twice"
        )
    if seen.no_spaces > seen.reviews / 2:
        sentences["no_spaces"] = (
            f"{seen.no_spaces:,} of {seen.reviews:,} texts are in a script without spaces between words; "
            "set tokens.unit: characters"
        )
    return sentences


def of_labels(rows: Mapping[str, int], names: Mapping[str, str], seen: Inspection) -> dict[str, str]:
    """Sentences about the labels: how many labelled rows each has, and the name of each."""
    sentences = {}
    if seen.missing:
        keys = ", ".join(f"{label!r}: {label.strip().lower()!r}" for label in sorted(seen.missing)[:5])
        sentences["missing_labels"] = (
            f"{sum(seen.missing.values()):,} rows have the label {quoted(sorted(seen.missing))}, which looks "
            f"missing; they are unlabelled (to keep it as a label: `labels: {{{keys}}}` in source.yaml)"
        )
    variants: dict[str, list[str]] = {}
    for label in rows:
        variants.setdefault(form_of(names[label]), []).append(label)
    alike = [labels for labels in variants.values() if len({names[label] for label in labels}) > 1]
    if alike:
        kept = {labels[0]: max(labels, key=lambda label: rows[label]) for labels in alike}
        lines = ", ".join(
            f"{label!r}: {names[kept[labels[0]]]!r}"
            for labels in alike
            for label in labels
            if names[label] != names[kept[labels[0]]]
        )
        sentences["label_variants"] = (
            f"the labels {quoted(label for labels in alike for label in labels)} may be the same; to merge "
            f"them: `labels: {{{lines}}}` in source.yaml"
        )
    per_name: Counter[str] = Counter()
    for label, count in rows.items():
        per_name[names[label]] += count
    if rare := [f"{name!r} ({count})" for name, count in sorted(per_name.items()) if count < FEW_ROWS]:
        more = f" and {len(rare) - 5} more" if len(rare) > 5 else ""
        sentences["rare_labels"] = f"fewer than {FEW_ROWS} rows have the label {', '.join(rare[:5])}{more}"
    if len(per_name) > MANY_NUMBERS and all(NUMBER.fullmatch(name) for name in per_name):
        sentences["numbers_as_labels"] = (
            f"the labels are {len(per_name)} different numbers; is that column an amount or an id?"
        )
    elif len(per_name) > per_name.total() / 4:
        sentences["many_labels"] = (
            f"{per_name.total():,} rows have {len(per_name):,} different labels; is it the right column?"
        )
    return sentences


def of_splits(reviews: Mapping[str, int]) -> dict[str, str]:
    """Sentences about validation and test reviews that are too few to measure an accuracy."""
    sentences = {}
    for split in (VALIDATION, TEST):
        if 0 < reviews[split] < FEW_REVIEWS:
            width = min(50.0, 100 * 1.96 * (0.25 / reviews[split]) ** 0.5)
            sentences[f"small_{split}"] = (
                f"{split} has {reviews[split]:,} of the reviews: an accuracy on so few is off by up "
                f"to {width:.0f} points by chance"
            )
    return sentences


def inspect(
    seen: Inspection,
    store: Store,
    per_label: Mapping[str | None, int],
    name_of: Mapping[str, str],
    renamed: Mapping[str, str | None],
    reviews: Mapping[str, int],
    dropped: Mapping[str, int],
) -> dict[str, str]:
    """All sentences, by a short name for each."""
    rows = {label: number for label, number in per_label.items() if label is not None}
    sentences = of_texts(seen) | of_labels(rows, name_of, seen)
    if absent := [label for label, name in renamed.items() if name is not None and label not in rows]:
        sentences["absent_labels"] = f"no labelled row has the label {quoted(absent)} of source.yaml"
    return sentences | of_splits(reviews) | of_store(store, dropped)


def of_store(store: Store, dropped: Mapping[str, int]) -> dict[str, str]:
    """Sentences about texts that occur more than once."""
    sentences = {}
    if across := dropped["train"] + dropped["unlabelled"]:
        sentences["duplicates_across"] = (
            f"{across:,} train or unlabelled texts are in validation or test too and were dropped"
        )
    if shared := store.shared_texts(VALIDATION, TEST):
        sentences["duplicates_held_out"] = f"{shared:,} texts are in both {VALIDATION} and {TEST}"
    if within := store.repeated_texts():
        sentences["duplicates"] = f"{within:,} rows repeat a text of their own split"
    if contradicted := store.contradicted_texts():
        sentences["contradictions"] = f"{contradicted:,} texts have two different labels"
    return sentences
