"""The confusion matrix: how many reviews of each label were predicted as each label."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from markupsafe import Markup

from stages.lib.charts.curves import Row
from stages.lib.charts.svg import LETTER, chart, element, shortened

NUMBERED = 12  # labels up to which the cells have numbers
DARKEST = 0.6  # opacity of a cell with all reviews of its label: its number stays readable
NAME = 16
TINY = 0.72  # size of the names of small cells, of that of others


class Grid(NamedTuple):
    """Where the cells are, in pixels."""

    names: list[str]  # as they are shown
    cell: float
    left: float
    top: float

    @property
    def is_small(self) -> bool:
        """Whether the cells are too small for numbers."""
        return len(self.names) > NUMBERED

    @property
    def is_slanted(self) -> bool:
        """Whether the names of the columns are slanted, because they need more room than their column."""
        return max(map(len, self.names)) * LETTER > self.cell


def confusion(rows: Sequence[Row]) -> Markup:
    """A row of cells for each label, shaded by the share of its reviews that was predicted as each label."""
    names = list(dict.fromkeys(row["label"] for row in rows))
    # Pairs that do not occur may be missing.
    count = Counter({(row["label"], row["predicted"]): int(row["reviews"]) for row in rows})
    grid = grid_of(names)
    side = grid.cell * len(names)
    content = [
        element("text", "predicted", class_="axis", x=grid.left, y=11),
        element("text", "label", class_="axis", x=0, y=grid.top - 6),
        *name_marks(grid),
    ]
    for i, label in enumerate(names):
        total = sum(count[label, other] for other in names)
        for j, other in enumerate(names):
            content += cell_marks(grid, i, j, count[label, other], total)
    content.append(element("rect", class_="frame", x=grid.left, y=grid.top, width=side, height=side))
    hits = sum(count[name, name] for name in names)
    desc = f"{hits:,} of {sum(count.values()):,} reviews are on the diagonal: classified correctly."
    width = grid.left + side + 6 + (grid.top - 30 if grid.is_slanted else 0)
    return chart("confusion", "Confusion matrix", desc, width, grid.top + side + 6, content)


def grid_of(names: Sequence[str]) -> Grid:
    """A grid with room for the names."""
    shown = [shortened(name, NAME) for name in names]
    cell = 11.0 if len(names) > NUMBERED else max(30.0, min(84.0, 336 / len(names)))
    letter = LETTER * (TINY if len(names) > NUMBERED else 1)
    longest = max(map(len, shown)) * letter
    grid = Grid(shown, cell, max(longest + 12, 34), 42)
    return grid._replace(top=30 + 0.75 * longest) if grid.is_slanted else grid


def name_marks(grid: Grid) -> Iterator[Markup]:
    """The names of rows and columns."""
    kind = "name tiny" if grid.is_small else "name"
    for number, name in enumerate(grid.names):
        middle = (number + 0.5) * grid.cell
        yield element("text", name, class_=kind, x=grid.left - 6, y=grid.top + middle + 4, text_anchor="end")
        x, y = grid.left + middle, grid.top - 6
        if grid.is_slanted:
            turn = f"rotate(-45 {x + 3:.1f} {y:.1f})"
            yield element("text", name, class_=kind, x=x + 3, y=y, transform=turn)
        else:
            yield element("text", name, class_=kind, x=x, y=y, text_anchor="middle")


def cell_marks(grid: Grid, i: int, j: int, reviews: int, total: int) -> Iterator[Markup]:
    """The cell of row i and column j: of `total` reviews with the label, `reviews` have the prediction."""
    if grid.is_small and not reviews:
        return
    x, y = grid.left + j * grid.cell, grid.top + i * grid.cell
    words = f"{grid.names[i]}, predicted as {grid.names[j]}: {reviews:,}"
    yield element(
        "rect",
        element("title", words),
        class_="cell right" if i == j else "cell",
        x=x + 0.5,
        y=y + 0.5,
        width=grid.cell - 1,
        height=grid.cell - 1,
        fill_opacity=DARKEST * reviews / max(total, 1),
    )
    if not grid.is_small:
        middle = grid.cell / 2
        at = {"x": x + middle, "y": y + middle + 4}
        yield element("text", f"{reviews:,}", class_="count", text_anchor="middle", **at)


def confusions(rows: Sequence[Row], limit: int) -> list[tuple[str, str, int]]:
    """The most frequent (label, wrong prediction, reviews).

    >>> cells = [("a", "a", "5"), ("a", "b", "2"), ("b", "a", "3"), ("b", "b", "0")]
    >>> confusions([dict(zip(("label", "predicted", "reviews"), cell)) for cell in cells], 1)
    [('b', 'a', 3)]
    """
    wrong = [(row["label"], row["predicted"], int(row["reviews"])) for row in rows]
    wrong = [cell for cell in wrong if cell[0] != cell[1] and cell[2]]
    return sorted(wrong, key=lambda cell: (-cell[2], cell[0], cell[1]))[:limit]
