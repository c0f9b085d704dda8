"""N-grams of the train reviews: stages.lib.ngrams beside scikit-learn's CountVectorizer.

Each way is run in a process of its own, which has the reviews' tokens in memory before the clock
starts, and makes the table of which review has which n-gram how often, (N, F), and what finds an
n-gram's column. N-grams that too few reviews have are left out by all.

CountVectorizer's own analyser reads tokens joined by spaces and drops those of one character, so it
has less to do. Given the split tokens it makes the same table as Firth.
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
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from benchmarks.measure import measured, own_peak
from stages import TRAIN
from stages.lib.ngrams import Table, learn

Settings = dict[str, Any]  # longest, least, threads


class Run(NamedTuple):
    """What one way took and made."""

    seconds: float
    megabytes: float
    ngrams: int
    cells: int  # of the table that are not 0


class Numbered(NamedTuple):
    """Tokens as row numbers, 1 and up."""

    flat: NDArray[np.int64]
    lengths: NDArray[np.int64]  # (N,)
    words: int  # V


def features(way: str, folder: Path, settings: Settings) -> Run:
    """Runs one way on data/tokens.parquet in `folder`."""
    out = folder / "features.json"
    measured("benchmarks.features", way, folder, json.dumps(settings), out)
    return Run(**json.loads(out.read_text(encoding="utf-8")))


def numbered(tokens: pa.ListArray) -> Numbered:
    """Each distinct token's number."""
    coded = tokens.flatten().dictionary_encode()
    flat = np.asarray(coded.indices).astype(np.int64) + 1
    return Numbered(
        flat, np.asarray(pc.list_value_length(tokens)).astype(np.int64), len(coded.dictionary) + 1
    )


def of_numbers(reviews: Numbered, settings: Settings) -> csr_matrix:
    """Firth's way, from row numbers."""
    flat, lengths, words = reviews
    keys, present = learn(
        flat, lengths, settings["longest"], words, settings["least"], 2**31 - 1, settings["threads"]
    )
    Table(keys)
    return present.T.tocsr()


def of_words(tokens: pa.ListArray, settings: Settings) -> csr_matrix:
    """Firth's way, from words."""
    return of_numbers(numbered(tokens), settings)


def counted(texts: Sequence[Any], settings: Settings, **analyser: Any) -> csr_matrix:
    """scikit-learn's way."""
    from sklearn.feature_extraction.text import CountVectorizer

    counter = CountVectorizer(ngram_range=(1, settings["longest"]), min_df=settings["least"], **analyser)
    table: csr_matrix = counter.fit_transform(texts)
    return table


def of_split(texts: Sequence[Any], settings: Settings) -> csr_matrix:
    """scikit-learn's way, from lists of tokens."""
    return counted(texts, settings, tokenizer=list, token_pattern=None, lowercase=False)


def lists(tokens: pa.ListArray) -> Any:
    """Lists of Python's strings."""
    return tokens.to_pylist()


def joined(tokens: pa.ListArray) -> Any:
    """Texts of words between spaces."""
    return pc.binary_join(tokens, " ").to_pylist()


def as_it_is(tokens: pa.ListArray) -> Any:
    """The column."""
    return tokens


# Name in the table: what is made ready before the clock starts, and what is done by the clock.
WAYS: dict[str, tuple[Callable[[pa.ListArray], Any], Callable[[Any, Settings], csr_matrix]]] = {
    "Firth, from words": (as_it_is, of_words),
    "Firth, from row numbers": (numbered, of_numbers),
    "CountVectorizer, split tokens": (lists, of_split),
    "CountVectorizer, its analyser": (joined, counted),
}


def main(way: str, folder: str, settings: str, out: str) -> None:
    """What the process that `features` starts runs."""
    if way.startswith("CountVectorizer"):
        import_module("sklearn.feature_extraction.text")  # before the clock starts
    table = pq.read_table(
        Path(folder) / "data/tokens.parquet", columns=["tokens"], filters=[("split", "=", TRAIN)]
    )
    ready, make = WAYS[way]
    reviews = ready(table["tokens"].combine_chunks())
    start = time.perf_counter()
    made = make(reviews, json.loads(settings))
    run = Run(time.perf_counter() - start, own_peak(), made.shape[1], made.nnz)
    Path(out).write_text(json.dumps(run._asdict()), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
