"""Tensors: a batch is a rectangle, so remember the lengths.

Reviews are of any length and a tensor is not. Longer reviews are cut to T tokens, shorter ones
filled up on the right with row 0, `<pad>`, and the true lengths are kept beside them: without these
nobody could tell the end of a review from its padding, and means would be taken over nothing.

    python -m stages.tensors --help

For each of train, validation and test: `SPLIT.ids` (N, T) int32, `SPLIT.lengths` (N,) int32,
`SPLIT.labels` (N,) int32, in the order of data/ids.parquet. The choices lie beside them, so that a
new text can be cut as these were.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from safetensors.numpy import save_file

from stages import LABELLED, PAD
from stages.lib.command import run
from stages.lib.files import atomic, write_json
from stages.lib.memory import require_memory
from stages.lib.params import Section, read_params
from stages.lib.tables import read_batches

Ints = NDArray[np.int32]


class Params(Section):
    max_length: Literal["longest"] | Annotated[int, Field(ge=1, le=1_000_000)]  # T: each token costs N cells
    keep: Literal["head", "tail", "both"]  # a verdict may come first or last


def rectangle(flat: Ints, lengths: Ints, width: int, keep: str) -> tuple[Ints, Ints]:
    """Reviews laid one after the other in `flat` as rows of equal `width`, and what is left of
    their lengths.

    >>> rectangle(np.arange(2, 9), np.array([2, 5]), width=4, keep="both")[0].tolist()
    [[2, 3, 0, 0], [4, 5, 7, 8]]
    """
    head = {"head": width, "tail": 0, "both": (width + 1) // 2}[keep]  # cells that count from the start
    last = np.repeat(np.cumsum(lengths), lengths) - 1  # of each word's review, (words,)
    after = last - np.arange(len(flat))  # words of the review after this one
    before = np.repeat(lengths, lengths) - 1 - after
    kept = np.minimum(lengths, width)  # (N,)
    rows = np.full((len(lengths), width), PAD, np.int32)
    rows[np.arange(width) < kept[:, None]] = flat[(before < head) | (after < width - head)]
    return rows, kept.astype(np.int32)


def reviews_in(ids: Path, splits: Sequence[str]) -> Iterator[tuple[str, Ints, Ints, Ints]]:
    """(split, flat ids, lengths, labels) of each of some splits in each batch of data/ids.parquet."""
    for batch in read_batches(ids, ["label", "split", "ids"]):
        found = np.asarray(batch["split"])
        for split in splits:
            part = batch.filter(found == split)
            if len(part):
                lengths = np.diff(np.asarray(part["ids"].offsets)).astype(np.int32)
                yield split, np.asarray(part["ids"].flatten()), lengths, np.asarray(part["label"])


def review_counts(ids: Path) -> Counter[str]:
    """How many reviews each labelled split has."""
    batches = read_batches(ids, ["split"])
    return Counter(split for batch in batches for split in batch["split"].to_pylist() if split in LABELLED)


def longest(ids: Path) -> int:
    """The words of the longest labelled review, 1 at least."""
    return max((int(lengths.max()) for _, _, lengths, _ in reviews_in(ids, LABELLED)), default=0) or 1


def main(params: Path, ids: Path, tensors: Path, metrics: Path) -> None:
    choices = read_params(params, "tensors", Params)
    count = review_counts(ids)
    width = longest(ids) if choices.max_length == "longest" else choices.max_length
    found = f"tensors.max_length: found {choices.max_length!r}, which for {count.total():,} reviews"
    require_memory(4 * count.total() * width, found, "set a lower number")
    arrays: dict[str, Ints] = {}
    for split in LABELLED:
        arrays[f"{split}.ids"] = np.empty((count[split], width), np.int32)
        arrays[f"{split}.lengths"] = np.empty(count[split], np.int32)
        arrays[f"{split}.labels"] = np.empty(count[split], np.int32)
    done: Counter[str] = Counter()
    truncated: Counter[str] = Counter()
    for split, flat, lengths, labels in reviews_in(ids, LABELLED):
        here = slice(done[split], done[split] + len(lengths))
        arrays[f"{split}.ids"][here], arrays[f"{split}.lengths"][here] = rectangle(
            flat, lengths, width, choices.keep
        )
        arrays[f"{split}.labels"][here] = labels
        done[split] += len(lengths)
        truncated[split] += int((lengths > width).sum())
    with atomic(tensors) as temporary:
        save_file(arrays, temporary, {"tensors": choices.model_dump_json()})
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
