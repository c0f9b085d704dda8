"""Parquet files read and written in batches, so that no stage holds a corpus in memory."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from stages.lib.command import Refusal
from stages.lib.files import atomic
from stages.lib.resources import memory_is_full

BATCH = 4096  # documents: some megabytes of text, and enough batches for two cores

# Words repeat, so a column of tokens is stored as numbers into a dictionary of distinct words. The
# dictionary of one batch must fit into this limit, or parquet stores plain words instead.
DICTIONARY_BYTES = 1 << 26


@contextmanager
def table_writer(path: Path, schema: pa.Schema, compression: str = "zstd") -> Iterator[pq.ParquetWriter]:
    """A parquet writer. The file appears at `path` if the block succeeds."""
    with (
        atomic(path) as temporary,
        pq.ParquetWriter(
            temporary, schema, compression=compression, dictionary_pagesize_limit=DICTIONARY_BYTES
        ) as writer,
    ):
        yield writer


def batch_of(columns: Sequence[Any], schema: pa.Schema) -> pa.RecordBatch:
    """Columns of Python values or numpy arrays as a record batch with the types of `schema`."""
    arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
    return pa.record_batch(arrays, schema)


def read_batches(
    path: Path, columns: Sequence[str], numbered: Sequence[str] = ()
) -> Iterator[pa.RecordBatch]:
    """The rows of a parquet file, one row group at a time, in bounded memory.

    The text columns in `numbered` are dictionary arrays: the distinct words of the row group, and a number
    for each occurrence.
    """
    with open_table(path, numbered) as file:
        for group in range(file.num_row_groups):
            with whole_table(path):
                table = file.read_row_group(group, columns=list(columns))
                table.validate(full=True)  # text that is not UTF-8 would fail later, without the file's name
                batches = table.combine_chunks().to_batches()
            yield from batches


def read_table(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """A whole parquet file of the pipeline. Raises Refusal if it is damaged or lacks a column."""
    with whole_table(path):
        table = pq.read_table(path, columns=columns)
        table.validate(full=True)
        return table


@contextmanager
def whole_table(path: Path) -> Iterator[None]:
    """Raises Refusal if reading inside the block fails because a parquet file of the pipeline is damaged."""
    try:
        yield
    except FileNotFoundError:
        raise
    except (pa.ArrowException, ValueError, OSError, KeyError) as error:  # KeyError: a column is missing
        if memory_is_full(error):
            raise
        raise Refusal(
            f"{path}: not a parquet file, or damaged ({error!s:.200}); remove it and run `dvc repro`"
        ) from None


def open_table(path: Path, numbered: Sequence[str] = ()) -> pq.ParquetFile:
    """An open parquet file. Raises Refusal if `path` is none."""
    with whole_table(path):
        return pq.ParquetFile(path, read_dictionary=list(numbered), pre_buffer=False)
