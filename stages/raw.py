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
from collections import Counter
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

import pyarrow as pa
from pydantic import Field

from stages import LABELLED, SPLITS, TEST, TRAIN, UNLABELLED, VALIDATION
from stages.lib.command import Refusal, run
from stages.lib.corpora import locate, read_source
from stages.lib.files import write_json
from stages.lib.params import Section, read_params
from stages.lib.progress import progress
from stages.lib.readers import Review, reviews
from stages.lib.store import Row, Store
from stages.lib.tables import table_writer
from stages.lib.text import clean

FEWEST = 10  # labelled training reviews; fewer are a mistake, not a corpus
MOST_LABELS = 1000  # with more, the label column is probably another one

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
    return int.from_bytes(digest, "big") / 2**64


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


def to_row(review: Review, salt: str) -> Row:
    """A cleaned review with its keys. A training review without a label is unlabelled."""
    text = clean(review.text)
    split = review.split
    if review.label is None and split in (None, TRAIN):
        split = UNLABELLED
    label = None if split == UNLABELLED else review.label
    key = hash_to_unit(text, salt)
    split_key = key if review.split_by is None else hash_to_unit(review.split_by, salt)
    return Row(review.id, text, label, split, review.group, key, split_key)


def assign_splits(store: Store, params: Params) -> dict[str, int]:
    """Gives every review its split; returns how many were dropped, and why."""
    dropped = {"unlabelled_test": store.drop_unlabelled()}
    official = store.official_splits()
    fractions = {TEST: params.test, VALIDATION: params.validation}
    fractions = {split: share for split, share in fractions.items() if split not in official}
    return dropped | store.assign_splits(lambda number: split_for(number, fractions), set(fractions))


def label_names(labels: Iterable[str], renamed: dict[str, str]) -> dict[str, str]:
    """The name of each label of the corpus, in the order of the label numbers.

    The order is that of `labels` in source.yaml; without it, numbers are sorted by value and text
    alphabetically. Raises Refusal on a label that `labels` does not list.

    >>> list(label_names({"10", "9"}, {}))
    ['9', '10']
    """
    distinct = set(labels)
    if not renamed:
        if len(distinct) > MOST_LABELS:
            raise Refusal(f"the label column has {len(distinct)} different values; is it the right column?")
        return {label: label for label in sorted(distinct, key=_by_value)}
    if unknown := sorted(distinct - set(renamed)):
        raise Refusal(f"label {unknown[0]!r} is not among the labels in source.yaml: {', '.join(renamed)}")
    return renamed


def _by_value(label: str) -> tuple[float, str]:
    try:
        value = float(label)
    except ValueError:
        return float("inf"), label
    return (float("inf") if value != value else value), label


def check_enough(counts: dict[str, Counter[str | None]], names: dict[str, str], where: Path) -> None:
    """Raises Refusal unless there are reviews of every label to train on, and some to validate and test."""
    train = counts[TRAIN]
    if not sum(sum(split.values()) for split in counts.values()):
        raise Refusal(f"{where}: found no rows; a corpus needs at least {FEWEST} labelled reviews")
    if len(names) < 2:
        raise Refusal(f"{where}: found the labels {list(names)}, expected at least two different ones")
    if train.total() < FEWEST:
        raise Refusal(f"{where}: {train.total()} labelled train reviews, expected at least {FEWEST}")
    for label in names:
        if not train[label]:
            raise Refusal(f"{where}: no train review has the label {label!r}; allowed: {', '.join(names)}")
    for split in (VALIDATION, TEST):
        if not counts[split]:
            raise Refusal(f"{where}: {split} has no reviews; add reviews or raise raw.{split}")


def facts(
    counts: dict[str, Counter[str | None]], name_of: dict[str, str], dropped: dict[str, int]
) -> dict[str, object]:
    """The metrics of this stage."""
    labels = {split: Counter[str]() for split in LABELLED}
    for split, by_name in labels.items():
        for label, number in counts[split].items():
            by_name[name_of[str(label)]] += number
    reviews_per_split = {split: counts[split].total() for split in SPLITS}
    return {"reviews": reviews_per_split, "labels": labels, "dropped": dropped}


def main(params: Path, corpus: Path, raw: Path, labels: Path, metrics: Path) -> None:
    choices = read_params(params, "raw", Params)
    source = read_source(corpus)
    path = locate(source, corpus, choices.checksum)
    store = Store()
    with closing(store.connection):
        with progress("raw", "reviews") as bar:
            for review in reviews(source, path):
                store.add(to_row(review, choices.salt))
                bar.update()
        if (name := store.repeated_id()) is not None:
            raise Refusal(f"{path}: two reviews have the id {name!r}; ids must be unique")
        dropped = assign_splits(store, choices)
        counts = store.counts()
        distinct = {label for split in LABELLED for label in counts[split] if label is not None}
        name_of = label_names(distinct, source.labels)
        check_enough(counts, name_of, path)
        names = list(dict.fromkeys(name_of.values()))  # two labels of the corpus may share a name
        numbers: dict[str | None, int | None] = {f: names.index(name) for f, name in name_of.items()}
        schema = GROUPED if source.columns and source.columns.group else SCHEMA
        with table_writer(raw, schema) as writer:
            for batch in store.batches(numbers | {None: None}, schema):
                writer.write_batch(batch)
    write_json(labels, {"labels": names})
    write_json(metrics, facts(counts, name_of, dropped))


if __name__ == "__main__":
    run(main)
