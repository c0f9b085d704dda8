"""Word sets: how well vectors agree with people, on files of judgements that a user supplies.

    similarity    two words and how alike people found them, on a line: `tiger  cat  7.35`
    analogies     four words on a line, a is to b as c is to d: `Athens Greece Oslo Norway`

WordSim-353, SimLex-999, MEN and the Google analogies are such files. Cells stand between tabs,
semicolons, commas or white space, the first of these that a line has. Lines that begin with `#` are
comments, lines of analogies that begin with `:` are headings, and a similarity set may begin with a
line of column names. Which kind a file is, its content tells.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stages.lib.command import Refusal

COMMONEST = 30_000  # words among which the answer of an analogy is sought
QUESTIONS = 500  # answered at a time: their scores with all the commonest words are 60 MB

Vectors = NDArray[np.float32]
Line = tuple[int, list[str]]  # its number, its cells
Unknown = Callable[[str], Vectors | None]


class Similarity(NamedTuple):
    """Pairs of words, and how alike people found them."""

    pairs: list[tuple[str, str]]
    scores: list[float]


class Analogies(NamedTuple):
    """Questions a : b = c : d."""

    questions: list[tuple[str, str, str, str]]


def read_wordset(path: Path) -> Similarity | Analogies:
    """The word set in a file.

    After the score of a pair more numbers may stand, such as the single judgements; they are not
    read. Raises Refusal on a line that is none of these, on a file without one, and on what is not
    UTF-8.
    """
    everything = list(_lines(path))
    # A pair of smileys begins with a colon, too, and has a score.
    lines = [line for line in everything if not line[1][0].startswith(":") or _score(line[1]) is not None]
    if not lines:
        raise Refusal(f"{path}: no words in it; wanted two words and a score, or four words, on a line")
    # The first line may be column names, so the second has a say; only analogies have headings.
    scored = len(lines) == len(everything) and any(_score(cells) is not None for _, cells in lines[:2])
    return _similarity(path, lines) if scored else _analogies(path, lines)


def _lines(path: Path) -> Iterator[Line]:
    """The lines of a word set that are no comments."""
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8").strip()
            except UnicodeDecodeError as error:
                raise Refusal(
                    f"{path}, line {number}: not UTF-8 (byte {line[error.start]:#04x}); save it as UTF-8"
                ) from None
            if text and not text.startswith("#"):
                separator = next((sign for sign in "\t;," if sign in text), None)
                yield number, [cell.strip() for cell in text.split(separator)]


def _score(cells: list[str]) -> float | None:
    """The third cell as a number, or None."""
    try:
        score = float(cells[2])
    except (IndexError, ValueError):
        return None
    return score if math.isfinite(score) else None


def _similarity(path: Path, lines: list[Line]) -> Similarity:
    if _score(lines[0][1]) is None and len(lines[0][1]) >= 3:
        lines = lines[1:]  # the names of the columns
    pairs, scores = [], []
    for number, cells in lines:
        score = _score(cells)
        if score is None or not all(cells) or any(_score(["", "", cell]) is None for cell in cells[3:]):
            raise Refusal(
                f"{path}, line {number}: found {', '.join(cells)!r:.80}; wanted two words and a score such "
                "as 7.35, with tabs, commas or spaces between; mend or remove that line"
            )
        pairs.append((cells[0], cells[1]))
        scores.append(score)
    return Similarity(pairs, scores)


def _analogies(path: Path, lines: list[Line]) -> Analogies:
    questions = []
    for number, cells in lines:
        if len(cells) != 4 or not all(cells):
            raise Refusal(
                f"{path}, line {number}: found {', '.join(cells)!r:.80}; wanted four words, or two words and "
                "a score such as 7.35, with tabs, commas or spaces between; mend or remove that line"
            )
        questions.append((cells[0], cells[1], cells[2], cells[3]))
    return Analogies(questions)


def measure(
    wordset: Similarity | Analogies,
    number: Mapping[str, int],
    vectors: Vectors,
    unknown: Unknown | None = None,
) -> dict[str, float]:
    """How well vectors (V, D) agree with a word set.

    `number` says which row each word has, the commonest words in the first rows; rows that no word
    has (`<pad>`, `<unk>`) play no part. A word that is not known as it stands is looked for in lower
    case. `unknown` may give a vector (D,) for the lower-case form of a word that has no row; it serves
    similarity alone.

    Of similarity: `spearman`, the correlation of the cosines' ranks with those of people's scores,
    over as many `pairs` as have vectors; these are the share `covered` of all. Of analogies:
    `accuracy`, the share of questions whose d is nearest to b - a + c (3CosAdd; Mikolov et al. 2013)
    among the COMMONEST words without a, b and c, over as many `questions` as have all their words
    there. There is no `spearman` where fewer than two pairs have vectors or one side's figures are
    all alike, and no `accuracy` without a question: no figure is better than a made-up one.

    >>> vectors = np.array([[1, 0], [1, 0.1], [0, 1]], np.float32)
    >>> pairs = Similarity([("a", "b"), ("A", "c"), ("a", "z"), ("z", "z")], [9, 1, 5, 10])
    >>> measure(pairs, {"a": 0, "b": 1, "c": 2}, vectors)
    {'spearman': 1.0, 'pairs': 2, 'covered': 0.5}
    """
    if isinstance(wordset, Similarity):
        return _agreement(wordset, number, vectors, unknown)
    return _answers(wordset, number, vectors)


def _row(word: str, number: Mapping[str, int]) -> int | None:
    return number.get(word, number.get(word.lower()))


def _units(vectors: Vectors) -> Vectors:
    """Vectors of length 1, (V, D); those of length 0 stay as they are."""
    units: Vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return units


def _agreement(
    wordset: Similarity, number: Mapping[str, int], vectors: Vectors, unknown: Unknown | None
) -> dict[str, float]:
    def vector(word: str) -> Vectors | None:
        row = _row(word, number)
        known: Vectors | None = None if row is None else vectors[row]
        return unknown(word.lower()) if known is None and unknown else known

    left, right, scores = [], [], []
    for (one, other), score in zip(wordset.pairs, wordset.scores, strict=True):
        a, b = vector(one), vector(other)
        if a is not None and b is not None:
            left.append(a)
            right.append(b)
            scores.append(score)
    told: dict[str, float] = {"pairs": len(scores), "covered": len(scores) / len(wordset.pairs)}
    if scores:
        cosines = (_units(np.stack(left)) * _units(np.stack(right))).sum(1)  # (pairs,)
        correlation = spearman(cosines, np.array(scores))
        if correlation is not None:
            return {"spearman": correlation, **told}
    return told


def spearman(one: NDArray[np.floating], other: NDArray[np.floating]) -> float | None:
    """The correlation of two lists' ranks; None where one of them has no two different figures.

    >>> spearman(np.array([1.0, 2.0, 3.0]), np.array([10.0, 30.0, 20.0]))
    0.5
    """
    a, b = (ranks - ranks.mean() for ranks in (_ranks(one), _ranks(other)))
    spread = math.sqrt((a @ a) * (b @ b))
    return float(a @ b / spread) if spread else None


def _ranks(figures: NDArray[np.floating]) -> NDArray[np.float64]:
    """The place of each figure in ascending order; equal ones share the mean of theirs."""
    _, which, count = np.unique(figures, return_inverse=True, return_counts=True)
    places: NDArray[np.float64] = (count.cumsum() - (count - 1) / 2)[which]
    return places


def _answers(wordset: Analogies, number: Mapping[str, int], vectors: Vectors) -> dict[str, float]:
    among = np.unique(np.fromiter(number.values(), np.int64, len(number)))[:COMMONEST]
    place = {row: n for n, row in enumerate(among.tolist())}
    asked = [
        places
        for words in wordset.questions
        if None not in (places := [place.get(_row(word, number)) for word in words])
    ]
    told: dict[str, float] = {"questions": len(asked), "covered": len(asked) / len(wordset.questions)}
    if not asked:
        return told
    common = _units(vectors[among])  # (V', D)
    questions = np.array(asked, np.int64)  # (questions, 4)
    right = 0
    for a, b, c, d in (part.T for part in np.array_split(questions, -(-len(questions) // QUESTIONS))):
        scores = (common[b] - common[a] + common[c]) @ common.T  # (questions, V')
        for word in (a, b, c):
            scores[np.arange(len(a)), word] = -np.inf
        right += int((scores.argmax(1) == d).sum())
    return {"accuracy": right / len(asked), **told}
