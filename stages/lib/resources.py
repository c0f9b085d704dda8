"""Memory and disk space that have run out: how libraries report it, and what to do about it."""

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
RUST = re.compile(r"\(os error (\d+)\)")  # safetensors and polars have the errno in the text alone
# What libraries write that raise another exception than MemoryError: torch a RuntimeError, on a GPU too, and
# all of them where there is no memory for a thread or for their own code.
NO_MEMORY = re.compile(
    "DefaultCPUAllocator|not enough memory|out of memory|bad_alloc|_ALLOC_FAILED|failed to map segment"
    "|(start new|launch worker|spawn worker) thread",
    re.IGNORECASE,
)
LIBRARIES = ("pyarrow", "polars", "pyo3_runtime", "safetensors")
REQUESTED = re.compile(r"allocate ([\d.]+ \w+)")  # by numpy and torch

# The parameters that make a stage need less memory. Other stages read their inputs in pieces.
LESS_MEMORY = {
    "tensors": "lower tensors.max_length",
    "embeddings": "lower embeddings.dim, or raise vocabulary.min_count",
    "agreement": "lower embeddings.dim, or raise vocabulary.min_count",
    "projection": "lower embeddings.dim, or raise vocabulary.min_count",
    "ngrams": "lower ngrams.max_n, ngrams.char_max_n or ngrams.max_features",
    "classifier": "lower tensors.max_length, classifier.batch_size or embeddings.dim",
    "ensemble": "lower ngrams.max_features",
    "explorer": "lower explorer.words",
    "report": "lower report.page_words or report.page_ngrams",
}
LESS_LOAD = "close other programs, or use a machine with more memory"


def error_number(error: BaseException) -> int | None:
    """The errno of an exception, also where a library has it in the message alone."""
    if isinstance(error, OSError):
        return error.errno
    in_text = RUST.search(str(error))
    return int(in_text[1]) if in_text else None


def disk_is_full(error: BaseException) -> bool:
    """Whether an exception says that there is no space left on a disk, or in a quota."""
    return error_number(error) in DISK_FULL


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Raises OSError that names `path` if the disk becomes full, or if a library such as safetensors cannot
    write and raises another exception."""
    try:
        yield
    except Exception as error:
        number = error_number(error)
        named = isinstance(error, OSError) and error.filename and ".part" not in str(error.filename)
        expected = disk_is_full(error) or not isinstance(error, OSError)
        if number is None or named or not expected:
            raise
        raise OSError(number, os.strerror(number), str(path)) from error


def memory_is_full(error: BaseException) -> bool:
    """Whether an exception says that there is no memory left."""
    if isinstance(error, MemoryError) or error_number(error) == errno.ENOMEM:
        return True
    library = type(error).__module__.partition(".")[0]
    expected = library in LIBRARIES or isinstance(error, RuntimeError | ImportError)
    return expected and NO_MEMORY.search(str(error)) is not None


def shortage(error: BaseException, name: str) -> str | None:
    """What has run out, in the stage or tool `name`, and what to do; None for any other exception."""
    if memory_is_full(error):
        size = REQUESTED.search(str(error))
        needed = f" ({size[1]} more were needed)" if size else ""
        return f"out of memory{needed}; {LESS_MEMORY.get(name, LESS_LOAD)}"
    if disk_is_full(error):
        path = f"{error.filename}: " if isinstance(error, OSError) and error.filename else ""
        reason = os.strerror(error_number(error) or 0)
        return f"{path}{reason}; free some space on that disk, and run it again"
    return None
