"""Reads the reviews of a corpus from a table, an archive of tables, or an archive of text files."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from stages.lib import rows
from stages.lib.command import Refusal
from stages.lib.corpora import Source, archive_members, is_archive, known_split, whole_archive


class Review(NamedTuple):
    """One review as the corpus has it. A label of None is unknown, a split of None undecided."""

    id: str
    text: str
    label: str | None
    split: str | None
    group: str | None = None  # test accuracy is reported for each
    split_by: str | None = None  # reviews with the same value go to the same split


def reviews(source: Source, path: Path) -> Iterator[Review]:
    """All reviews of a corpus in the order of its file.

    Raises Refusal on what cannot be read, naming the file and the row.
    """
    if is_archive(path.name):
        with whole_archive(path):
            yield from (_from_folders if source.folders else _from_members)(source, path)
    else:
        with path.open("rb") as file:
            table = rows.read(file, path.name, str(path), source.dialect)
            yield from _from_table(source, table, str(path), None)


def columns_of(source: Source, path: Path) -> list[str]:
    """The columns of a corpus's table, or of the first in an archive of tables; none of text files.

    Raises Refusal if the table cannot be read, has no row, or lacks a column that source.yaml names.
    """
    if source.columns is None:
        return []
    if is_archive(path.name):
        with whole_archive(path):
            for name, file in archive_members(path):
                if name in source.members.values():
                    return _first_columns(
                        source, rows.read(file, name, f"{path}: {name}", source.dialect), path
                    )
        return []
    with path.open("rb") as file:
        return _first_columns(source, rows.read(file, path.name, str(path), source.dialect), path)


def _first_columns(source: Source, table: Iterable[rows.Row], path: Path) -> list[str]:
    first = next(iter(table), None)
    if first is None:
        raise Refusal(f"{path}: found no rows; expected one per review")
    rows.require(_required(source), first, str(path))
    return list(first)


def _required(source: Source) -> list[str]:
    assert source.columns is not None, "a Source has columns or folders"
    return [name for name in source.columns.model_dump().values() if name]


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
            yield from _from_table(source, rows.read(file, name, where, source.dialect), where, split)
    if splits:
        raise Refusal(f"{path}: found no {', '.join(splits)}, which source.yaml lists under members")


def _from_table(source: Source, table: Iterable[rows.Row], where: str, split: str | None) -> Iterator[Review]:
    columns, required = source.columns, _required(source)
    assert columns is not None, "a Source has columns or folders"
    for number, row in enumerate(table, 1):
        # A later row of JSON may omit all columns but the text.
        if number == 1:
            rows.require(required, row, where)
        if columns.text not in row:
            rows.require(required[:1], row, f"{where}, review {number}")
        if type(text := row[columns.text]) is not str:
            text = rows.cell(row, columns.text, where, number)
        stated = rows.plain(row, columns.split, where, number) if columns.split else None
        name = rows.plain(row, columns.id, where, number) if columns.id else None
        label = rows.plain(row, columns.label, where, number)
        group = rows.plain(row, columns.group, where, number) if columns.group else None
        split_by = rows.plain(row, columns.split_by, where, number) if columns.split_by else None
        yield Review(
            f"{split}/{name or number}" if split else name or str(number),
            "" if text is None else str(text),
            label,
            split or (known_split(stated, source, f"{where}, review {number}") if stated else None),
            group,
            split_by,
        )
