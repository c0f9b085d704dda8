"""Array types by element, one alias for each dtype, and the arrays of a file.

Shapes stand in comments (see `stages`).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.lib.command import Refusal

Bool = NDArray[np.bool_]
Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]
UInt32 = NDArray[np.uint32]
UInt64 = NDArray[np.uint64]
Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]


def read_arrays(path: Path, *names: str) -> dict[str, NDArray[Any]]:
    """All arrays of a safetensors file. Raises Refusal if it is damaged or lacks one of `names`."""
    from safetensors.numpy import load_file  # most users of this module need its types only

    with whole_arrays(path):
        arrays: dict[str, NDArray[Any]] = load_file(path)
        if missing := [name for name in names if name not in arrays]:
            raise LookupError(missing[0])
        return arrays


@contextmanager
def whole_arrays(path: Path) -> Iterator[None]:
    """Raises Refusal if reading inside the block fails because a safetensors file is damaged."""
    from safetensors import SafetensorError

    try:
        yield
    except (SafetensorError, LookupError, TypeError, ValueError):
        raise Refusal(
            f"{path}: damaged, or of another version; run `python -m tools.verify --repair`"
        ) from None
