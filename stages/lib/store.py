"""The reviews of a corpus in a temporary database on disk: sorted, counted and compared in little memory."""

import os
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import chain, islice

import pyarrow as pa

from stages import SPLITS, TEST, TRAIN, UNLABELLED, VALIDATION
from stages.lib.command import Refusal
from stages.lib.tables import BATCH, batch_of

INSERTED = 140  # rows of an INSERT: old versions of SQLite allow 999 values, and a row has 7
REPEATED = "text_key IN (SELECT text_key FROM repeated)"  # of a text that occurs more than once


@contextmanager
def disk_checked() -> Iterator[None]:
    """Raises Refusal if the database inside the block cannot be written: its folder is full or missing."""
    try:
        yield
    except sqlite3.OperationalError as error:
        folder = os.environ.get("SQLITE_TMPDIR") or tempfile.gettempdir()
        raise Refusal(
            f"the temporary database in {folder}: {error}; it takes as much space as the corpus: free some, "
            "or set TMPDIR to a folder on another disk"
        ) from None


def split_of_key(fractions: Mapping[str, float]) -> str:
    """The split of the column `split_key` in SQL, with the fractions as parameters.

    Reference: `stages.raw.split_for`. Test: tests/test_raw.py,
    test_splits_in_sql_equal_those_of_the_definition. It is faster than a call of Python for each row.

    >>> split_of_key({"test": 0.2})
    "CASE WHEN split_key < :test THEN 'test' ELSE 'train' END"
    """
    key, cases = "split_key", ""
    for split in fractions:
        cases += f"WHEN {key} < :{split} THEN '{split}' "
        key += f" - :{split}"
    return f"CASE {cases}ELSE '{TRAIN}' END" if cases else f"'{TRAIN}'"


# A review in the database: id, text, label, split (train: undecided), group, text key (equal texts have equal
# keys) and split key (reviews with equal keys go to the same split). A NamedTuple would take twice the time.
Row = tuple[str, str, str | None, str, str | None, float, float]


class Store:
    """A SQLite database without a name, which SQLite deletes when it is closed, even by a crash."""

    def __init__(self) -> None:
        self.connection = sqlite3.connect("")
        self.connection.execute("PRAGMA page_size = 16384")  # fewer pages to search than with 4096
        self.connection.execute("PRAGMA journal_mode = OFF")
        self.connection.execute("PRAGMA synchronous = OFF")
        self.connection.execute(
            # The text comes last: SQLite reads a row up to the column it needs.
            "CREATE TABLE review (position INTEGER PRIMARY KEY, id TEXT, label TEXT, split TEXT,"
            ' "group" TEXT, text_key REAL, split_key REAL, text TEXT)'
        )

    def add(self, rows: Iterable[Row]) -> None:
        """Adds reviews, many with each statement: one by one would take half as long again."""
        unwritten = iter(rows)
        while part := list(islice(unwritten, INSERTED)):
            values = ", ".join(["(?, ?, ?, ?, ?, ?, ?)"] * len(part))
            self.connection.execute(
                f'INSERT INTO review (id, text, label, split, "group", text_key, split_key) VALUES {values}',
                list(chain.from_iterable(part)),
            )

    def repeated_id(self) -> str | None:
        """An id that two reviews have, if there is one."""
        ids = self.connection.execute("SELECT id FROM review GROUP BY id HAVING count(*) > 1 LIMIT 1")
        return next((name for (name,) in ids), None)

    def official_splits(self) -> set[str]:
        """The splits that the corpus brings."""
        return {split for (split,) in self.connection.execute("SELECT DISTINCT split FROM review")}

    def drop_unlabelled(self) -> int:
        """Drops reviews of validation and test that have no label; returns how many."""
        return self.connection.execute(
            f"DELETE FROM review WHERE label IS NULL AND split IN ('{VALIDATION}', '{TEST}')"
        ).rowcount

    def assign_splits(self, fractions: Mapping[str, float]) -> dict[str, int]:
        """Gives every training review the split of its key; returns how many were dropped.

        `fractions` are those of the splits that the corpus does not bring. A training or unlabelled text
        that is also in validation or test is dropped, and so is a validation text that is also in test.
        """
        database = self.connection
        database.execute("CREATE INDEX by_text ON review (text_key)")
        # Most texts occur once. The queries below look at the rows of the others alone.
        database.execute(
            "CREATE TABLE repeated AS SELECT text_key FROM review GROUP BY text_key HAVING count(*) > 1"
        )
        # First the training texts that the corpus itself holds out, before training data is split further.
        dropped = {TRAIN: self._drop(TRAIN, {VALIDATION, TEST})}
        split = split_of_key(fractions)
        database.execute(
            f"UPDATE review SET split = {split} WHERE split = '{TRAIN}' AND {split} != '{TRAIN}'", fractions
        )
        # Equal texts with different split keys may be in two splits now.
        if VALIDATION in fractions:
            dropped[TRAIN] += self._drop(VALIDATION, {TEST})
        dropped[TRAIN] += self._drop(TRAIN, {VALIDATION, TEST})
        dropped[UNLABELLED] = self._drop(UNLABELLED, {VALIDATION, TEST})
        return dropped

    def _drop(self, split: str, others: set[str]) -> int:
        """Drops the texts of a split that are also in other splits."""
        listed = ", ".join(f"'{other}'" for other in sorted(others))
        return self.connection.execute(
            f"DELETE FROM review WHERE {REPEATED} AND split = ? AND EXISTS"
            " (SELECT 1 FROM review AS other WHERE other.text_key = review.text_key"
            f" AND other.text = review.text AND other.split IN ({listed}))",
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

    def shared_texts(self, one: str, other: str) -> int:
        """How many distinct texts are in both of two splits."""
        return self._number(
            f"SELECT count(*) FROM (SELECT text_key FROM review WHERE {REPEATED} AND split = ?"
            f" INTERSECT SELECT text_key FROM review WHERE {REPEATED} AND split = ?)",
            one,
            other,
        )

    def repeated_texts(self) -> int:
        """How many reviews repeat the text of another one in their split."""
        return self._number(
            f"SELECT coalesce(sum(rows - 1), 0) FROM (SELECT count(*) AS rows FROM review WHERE {REPEATED}"
            " GROUP BY split, text_key HAVING rows > 1)"
        )

    def contradicted_texts(self) -> int:
        """How many distinct texts have more than one label."""
        return self._number(
            f"SELECT count(*) FROM (SELECT text_key FROM review WHERE {REPEATED} AND label IS NOT NULL"
            " GROUP BY text_key HAVING count(DISTINCT label) > 1)"
        )

    def _number(self, query: str, *values: object) -> int:
        number: int = self.connection.execute(query, values).fetchone()[0]
        return number

    def batches(
        self, label_numbers: dict[str | None, int | None], schema: pa.Schema
    ) -> Iterator[pa.RecordBatch]:
        """All reviews, in the columns id, text, label, split and, if `schema` has it, group.

        Ordered by split, then by id if it is a path, else as in the corpus.
        """
        paths = self._number("SELECT EXISTS (SELECT 1 FROM review WHERE instr(id, '/'))")
        columns = ", ".join(f'"{name}"' for name in schema.names)
        # One pass for each split is faster than sorting all texts.
        order = "CASE WHEN instr(id, '/') THEN id END, position" if paths else "position"
        reviews = chain.from_iterable(
            self.connection.execute(
                f"SELECT {columns} FROM review WHERE split = ? ORDER BY {order}",
                (split,),
            )
            for split in SPLITS
        )
        while batch := list(islice(reviews, BATCH)):
            ids, texts, labels, *others = zip(*batch, strict=True)
            yield batch_of([ids, texts, [label_numbers[label] for label in labels], *others], schema)
