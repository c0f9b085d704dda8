"""Word sets: the agreement of vectors with human judgements, in files that a user supplies.

    similarity    a line has two words and the similarity that people gave them: `tiger  cat  7.35`
    analogies     a line has four words, a is to b as c is to d: `Athens Greece Oslo Norway`

WordSim-353, SimLex-999, MEN and the Google analogies are such files. Cells are separated by tabs,
semicolons, commas or whitespace, the first of these that occurs in the line. Lines that begin with `#` are
comments, lines of analogies that begin with `:` are headings, and a similarity set may begin with a line
of column names. The kind of a file is recognised by its content.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stages.lib.arrays import Float32, Float64
from stages.lib.command import Refusal

CANDIDATES = 30_000  # most frequent words that may be the answer of an analogy
BATCH = 500  # questions at a time: their scores with all candidates are 60 MB

NumberedLine = tuple[int, list[str]]  # the number of a line, its cells
Unknown = Callable[[str], Float32 | None]


class Similarity(NamedTuple):
    """Pairs of words, and the similarity that people gave them."""

    pairs: list[tuple[str, str]]
    scores: list[float]


class Analogies(NamedTuple):
    """Questions a : b = c : d."""

    questions: list[tuple[str, str, str, str]]


def read_wordset(path: Path) -> Similarity | Analogies:
    """The word set in a file.

    More numbers may follow the score of a pair, such as the individual judgements; they are ignored.
    Raises Refusal if a line is invalid, if there are no words, and if the file is not UTF-8.
    """
    all_lines = list(_lines(path))
    # A pair of emoticons also begins with a colon, but it has a score.
    lines = [line for line in all_lines if not line[1][0].startswith(":") or _score(line[1]) is not None]
    if not lines:
        raise Refusal(f"{path}: no words in it; each line must have two words and a score, or four words")
    # The first line may be column names, so the second is considered too. Only analogies have headings.
    is_scored = len(lines) == len(all_lines) and any(_score(cells) is not None for _, cells in lines[:2])
    return _similarity(path, lines) if is_scored else _analogies(path, lines)


def _lines(path: Path) -> Iterator[NumberedLine]:
    """The lines of a word set without comments."""
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


def _similarity(path: Path, lines: list[NumberedLine]) -> Similarity:
    if _score(lines[0][1]) is None and len(lines[0][1]) >= 3:
        lines = lines[1:]  # without the column names
    pairs, scores = [], []
    for number, cells in lines:
        score = _score(cells)
        if score is None or not all(cells) or any(_score(["", "", cell]) is None for cell in cells[3:]):
            raise Refusal(
                f"{path}, line {number}: found {', '.join(cells)!r:.80}; expected two words and a score such "
                "as 7.35, separated by tabs, commas or spaces; correct or remove the line"
            )
        pairs.append((cells[0], cells[1]))
        scores.append(score)
    return Similarity(pairs, scores)


def _analogies(path: Path, lines: list[NumberedLine]) -> Analogies:
    questions = []
    for number, cells in lines:
        if len(cells) != 4 or not all(cells):
            raise Refusal(
                f"{path}, line {number}: found {', '.join(cells)!r:.80}; expected four words, or two words "
                "and a score such as 7.35, separated by tabs, commas or spaces; correct or remove the line"
            )
        questions.append((cells[0], cells[1], cells[2], cells[3]))
    return Analogies(questions)


def measure(
    wordset: Similarity | Analogies,
    number: Mapping[str, int],
    vectors: Float32,
    unknown: Unknown | None = None,
) -> dict[str, float]:
    """The agreement of vectors (V, D) with a word set.

    `number` maps each word to its row, in order of decreasing frequency; rows without a word (`<pad>`,
    `<unk>`) are not used. If a word is not in `number`, its lower-case form is looked up. `unknown` may
    return a vector (D,) for the lower-case form of a word without a row; it is used for similarity only.

    For similarity the result has `spearman`, the rank correlation of cosines and scores, the number of
    `pairs` with vectors, and `covered`, their share of all pairs. For analogies it has `accuracy`, the
    share of questions whose d is the nearest to b - a + c (3CosAdd; Mikolov et al. 2013) among the
    CANDIDATES most frequent words except a, b and c, the number of `questions` with all words among these,
    and `covered`. There is no `spearman` if it is undefined: with fewer than two pairs, or if all cosines
    or all scores are equal. There is no `accuracy` without questions.

    >>> vectors = np.array([[1, 0], [1, 0.1], [0, 1]], np.float32)
    >>> pairs = Similarity([("a", "b"), ("A", "c"), ("a", "z"), ("z", "z")], [9, 1, 5, 10])
    >>> measure(pairs, {"a": 0, "b": 1, "c": 2}, vectors)
    {'spearman': 1.0, 'pairs': 2, 'covered': 0.5}
    """
    if isinstance(wordset, Similarity):
        return _correlation(wordset, number, vectors, unknown)
    return _accuracy(wordset, number, vectors)


def _row(word: str, number: Mapping[str, int]) -> int | None:
    return number.get(word, number.get(word.lower()))


def _units(vectors: Float32) -> Float32:
    """Vectors divided by their length, (V, D); zeros are unchanged."""
    units: Float32 = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return units


def _correlation(
    wordset: Similarity, number: Mapping[str, int], vectors: Float32, unknown: Unknown | None
) -> dict[str, float]:
    def vector(word: str) -> Float32 | None:
        row = _row(word, number)
        known: Float32 | None = None if row is None else vectors[row]
        return unknown(word.lower()) if known is None and unknown else known

    left, right, scores = [], [], []
    for (one, other), score in zip(wordset.pairs, wordset.scores, strict=True):
        a, b = vector(one), vector(other)
        if a is not None and b is not None:
            left.append(a)
            right.append(b)
            scores.append(score)
    result: dict[str, float] = {"pairs": len(scores), "covered": len(scores) / len(wordset.pairs)}
    if scores:
        cosines = (_units(np.stack(left)) * _units(np.stack(right))).sum(1)  # (pairs,)
        correlation = spearman(cosines, np.array(scores))
        if correlation is not None:
            return {"spearman": correlation, **result}
    return result


def spearman(one: NDArray[np.floating], other: NDArray[np.floating]) -> float | None:
    """The rank correlation of two lists, or None if all numbers of one of them are equal.

    >>> spearman(np.array([1.0, 2.0, 3.0]), np.array([10.0, 30.0, 20.0]))
    0.5
    """
    a, b = (ranks - ranks.mean() for ranks in (_ranks(one), _ranks(other)))
    spread = math.sqrt((a @ a) * (b @ b))
    return float(a @ b / spread) if spread else None


def _ranks(values: NDArray[np.floating]) -> Float64:
    """The rank of each value in ascending order; equal values have the mean of their ranks."""
    _, which, count = np.unique(values, return_inverse=True, return_counts=True)
    ranks: Float64 = (count.cumsum() - (count - 1) / 2)[which]
    return ranks


def _accuracy(wordset: Analogies, number: Mapping[str, int], vectors: Float32) -> dict[str, float]:
    candidates = np.unique(np.fromiter(number.values(), np.int64, len(number)))[:CANDIDATES]
    position = {row: n for n, row in enumerate(candidates.tolist())}
    known = [
        positions
        for words in wordset.questions
        if None not in (positions := [position.get(_row(word, number)) for word in words])
    ]
    result: dict[str, float] = {"questions": len(known), "covered": len(known) / len(wordset.questions)}
    if not known:
        return result
    units = _units(vectors[candidates])  # (V', D)
    questions = np.array(known, np.int64)  # (questions, 4)
    correct = 0
    for a, b, c, d in (part.T for part in np.array_split(questions, -(-len(questions) // BATCH))):
        scores = (units[b] - units[a] + units[c]) @ units.T  # (questions, V')
        for word in (a, b, c):
            scores[np.arange(len(a)), word] = -np.inf
        correct += int((scores.argmax(1) == d).sum())
    return {"accuracy": correct / len(known), **result}
