"""Progress of long work: a bar on a terminal, a plain line every few seconds elsewhere."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tqdm import tqdm

SECONDS_BETWEEN_LINES = 10.0


class PlainLines:
    """What a bar writes to when nobody watches: whole lines instead of redrawn ones."""

    def write(self, text: str) -> None:
        """Writes what there is to read in `text`, as a line."""
        line = text.strip("\r\n ")
        if line:
            sys.stderr.write(line + "\n")

    def flush(self) -> None:
        """Nothing is held back."""
        sys.stderr.flush()


@contextmanager
def progress(what: str, unit: str, total: int | None = None) -> Iterator["tqdm[Any]"]:
    """A tqdm bar: call `update(n)`, and `set_postfix_str("loss 0.3", refresh=False)`."""
    watched = sys.stderr.isatty()
    with tqdm(
        desc=what,
        total=total,
        unit=f" {unit}",
        unit_scale=True,
        leave=watched,
        ascii=not watched,
        ncols=None if watched else 100,
        file=sys.stderr if watched else PlainLines(),
        mininterval=0.2 if watched else SECONDS_BETWEEN_LINES,
        delay=0.0 if watched else SECONDS_BETWEEN_LINES,
    ) as bar:
        yield bar
