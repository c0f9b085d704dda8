"""Typing errors: swapped, missing, doubled and neighbouring keys on a QWERTY keyboard."""

from collections.abc import Sequence
from functools import cache
from itertools import pairwise

import numpy as np

from stages.lib.arrays import Bool, Int32, UInt32

KEYBOARD = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
SWAP, DROP, NEIGHBOUR, KINDS = 0, 1, 3, 4  # 2 and every impossible error double the letter


@cache
def adjacent_keys() -> tuple[UInt32, Int32]:
    """The keys next to each letter's key, one row per ASCII code point (128, 6), and their number (128,)."""
    position = {key: (x + row / 2, row) for row, keys in enumerate(KEYBOARD) for x, key in enumerate(keys)}
    table, count = np.zeros((128, 6), np.uint32), np.zeros(128, np.int32)
    for key, (x, y) in position.items():
        adjacent = [
            other for other, (u, v) in position.items() if other != key and (x - u) ** 2 + (y - v) ** 2 < 2
        ]
        for case in (str.lower, str.upper):
            table[ord(case(key)), : len(adjacent)] = [ord(case(other)) for other in adjacent]
            count[ord(case(key))] = len(adjacent)
    return table, count


def mistyped(texts: Sequence[str], percent: int, generator: np.random.Generator) -> list[str]:
    """Texts in which each letter is mistyped with a probability of `percent` in 100.

    An error is one of four at random: the letter is swapped with the next one, left out, doubled, or
    replaced by an adjacent key. Where the first or the last is impossible, the letter is doubled.

    >>> mistyped(["A good film, I'd say."], 20, np.random.default_rng(4))
    ["A god rilm, I'd sya."]
    """
    ends = np.cumsum([0, *map(len, texts)])
    points = np.frombuffer("".join(texts).encode("utf-32-le"), np.uint32)  # code points of all texts
    letter = letters(points)
    typo = letter & (generator.random(len(points)) < percent / 100)
    can_swap = np.zeros(len(points), np.bool_)  # a correct letter of the same text follows
    can_swap[:-1] = letter[1:] & ~typo[1:]
    can_swap[ends[1:][ends[1:] > 0] - 1] = False
    chosen = np.flatnonzero(typo)
    kind = generator.integers(0, KINDS, len(chosen))
    table, count = adjacent_keys()
    keys = np.where(points[chosen] < len(count), points[chosen], 0)
    slips = (kind == NEIGHBOUR) & (count[keys] > 0)
    swapped, dropped, replaced = (
        chosen[(kind == SWAP) & can_swap[chosen]],
        chosen[kind == DROP],
        chosen[slips],
    )
    typed = points.copy()
    typed[swapped], typed[swapped + 1] = points[swapped + 1], points[swapped]
    which = (generator.random(len(replaced)) * count[keys[slips]]).astype(np.int64)
    typed[replaced] = table[keys[slips], which]
    repeats = np.ones(len(points), np.int8)
    repeats[chosen] = 2
    repeats[swapped] = repeats[replaced] = 1
    repeats[dropped] = 0
    new_ends = np.concatenate([[0], np.cumsum(repeats)])[ends].tolist()
    whole = np.repeat(typed, repeats).tobytes().decode("utf-32-le")
    return [whole[start:end] for start, end in pairwise(new_ends)]


def letters(points: UInt32) -> Bool:
    """Which code points are letters, of any script."""
    is_letter = np.zeros(0x110000, np.bool_)
    is_letter[points] = True
    distinct = np.flatnonzero(is_letter)
    is_letter[distinct] = [chr(point).isalpha() for point in distinct]
    return is_letter[points]
