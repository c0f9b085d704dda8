"""Tables and text in Markdown."""

import html
import re
from collections.abc import Sequence


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table whose columns line up.

    >>> print(table(["stage", "s"], [["raw", "8.0"]]))
    | stage |   s |
    |-------|----:|
    | raw   | 8.0 |
    """
    cells = [header, *rows]
    widths = [max(len(row[n]) for row in cells) for n in range(len(header))]

    def line(row: Sequence[str]) -> str:
        first, *rest = zip(row, widths, strict=True)
        return "| " + " | ".join([first[0].ljust(first[1]), *(c.rjust(w) for c, w in rest)]) + " |"

    rule = f"|{'-' * (widths[0] + 2)}|" + "".join(f"{'-' * (w + 1)}:|" for w in widths[1:])
    return "\n".join([line(header), rule, *map(line, rows)])


def cell(text: str) -> str:
    r"""Any text escaped for Markdown, on one line, without HTML and terminal control codes.

    >>> print(cell("a|b\n<i>c</i> min_count __init__"))
    a\|b &lt;i&gt;c&lt;/i&gt; min_count \_\_init\_\_
    """
    shown = "".join(letter if letter.isprintable() else " " for letter in text)
    marked = re.sub(r"[\\`*\[\]|~]|(?<!\w)_|_(?!\w)|(?<=_)_|_(?=_)", r"\\\g<0>", shown)
    return html.escape(marked, quote=False)
