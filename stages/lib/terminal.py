"""Text from outside, such as a label or the name of a file in an archive, on a terminal."""

import re

# Characters that a terminal obeys instead of showing them: control characters, line and paragraph separators,
# marks of the direction of writing, and halves of surrogate pairs. A joiner of emoji is none of them.
OBEYED = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff]"
)


def printable(text: str) -> str:
    r"""One line of text with escapes for all characters that a terminal obeys.

    >>> print(printable("\x1b[31mgood\x07 \u202edoog"))
    \x1b[31mgood\x07 \u202edoog
    """
    return OBEYED.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
