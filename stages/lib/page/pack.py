"""Arrays as text that a page contains: a safetensors file, compressed, in base64.

A page decodes it with stages/page/unpack.js. pyarrow's zlib compresses, because the lock file pins its
version: Python's own zlib is a different one on some systems, and gives other bytes.
"""

import base64
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from safetensors.numpy import load, save

from stages.lib.arrays import UInt32

LEVEL = 9


def pack(arrays: Mapping[str, Any]) -> str:
    """Arrays by name as text without any character that HTML gives a meaning.

    >>> unpack(pack({"ids": np.array([3, 4], np.int32)}))["ids"].tolist()
    [3, 4]
    """
    content = save({name: np.ascontiguousarray(array) for name, array in arrays.items()})
    compressed = pa.Codec("gzip", compression_level=LEVEL).compress(content, asbytes=True)
    return base64.b64encode(compressed).decode("ascii")


def unpack(text: str) -> dict[str, Any]:
    """The arrays in the text that `pack` made."""
    with pa.CompressedInputStream(pa.BufferReader(base64.b64decode(text)), "gzip") as stream:
        arrays: dict[str, Any] = load(stream.read())
    return arrays


def pack_strings(strings: Sequence[str], name: str) -> dict[str, Any]:
    """Strings as two arrays: `name`, their UTF-8 bytes, and `name_ends`, where each ends.

    A lone surrogate, which UTF-8 has no bytes for, becomes a question mark.

    >>> {key: value.tolist() for key, value in pack_strings(["a", "", "bc"], "words").items()}
    {'words': [97, 98, 99], 'words_ends': [1, 1, 3]}
    """
    encoded = [string.encode("utf-8", "replace") for string in strings]
    ends: UInt32 = np.cumsum([0, *map(len, encoded)])[1:].astype(np.uint32)
    return {name: np.frombuffer(b"".join(encoded), np.uint8), f"{name}_ends": ends}


def unpack_strings(arrays: Mapping[str, Any], name: str) -> list[str]:
    """The strings that `pack_strings` made into arrays.

    >>> unpack_strings(pack_strings(["a", "", "bc"], "words"), "words")
    ['a', '', 'bc']
    """
    text, ends = arrays[name].tobytes(), arrays[f"{name}_ends"].tolist()
    return [text[start:end].decode("utf-8") for start, end in zip([0, *ends], ends, strict=False)]
