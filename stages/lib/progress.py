"""Progress of long work: a bar on a terminal, otherwise a plain line every ten seconds."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tqdm import tqdm

from stages.lib.terminal import printable

SECONDS_BETWEEN_LINES = 10.0


class PlainLines:
    """A file for tqdm that writes each state of the bar as a new line on standard error."""

    def write(self, text: str) -> None:
        """Writes the visible part of `text`, if any, as a line."""
        line = text.strip("\r\n ")
        if line:
            sys.stderr.write(line + "\n")

    def flush(self) -> None:
        """Flushes standard error."""
        sys.stderr.flush()


@contextmanager
def progress(description: str, unit: str, total: int | None = None) -> Iterator["tqdm[Any]"]:
    """A tqdm bar: call `update(n)`, and `set_postfix_str("loss 0.3", refresh=False)`."""
    is_terminal = sys.stderr.isatty()
    with tqdm(
        desc=printable(description),
        total=total,
        unit=f" {unit}",
        unit_scale=True,
        leave=is_terminal,
        ascii=not is_terminal,
        ncols=None if is_terminal else 100,
        file=sys.stderr if is_terminal else PlainLines(),
        mininterval=0.2 if is_terminal else SECONDS_BETWEEN_LINES,
        delay=0.0 if is_terminal else SECONDS_BETWEEN_LINES,
    ) as bar:
        yield bar
