"""Word vectors in the files of other programs: word2vec's text and binary, and GloVe's text.

    word2vec, text      a line `words dimensions`, then a line a word: it and its D numbers
    word2vec, binary    the same first line, then for each word: it, a space, D float32 numbers
    GloVe               word2vec's text without the first line

fastText's .vec is word2vec's text. The format is recognised by a file's content, not by its name.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np

from stages.lib.arrays import Float32
from stages.lib.command import Refusal
from stages.lib.files import atomic

BLOCK = 1 << 22  # bytes read at a time
MAX_LINE = 1 << 20  # bytes; ten thousand numbers take a quarter of it
MAX_DIGITS = 15  # of a number of words
CHUNK = 10_000  # words written at a time

Entry = tuple[str, bytes, Float32]  # the place in the file, the word, its vector (D,)

BOM = b"\xef\xbb\xbf"
UNPACK = "unpack it first, and name the file inside"
OTHERS = {
    (793712314).to_bytes(4, "little"): "a whole model of fastText; name the .vec file that fastText "
    "writes beside it, or export one",
    b"\x1f\x8b": f"a gzip archive; {UNPACK}",
    b"PK\x03\x04": f"a zip archive; {UNPACK}",
    b"BZh": f"a bzip2 archive; {UNPACK}",
    b"\xfd7zXZ": f"an xz archive; {UNPACK}",
}
CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1f]")  # not in any text, but in binary numbers
SPACE = re.compile(r"\s")
SPACE_MARK = "\u2581"  # ▁, as in SentencePiece


class Header(NamedTuple):
    """What the beginning of a file determines."""

    binary: bool
    words: int | None  # as stated in the first line, if there is such a line
    start: int  # offset of the first word in bytes


def read_vectors(path: Path, number: Mapping[str, int], table: Float32) -> int:
    """Reads the vectors of some words into `table` (V, D) and returns the number of words read.

    `number` maps each word to its row; the rows of words that are not in the file are unchanged. A word
    must match byte for byte, or as `spelled` writes it, and its first vector is used if there are several.
    The file is read as a stream. The numbers of other words are counted and not parsed.

    Raises Refusal if the file has another format or another number of dimensions than the table, if a line
    has too few or too many numbers, if a number is invalid or not finite, and if the number of words
    differs from that in the first line. The table may be partly filled then.
    """
    rows = {word.encode(): row for word, row in number.items()}
    for spelling, row in zip(spelled(list(number)), number.values(), strict=True):
        rows.setdefault(spelling.encode(), row)
    is_read = np.zeros(len(table), bool)  # (V,)
    with path.open("rb") as file:
        header = recognise(file, path, table.shape[1])
        file.seek(header.start)
        read = _binary if header.binary else _text
        for where, word, vector in read(file, path, header, table.shape[1], rows):
            row = rows[word]
            if is_read[row]:
                continue
            if not np.isfinite(vector).all():
                raise Refusal(
                    f"{where}: {_readable(word)!r} has a number that is not finite in float32; "
                    "leave that word out of the file"
                )
            table[row] = vector
            is_read[row] = True
    return int(is_read.sum())


def recognise(file: IO[bytes], path: Path, dim: int) -> Header:
    """The format of an open file of vectors. Raises Refusal unless they have `dim` dimensions.

    A first line of two integers is taken as word2vec's, although it could be GloVe's word `5` with one
    dimension.
    """
    head = file.read(MAX_LINE)
    if not head.strip():
        raise Refusal(f"{path}: the file is empty; each line must have a word and its numbers")
    for magic, kind in OTHERS.items():
        if head.startswith(magic):
            raise Refusal(f"{path}: found {kind}")
    skipped = len(BOM) if head.startswith(BOM) else 0
    line, _, rest = head[skipped:].partition(b"\n")
    cells = line.split()
    if len(cells) == 2 and all(map(bytes.isdigit, cells)):
        if max(map(len, cells)) > MAX_DIGITS:
            raise Refusal(
                f"{path}, line 1: found a number of {max(map(len, cells)):,} digits, expected the numbers of "
                "words and dimensions; the file is damaged, download it again"
            )
        words, dimensions = map(int, cells)
        _refuse_other_dimensions(path, dimensions, dim)
        return Header(_looks_binary(rest, dim), words, skipped + len(line) + 1)
    numbers = 0
    while numbers + 1 < len(cells) and _is_number(cells[-1 - numbers]):
        numbers += 1
    if not numbers:
        raise Refusal(
            f"{path}, line 1: found {_readable(line[:40])!r}; supported are vectors of word2vec (text "
            "or binary), GloVe and fastText (.vec): each word followed by its numbers"
        )
    if len(cells) - 1 != dim:  # otherwise the invalid cell is reported with its line
        _refuse_other_dimensions(path, numbers, dim)
    return Header(False, None, skipped)


def _refuse_other_dimensions(path: Path, dimensions: int, dim: int) -> None:
    if dimensions != dim:
        raise Refusal(
            f"{path}: its vectors have {dimensions} dimensions, but embeddings.dim is {dim}; set "
            f"embeddings.dim: {dimensions}, or name a file with {dim}"
        )


def _looks_binary(rest: bytes, dim: int) -> bool:
    """Whether the part after the first line is float32 and not text."""
    cells = rest.partition(b"\n")[0].split()
    if len(cells) > dim and all(map(_is_number, cells[-dim:])):
        return False
    return bool(CONTROL.search(rest, 0, 4 * dim + 4096))


def _is_number(cell: bytes) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _readable(word: bytes) -> str:
    return word.decode("utf-8", "replace")


def _lines(file: IO[bytes], path: Path) -> Iterator[list[bytes]]:
    """The lines of a file, a few thousand at a time."""
    rest = b""
    while block := file.read(BLOCK):
        lines = (rest + block).split(b"\n")
        rest = lines.pop()
        if len(rest) > MAX_LINE:
            raise Refusal(
                f"{path}: a line has more than {MAX_LINE:,} bytes, so this is not a file of vectors"
            )
        yield lines
    if rest:
        yield [rest]


def _text(
    file: IO[bytes], path: Path, header: Header, dim: int, rows: Mapping[bytes, int]
) -> Iterator[Entry]:
    """The entries of the words in `rows`. A word may contain spaces: the last D cells are the numbers."""
    number = 0 if header.words is None else 1
    words = 0
    for lines in _lines(file, path):
        for line in lines:
            number += 1
            line = line.rstrip()
            if line.count(b" ") == dim:
                word = line[: line.find(b" ")]
            elif line:
                word, *numbers = line.rsplit(None, dim)
                # A word with spaces does not end in a number; such a line has too many numbers.
                if len(numbers) < dim or any(map(_is_number, word.split()[1:][-1:])):
                    raise Refusal(
                        f"{path}, line {number}: found {len(line.split()) - 1} numbers after the word "
                        f"{_readable(line.split()[0])!r}, expected {dim}; the file is damaged or "
                        "truncated, download it again"
                    )
            else:
                continue
            words += 1
            if word in rows:
                where = f"{path}, line {number}"
                yield where, word, _numbers(line.split()[-dim:], where, word)
    if header.words is not None and words != header.words:
        _refuse_count(path, header.words, str(words))


def _numbers(cells: list[bytes], where: str, word: bytes) -> Float32:
    """The vector (D,) of a line. A number too large for float32 becomes infinite."""
    try:
        with np.errstate(over="ignore"):
            return np.array([float(cell) for cell in cells]).astype(np.float32)
    except ValueError:
        invalid = next(cell for cell in cells if not _is_number(cell))
        raise Refusal(
            f"{where}: {_readable(word)!r}: found {_readable(invalid)[:40]!r}, expected a number such as "
            "-0.25; the file is damaged, download it again"
        ) from None


def _binary(
    file: IO[bytes], path: Path, header: Header, dim: int, rows: Mapping[bytes, int]
) -> Iterator[Entry]:
    """The entries of the words in `rows`. word2vec ends each vector with a newline, gensim does not."""
    length = 4 * dim
    words = header.words or 0
    data, at = b"", 0
    for number in range(words):
        while (space := data.find(b" ", at)) < 0 or len(data) - space <= length:
            block = file.read(BLOCK)
            if not block:
                _refuse_count(path, words, str(number))
            data, at = data[at:] + block, 0
            if space < 0 and len(data) - len(block) > MAX_LINE:
                raise Refusal(
                    f"{path}: word {number + 1} has more than {MAX_LINE:,} bytes; the file is damaged, "
                    "download it again"
                )
        word = data[at:space].lstrip(b"\n")
        at = space + 1 + length
        if word in rows:
            yield f"{path}, word {number + 1}", word, np.frombuffer(data, "<f4", dim, space + 1)
    if (data[at:] + file.read(BLOCK)).strip():
        _refuse_count(path, words, "more")


def _refuse_count(path: Path, stated: int, count: str) -> None:
    raise Refusal(
        f"{path}: its first line states {stated} words, found {count}; the file is damaged or truncated, "
        "download it again"
    )


def spelled(words: Sequence[str]) -> list[str]:
    """The words as these formats can represent them: without whitespace, and distinct.

    Each whitespace character becomes ▁, and so does the empty word. If the result is another word, ▁ is
    appended until it is not. All other words are unchanged.

    >>> spelled(["good", " ", "▁", "a b"])
    ['good', '▁▁', '▁', 'a▁b']
    """
    taken = {word for word in words if word and not SPACE.search(word)}
    spellings = []
    for word in words:
        spelling = word
        if not word or SPACE.search(word):
            spelling = SPACE.sub(SPACE_MARK, word) or SPACE_MARK
            while spelling in taken:
                spelling += SPACE_MARK
            taken.add(spelling)
        spellings.append(spelling)
    return spellings


def write_word2vec(path: Path, words: Sequence[str], vectors: Float32, binary: bool) -> None:
    """Writes V words and their vectors (V, D) in word2vec's format, as text or as binary.

    Words are spelled by `spelled`. Numbers in text are the shortest that round to the same float32.
    gensim's `KeyedVectors.load_word2vec_format(path, binary=...)` reads both, and fastText's
    `-pretrainedVectors` the text. Raises ValueError if the numbers of words and vectors differ.
    """
    if len(words) != len(vectors):
        raise ValueError(f"{len(words)} words, but {len(vectors)} vectors")
    spellings = spelled(words)
    with atomic(path) as temporary, temporary.open("wb") as file:
        file.write(f"{len(vectors)} {vectors.shape[1]}\n".encode())
        if binary:
            for spelling, vector in zip(spellings, vectors.astype("<f4"), strict=True):
                file.write(spelling.encode() + b" " + vector.tobytes() + b"\n")
        else:
            write_rows(file, vectors, " ", spellings)


def write_rows(file: IO[bytes], vectors: Float32, separator: str, words: Iterable[str] | None = None) -> None:
    """Writes each of the vectors (V, D) as a line of numbers, after its word if there are words."""
    import polars as pl  # imported here because reading does not need it

    names = None if words is None else pl.Series("word", list(words))
    for start in range(0, len(vectors), CHUNK):
        part = pl.from_numpy(vectors[start : start + CHUNK])
        if names is not None:
            part = part.insert_column(0, names[start : start + CHUNK])
        part.write_csv(file, include_header=False, separator=separator, quote_style="never")
