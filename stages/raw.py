"""Raw: hold out before you look.

A corpus, whatever its form, becomes one table of reviews: id, text, label, split. Which reviews are
kept for testing is decided here, before anything is learnt. Splits that the corpus brings are
kept. Otherwise each row is dealt by a hash of its own text, so that

- adding a row moves no other row, and
- equal texts always land in the same split: nobody is examined on what they have seen.

Rows that belong together, such as the reviews of one film, are dealt as one, where a column tells: else
validation and test would ask about films that train has told of, and flatter what learns them by heart.

    python -m stages.raw --help

Labels are text in the corpus and numbers from here on; data/labels.json names them, in that order.
"""

import hashlib
import re
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
from pydantic import Field

from stages import LABELLED, SPLITS, TEST, TRAIN, UNLABELLED, VALIDATION
from stages.lib import rows
from stages.lib.command import Refusal, run
from stages.lib.corpora import (
    Source,
    archive_members,
    is_archive,
    known_split,
    locate,
    read_source,
    whole_archive,
)
from stages.lib.files import write_json
from stages.lib.params import Section, read_params
from stages.lib.progress import progress
from stages.lib.tables import BATCH, batch_of, table_writer

HANDFUL = 10  # fewer labelled train reviews than this are a mistake, not a corpus
MOST_LABELS = 1000  # more are a column of something else

SCHEMA = pa.schema(
    [("id", pa.string()), ("text", pa.string()), ("label", pa.int32()), ("split", pa.string())]
)
GROUPED = SCHEMA.append(pa.field("group", pa.string()))  # where the corpus tells groups apart


class Params(Section):
    validation: float = Field(gt=0, lt=1)  # share held out to choose by, where there is no such split
    test: float = Field(gt=0, lt=1)  # share held out to report, where there is no such split
    salt: str  # another salt deals other splits
    checksum: str | None  # of another edition of the corpus's download; null: its source.yaml's


class Review(NamedTuple):
    """One review as the corpus has it: a label of None is unknown, a split of None undecided."""

    id: str
    text: str
    label: str | None
    split: str | None
    group: str | None = None
    together: str | None = None  # reviews that share it are dealt as one


BREAK = re.compile(r"<br\s*/?>", re.IGNORECASE)


def clean(text: str) -> str:
    """Without HTML line breaks, and with nothing that UTF-8 cannot say.

    >>> clean("Good.<br /><br />Long.")
    'Good.  Long.'
    """
    return rows.readable(BREAK.sub(" ", text))


def draw(text: str, salt: str) -> float:
    """A number in [0, 1) that depends on the text and the salt alone.

    >>> draw("a fine film", "firth") == draw("a fine film", "firth")
    True
    """
    digest = hashlib.blake2b(f"{salt}\0{text}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def deal(number: float, shares: dict[str, float]) -> str:
    """The split that a drawn number falls into; what no share claims is train.

    >>> [deal(u, {"test": 0.2, "validation": 0.1}) for u in (0.05, 0.25, 0.5)]
    ['test', 'validation', 'train']
    """
    for split, share in shares.items():
        if number < share:
            return split
        number -= share
    return TRAIN


def reviews(source: Source, path: Path) -> Iterator[Review]:
    """All reviews of a corpus, in the order in which its file holds them.

    Raises Refusal on what cannot be read, naming the file and the row.
    """
    if is_archive(path.name):
        with whole_archive(path):
            yield from (_from_folders if source.folders else _from_members)(source, path)
    else:
        with path.open("rb") as file:
            yield from _from_table(source, rows.read(file, path.name, str(path)), str(path), None)


def _from_folders(source: Source, path: Path) -> Iterator[Review]:
    for name, file in archive_members(path):
        parent, _, stem = name.rpartition("/")
        folder = source.folders.get(parent)
        if folder and stem.endswith(".txt"):
            try:
                text = file.read().decode("utf-8")
            except UnicodeDecodeError as error:
                raise Refusal(f"{path}: {name} is not UTF-8 at byte {error.start}") from None
            yield Review(name.removesuffix(".txt"), text, folder.label, folder.split)


def _from_members(source: Source, path: Path) -> Iterator[Review]:
    splits: dict[str, str] = {name: split for split, name in source.members.items()}
    for name, file in archive_members(path):
        if name in splits:
            where, split = f"{path}: {name}", splits.pop(name)
            yield from _from_table(source, rows.read(file, name, where), where, split)
    if splits:
        raise Refusal(f"{path}: holds no {', '.join(splits)}, which source.yaml names under members")


def _from_table(
    source: Source, table: Iterable[dict[str, object]], where: str, split: str | None
) -> Iterator[Review]:
    columns = source.columns
    assert columns is not None, "a Source has columns or folders"
    wanted = [name for name in columns.model_dump().values() if name]
    for number, row in enumerate(table, 1):
        # A later row of JSON may leave out all the others, but never its text.
        if number == 1:
            rows.require(wanted, row, where)
        rows.require(wanted[:1], row, f"{where}, review {number}")
        text, label = row[columns.text], rows.text_of(row.get(columns.label))
        stated = rows.text_of(row.get(columns.split)) if columns.split else None
        name = rows.text_of(row.get(columns.id)) if columns.id else None
        group = rows.text_of(row.get(columns.group)) if columns.group else None
        together = rows.text_of(row.get(columns.together)) if columns.together else None
        yield Review(
            id=f"{split}/{name or number}" if split else name or str(number),
            text="" if text is None else str(text),
            label=label,
            split=split or (known_split(stated, source, f"{where}, review {number}") if stated else None),
            group=group,
            together=together,
        )


class Store:
    """The reviews of a corpus in a temporary database on disk: sorted, counted, compared, and
    never all in memory. SQLite deletes it when it is closed, even by a crash."""

    def __init__(self, salt: str) -> None:
        self.salt = salt
        self.connection = sqlite3.connect("")
        self.connection.execute("PRAGMA journal_mode = OFF")
        self.connection.execute("PRAGMA synchronous = OFF")
        self.connection.execute(
            "CREATE TABLE review (place INTEGER PRIMARY KEY, id TEXT, text TEXT, label TEXT,"
            ' split TEXT, "group" TEXT, draw REAL, lot REAL)'
        )

    def add(self, found: Iterable[Review]) -> None:
        """Cleans and keeps reviews; a train review without a label is unlabelled."""
        with progress("raw", "reviews") as bar:
            for review in found:
                text = clean(review.text)
                split = review.split
                if review.label is None and split in (None, TRAIN):
                    split = UNLABELLED
                label = None if split == UNLABELLED else review.label
                drawn = draw(text, self.salt)
                lot = drawn if review.together is None else draw(review.together, self.salt)
                self.connection.execute(
                    'INSERT INTO review (id, text, label, split, "group", draw, lot)'
                    " VALUES (?, ?, ?, ?, ?, ?, ?)",
                    (review.id, text, label, split, review.group, drawn, lot),
                )
                bar.update()

    def repeated_id(self) -> str | None:
        """An id that two reviews have, if there is one."""
        found = self.connection.execute("SELECT id FROM review GROUP BY id HAVING count(*) > 1 LIMIT 1")
        return next((name for (name,) in found), None)

    def deal(self, params: Params) -> dict[str, int]:
        """Gives every review its split and returns how many were left out, and why."""
        database = self.connection
        dropped = {
            "unlabelled_test": database.execute(
                f"DELETE FROM review WHERE label IS NULL AND split IN ('{VALIDATION}', '{TEST}')"
            ).rowcount
        }
        # Equal texts draw equal numbers, so an index on the number finds them.
        database.execute("CREATE INDEX by_draw ON review (draw)")
        official = {split for (split,) in database.execute("SELECT DISTINCT split FROM review")}
        # What the corpus holds out is gone from train before train is dealt any further.
        dropped["train"] = self._drop(TRAIN, {VALIDATION, TEST})
        shares = {TEST: params.test, VALIDATION: params.validation}
        shares = {split: share for split, share in shares.items() if split not in official}
        database.create_function("deal", 1, lambda number: deal(number, shares), deterministic=True)
        database.execute(f"UPDATE review SET split = deal(lot) WHERE split IS NULL OR split = '{TRAIN}'")
        # Equal texts that were dealt with different others may stand in two splits now.
        if VALIDATION in shares:
            dropped["train"] += self._drop(VALIDATION, {TEST})
        dropped["train"] += self._drop(TRAIN, {VALIDATION, TEST})
        dropped[UNLABELLED] = self._drop(UNLABELLED, {VALIDATION, TEST})
        return dropped

    def _drop(self, split: str, others: set[str]) -> int:
        """Drops from a split the texts that others have too; what has no split yet is train."""
        held = ", ".join(f"'{other}'" for other in sorted(others))
        return self.connection.execute(
            f"DELETE FROM review WHERE coalesce(split, '{TRAIN}') = ? AND EXISTS"
            " (SELECT 1 FROM review AS held WHERE held.draw = review.draw"
            f" AND held.text = review.text AND held.split IN ({held}))",
            (split,),
        ).rowcount

    def counts(self) -> dict[str, Counter[str | None]]:
        """How many reviews each split has of each label."""
        counts: dict[str, Counter[str | None]] = {split: Counter() for split in SPLITS}
        for split, label, number in self.connection.execute(
            "SELECT split, label, count(*) FROM review GROUP BY split, label"
        ):
            counts[split][label] = number
        return counts

    def batches(
        self, numbers: dict[str | None, int | None], schema: pa.Schema = SCHEMA
    ) -> Iterator[pa.RecordBatch]:
        """All reviews in the columns of SCHEMA or GROUPED: by split, then by id where that is a path,
        else in the corpus's own order. `numbers` maps a label as found to its number."""
        cursor = self.connection.execute(
            'SELECT id, text, label, split, "group" FROM review ORDER BY CASE split '
            + " ".join(f"WHEN '{split}' THEN {place}" for place, split in enumerate(SPLITS))
            + " END, CASE WHEN instr(id, '/') THEN id END, place"
        )
        while batch := cursor.fetchmany(BATCH):
            ids, texts, labels, splits, groups = zip(*batch, strict=True)
            columns = (ids, texts, [numbers[label] for label in labels], splits, groups)
            yield batch_of(columns[: len(schema)], schema)


def label_names(found: Iterable[str], renamed: dict[str, str]) -> dict[str, str]:
    """A label as it is found: its name, in the order of the label numbers.

    The order is that of source.yaml's `labels`; without them numbers go by value and text by
    alphabet. Raises Refusal on a label that `labels` leaves out, and on one that never occurs.

    >>> list(label_names({"10", "9"}, {}))
    ['9', '10']
    """
    labels = set(found)
    if not renamed:
        if len(labels) > MOST_LABELS:
            raise Refusal(f"the label column holds {len(labels)} different values; is it the right one?")
        return {label: label for label in sorted(labels, key=_by_value)}
    if unknown := sorted(labels - set(renamed)):
        raise Refusal(f"label {unknown[0]!r} is not in source.yaml's labels: {', '.join(renamed)}")
    return renamed


def _by_value(label: str) -> tuple[float, str]:
    try:
        value = float(label)
    except ValueError:
        return float("inf"), label
    return (float("inf") if value != value else value), label


def check_enough(counts: dict[str, Counter[str | None]], names: dict[str, str], where: Path) -> None:
    """Raises Refusal unless there is something of every label to learn from and to test on."""
    train = counts[TRAIN]
    if not sum(sum(split.values()) for split in counts.values()):
        raise Refusal(f"{where}: found no rows; a corpus needs at least {HANDFUL} labelled reviews")
    if len(names) < 2:
        raise Refusal(f"{where}: found the labels {list(names)}, wanted at least two different ones")
    if train.total() < HANDFUL:
        raise Refusal(f"{where}: {train.total()} labelled train reviews, wanted at least {HANDFUL}")
    for label in names:
        if not train[label]:
            raise Refusal(f"{where}: no train review has the label {label!r}; allowed: {', '.join(names)}")
    for split in (VALIDATION, TEST):
        if not counts[split]:
            raise Refusal(f"{where}: no review landed in {split}; add reviews or raise raw.{split}")


def main(params: Path, corpus: Path, raw: Path, labels: Path, metrics: Path) -> None:
    choices = read_params(params, "raw", Params)
    source = read_source(corpus)
    path = locate(source, corpus, choices.checksum)
    store = Store(choices.salt)
    with closing(store.connection):
        store.add(reviews(source, path))
        if (name := store.repeated_id()) is not None:
            raise Refusal(f"{path}: two reviews have the id {name!r}; an id names one review")
        dropped = store.deal(choices)
        counts = store.counts()
        found = {label for split in LABELLED for label in counts[split] if label is not None}
        name_of = label_names(found, source.labels)
        check_enough(counts, name_of, path)
        names = list(dict.fromkeys(name_of.values()))  # two labels may have got one name
        numbers: dict[str | None, int | None] = {f: names.index(name) for f, name in name_of.items()}
        schema = GROUPED if source.columns and source.columns.group else SCHEMA
        with table_writer(raw, schema) as writer:
            for batch in store.batches(numbers | {None: None}, schema):
                writer.write_batch(batch)
    labelled = {split: Counter[str]() for split in LABELLED}
    for split, of_label in labelled.items():
        for label, number in counts[split].items():
            of_label[name_of[str(label)]] += number
    write_json(labels, {"labels": names})
    write_json(
        metrics,
        {
            "reviews": {split: counts[split].total() for split in SPLITS},
            "labels": labelled,
            "dropped": dropped,
        },
    )


if __name__ == "__main__":
    run(main)
