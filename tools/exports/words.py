"""Word vectors in the files of other programs: word2vec, TensorFlow's Embedding Projector, safetensors."""

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from stages import PAD
from stages.lib.arrays import Float32
from stages.lib.command import Refusal
from stages.lib.files import atomic, write_json
from stages.lib.tables import open_table
from stages.lib.vectors import write_rows, write_word2vec
from tools.exports.targets import EMBEDDINGS, VOCABULARY, beside, require_folder, require_no_loss, write_facts

VECTORS_TSV, METADATA_TSV, CONFIG = "vectors.tsv", "metadata.tsv", "projector_config.json"
ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


class WordVectors(NamedTuple):
    """The rows of the vocabulary without `<pad>`, with their vectors."""

    tokens: list[str]  # V - 1 of them
    counts: list[int]
    vectors: Float32  # (V - 1, D)

    def __str__(self) -> str:
        return f"{len(self.tokens):,} words of {self.vectors.shape[1]} dimensions"


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


def write_text(path: Path) -> str:
    """Writes word2vec's text format, and the facts."""
    return _write_word2vec(path, binary=False)


def write_binary(path: Path) -> str:
    """Writes word2vec's binary format, and the facts."""
    return _write_word2vec(path, binary=True)


def _write_word2vec(path: Path, binary: bool) -> str:
    words = read_words()
    require_no_loss(path, [beside(path, "json")])
    write_word2vec(path, words.tokens, words.vectors, binary=binary)
    write_facts(beside(path, "json"))
    return str(words)


def write_safetensors(path: Path) -> str:
    """Writes the tensor, the words in the order of its rows, and the facts."""
    words = read_words()
    require_no_loss(path, [beside(path, "json"), beside(path, "words.json")])
    with atomic(path) as temporary:
        save_file({"embeddings": words.vectors}, temporary)
    write_json(beside(path, "words.json"), {"tokens": words.tokens, "counts": words.counts})
    write_facts(beside(path, "json"))
    return str(words)


def write_projector(folder: Path) -> str:
    """Writes vectors.tsv, metadata.tsv with the words and counts, and the projector's configuration."""
    words = read_words()
    config = {"metadataPath": METADATA_TSV, "tensorName": "embeddings", "tensorPath": VECTORS_TSV}
    others = (VECTORS_TSV, METADATA_TSV, "facts.json")
    require_folder(folder, others, CONFIG, is_export=lambda: is_config(folder / CONFIG, config))
    # Written first, so that an interrupted export is recognised as one.
    write_json(folder / CONFIG, {"embeddings": [{**config, "tensorShape": list(words.vectors.shape)}]})
    with atomic(folder / VECTORS_TSV) as temporary, temporary.open("wb") as file:
        write_rows(file, words.vectors, "\t")
    with atomic(folder / METADATA_TSV) as temporary:
        rows = zip(map(escaped, words.tokens), words.counts, strict=True)
        lines = ["token\tcount", *(f"{token}\t{count}" for token, count in rows)]
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")
    write_facts(folder / "facts.json")
    return str(words)


def escaped(token: str) -> str:
    r"""A token as a cell of metadata.tsv, on one line.

    >>> print(escaped("a\tb"), escaped("a\\tb"))
    a\tb a\\tb
    """
    return token.translate(ESCAPES)


def is_config(path: Path, config: dict[str, str]) -> bool:
    """Whether a projector_config.json has one entry, which is that of an export."""
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))["embeddings"]
        return len(entries) == 1 and {key: entries[0][key] for key in config} == config
    except (ValueError, KeyError, TypeError):
        return False
