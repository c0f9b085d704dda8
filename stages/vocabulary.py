"""Vocabulary: words become row numbers; 0 is nothing, 1 is anything.

Row 0 is `<pad>`, which fills a tensor up to its width. Row 1 is `<unk>`, any word without a row. The words
of the train and unlabelled texts follow, the most frequent first, ties in order of code points. The order
depends on the texts only: iterating over a set would give another order in every process.

    python -m stages.vocabulary --help

Words that occur in validation and test only get no row: the model sees them as it will see the words of
new texts. The share of tokens that have a row is the coverage.
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
from pydantic import Field

from stages import PAD_TOKEN, SPLITS, TRAIN, UNK_TOKEN, UNLABELLED
from stages.lib.arrays import Int64
from stages.lib.command import Refusal, run
from stages.lib.files import write_json
from stages.lib.params import Section, read_params
from stages.lib.tables import batch_of, read_batches, table_writer

SCHEMA = pa.schema([("id", pa.int32()), ("token", pa.string()), ("count", pa.int64())])


class Params(Section):
    min_count: int = Field(ge=1)  # from one or two occurrences little can be learned
    max_words: int | None = Field(ge=1)  # rows of the embedding table cost memory and time


def build(counts: Counter[str], min_count: int, max_words: int | None) -> list[tuple[str, int]]:
    """The rows of the vocabulary as (token, count), `<pad>` and `<unk>` first.

    The count of `<unk>` is the number of tokens without a row.

    >>> build(Counter("abacad"), min_count=1, max_words=2)
    [('<pad>', 0), ('<unk>', 2), ('a', 3), ('b', 1)]
    """
    reserved = {PAD_TOKEN, UNK_TOKEN}
    known = [(t, n) for t, n in counts.items() if n >= min_count and t not in reserved]
    known.sort(key=lambda row: (-row[1], row[0]))
    known = known[:max_words]
    unknown = counts.total() - sum(count for _, count in known)
    return [(PAD_TOKEN, 0), (UNK_TOKEN, unknown), *known]


def tallies(tokens: Path) -> Iterator[tuple[str, list[str], Int64]]:
    """A split, words (W,) and how often each occurs in it, (W,), for parts of the file."""
    for batch in read_batches(tokens, ["split", "tokens"], numbered=["tokens.list.element"]):
        lists, splits = batch["tokens"], np.asarray(batch["split"])
        words = lists.values.dictionary.to_pylist()
        numbers = np.asarray(lists.values.indices)
        lengths = np.diff(np.asarray(lists.offsets))
        for split in np.unique(splits):
            tally = np.bincount(numbers[np.repeat(splits == split, lengths)], minlength=len(words))
            seen = np.flatnonzero(tally)
            yield str(split), [words[i] for i in seen], tally[seen]


def count_tokens(tokens: Path) -> Counter[str]:
    """How often each token occurs in the train and unlabelled texts."""
    counts: Counter[str] = Counter()
    for split, words, tally in tallies(tokens):
        if split in (TRAIN, UNLABELLED):
            counts.update(dict(zip(words, tally.tolist(), strict=True)))
    return counts


def coverage(tokens: Path, known: set[str]) -> dict[str, float]:
    """The share of each split's tokens that have a row.

    It is a second pass over the file, so that the words of validation and test are never all in memory.
    """
    total, covered = Counter[str](), Counter[str]()
    for split, words, tally in tallies(tokens):
        total[split] += int(tally.sum())
        covered[split] += int(tally[np.fromiter(map(known.__contains__, words), np.bool_)].sum())
    return {split: covered[split] / total[split] for split in SPLITS if total[split]}


def main(params: Path, tokens: Path, vocabulary: Path, metrics: Path) -> None:
    choices = read_params(params, "vocabulary", Params)
    learned = count_tokens(tokens)
    rows = build(learned, choices.min_count, choices.max_words)
    if len(rows) == 2:
        most = max(learned.values(), default=0)
        raise Refusal(
            f"{params}: vocabulary.min_count: found {choices.min_count}, which leaves no word: the "
            f"most frequent of {learned.total()} tokens occurs {most} times; lower it"
        )
    columns = [range(len(rows)), *zip(*rows, strict=True)]
    with table_writer(vocabulary, SCHEMA) as writer:
        writer.write_batch(batch_of(columns, SCHEMA))
    facts = {"words": len(rows), "distinct": len(learned)}
    learned.clear()
    write_json(metrics, facts | {"coverage": coverage(tokens, {token for token, _ in rows[2:]})})


if __name__ == "__main__":
    run(main)
