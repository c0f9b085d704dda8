"""Ids: an unknown word is still a word.

Each token becomes the number of its row in the vocabulary, and a token without a row becomes 1, `<unk>`.
Dropping it would make words neighbours that are not, and shorten the review. Its spelling is kept beside
the ids: the `ngrams` stage reads an unknown word by its letters.

    python -m stages.ids --help
"""

from collections import Counter
from itertools import repeat
from pathlib import Path

import numpy as np
import pyarrow as pa

from stages import PAD_TOKEN, UNK, UNK_TOKEN
from stages.lib.command import run
from stages.lib.files import write_json
from stages.lib.params import Section, read_params
from stages.lib.tables import read_batches, read_table, table_writer

SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("label", pa.int32()),
        ("split", pa.string()),
        ("ids", pa.list_(pa.int32())),
        ("unknown", pa.list_(pa.string())),  # the words behind each 1, in order
    ]
)


class Params(Section):
    """No choices: the vocabulary determines the ids."""


def row_numbers(vocabulary: Path) -> dict[str, int]:
    """The row number of each word, without the two reserved rows."""
    rows = read_table(vocabulary, columns=["token", "id"])
    numbers = dict(zip(rows["token"].to_pylist(), rows["id"].to_pylist(), strict=True))
    del numbers[PAD_TOKEN], numbers[UNK_TOKEN]
    return numbers


def encode(tokens: pa.ListArray, numbers: dict[str, int]) -> tuple[pa.ListArray, list[str]]:
    """The codes of lists of tokens, and the distinct unknown words.

    The code of a known word is its row number; that of the first unknown word is -1, of the second -2, ...
    Each distinct word is looked up once.

    >>> codes, unknown = encode(pa.array([["good", "film"], []]), {"good": 2})
    >>> codes.to_pylist(), unknown
    ([[2, -1], []], ['film'])
    """
    words = tokens.values
    if not pa.types.is_dictionary(words.type):
        words = words.dictionary_encode()
    distinct = words.dictionary.to_pylist()
    codes = np.fromiter(map(numbers.get, distinct, repeat(UNK)), np.int32)
    unknown = np.flatnonzero(codes == UNK)
    codes[unknown] = -1 - np.arange(len(unknown))
    lists = pa.ListArray.from_arrays(tokens.offsets, pa.array(codes[np.asarray(words.indices)]))
    return lists, [distinct[n] for n in unknown]


def look_up(tokens: pa.ListArray, numbers: dict[str, int]) -> tuple[pa.ListArray, pa.ListArray]:
    """The row numbers of lists of tokens, and the tokens without a row.

    >>> [lists.to_pylist() for lists in look_up(pa.array([["good", "film"], []]), {"good": 2})]
    [[[2, 1], []], [['film'], []]]
    """
    codes, unknown = encode(tokens, numbers)
    flat = np.asarray(codes.values)
    missing = flat < 0
    ids = pa.ListArray.from_arrays(codes.offsets, pa.array(np.where(missing, UNK, flat), pa.int32()))
    before = np.concatenate([[0], np.cumsum(missing)])  # unknown tokens before each token
    offsets = pa.array(before[np.asarray(codes.offsets)], pa.int32())
    spelled = pa.array(unknown, pa.string()).take(pa.array(-1 - flat[missing]))
    return ids, pa.ListArray.from_arrays(offsets, spelled)


def main(params: Path, tokens: Path, vocabulary: Path, ids: Path, metrics: Path) -> None:
    read_params(params, "ids", Params)
    numbers = row_numbers(vocabulary)
    total: Counter[str] = Counter()
    unknown: Counter[str] = Counter()
    wordless: Counter[str] = Counter()  # reviews without a known word
    columns = ["id", "label", "split", "tokens"]
    # The embeddings stage reads this file once per epoch: lz4 takes a fifth more space than zstd and a
    # third of the time.
    with table_writer(ids, SCHEMA, compression="lz4") as writer:
        for batch in read_batches(tokens, columns, numbered=["tokens.list.element"]):
            lists, spelled = look_up(batch["tokens"], numbers)
            columns_written = [batch["id"], batch["label"], batch["split"], lists, spelled]
            writer.write_batch(pa.record_batch(columns_written, SCHEMA))
            lengths = np.diff(np.asarray(lists.offsets))
            review = np.repeat(np.arange(len(lists)), lengths)
            misses = np.bincount(review[np.asarray(lists.values) == UNK], minlength=len(lists))
            splits = np.asarray(batch["split"])
            for split in np.unique(splits):
                here = splits == split
                total[split] += int(lengths[here].sum())
                unknown[split] += int(misses[here].sum())
                wordless[split] += int((misses == lengths)[here].sum())
    write_json(
        metrics,
        {
            "unknown_rate": {s: unknown[s] / n if n else 0.0 for s, n in total.items()},
            "reviews_without_known_word": dict(wordless),
        },
    )


if __name__ == "__main__":
    run(main)
