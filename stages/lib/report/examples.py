"""Reviews as examples: with what each word contributes, marked in the text."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import NamedTuple

LONGEST = 3000  # characters that are shown of a text
LEVELS = (0.12, 0.3, 0.55, 0.8)  # shares of the strongest contribution from which a word is marked more


class Part(NamedTuple):
    """A part of a text. `level` is 0 for plain text, 1 to 4 for evidence for a label, -1 to -4 against it."""

    text: str
    level: int = 0
    value: float = 0.0
    is_read: bool = True  # whether the model reads it: a long text is cut


def token_values(spans: Iterable[tuple[int, int, float]], tokens: int) -> list[float]:
    """What each token contributes, from (first token, token after the last, contribution) of words and
    n-grams. The contribution of an n-gram is spread evenly over its tokens.

    >>> token_values([(0, 1, 0.5), (0, 2, 1.0)], tokens=3)
    [1.0, 0.5, 0.0]
    """
    values = [0.0] * tokens
    for start, end, value in spans:
        for position in range(start, end):
            values[position] += value / (end - start)
    return values


def spans_of(text: str, tokens: Sequence[str]) -> list[tuple[int, int]] | None:
    """Where the tokens are in a text, (start, end) of each, or None if one is not there as it is written.

    >>> spans_of("Good, GOOD film", ["good", ",", "good", "film"])
    [(0, 4), (4, 5), (6, 10), (11, 15)]
    >>> spans_of("films", ["film", "##s"])
    """
    lowered = text.lower()
    lowered = lowered if len(lowered) == len(text) else text
    spans, position = [], 0
    for token in tokens:
        start = text.find(token, position)
        other = lowered.find(token, position)
        start = min(at for at in (start, other, len(text)) if at >= 0)
        if start == len(text):
            return None
        position = start + len(token)
        spans.append((start, position))
    return spans


def level_of(value: float, strongest: float) -> int:
    """How strongly a word is marked.

    >>> [level_of(value, 2.0) for value in (0.1, 0.25, -1.2, 2.0)]
    [0, 1, -3, 4]
    """
    level = sum(abs(value) >= share * strongest for share in LEVELS) if strongest else 0
    return level if value > 0 else -level


def parts_of(text: str, tokens: Sequence[str], values: Mapping[int, float]) -> list[Part]:
    """A text as parts, each word marked by its contribution. `values` are those of the tokens that the model
    reads, by their number. If a tokeniser writes its tokens in another way than the text, the parts are the
    tokens."""
    strongest = max(map(abs, values.values()), default=0.0)
    spans = spans_of(text, tokens)
    if spans is None:
        text = " ".join(tokens)
        ends = list(accumulate(len(token) + 1 for token in tokens))
        spans = [(end - 1 - len(token), end - 1) for token, end in zip(tokens, ends, strict=True)]
    return list(joined(cut(text, spans, values, strongest)))


def cut(
    text: str, spans: Sequence[tuple[int, int]], values: Mapping[int, float], strongest: float
) -> Iterator[Part]:
    """The words of a text and what is between them, up to the longest text that is shown."""
    position = 0
    for number, (start, end) in enumerate(spans):
        if start >= LONGEST:
            break
        yield Part(text[position:start], is_read=number in values)
        value = values.get(number, 0.0)
        shown = text[start : min(end, start + LONGEST)]
        yield Part(shown, level_of(value, strongest), value, number in values)
        position = end
    else:
        yield Part(text[position:LONGEST], is_read=bool(values))


def joined(parts: Iterator[Part]) -> Iterator[Part]:
    """Parts without marks joined with those that follow."""
    plain: list[str] = []
    is_read = True
    for part in parts:
        if part.level == 0 and (part.is_read == is_read or not plain):
            plain.append(part.text)
            is_read = part.is_read
            continue
        if "".join(plain):
            yield Part("".join(plain), is_read=is_read)
        plain, is_read = ([], True) if part.level else ([part.text], part.is_read)
        if part.level:
            yield part
    if "".join(plain):
        yield Part("".join(plain), is_read=is_read)
