"""What a table looks like: its encoding and separator, and which columns are text, label, split and id.

Nothing is asked that the file itself can tell. Every guess is printed by `tools.new` and can be overruled.
"""

import codecs
import csv
import gzip
import io
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from statistics import fmean
from typing import IO, NamedTuple, cast

from stages import TEST, TRAIN, UNLABELLED, VALIDATION
from stages.lib.command import Refusal
from stages.lib.inspection import NUMBER
from stages.lib.params import nearest
from stages.lib.rows import Row, text_of, whole_gzip

SEPARATORS = (",", ";", "\t", "|")
ROWS = 20_000  # that are looked at
CHUNK = 1 << 20
MOST_LABELS = 100  # different values of a column that is taken for the label without its name
LABEL_LENGTH = 60  # characters; longer values are no labels
TEXT_NAMES = ("text", "review", "body", "comment", "content", "sentence", "message", "tweet", "document")
LABEL_NAMES = (
    "label", "labels", "sentiment", "stars", "star", "rating", "score", "class", "category", "target",
    "polarity", "emotion", "topic",
)  # fmt: skip
SPLITS = {
    TRAIN: ("train", "training"),
    VALIDATION: ("validation", "valid", "val", "dev", "development"),
    TEST: ("test", "testing", "eval"),
    UNLABELLED: ("unlabelled", "unlabeled", "unsup", "unsupervised"),
}


class Columns(NamedTuple):
    """The columns of a table by what they are for."""

    text: str
    label: str
    split: str | None = None
    id: str | None = None
    group: str | None = None
    others: tuple[str, ...] = ()  # that could be the label too


def open_unpacked(path: Path) -> IO[bytes]:
    """A file, unpacked while it is read if its name ends in .gz."""
    return cast(IO[bytes], gzip.open(path)) if path.name.lower().endswith(".gz") else path.open("rb")


def encoding_of(path: Path) -> str:
    """The encoding of a text file: by its first bytes, else UTF-8 if all of it is, else cp1252.

    Every file is text in some single-byte encoding, so cp1252 (Western Europe) is a guess.
    """
    with whole_gzip(path.name), open_unpacked(path) as file:
        start = file.read(4)
        if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            return "utf-16"
        if start[1:2] == b"\0" or start[:1] == b"\0":
            return "utf-16-le" if start[1:2] == b"\0" else "utf-16-be"
        decoder = codecs.getincrementaldecoder("utf-8")()
        try:
            decoder.decode(start)
            while chunk := file.read(CHUNK):
                decoder.decode(chunk)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return "cp1252" if _decodes(path, "cp1252") else "latin-1"
    return "utf-8"


def _decodes(path: Path, encoding: str) -> bool:
    with open_unpacked(path) as file:
        try:
            for line in file:
                line.decode(encoding)
        except UnicodeDecodeError:
            return False
    return True


def separator_of(path: Path, encoding: str) -> str:
    """The separator with which most rows have as many cells as the header, and the header at least two.

    Raises Refusal if there is none.
    """
    with whole_gzip(path.name), open_unpacked(path) as file:
        text = io.TextIOWrapper(file, "utf-8-sig" if encoding == "utf-8" else encoding, newline="")
        try:
            lines = list(islice(text, 500))
        except UnicodeError as error:
            raise Refusal(f"{path}: not {encoding}, though it begins so: {error}; save it as UTF-8") from None
    if not any(line.strip() for line in lines):
        raise Refusal(f"{path}: the file is empty; expected a header line and one line per review")
    scores = {separator: _agreement(lines, separator) for separator in SEPARATORS}
    best = max(SEPARATORS, key=lambda separator: scores[separator])
    if scores[best] == (0, 0):
        raise Refusal(
            f"{path}: found one column, {lines[0].strip()!r:.60}; expected at least a text and a label, "
            "separated by commas, semicolons, tabs or |"
        )
    return best


def _agreement(lines: Sequence[str], separator: str) -> tuple[float, int]:
    """The share of rows with as many cells as the header, and their number; zeros for a single cell."""
    csv.field_size_limit(sys.maxsize)  # a review may be longer than Python's limit of 131,072 characters
    try:
        table = [cells for cells in csv.reader(lines, delimiter=separator) if cells]
    except csv.Error:
        return 0, 0
    width = len(table[0]) if table else 0
    if width < 2:
        return 0, 0
    return sum(len(cells) == width for cells in table) / len(table), width


def columns_of(rows: Iterable[Row], named: Mapping[str, str | None], where: str) -> Columns:
    """Which columns are text, label, split, id and group: as `named`, else by their values.

    Raises Refusal if one that is named does not exist, or none could be the text or the label.
    """
    sample = list(islice(rows, ROWS))
    if not sample:
        raise Refusal(f"{where}: found no rows below the header; expected one per review")
    header = list(sample[0])
    for name in named.values():
        if name is not None and name not in header:
            raise Refusal(f"{where}: no column {name!r}{nearest(name, header, shown=repr)}")
    values = {
        name: [value for row in sample if (value := text_of(row.get(name))) is not None] for name in header
    }
    values = {name: column for name, column in values.items() if column}
    free = [name for name in values if name not in named.values()]
    split = named.get("split") or next((name for name in free if splits_in(values[name])), None)
    free = [name for name in free if name != split]
    text = named.get("text") or text_among({name: values[name] for name in free}, where)
    free = [name for name in free if name != text]
    labels = labels_among({name: values[name] for name in free})
    label = named.get("label") or next(iter(labels), None)
    if label is None:
        raise Refusal(
            f"{where}: no column has few different values, so none looks like a label; name one by --label, "
            f"out of {', '.join(map(repr, header))}"
        )
    refuse_missing_header(sample[0], text, label, values, where)
    ids = [name for name in free if name != label and re.fullmatch(r"(?i)(.*[_ ])?u?id", name)]
    is_whole = len(sample) < ROWS
    unique = (name for name in ids if is_whole and len(set(values[name])) == len(sample))
    id_column = named.get("id") or next(unique, None)
    is_sure = named.get("label") or named_like(label, LABEL_NAMES)
    others = () if is_sure else tuple(labels[1:])
    return Columns(text, label, split, id_column, named.get("group"), others)


def splits_in(values: Sequence[str]) -> dict[str, str]:
    """The split that each value of a column stands for, or nothing if it is no column of splits.

    >>> splits_in(["train", "dev", "dev"]), splits_in(["train", "bus"])
    ({'train': 'train', 'dev': 'validation'}, {})
    """
    distinct = list(dict.fromkeys(values))
    known = {
        value: split for value in distinct for split, names in SPLITS.items() if value.casefold() in names
    }
    return known if len(distinct) >= 2 and len(known) == len(distinct) else {}


def named_like(name: str, names: Sequence[str]) -> bool:
    """Whether a column is called one of these, or ends so: `Review Text`, `star_rating`."""
    words = re.findall(r"[^\W_]+", name.casefold())
    return bool(words) and (words[-1] in names or (words == ["y"] and "label" in names))


def text_among(values: Mapping[str, Sequence[str]], where: str) -> str:
    """The column with the longest values, preferably one that is called so."""
    lengths = {name: fmean(len(value) for value in column) for name, column in values.items()}
    words = {name: n for name, n in lengths.items() if not all(NUMBER.fullmatch(v) for v in values[name])}
    if not words:
        raise Refusal(f"{where}: no column has text; name one by --text")
    longest = max(words, key=lambda name: words[name])
    called = [name for name in words if named_like(name, TEXT_NAMES) and words[name] > words[longest] / 4]
    return max(called or [longest], key=lambda name: words[name])


def labels_among(values: Mapping[str, Sequence[str]]) -> list[str]:
    """The columns that could be the label, the likeliest first: those called so, then the fewest values."""
    likely = []
    for name, column in values.items():
        distinct = set(column)
        called = named_like(name, LABEL_NAMES)
        is_short_list = len(distinct) <= min(MOST_LABELS, max(2, len(column) // 4)) or called
        if (len(distinct) >= 2 or called) and is_short_list and max(map(len, distinct)) <= LABEL_LENGTH:
            likely.append((not called, len(distinct), name))
    return [name for *_, name in sorted(likely)]


def refuse_missing_header(
    first: Row, text: str, label: str, values: Mapping[str, Sequence[str]], where: str
) -> None:
    """Raises Refusal if the names of the columns are themselves a review and its label."""
    if label in set(values[label]) and len(text.split()) > 2:
        raise Refusal(
            f"{where}: the first line is a review and no header; write the names of the columns above it, "
            f"such as {'label,text' if next(iter(first)) == label else 'text,label'}"
        )
