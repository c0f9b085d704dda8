"""The labels of a corpus: which are missing, what they are called, and in which order they are numbered."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

from stages.lib.command import Refusal
from stages.lib.corpora import Source
from stages.lib.params import nearest

MOST_LABELS = 1000  # with more, the label column is probably another one
# Every stage after `ids` holds some numbers for each row and label, and its time grows with their product:
# at this limit `ngrams` and `evaluation` take two minutes and 2 GB. Up to SMALL labels it is not applied.
MOST_CELLS, SMALL = 10_000_000, 10
LONGEST_LABEL = 1000  # characters; a longer one is a text, and every table and page would repeat it
MOST_STEPS = 11  # numbers as labels that are taken for a scale: stars, or 0 to 10
MISSING = {"", "nan", "n/a", "#n/a", "na", "<na>", "none", "null", "nil"}
POSITIVE = {"positive", "pos", "good", "happy", "yes", "true", "like", "recommended"}


@lru_cache(maxsize=1000)  # of a table, the same few labels are asked for in every row
def looks_missing(label: str) -> bool:
    """Whether a label is one of the ways in which programs write that there is none.

    >>> [looks_missing(label) for label in ("N/A", " NaN", "none", "no")]
    [True, True, True, False]
    """
    return label.strip().lower() in MISSING


def known_label(label: str | None, renamed: Mapping[str, str | None]) -> str | None:
    """A label of the corpus, or None if source.yaml maps it to null or, unmapped, it looks missing.

    >>> [known_label(label, {"bad": None, "none": "none"}) for label in ("good", "bad", "NaN", "none")]
    ['good', None, None, 'none']
    """
    if label is None or renamed.get(label, label) is None:
        return None
    return None if label not in renamed and looks_missing(label) else label


def label_names(labels: Iterable[str], source: Source | None = None) -> dict[str, str]:
    """The name of each label of the corpus, in the order of the label numbers.

    The order is that of `order` or `labels` in source.yaml; other labels follow, numbers by value and text
    alphabetically. Raises Refusal on more labels than a classifier can have.

    >>> list(label_names({"10", "9"}))
    ['9', '10']
    """
    distinct = set(labels)
    renamed = source.labels if source else {}
    if (longest := max(distinct, key=len, default="")) and len(longest) > LONGEST_LABEL:
        raise Refusal(
            f"the label column has a value of {len(longest):,} characters ({longest[:20]!r}...), allowed are "
            f"{LONGEST_LABEL:,}; is it the right column?"
        )
    if len(distinct) > MOST_LABELS:
        raise Refusal(
            f"the label column has {len(distinct):,} different values, allowed are {MOST_LABELS:,}; is it "
            "the right column?"
        )
    names = {label: name for label, name in renamed.items() if name is not None and label in distinct}
    names |= {label: label for label in sorted(distinct - set(renamed), key=_by_value)}
    if source and source.order:
        if other := sorted(set(names.values()) - set(source.order)):
            raise Refusal(
                f"order in source.yaml lists {', '.join(source.order)}, and not the label {other[0]!r}; "
                "list every label, or map it to null under labels"
            )
        return dict(sorted(names.items(), key=lambda item: source.order.index(item[1])))
    return names


def check_cells(labels: int, rows: int, where: str) -> None:
    """Raises Refusal if so many labels of so many labelled rows would take too long and too much memory.

    >>> check_cells(1000, 10_000, "rows.csv")
    """
    if labels > SMALL and labels * rows > MOST_CELLS:
        allowed = max(SMALL, MOST_CELLS // rows)
        raise Refusal(
            f"{where}: found {labels:,} labels in {rows:,} labelled rows; with so many rows {allowed:,} "
            "labels are allowed; merge labels under `labels:` in source.yaml, or leave out rows"
        )


def _by_value(label: str) -> tuple[float, str]:
    try:
        value = float(label)
    except ValueError:
        return float("inf"), label
    return (float("inf") if value != value else value), label


def order_of(names: Sequence[str], source: Source | None = None) -> list[str] | None:
    """The labels from the lowest to the highest: declared, or three or more numbers. None: no order.

    >>> order_of(["1", "2", "3"]), order_of(["0", "1"]), order_of(["1", "2", "many"])
    (['1', '2', '3'], None, None)
    """
    if source and source.order:
        return [name for name in source.order if name in names]
    finite = all(math.isfinite(_by_value(name)[0]) for name in names)
    return list(names) if finite and 3 <= len(names) <= MOST_STEPS else None


def positive_of(names: Sequence[str], declared: str | None = None) -> str | None:
    """The label that precision and recall are about: declared, or one of two whose name says so.

    Raises Refusal if the declared one does not exist.

    >>> positive_of(["happy", "sad"]), positive_of(["0", "1"]), positive_of(["sport", "trade"])
    ('happy', '1', None)
    """
    if declared is not None:
        if declared not in names:
            raise Refusal(f"positive: found {declared!r} in source.yaml{nearest(declared, list(names))}")
        return declared
    if len(names) != 2:
        return None
    if all(math.isfinite(_by_value(name)[0]) for name in names):
        return max(names, key=lambda name: _by_value(name)[0])
    called = [name for name in names if name.strip().casefold() in POSITIVE]
    return called[0] if len(called) == 1 else None


def arrange(names: list[str], positive: str | None = None) -> list[str]:
    """The names in the order of their numbers: the positive one of two is the second, which has the logit.

    >>> arrange(["happy", "sad"]), arrange(["left", "right"], positive="left")
    (['sad', 'happy'], ['right', 'left'])
    """
    return names[::-1] if len(names) == 2 and positive_of(names, positive) == names[0] else names


def named(counts: Mapping[str, Counter[str | None]], name_of: Mapping[str, str]) -> dict[str, Counter[str]]:
    """Counts of the labels of the corpus, per split, as counts of their names. What has none is left out."""
    by_name: dict[str, Counter[str]] = {split: Counter() for split in counts}
    for split, of_label in counts.items():
        for label, number in of_label.items():
            if label is not None:
                by_name[split][name_of[label]] += number
    return by_name
