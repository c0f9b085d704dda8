"""Vocabulary: words become row numbers; 0 is nothing, 1 is anything.

Row 0 is `<pad>`, which fills a rectangle up. Row 1 is `<unk>`, any word without a row of its own.
Then come the words of the train and unlabelled texts by count, the commonest first, ties by code
point. The order is a fact of the texts and not of the machine: no set or hash decides it.

    python -m stages.vocabulary --help

Words of validation and test get no row for themselves: a model meets them as it will meet the
world's. Their share that has one is the coverage.
"""

from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
from pydantic import Field

from stages import PAD_TOKEN, SPLITS, TRAIN, UNK_TOKEN, UNLABELLED
from stages.lib.command import Refusal, run
from stages.lib.files import write_json
from stages.lib.params import Section, read_params
from stages.lib.tables import batch_of, read_batches, table_writer

SCHEMA = pa.schema([("id", pa.int32()), ("token", pa.string()), ("count", pa.int64())])


class Params(Section):
    min_count: int = Field(ge=1)  # a word met once or twice has taught nothing
    max_words: int | None = Field(ge=1)  # rows of the embedding table cost memory and time


Words = list[tuple[str, int]]


def build(counts: Counter[str], min_count: int, max_words: int | None) -> Words:
    """The rows of the vocabulary as (token, count), `<pad>` and `<unk>` first.

    `<unk>` is counted too: all the running words that got no row.

    >>> build(Counter("abacad"), min_count=1, max_words=2)
    [('<pad>', 0), ('<unk>', 2), ('a', 3), ('b', 1)]
    """
    reserved = {PAD_TOKEN, UNK_TOKEN}
    known = [(t, n) for t, n in counts.items() if n >= min_count and t not in reserved]
    known.sort(key=lambda row: (-row[1], row[0]))
    known = known[:max_words]
    unknown = counts.total() - sum(count for _, count in known)
    return [(PAD_TOKEN, 0), (UNK_TOKEN, unknown), *known]


def count_tokens(tokens: Path) -> dict[str, Counter[str]]:
    """How often each token occurs in each split, counted in one pass over the file."""
    counts: dict[str, Counter[str]] = {split: Counter() for split in SPLITS}
    for batch in read_batches(tokens, ["split", "tokens"], numbered=["tokens.list.element"]):
        lists, splits = batch["tokens"], np.asarray(batch["split"])
        words = lists.values.dictionary.to_pylist()
        numbers = np.asarray(lists.values.indices)
        lengths = np.diff(np.asarray(lists.offsets))
        for split in np.unique(splits):
            found = np.bincount(numbers[np.repeat(splits == split, lengths)], minlength=len(words))
            seen = np.flatnonzero(found)
            counts[split].update(dict(zip([words[i] for i in seen], found[seen].tolist(), strict=True)))
    return counts


def coverage(counts: Counter[str], known: set[str]) -> float:
    """The share of running tokens that have a row; 1 of a text without tokens."""
    total = counts.total()
    return sum(n for token, n in counts.items() if token in known) / total if total else 1.0


def main(params: Path, tokens: Path, vocabulary: Path, metrics: Path) -> None:
    choices = read_params(params, "vocabulary", Params)
    counts = count_tokens(tokens)
    learnt = counts[TRAIN] + counts[UNLABELLED]
    rows = build(learnt, choices.min_count, choices.max_words)
    if len(rows) == 2:
        most = max(learnt.values(), default=0)
        raise Refusal(
            f"{params}: vocabulary.min_count: found {choices.min_count}, which leaves no word: the "
            f"commonest of {learnt.total()} tokens occurs {most} times; lower it"
        )
    columns = [range(len(rows)), *zip(*rows, strict=True)]
    with table_writer(vocabulary, SCHEMA) as writer:
        writer.write_batch(batch_of(columns, SCHEMA))
    known = {token for token, _ in rows[2:]}
    write_json(
        metrics,
        {
            "words": len(rows),
            "distinct": len(learnt),
            "coverage": {split: coverage(counts[split], known) for split in SPLITS if counts[split]},
        },
    )


if __name__ == "__main__":
    run(main)
