"""Exports the model or the vectors of the last run to formats of other programs.

    python -m tools.export --format hub my-model
    python -m tools.export --format word2vec vectors.vec

    hub                a folder for the Hugging Face Hub: the model, its tokeniser, vocabulary and labels, and
                       a model card with the metrics of the run; `firth.load` reads it
    static             a folder of word vectors that model2vec's StaticModel and sentence-transformers'
                       StaticEmbedding load
    atlas              a parquet file for Embedding Atlas: the words with coordinates and nearest neighbours
    word2vec           a text file: gensim's KeyedVectors, fastText's -pretrainedVectors
    word2vec-binary    the same as float32: gensim again, smaller and faster to read
    projector          a folder for TensorFlow's Embedding Projector: vectors.tsv, metadata.tsv and a
                       projector_config.json that names them
    safetensors        the tensor `embeddings` in a file, its words and their counts in PATH.words.json

In the formats of vectors, `<pad>` is left out. `<unk>` is the first word; its vector represents words that
are not in the vocabulary. Words in word2vec's formats cannot contain whitespace, which becomes ▁
(`stages.lib.vectors.spelled`); in metadata.tsv it is escaped as \\t, \\n, \\r and \\\\.

The parameters and counts in data/embeddings.json are copied to PATH.json, or to facts.json in a folder of
vectors; {} is written if the file does not exist.

An earlier export is replaced. Other files are never overwritten.
"""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

from stages.lib.command import exit_on_refusal
from tools.exports import atlas, hub, static, words

# Each writes to a path and returns what it has written, in words.
FORMATS: dict[str, Callable[[Path], str]] = {
    "hub": hub.write_hub,
    "static": static.write_static,
    "atlas": atlas.write_atlas,
    "word2vec": words.write_text,
    "word2vec-binary": words.write_binary,
    "projector": words.write_projector,
    "safetensors": words.write_safetensors,
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Raises Refusal if there is no run, or if the export would overwrite another file."""
    parser = argparse.ArgumentParser(
        "export", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--format", choices=FORMATS, required=True)
    parser.add_argument("path", type=Path, metavar="PATH")
    options = parser.parse_args(arguments)
    print(f"{options.path}: {FORMATS[options.format](options.path)}")


if __name__ == "__main__":
    with exit_on_refusal("export"):
        main()
