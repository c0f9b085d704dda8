"""N-gram counts of the train reviews: stages.lib.ngram compared with scikit-learn's CountVectorizer.

Each method runs in a process of its own, which has the reviews' tokens in memory before the clock
starts, and makes the matrix of counts (N, F) and the lookup of an n-gram's column. All of them ignore
n-grams of too few reviews.

CountVectorizer's own analyser reads tokens joined by spaces and drops those of one character, so it
does less. With split tokens it makes the same matrix as Firth.
"""

import json
import sys
import time
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from scipy.sparse import csr_matrix

from benchmarks.measure import measured, own_peak
from stages import TRAIN
from stages.lib.arrays import Int64
from stages.lib.ngram.keys import Table, learn_ngrams

Settings = dict[str, Any]  # max_n, min_df


class Run(NamedTuple):
    """The cost and the result of one method."""

    seconds: float
    megabytes: float
    ngrams: int
    cells: int  # of the matrix that are not 0


class Numbered(NamedTuple):
    """Tokens as row numbers from 1."""

    flat: Int64
    lengths: Int64  # (N,)
    words: int  # V


def features(method: str, folder: Path, settings: Settings) -> Run:
    """Runs one method on data/tokens.parquet in `folder`."""
    out = folder / "features.json"
    measured("benchmarks.features", method, folder, json.dumps(settings), out)
    return Run(**json.loads(out.read_text(encoding="utf-8")))


def numbered(tokens: pa.ListArray) -> Numbered:
    """Numbers the distinct tokens."""
    coded = tokens.flatten().dictionary_encode()
    flat = np.asarray(coded.indices).astype(np.int64) + 1
    return Numbered(
        flat, np.asarray(pc.list_value_length(tokens)).astype(np.int64), len(coded.dictionary) + 1
    )


def of_numbers(reviews: Numbered, settings: Settings) -> csr_matrix:
    """Firth, from row numbers."""
    flat, lengths, words = reviews
    keys, counts = learn_ngrams(flat, lengths, settings["max_n"], words, settings["min_df"], 2**31 - 1)
    Table(keys)
    return counts


def of_words(tokens: pa.ListArray, settings: Settings) -> csr_matrix:
    """Firth, from words."""
    return of_numbers(numbered(tokens), settings)


def counted(texts: Sequence[Any], settings: Settings, **analyser: Any) -> csr_matrix:
    """scikit-learn."""
    from sklearn.feature_extraction.text import CountVectorizer

    counter = CountVectorizer(ngram_range=(1, settings["max_n"]), min_df=settings["min_df"], **analyser)
    counts: csr_matrix = counter.fit_transform(texts)
    return counts


def of_split(texts: Sequence[Any], settings: Settings) -> csr_matrix:
    """scikit-learn, from lists of tokens."""
    return counted(texts, settings, tokenizer=list, token_pattern=None, lowercase=False)


def lists(tokens: pa.ListArray) -> Any:
    """Lists of Python strings."""
    return tokens.to_pylist()


def joined(tokens: pa.ListArray) -> Any:
    """Texts of words joined by spaces."""
    return pc.binary_join(tokens, " ").to_pylist()


def unchanged(tokens: pa.ListArray) -> Any:
    """The column."""
    return tokens


# Name in the table: the preparation before the clock starts, and the part that is timed.
METHODS: dict[str, tuple[Callable[[pa.ListArray], Any], Callable[[Any, Settings], csr_matrix]]] = {
    "Firth, from words": (unchanged, of_words),
    "Firth, from row numbers": (numbered, of_numbers),
    "CountVectorizer, split tokens": (lists, of_split),
    "CountVectorizer, its analyser": (joined, counted),
}


def main(method: str, folder: str, settings: str, out: str) -> None:
    """Runs in the process that `features` starts."""
    if method.startswith("CountVectorizer"):
        import_module("sklearn.feature_extraction.text")  # before the clock starts
    table = pq.read_table(
        Path(folder) / "data/tokens.parquet", columns=["tokens"], filters=[("split", "=", TRAIN)]
    )
    prepare, count = METHODS[method]
    reviews = prepare(table["tokens"].combine_chunks())
    start = time.perf_counter()
    counts = count(reviews, json.loads(settings))
    run = Run(time.perf_counter() - start, own_peak(), counts.shape[1], counts.nnz)
    Path(out).write_text(json.dumps(run._asdict()), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
