"""The texts of the benchmarks of embeddings: the same documents for every program.

A text is written twice: in the format of the tokens stage for Firth, and as one line of words per document
for its peers.
"""

import lzma
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.stages import run_stage, write_params
from stages import TEST, UNLABELLED
from stages.lib.tables import batch_of, read_batches, table_writer
from stages.tokens import SCHEMA

DOCUMENT = 1000  # words; for a text that is not divided into documents
TOKENS, LINES = "data/tokens.parquet", "text.txt"

Documents = list[list[str]]


def cut(words: list[str], length: int = DOCUMENT) -> Documents:
    """Splits a text into documents of `length` words.

    >>> cut(["a", "b", "c"], 2)
    [['a', 'b'], ['c']]
    """
    return [words[start : start + length] for start in range(0, len(words), length)]


def from_words(path: Path) -> Iterator[Documents]:
    """A text of words separated by whitespace, plain or .xz; yields a thousand documents at a time."""
    data = path.read_bytes()
    words = (lzma.decompress(data) if path.suffix == ".xz" else data).decode("utf-8").split()
    documents = cut(words)
    for start in range(0, len(documents), 1000):
        yield documents[start : start + 1000]


def from_reviews(archive: Path) -> Iterator[Documents]:
    """The train and unlabelled reviews of the IMDb archive, read by the stages raw and tokens.

    They include the validation reviews, which the preset splits off from the train reviews.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_params(folder, archive)
        for stage in ("raw", "tokens"):
            run_stage(stage, folder, FIRTH_MIRROR=str(archive))
        for batch in read_batches(folder / TOKENS, ["split", "tokens"]):
            splits, tokens = batch["split"].to_pylist(), batch["tokens"].to_pylist()
            yield [words for split, words in zip(splits, tokens, strict=True) if split != TEST]


def write_text(groups: Iterator[Documents], folder: Path) -> tuple[int, int]:
    """Writes a text for Firth and for its peers; returns its numbers of documents and words."""
    documents = words = 0
    (folder / "data").mkdir(parents=True, exist_ok=True)
    with (
        table_writer(folder / TOKENS, SCHEMA) as writer,
        (folder / LINES).open("w", encoding="utf-8") as lines,
    ):
        for group in groups:
            names = [str(documents + n) for n in range(len(group))]
            columns = [names, [None] * len(group), [UNLABELLED] * len(group), group]
            writer.write_batch(batch_of(columns, SCHEMA))
            lines.writelines(" ".join(document) + "\n" for document in group)
            documents += len(group)
            words += sum(map(len, group))
    return documents, words
