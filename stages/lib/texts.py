"""The texts of some reviews, found by their ids."""

from collections.abc import Collection
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from stages.lib.tables import read_batches


def texts_of(raw: Path, ids: Collection[str]) -> dict[str, str]:
    """The texts of some rows of data/raw.parquet, by id, read in bounded memory."""
    requested = pa.array(ids, pa.string())
    texts: dict[str, str] = {}
    for batch in read_batches(raw, ["id", "text"]):
        part = batch.filter(pc.is_in(batch["id"], requested))
        texts |= dict(zip(part["id"].to_pylist(), part["text"].to_pylist(), strict=True))
    return texts
