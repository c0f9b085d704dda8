"""The parts that more than one page contains, with the files of stages/page that each needs.

A page includes the part's template, and passes its scripts and styles to `assemble`, after those of the page.
"""

from typing import NamedTuple


class Part(NamedTuple):
    """A part of a page. All scripts of a page share one scope, so top-level names are distinct."""

    scripts: tuple[str, ...]
    styles: tuple[str, ...]


BASE = Part(("unpack.js",), ("base.css",))
EXPLORER = Part(("explorer.js",), ("explorer.css",))  # explorer.jinja
