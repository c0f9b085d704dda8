"""Writes the vectors of the last run for other programs.

    python -m tools.export --format word2vec vectors.vec

    word2vec           a text file: gensim's KeyedVectors, fastText's -pretrainedVectors
    word2vec-binary    the same as float32: gensim again, smaller and faster to read
    projector          a folder for TensorFlow's Embedding Projector: vectors.tsv, metadata.tsv and a
                       projector_config.json that names them
    safetensors        the tensor `embeddings` in a file, its words and their counts in PATH.words.json

`<pad>` is nothing and stays behind. `<unk>` comes along, as the first word: it is what a model of
ours takes for a word without a row. word2vec's formats have no white space in words: there ▁ stands
for it (`stages.lib.vectors.spelled`); metadata.tsv has \\t, \\n, \\r and \\\\ instead.

What is known of the vectors, data/embeddings.json, goes with them as PATH.json, or as facts.json in
the projector's folder. A run from before there was such a file has none, and {} is written.

An earlier export is replaced. A file beside it that no export has written is not.
"""

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from stages import PAD
from stages.lib.command import Refusal, exit_on_refusal
from stages.lib.files import atomic, write_json
from stages.lib.tables import open_table
from stages.lib.vectors import write_figures, write_word2vec

EMBEDDINGS = Path("data/embeddings.safetensors")
VOCABULARY = Path("data/vocabulary.parquet")
FACTS = Path("data/embeddings.json")

VECTORS_TSV, METADATA_TSV, CONFIG = "vectors.tsv", "metadata.tsv", "projector_config.json"
ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


class Words(NamedTuple):
    """The rows of the vocabulary without `<pad>`, with their vectors."""

    tokens: list[str]  # V - 1 of them
    counts: list[int]
    vectors: NDArray[np.float32]  # (V - 1, D)


def read_words() -> Words:
    """What the last run made. Raises Refusal where it made nothing, or its files do not match."""
    for path in (EMBEDDINGS, VOCABULARY):
        if not path.is_file():
            raise Refusal(f"{path}: no such file; run the pipeline first: dvc repro embeddings")
    try:
        with safe_open(EMBEDDINGS, "numpy") as file:
            vectors: NDArray[np.float32] = file.get_tensor("embeddings").astype(np.float32, copy=False)
    except SafetensorError as error:
        raise Refusal(f"{EMBEDDINGS}: no vectors in it ({error}); run dvc repro embeddings") from None
    with open_table(VOCABULARY) as table:
        columns = table.read(columns=["token", "count"]).to_pydict()
    if len(vectors) != len(columns["token"]):
        raise Refusal(
            f"{EMBEDDINGS} has {len(vectors)} rows, {VOCABULARY} {len(columns['token'])}; they are of "
            "different runs: run dvc repro embeddings"
        )
    return Words(columns["token"][PAD + 1 :], columns["count"][PAD + 1 :], vectors[PAD + 1 :])


def write_text(path: Path, words: Words) -> None:
    """word2vec's text, and the facts."""
    prepare(path, [beside(path, "json")])
    write_word2vec(path, words.tokens, words.vectors, binary=False)
    write_facts(beside(path, "json"))


def write_binary(path: Path, words: Words) -> None:
    """word2vec's binary, and the facts."""
    prepare(path, [beside(path, "json")])
    write_word2vec(path, words.tokens, words.vectors, binary=True)
    write_facts(beside(path, "json"))


def write_safetensors(path: Path, words: Words) -> None:
    """The tensor, the words in the order of its rows, and the facts."""
    prepare(path, [beside(path, "json"), beside(path, "words.json")])
    with atomic(path) as temporary:
        save_file({"embeddings": words.vectors}, temporary)
    write_json(beside(path, "words.json"), {"tokens": words.tokens, "counts": words.counts})
    write_facts(beside(path, "json"))


def write_projector(folder: Path, words: Words) -> None:
    """A line of numbers for each word, a line with the word and its count, and what names both."""
    if folder.exists() and not folder.is_dir():
        raise Refusal(f"{folder}: found a file; the projector's format is a folder, name another")
    config = {"metadataPath": METADATA_TSV, "tensorName": "embeddings", "tensorPath": VECTORS_TSV}
    others = [folder / name for name in (VECTORS_TSV, METADATA_TSV, "facts.json")]
    prepare(folder / CONFIG, others, ours=lambda: is_config(folder / CONFIG, config))
    # First, so that an export that was interrupted is known as one.
    write_json(folder / CONFIG, {"embeddings": [{**config, "tensorShape": list(words.vectors.shape)}]})
    with atomic(folder / VECTORS_TSV) as temporary, temporary.open("wb") as file:
        write_figures(file, words.vectors, "\t")
    with atomic(folder / METADATA_TSV) as temporary:
        rows = zip(map(escaped, words.tokens), words.counts, strict=True)
        lines = ["token\tcount", *(f"{token}\t{count}" for token, count in rows)]
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")
    write_facts(folder / "facts.json")


FORMATS: dict[str, Callable[[Path, Words], None]] = {
    "word2vec": write_text,
    "word2vec-binary": write_binary,
    "projector": write_projector,
    "safetensors": write_safetensors,
}


def escaped(token: str) -> str:
    r"""A token as a cell of metadata.tsv, on one line.

    >>> print(escaped("a\tb"), escaped("a\\tb"))
    a\tb a\\tb
    """
    return token.translate(ESCAPES)


def beside(path: Path, ending: str) -> Path:
    """The path of what goes with an exported file.

    >>> beside(Path("vectors.vec"), "json").name
    'vectors.vec.json'
    """
    return path.with_name(f"{path.name}.{ending}")


def is_config(path: Path, config: dict[str, str]) -> bool:
    """Whether a projector_config.json names what an export writes and nothing else."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))["embeddings"]
        return len(found) == 1 and {key: found[0][key] for key in config} == config
    except (ValueError, KeyError, TypeError):
        return False


def prepare(path: Path, others: Sequence[Path], ours: Callable[[], bool] = lambda: True) -> None:
    """Raises Refusal where writing `path` and the `others` with it would lose something.

    Each may be new. Where `path` is there, it was named by the user or, if `ours` says so, written by
    an export, and all of them are replaced. Where it is not, the others are not ours.
    """
    for target in (path, *others):
        if target.resolve() in (EMBEDDINGS.resolve(), VOCABULARY.resolve(), FACTS.resolve()):
            raise Refusal(f"{target}: the pipeline's own file would be lost; name another path")
        if target.is_dir():
            raise Refusal(f"{target}: found a folder, wanted the path of a file; name another")
    if path.exists() and not ours():
        raise Refusal(f"{path}: not of an earlier export, and would be lost; name another folder")
    if not path.exists() and (lost := [other for other in others if other.exists()]):
        raise Refusal(f"{lost[0]}: not of an earlier export, and would be lost; move it or name another path")


def write_facts(path: Path) -> None:
    """What the embeddings stage says of its vectors, byte for byte."""
    with atomic(path) as temporary:
        temporary.write_bytes(FACTS.read_bytes() if FACTS.is_file() else b"{}\n")


def main(arguments: Sequence[str] | None = None) -> None:
    """Raises Refusal where there is nothing to export, or no place for it."""
    parser = argparse.ArgumentParser(
        "export", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--format", choices=FORMATS, required=True)
    parser.add_argument("path", type=Path, metavar="PATH")
    options = parser.parse_args(arguments)
    words = read_words()
    FORMATS[options.format](options.path, words)
    print(f"{options.path}: {len(words.tokens):,} words of {words.vectors.shape[1]} dimensions")


if __name__ == "__main__":
    with exit_on_refusal("export"):
        main()
