"""Tensors: a batch is a rectangle, so remember the lengths.

Reviews differ in length, and the rows of a tensor do not. Longer reviews are cut to T tokens, shorter ones
are padded on the right with row 0, `<pad>`. The lengths are stored too: without them a mean would be taken
over the padding as well.

    python -m stages.tensors --help

For each of train, validation and test: `SPLIT.ids` (N, T) int32, `SPLIT.lengths` (N,) int32,
`SPLIT.labels` (N,) int32, in the order of data/ids.parquet, and `SPLIT.unknown`, the UTF-8 bytes of the words
behind each 1, `<unk>`, each followed by a line feed. The parameters are stored in the file, so that a new
text can be cut in the same way.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa
from pydantic import Field
from safetensors.numpy import save_file

from stages import LABELLED, PAD, UNK
from stages.lib.arrays import Int32
from stages.lib.command import run
from stages.lib.files import atomic, write_json
from stages.lib.memory import require_memory
from stages.lib.params import Section, read_params
from stages.lib.tables import read_batches

EXTREME = 4  # times the length that 95 of 100 reviews do not exceed


class Params(Section):
    # T: each token takes N numbers. auto: the longest, unless it is far longer than the others
    max_length: Literal["auto", "longest"] | Annotated[int, Field(ge=1, le=1_000_000)]
    keep: Literal["head", "tail", "both"]  # a verdict may be at the beginning or at the end


def truncate(flat: Int32, lengths: Int32, width: int, keep: str) -> tuple[Int32, Int32]:
    """Cuts each document to at most `width` tokens: tokens (M,) and lengths (N,) of the rest.

    `keep` is the part kept of a longer document: its head, its tail, or both halves of the width.

    >>> [part.tolist() for part in truncate(np.arange(2, 9), np.array([2, 5]), width=4, keep="both")]
    [[2, 3, 4, 5, 7, 8], [2, 4]]
    """
    head = {"head": width, "tail": 0, "both": (width + 1) // 2}[keep]  # tokens kept from the start
    last = np.repeat(np.cumsum(lengths), lengths) - 1  # (M,) position of the document's last token
    after = last - np.arange(len(flat))  # (M,) tokens of the document after this one
    before = np.repeat(lengths, lengths) - 1 - after
    return flat[(before < head) | (after < width - head)], np.minimum(lengths, width).astype(np.int32)


def rectangle(flat: Int32, lengths: Int32, width: int, keep: str) -> tuple[Int32, Int32]:
    """Documents as rows (N, T) of equal width, and their lengths (N,) without padding.

    >>> rectangle(np.arange(2, 9), np.array([2, 5]), width=4, keep="both")[0].tolist()
    [[2, 3, 0, 0], [4, 5, 7, 8]]
    """
    kept, lengths = truncate(flat, lengths, width, keep)
    rows = np.full((len(lengths), width), PAD, np.int32)
    rows[np.arange(width) < lengths[:, None]] = kept
    return rows, lengths


def kept_words(unknown: pa.Array, flat: Int32, lengths: Int32, width: int, keep: str) -> pa.Array:
    """Those of the unknown words (U,) that cutting keeps. They are the words behind each UNK of `flat`.

    >>> flat, lengths = np.array([1, 5, 1, 1]), np.array([3, 1])
    >>> kept_words(pa.array(["a", "b", "c"]), flat, lengths, width=2, keep="head").to_pylist()
    ['a', 'c']
    """
    number = np.full(len(flat), -1, np.int32)
    number[flat == UNK] = np.arange(len(unknown))
    kept, _ = truncate(number, lengths, width, keep)
    return unknown.take(pa.array(kept[kept >= 0]))


class Part(NamedTuple):
    """Reviews of one split, one after the other."""

    split: str
    ids: Int32  # (M,)
    lengths: Int32  # (N,)
    labels: Int32  # (N,)
    unknown: pa.Array  # (U,) the words behind each UNK


def reviews_in(ids: Path, splits: Sequence[str]) -> Iterator[Part]:
    """The reviews of the given splits, batch by batch."""
    for batch in read_batches(ids, ["label", "split", "ids", "unknown"]):
        column = np.asarray(batch["split"])
        for split in splits:
            part = batch.filter(column == split)
            if len(part):
                lengths = np.diff(np.asarray(part["ids"].offsets)).astype(np.int32)
                flat, labels = np.asarray(part["ids"].flatten()), np.asarray(part["label"])
                yield Part(split, flat, lengths, labels, part["unknown"].flatten())


def review_counts(ids: Path) -> Counter[str]:
    """The number of reviews in each labelled split."""
    batches = read_batches(ids, ["split"])
    return Counter(split for batch in batches for split in batch["split"].to_pylist() if split in LABELLED)


def auto_width(lengths: Int32) -> int:
    """T for reviews of these lengths (N,): the longest, or at most a multiple of what 95 of 100 have.

    One review of 100,000 tokens would make a tensor that is all padding.

    >>> auto_width(np.array([7, 9, 10])), auto_width(np.array([10] * 99 + [100_000]))
    (10, 40)
    """
    usual = int(np.percentile(lengths, 95, method="lower")) if len(lengths) else 1
    return max(1, min(int(lengths.max(initial=1)), EXTREME * usual))


def width_of(choices: Params, ids: Path) -> tuple[int, Params]:
    """T, and the parameters that cut another text in the same way: those, or with T in place of auto."""
    if isinstance(choices.max_length, int):
        return choices.max_length, choices
    parts = [part.lengths for part in reviews_in(ids, LABELLED)]
    lengths = np.concatenate([np.zeros(0, np.int32), *parts])
    longest = int(lengths.max(initial=1))
    width = longest if choices.max_length == "longest" else auto_width(lengths)
    return width, choices.model_copy(update={"max_length": "longest" if width == longest else width})


def main(params: Path, ids: Path, tensors: Path, metrics: Path) -> None:
    choices = read_params(params, "tensors", Params)
    count = review_counts(ids)
    width, cut = width_of(choices, ids)
    what = f"tensors.max_length: found {choices.max_length!r}, which for {count.total():,} reviews"
    require_memory(4 * count.total() * width, what, "set a lower number")
    arrays: dict[str, Any] = {}
    for split in LABELLED:
        arrays[f"{split}.ids"] = np.empty((count[split], width), np.int32)
        arrays[f"{split}.lengths"] = np.empty(count[split], np.int32)
        arrays[f"{split}.labels"] = np.empty(count[split], np.int32)
    done: Counter[str] = Counter()
    truncated: Counter[str] = Counter()
    unknown: dict[str, list[str]] = {split: [] for split in LABELLED}
    for split, flat, lengths, labels, words in reviews_in(ids, LABELLED):
        here = slice(done[split], done[split] + len(lengths))
        arrays[f"{split}.ids"][here], arrays[f"{split}.lengths"][here] = rectangle(
            flat, lengths, width, choices.keep
        )
        arrays[f"{split}.labels"][here] = labels
        unknown[split] += kept_words(words, flat, lengths, width, choices.keep).to_pylist()
        done[split] += len(lengths)
        truncated[split] += int((lengths > width).sum())
    for split, spelled in unknown.items():
        arrays[f"{split}.unknown"] = np.frombuffer("".join(f"{w}\n" for w in spelled).encode(), np.uint8)
    with atomic(tensors) as temporary:
        save_file(arrays, temporary, {"tensors": cut.model_dump_json()})
    write_json(
        metrics,
        {
            "width": width,
            "padded": {s: 1 - float(arrays[f"{s}.lengths"].mean()) / width for s in LABELLED},
            "truncated": {s: truncated[s] / count[s] for s in LABELLED},
        },
    )


if __name__ == "__main__":
    run(main)
