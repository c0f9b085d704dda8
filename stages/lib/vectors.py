"""Word vectors in the files of other programs: word2vec's text and binary, and GloVe's text.

    word2vec, text      a line `words dimensions`, then a line a word: it and its D numbers
    word2vec, binary    the same first line, then for each word: it, a space, D float32 numbers
    GloVe               word2vec's text without the first line

fastText's .vec is word2vec's text. A file's content tells which of them it is, its name does not.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stages.lib.command import Refusal
from stages.lib.files import atomic

BLOCK = 1 << 22  # bytes read at a time
LONGEST = 1 << 20  # bytes of a line: ten thousand numbers take a quarter of it
CHUNK = 10_000  # words written at a time

Vectors = NDArray[np.float32]
Found = tuple[str, bytes, Vectors]  # where a word stands, the word, its vector (D,)

BOM = b"\xef\xbb\xbf"
UNPACK = "unpack it first, and name the file that was in it"
OTHERS = {
    (793712314).to_bytes(4, "little"): "a whole model of fastText; name the .vec file that fastText "
    "writes beside it, or export one",
    b"\x1f\x8b": f"a gzip archive; {UNPACK}",
    b"PK\x03\x04": f"a zip archive; {UNPACK}",
    b"BZh": f"a bzip2 archive; {UNPACK}",
    b"\xfd7zXZ": f"an xz archive; {UNPACK}",
}
CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1f]")  # what no text has, and numbers in binary do
SPACE = re.compile(r"\s")
STAND_IN = "\u2581"  # ▁, which subwords have for a space, too


class Form(NamedTuple):
    """What the beginning of a file tells."""

    binary: bool
    words: int | None  # that the first line announces, where there is such a line
    start: int  # the byte where the first word begins


def read_vectors(path: Path, wanted: Mapping[str, int], table: Vectors) -> int:
    """Puts the vectors of wanted words into `table` (V, D) and returns how many words were found.

    `wanted` says which row each word has; the rows of words that are not in the file stay as they
    are. A word must be spelt the same, byte for byte, or as `spelled` writes it, and the first
    of several vectors of it counts. The file is read as a stream. Words that are not wanted are
    passed over: their numbers are counted and not read.

    Raises Refusal on a file in another format or with another number of dimensions than the table,
    on a line with too few or too many numbers, on a number that is none or not finite, and where
    the file holds more or fewer words than it says. The table may be partly filled then.
    """
    rows = {word.encode(): row for word, row in wanted.items()}
    for spelling, row in zip(spelled(list(wanted)), wanted.values(), strict=True):
        rows.setdefault(spelling.encode(), row)
    found = np.zeros(len(table), bool)  # (V,)
    with path.open("rb") as file:
        form = recognise(file, path, table.shape[1])
        file.seek(form.start)
        read = _binary if form.binary else _text
        for where, word, vector in read(file, path, form, table.shape[1], rows):
            row = rows[word]
            if found[row]:
                continue
            if not np.isfinite(vector).all():
                raise Refusal(
                    f"{where}: {_readable(word)!r} has a number that is not finite in float32; "
                    "leave that word out of the file"
                )
            table[row] = vector
            found[row] = True
    return int(found.sum())


def recognise(file: IO[bytes], path: Path, dim: int) -> Form:
    """The format of an open file of vectors. Raises Refusal unless they have `dim` dimensions.

    One doubt is left: a first line of two whole numbers is taken for the first of word2vec, though
    it could be GloVe's word `5` with one dimension.
    """
    head = file.read(LONGEST)
    if not head.strip():
        raise Refusal(f"{path}: the file is empty; wanted a line for each word: it and its numbers")
    for magic, kind in OTHERS.items():
        if head.startswith(magic):
            raise Refusal(f"{path}: found {kind}")
    skipped = len(BOM) if head.startswith(BOM) else 0
    line, _, rest = head[skipped:].partition(b"\n")
    cells = line.split()
    if len(cells) == 2 and all(map(bytes.isdigit, cells)):
        words, dimensions = map(int, cells)
        _refuse_other_dimensions(path, dimensions, dim)
        return Form(_looks_binary(rest, dim), words, skipped + len(line) + 1)
    numbers = 0
    while numbers + 1 < len(cells) and _is_number(cells[-1 - numbers]):
        numbers += 1
    if not numbers:
        raise Refusal(
            f"{path}, line 1: found {_readable(line[:40])!r}; wanted the vectors of word2vec (text or "
            "binary), GloVe or fastText (.vec): each word with its numbers behind it"
        )
    if len(cells) - 1 != dim:  # else a cell that is no number is told with its line
        _refuse_other_dimensions(path, numbers, dim)
    return Form(False, None, skipped)


def _refuse_other_dimensions(path: Path, found: int, dim: int) -> None:
    if found != dim:
        raise Refusal(
            f"{path}: its vectors have {found} dimensions, but embeddings.dim is {dim}; set "
            f"embeddings.dim: {found}, or name a file with {dim}"
        )


def _looks_binary(rest: bytes, dim: int) -> bool:
    """Whether what follows the first line is float32 rather than figures."""
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
        if len(rest) > LONGEST:
            raise Refusal(f"{path}: a line of more than {LONGEST:,} bytes; this is no file of vectors")
        yield lines
    if rest:
        yield [rest]


def _text(file: IO[bytes], path: Path, form: Form, dim: int, rows: Mapping[bytes, int]) -> Iterator[Found]:
    """The wanted words of a text file. A word may have spaces in it: the last D cells are numbers."""
    number = 0 if form.words is None else 1
    words = 0
    for lines in _lines(file, path):
        for line in lines:
            number += 1
            line = line.rstrip()
            if line.count(b" ") == dim:
                word = line[: line.find(b" ")]
            elif line:
                word, *numbers = line.rsplit(None, dim)
                # More numbers than D in a row are no word with spaces.
                if len(numbers) < dim or any(map(_is_number, word.split()[1:][-1:])):
                    raise Refusal(
                        f"{path}, line {number}: found {len(line.split()) - 1} numbers after the word "
                        f"{_readable(line.split()[0])!r}, wanted {dim}; the file is damaged or cut short, "
                        "fetch it anew"
                    )
            else:
                continue
            words += 1
            if word in rows:
                where = f"{path}, line {number}"
                yield where, word, _numbers(line.split()[-dim:], where, word)
    if form.words is not None and words != form.words:
        _refuse_count(path, form.words, str(words))


def _numbers(cells: list[bytes], where: str, word: bytes) -> Vectors:
    """The vector (D,) that stands in a line. What float32 cannot hold is infinite."""
    try:
        with np.errstate(over="ignore"):
            return np.array([float(cell) for cell in cells]).astype(np.float32)
    except ValueError:
        wrong = next(cell for cell in cells if not _is_number(cell))
        raise Refusal(
            f"{where}: {_readable(word)!r}: found {_readable(wrong)[:40]!r}, wanted a number such as -0.25; "
            "the file is damaged, fetch it anew"
        ) from None


def _binary(file: IO[bytes], path: Path, form: Form, dim: int, rows: Mapping[bytes, int]) -> Iterator[Found]:
    """The wanted words of a binary file. word2vec ends each vector with a newline, gensim does not."""
    length = 4 * dim
    words = form.words or 0
    data, at = b"", 0
    for number in range(words):
        while (space := data.find(b" ", at)) < 0 or len(data) - space <= length:
            block = file.read(BLOCK)
            if not block:
                _refuse_count(path, words, str(number))
            data, at = data[at:] + block, 0
            if space < 0 and len(data) - len(block) > LONGEST:
                raise Refusal(
                    f"{path}: word {number + 1} has more than {LONGEST:,} bytes; the file is damaged, fetch "
                    "it anew"
                )
        word = data[at:space].lstrip(b"\n")
        at = space + 1 + length
        if word in rows:
            yield f"{path}, word {number + 1}", word, np.frombuffer(data, "<f4", dim, space + 1)
    if (data[at:] + file.read(BLOCK)).strip():
        _refuse_count(path, words, "more")


def _refuse_count(path: Path, announced: int, found: str) -> None:
    raise Refusal(
        f"{path}: its first line announces {announced} words, found {found}; the file is damaged or cut "
        "short, fetch it anew"
    )


def spelled(words: Sequence[str]) -> list[str]:
    """The words as these formats can hold them: without white space, and no two alike.

    A character of white space becomes ▁, as in subwords, and so does the word of no characters. Where
    another word is spelt like that already, ▁ is added until none is. All else stays as it is.

    >>> spelled(["good", " ", "▁", "a b"])
    ['good', '▁▁', '▁', 'a▁b']
    """
    taken = {word for word in words if word and not SPACE.search(word)}
    forms = []
    for word in words:
        form = word
        if not word or SPACE.search(word):
            form = SPACE.sub(STAND_IN, word) or STAND_IN
            while form in taken:
                form += STAND_IN
            taken.add(form)
        forms.append(form)
    return forms


def write_word2vec(path: Path, words: Sequence[str], vectors: Vectors, binary: bool) -> None:
    """Writes vectors (V, D) of as many words as word2vec does, as text or as binary.

    Words are written as `spelled` has them. Figures in text are the shortest that give the same
    float32 again. gensim's `KeyedVectors.load_word2vec_format(path, binary=...)` reads both;
    fastText's `-pretrainedVectors` reads the text. Raises ValueError on another number of words.
    """
    if len(words) != len(vectors):
        raise ValueError(f"{len(words)} words, but {len(vectors)} vectors")
    forms = spelled(words)
    with atomic(path) as temporary, temporary.open("wb") as file:
        file.write(f"{len(vectors)} {vectors.shape[1]}\n".encode())
        if binary:
            for form, vector in zip(forms, vectors.astype("<f4"), strict=True):
                file.write(form.encode() + b" " + vector.tobytes() + b"\n")
        else:
            write_figures(file, vectors, " ", forms)


def write_figures(
    file: IO[bytes], vectors: Vectors, separator: str, words: Iterable[str] | None = None
) -> None:
    """Writes a line of figures for each of the vectors (V, D), its word before it if there are words."""
    import polars as pl  # here, since who only reads need not wait for it

    names = None if words is None else pl.Series("word", list(words))
    for start in range(0, len(vectors), CHUNK):
        part = pl.from_numpy(vectors[start : start + CHUNK])
        if names is not None:
            part = part.insert_column(0, names[start : start + CHUNK])
        part.write_csv(file, include_header=False, separator=separator, quote_style="never")
