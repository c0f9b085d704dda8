"""The cleaning of a text, the same for a corpus and for a new text."""

import re

BREAK = re.compile(r"<br\s*/?>", re.IGNORECASE)


def clean(text: str) -> str:
    """The text without HTML line breaks and without characters that UTF-8 cannot encode.

    >>> clean("Good.<br /><br />Long.")
    'Good.  Long.'
    """
    return readable(BREAK.sub(" ", text) if "<" in text else text)


def readable(text: str) -> str:
    """The text with a question mark for what UTF-8 cannot encode, such as half of an emoji in JSON."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def is_wordlike(token: str) -> bool:
    """Whether a token has letters and no digits, and is worth showing where there is room for some words.

    >>> [token for token in ("film", "don't", "9", "!", "кино") if is_wordlike(token)]
    ['film', "don't", 'кино']
    """
    return any(map(str.isalpha, token)) and not any(map(str.isdigit, token))
