"""Raw: hold out before you look.

A corpus, whatever its form, becomes one table of reviews: id, text, label, split. Which reviews are held
out for testing is decided here, before anything is learned. Splits that the corpus brings are kept.
Otherwise the split of a review depends on a hash of its own text, so that

- adding a review moves no other review to another split, and
- equal texts are always in the same split: no model is tested on a text that it was trained on.

Reviews of one author or film are more alike than others. If they were in both train and test, a model
could score by memorising them. A corpus with such a column names it as `split_by`, and the hash is taken of
that value instead (a grouped split, as scikit-learn's `GroupShuffleSplit`).

    python -m stages.raw --help

Labels are text in the corpus and numbers from here on; data/labels.json lists their names in that order.
"""

import hashlib
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path

import pyarrow as pa
from pydantic import Field

from stages import LABELLED, SPLITS, TEST, TRAIN, UNLABELLED, VALIDATION
from stages.lib.command import Refusal, run
from stages.lib.corpora import Source, locate, read_source
from stages.lib.files import read_json, write_json
from stages.lib.inspection import Inspection, inspect, quoted
from stages.lib.labels import (
    arrange,
    check_cells,
    known_label,
    label_names,
    looks_missing,
    named,
    order_of,
    positive_of,
)
from stages.lib.params import Section, read_params
from stages.lib.progress import progress
from stages.lib.readers import Review, reviews
from stages.lib.store import Row, Store, disk_checked
from stages.lib.tables import table_writer
from stages.lib.text import clean

READ = 1000  # reviews read at a time
FEWEST = 10  # labelled training reviews; fewer are a mistake, not a corpus

SCHEMA = pa.schema(
    [("id", pa.string()), ("text", pa.string()), ("label", pa.int32()), ("split", pa.string())]
)
GROUPED = SCHEMA.append(pa.field("group", pa.string()))  # for corpora with groups


class Params(Section):
    validation: float = Field(gt=0, lt=1)  # share for choosing settings, if the corpus has no such split
    test: float = Field(gt=0, lt=1)  # share for the final measurement, if the corpus has no such split
    salt: str  # another salt gives another random split
    checksum: str | None  # of another edition of the corpus's download; null: that of source.yaml


def hash_to_unit(text: str, salt: str) -> float:
    """A pseudorandom number in [0, 1) that depends on the text and the salt only.

    >>> hash_to_unit("a fine film", "firth") == hash_to_unit("a fine film", "firth")
    True
    """
    digest = hashlib.blake2b(f"{salt}\0{text}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") * 2**-64


def split_for(number: float, fractions: dict[str, float]) -> str:
    """The split for a number in [0, 1), given the fractions of the splits. The rest is train.

    >>> [split_for(u, {"test": 0.2, "validation": 0.1}) for u in (0.05, 0.25, 0.5)]
    ['test', 'validation', 'train']
    """
    for split, share in fractions.items():
        if number < share:
            return split
        number -= share
    return TRAIN


def to_row(review: Review, salt: str, renamed: Mapping[str, str | None] = {}) -> Row:
    """A cleaned review with its keys. A training review without a label is unlabelled."""
    name, text, label, split, group, split_by = review
    text, label, split = clean(text), known_label(label, renamed), split or TRAIN
    if label is None and split == TRAIN:
        split = UNLABELLED
    if split == UNLABELLED:
        label = None
    key = hash_to_unit(text, salt)
    split_key = key if split_by is None else hash_to_unit(split_by, salt)
    return name, text, label, split, group, key, split_key


def assign_splits(store: Store, params: Params) -> dict[str, int]:
    """Gives every review its split; returns how many were dropped, and why."""
    dropped = {"unlabelled_test": store.drop_unlabelled()}
    official = store.official_splits()
    fractions = {TEST: params.test, VALIDATION: params.validation}
    fractions = {split: share for split, share in fractions.items() if split not in official}
    return dropped | store.assign_splits(fractions)


def check_enough(counts: dict[str, Counter[str]], names: Sequence[str], rows: int, where: Path) -> None:
    """Raises Refusal unless there are reviews of every label to train on, and some to validate and test."""
    train = counts[TRAIN]
    if not rows:
        raise Refusal(f"{where}: found no row with a text; a corpus needs at least {FEWEST} labelled reviews")
    if len(names) < 2:
        raise Refusal(f"{where}: found the labels {list(names)}, expected at least two different ones")
    if train.total() < FEWEST:
        raise Refusal(f"{where}: {train.total()} labelled train reviews, expected at least {FEWEST}")
    for label in names:
        if not train[label]:
            raise Refusal(
                f"{where}: no train review has the label {label!r}; allowed: {quoted(names)}; is it the "
                "right column? Or map it to null or to another label under `labels:` in source.yaml"
            )
    for split in (VALIDATION, TEST):
        if not counts[split]:
            raise Refusal(f"{where}: {split} has no reviews; add reviews or raise raw.{split}")


def read_reviews(source: Source, path: Path, salt: str, store: Store) -> Inspection:
    """Puts all reviews but empty ones into the store, and counts what is unusual about them."""
    seen = Inspection()
    unread = reviews(source, path)
    with progress("raw", "reviews") as bar:
        while batch := list(islice(unread, READ)):
            rows = []
            for review in batch:
                row = to_row(review, salt, source.labels)
                text, label = row[1:3]
                if not text.strip():
                    seen.empty += 1
                    continue
                rows.append(row)
                if label is None and review.label is not None and review.label not in source.labels:
                    seen.missing[review.label] += looks_missing(review.label)
            store.add(rows)
            seen.add([row[1] for row in rows])
            bar.update(len(batch))
    seen.missing = +seen.missing  # without those that count 0
    return seen


def main(params: Path, check: Path, corpus: Path, raw: Path, labels: Path, metrics: Path) -> None:
    choices = read_params(params, "raw", Params)
    if check.is_file() and (checked := read_json(check)["corpus"]) != corpus.name:
        raise Refusal(f"{check}: describes the corpus {checked!r}, not {corpus.name!r}; run `dvc repro`")
    source = read_source(corpus)
    path = locate(source, corpus, choices.checksum)
    with disk_checked(), closing((store := Store()).connection):
        seen = read_reviews(source, path, choices.salt, store)
        numbered = source.columns is not None and source.columns.id is None  # ids are the numbers of the rows
        if not numbered and (name := store.repeated_id()) is not None:
            raise Refusal(f"{path}: two reviews have the id {name!r}; ids must be unique")
        dropped = assign_splits(store, choices)
        counts = store.counts()
        per_label = sum((counts[split] for split in LABELLED), Counter[str | None]())
        name_of = label_names((label for label in per_label if label is not None), source)
        names = arrange(list(dict.fromkeys(name_of.values())), source.positive)
        by_name = named(counts, name_of)
        number_of = {split: counts[split].total() for split in SPLITS}
        check_enough(by_name, names, sum(number_of.values()), path)
        check_cells(len(names), per_label.total() - per_label[None], str(path))
        numbers: dict[str | None, int | None] = {label: names.index(name) for label, name in name_of.items()}
        schema = GROUPED if source.columns and source.columns.group else SCHEMA
        with table_writer(raw, schema) as writer:
            for batch in store.batches(numbers | {None: None}, schema):
                writer.write_batch(batch)
        warnings = inspect(seen, store, per_label, name_of, source.labels, number_of, dropped)
    for sentence in warnings.values():
        print(f"raw: {sentence}", file=sys.stderr)
    positive, order = positive_of(names, source.positive), order_of(names, source)
    grouped = source.columns is not None and source.columns.split_by is not None
    write_json(labels, {"labels": names, "order": order, "positive": positive, "grouped": grouped})
    dropped["empty"] = seen.empty
    labelled = {split: by_name[split] for split in LABELLED}
    write_json(metrics, {"reviews": number_of, "labels": labelled, "dropped": dropped, "warnings": warnings})


if __name__ == "__main__":
    run(main)
