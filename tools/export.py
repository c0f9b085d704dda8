"""Exports the vectors of the last run to formats of other programs.

    python -m tools.export --format word2vec vectors.vec

    word2vec           a text file: gensim's KeyedVectors, fastText's -pretrainedVectors
    word2vec-binary    the same as float32: gensim again, smaller and faster to read
    projector          a folder for TensorFlow's Embedding Projector: vectors.tsv, metadata.tsv and a
                       projector_config.json that names them
    safetensors        the tensor `embeddings` in a file, its words and their counts in PATH.words.json

`<pad>` is left out. `<unk>` is the first word; its vector represents words that are not in the vocabulary.
Words in word2vec's formats cannot contain whitespace, which becomes ▁ (`stages.lib.vectors.spelled`); in
metadata.tsv it is escaped as \\t, \\n, \\r and \\\\.

The parameters and counts in data/embeddings.json are copied to PATH.json, or to facts.json in the
projector's folder; {} is written if the file does not exist.

An earlier export is replaced. Other files are never overwritten.
"""

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from stages import PAD
from stages.lib.arrays import Float32
from stages.lib.command import Refusal, exit_on_refusal
from stages.lib.files import atomic, write_json
from stages.lib.tables import open_table
from stages.lib.vectors import write_rows, write_word2vec

EMBEDDINGS = Path("data/embeddings.safetensors")
VOCABULARY = Path("data/vocabulary.parquet")
FACTS = Path("data/embeddings.json")

VECTORS_TSV, METADATA_TSV, CONFIG = "vectors.tsv", "metadata.tsv", "projector_config.json"
ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


class WordVectors(NamedTuple):
    """The rows of the vocabulary without `<pad>`, with their vectors."""

    tokens: list[str]  # V - 1 of them
    counts: list[int]
    vectors: Float32  # (V - 1, D)


def read_words() -> WordVectors:
    """The vectors of the last run. Raises Refusal if there are none, or if the files do not match."""
    for path in (EMBEDDINGS, VOCABULARY):
        if not path.is_file():
            raise Refusal(f"{path}: no such file; run the pipeline first: dvc repro embeddings")
    try:
        with safe_open(EMBEDDINGS, "numpy") as file:
            vectors: Float32 = file.get_tensor("embeddings").astype(np.float32, copy=False)
    except SafetensorError as error:
        raise Refusal(f"{EMBEDDINGS}: no vectors in it ({error}); run dvc repro embeddings") from None
    with open_table(VOCABULARY) as table:
        columns = table.read(columns=["token", "count"]).to_pydict()
    if len(vectors) != len(columns["token"]):
        raise Refusal(
            f"{EMBEDDINGS} has {len(vectors)} rows, {VOCABULARY} {len(columns['token'])}; they are from "
            "different runs: run dvc repro embeddings"
        )
    return WordVectors(columns["token"][PAD + 1 :], columns["count"][PAD + 1 :], vectors[PAD + 1 :])


def write_text(path: Path, words: WordVectors) -> None:
    """Writes word2vec's text format, and the facts."""
    require_no_loss(path, [beside(path, "json")])
    write_word2vec(path, words.tokens, words.vectors, binary=False)
    write_facts(beside(path, "json"))


def write_binary(path: Path, words: WordVectors) -> None:
    """Writes word2vec's binary format, and the facts."""
    require_no_loss(path, [beside(path, "json")])
    write_word2vec(path, words.tokens, words.vectors, binary=True)
    write_facts(beside(path, "json"))


def write_safetensors(path: Path, words: WordVectors) -> None:
    """Writes the tensor, the words in the order of its rows, and the facts."""
    require_no_loss(path, [beside(path, "json"), beside(path, "words.json")])
    with atomic(path) as temporary:
        save_file({"embeddings": words.vectors}, temporary)
    write_json(beside(path, "words.json"), {"tokens": words.tokens, "counts": words.counts})
    write_facts(beside(path, "json"))


def write_projector(folder: Path, words: WordVectors) -> None:
    """Writes vectors.tsv, metadata.tsv with the words and counts, and the projector's configuration."""
    if folder.exists() and not folder.is_dir():
        raise Refusal(f"{folder}: found a file; the projector's format is a folder, so name another path")
    config = {"metadataPath": METADATA_TSV, "tensorName": "embeddings", "tensorPath": VECTORS_TSV}
    others = [folder / name for name in (VECTORS_TSV, METADATA_TSV, "facts.json")]
    require_no_loss(folder / CONFIG, others, is_export=lambda: is_config(folder / CONFIG, config))
    # Written first, so that an interrupted export is recognised as one.
    write_json(folder / CONFIG, {"embeddings": [{**config, "tensorShape": list(words.vectors.shape)}]})
    with atomic(folder / VECTORS_TSV) as temporary, temporary.open("wb") as file:
        write_rows(file, words.vectors, "\t")
    with atomic(folder / METADATA_TSV) as temporary:
        rows = zip(map(escaped, words.tokens), words.counts, strict=True)
        lines = ["token\tcount", *(f"{token}\t{count}" for token, count in rows)]
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")
    write_facts(folder / "facts.json")


FORMATS: dict[str, Callable[[Path, WordVectors], None]] = {
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
    """The path of a file that accompanies an exported file.

    >>> beside(Path("vectors.vec"), "json").name
    'vectors.vec.json'
    """
    return path.with_name(f"{path.name}.{ending}")


def is_config(path: Path, config: dict[str, str]) -> bool:
    """Whether a projector_config.json has one entry, which is that of an export."""
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))["embeddings"]
        return len(entries) == 1 and {key: entries[0][key] for key in config} == config
    except (ValueError, KeyError, TypeError):
        return False


def require_no_loss(path: Path, others: Sequence[Path], is_export: Callable[[], bool] = lambda: True) -> None:
    """Raises Refusal if writing `path` and the `others` beside it would overwrite a user's file.

    If `path` exists, the user has named it, and `is_export` tells whether an export has written it; then
    all of them may be replaced. If it does not exist, the others must not exist either.
    """
    for target in (path, *others):
        if target.resolve() in (EMBEDDINGS.resolve(), VOCABULARY.resolve(), FACTS.resolve()):
            raise Refusal(
                f"{target}: this is a file of the pipeline, which would be overwritten; name another path"
            )
        if target.is_dir():
            raise Refusal(f"{target}: found a folder, expected the path of a file; name another")
    if path.exists() and not is_export():
        raise Refusal(f"{path}: not from an earlier export, and would be overwritten; name another folder")
    if not path.exists() and (existing := [other for other in others if other.exists()]):
        raise Refusal(
            f"{existing[0]}: not from an earlier export, and would be overwritten; move it "
            "or name another path"
        )


def write_facts(path: Path) -> None:
    """Copies data/embeddings.json byte for byte."""
    with atomic(path) as temporary:
        temporary.write_bytes(FACTS.read_bytes() if FACTS.is_file() else b"{}\n")


def main(arguments: Sequence[str] | None = None) -> None:
    """Raises Refusal if there are no vectors, or if the export would overwrite another file."""
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
