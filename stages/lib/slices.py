"""Slices of the test reviews: by length, negation, contrast, unknown words, and the corpus's own groups."""

import hashlib
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from stages import TEST, UNK
from stages.lib.arrays import Bool, Int32, Int64
from stages.lib.calibration import bin_of, equal_mass
from stages.lib.command import Refusal
from stages.lib.intervals import wilson
from stages.lib.tables import open_table, read_batches

# Words that reverse or weaken what follows, which a model without word order cannot see. Only words that
# rarely mean anything else: "while" and "still" are as often temporal. The apostrophe is often left out;
# "wont" and "cant" are rarely the old words.
NEGATION = re.compile(
    r"n['’]t\b|\b(?:no|not|never|none|nobody|nothing|nowhere|neither|nor|cannot|without|hardly|scarcely"
    r"|barely|(?:ai|are|ca|could|did|does|do|had|has|have|is|should|was|were|wo|would)nt)\b",
    re.IGNORECASE,
)
CONTRAST = re.compile(
    r"\b(?:but|however|although|though|yet|despite|nevertheless|nonetheless|whereas|albeit)\b",
    re.IGNORECASE,
)
DECILES = 10
UNKNOWN = (0.0, 0.01, 0.02, 0.05, 0.1)  # upper bounds of the shares of unknown words
GROUPS = 30  # groups of the corpus with a slice of their own; rarer ones share one


class ReviewFacts(NamedTuple):
    """What is known of the test reviews besides their labels, in their order."""

    ids: list[str]
    hashes: list[str]  # SHA-256 of the text
    negated: Bool  # (N,)
    contrasted: Bool  # (N,)
    groups: list[str | None]
    lengths: Int64  # (N,) tokens before truncation
    unknown: Int64  # (N,) tokens outside the vocabulary


def read_rows(raw: Path, ids: Path) -> ReviewFacts:
    """The test rows of data/raw.parquet and data/ids.parquet. Raises Refusal if they differ."""
    names: list[str] = []
    hashes: list[str] = []
    groups: list[str | None] = []
    marks: list[tuple[bool, bool]] = []
    with open_table(raw) as file:
        columns = ["id", "split", "text", *({"group"} & set(file.schema_arrow.names))]
    for batch in read_batches(raw, columns):
        part = batch.filter(np.asarray(batch["split"]) == TEST)
        names += part["id"].to_pylist()
        groups += part["group"].to_pylist() if "group" in columns else [None] * len(part)
        for text in part["text"].to_pylist():
            hashes.append(hashlib.sha256(text.encode()).hexdigest())
            marks.append((bool(NEGATION.search(text)), bool(CONTRAST.search(text))))
    same_names, lengths, unknown = read_tokens(ids)
    if names != same_names:
        raise Refusal(f"{ids}: its test rows differ from those of {raw}; run `dvc repro`")
    negated, contrasted = np.array(marks, bool).T
    return ReviewFacts(names, hashes, negated, contrasted, groups, lengths, unknown)


def read_tokens(ids: Path) -> tuple[list[str], Int64, Int64]:
    """The ids of the test reviews, their lengths (N,) and numbers of unknown tokens (N,)."""
    names: list[str] = []
    lengths, unknown = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for batch in read_batches(ids, ["id", "split", "ids"]):
        part = batch.filter(np.asarray(batch["split"]) == TEST)
        names += part["id"].to_pylist()
        sizes = np.diff(np.asarray(part["ids"].offsets)).astype(np.int64)
        review = np.repeat(np.arange(len(sizes)), sizes)
        misses = np.asarray(part["ids"].flatten()) == UNK
        lengths.append(sizes)
        unknown.append(np.bincount(review[misses], minlength=len(sizes)))
    return names, np.concatenate(lengths), np.concatenate(unknown)


def slices(rows: ReviewFacts, kept: Int32) -> Iterator[tuple[str, str, Bool]]:
    """(slice, part, its rows (N,)) of all ways to divide the test reviews.

    `kept` (N,) are the tokens of each that the model read.
    """
    yield "all", "all", np.ones(len(kept), bool)
    decile = equal_mass(rows.lengths, DECILES)
    for number in np.unique(decile):
        inside = decile == number
        shortest, longest = rows.lengths[inside].min(), rows.lengths[inside].max()
        yield "length", f"{shortest} to {longest} tokens", inside
    yield "negation", "with a negation", rows.negated
    yield "negation", "without a negation", ~rows.negated
    yield "contrast", "with a contrast", rows.contrasted
    yield "contrast", "without a contrast", ~rows.contrasted
    band = bin_of(rows.unknown / np.maximum(rows.lengths, 1), UNKNOWN)
    names = ["none", *(f"up to {100 * end:.0f} %" for end in UNKNOWN[1:]), f"over {100 * UNKNOWN[-1]:.0f} %"]
    for number, name in enumerate(names):
        yield "unknown words", f"{name} unknown", band == number
    yield "cut", "cut to fit", rows.lengths > kept
    yield "cut", "whole", rows.lengths <= kept
    times = Counter(rows.hashes)
    repeated = np.array([times[text] > 1 for text in rows.hashes])
    yield "repeated", "text is in test again", repeated
    yield "repeated", "text is in test once", ~repeated
    counts = Counter(group for group in rows.groups if group is not None)
    common = [group for group, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:GROUPS]]
    for group in common:
        yield "group", group, np.array([name == group for name in rows.groups])
    yield "group", "other groups or none", np.array([name not in common for name in rows.groups])


def accuracy_of_slices(correct: Bool, parts: Iterator[tuple[str, str, Bool]]) -> Iterator[tuple[Any, ...]]:
    """(slice, part, reviews, accuracy, low, high, difference to all) of each part.

    Parts without a review are left out, and so are those with all reviews, but for the slice `all`.
    """
    overall = float(correct.mean())
    for name, part, inside in parts:
        count, hits = int(inside.sum()), int(correct[inside].sum())
        if name == "all" or 0 < count < len(correct):
            yield name, part, count, hits / count, *wilson(hits, count), hits / count - overall
