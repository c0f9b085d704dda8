"""A picture of words on two axes, coloured by the label that they are evidence for.

Each word has a colour and a marker, so that the picture can be read in grey. Blue and orange, and the
qualitative colours (after Okabe and Ito 2008), can be distinguished by colour-blind readers, and are dark
enough for text on white.

The picture is the same whatever matplotlibrc and fonts a machine has: it uses matplotlib's defaults and the
font that comes with matplotlib.
"""

import unicodedata
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap, to_rgb
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.ft2font import FT2Font
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from PIL import Image

from stages.lib.arrays import Float64
from stages.lib.placement import Box, place_labels

WIDTH, HEIGHT, DPI = 9.6, 6.4, 150  # inches, dots per inch
AREA = (0.045, 0.06, 0.94, 0.83)  # of the plot: left, bottom, width, height, as shares of the figure
RADIUS = 3.2  # of a marker, in points
MARGIN = 2  # around a label, in pixels
TEXT, LARGE, SMALL = 9.0, 11.0, 8.5  # points
IMPORTANT = 40  # words, of which those that are evidence for a label are large
LENGTH = 24  # characters of a word or label that are drawn
PALETTE = 256  # colours in the file
CERTAIN = 2.0  # standard errors from which a word is evidence for one of several labels

TITLE = "Words that are close have similar vectors"
NOTE = "{} of {} words are in scripts that this picture cannot show; the explorer shows all"
SUBTITLE = "coloured by the label in whose texts a word is more frequent"
AGAINST, NEUTRAL, FOR, INK = "#a84a08", "#6f6f6f", "#1d62ad", "#222222"
DIVERGING = LinearSegmentedColormap.from_list("labels", [AGAINST, "#8c6a52", NEUTRAL, "#547799", FOR])
# Of three or more labels: the first and the last are those of two, for labels that are a scale.
COLOURS = (AGAINST, "#7a4fb5", "#00795a", "#8a6d00", "#a3477f", "#4d7c0f", "#0f7c8a", FOR)
MARKERS = ("v", "s", "D", "P", "X", "p", "d", "^")


class WordPoints(NamedTuple):
    """N words in order of importance."""

    tokens: Sequence[str]
    points: Float64  # (N, 2)
    ratios: Float64  # (N, L) log-odds ratios of the labels
    in_errors: Float64  # (N, L) the same in standard errors
    documents: Sequence[float]  # of each of the L labels

    def of(self, rows: Sequence[int]) -> "WordPoints":
        """The words in some rows."""
        tokens = [self.tokens[row] for row in rows]
        return WordPoints(tokens, self.points[rows], self.ratios[rows], self.in_errors[rows], self.documents)


def font() -> FontProperties:
    """The font that comes with matplotlib."""
    return FontProperties(fname=font_path())


@cache
def font_path(name: str = "DejaVuSans") -> Path:
    """The file of a font that comes with matplotlib."""
    return Path(mpl.get_data_path()) / f"fonts/ttf/{name}.ttf"


@cache
def characters() -> frozenset[int]:
    """The code points that the font has."""
    return frozenset(FT2Font(str(font_path())).get_charmap())


def is_drawable(token: str) -> bool:
    """Whether the font has all characters of a word, in a script that is written from left to right.

    >>> [token for token in ("film", "été", "кино", "电影", "סרט", "a\\0") if is_drawable(token)]
    ['film', 'été', 'кино']
    """
    return all(
        ord(character) in characters()
        and unicodedata.category(character)[0] != "C"
        and unicodedata.bidirectional(character) not in ("R", "AL")
        for character in token
    )


def evidence(words: WordPoints) -> list[int]:
    """The number of the label that each word is evidence for, or -1 if it is evidence for none: (N,)."""
    certain = words.in_errors.max(1) >= CERTAIN
    labels: list[int] = np.where(certain, words.in_errors.argmax(1), -1).tolist()
    return labels


def looks(frequencies: Sequence[float]) -> dict[int, tuple[str, str]]:
    """A colour and a marker for each of the most frequent labels, by the number of the label.

    >>> looks([5, 2])
    {0: ('#a84a08', 'v'), 1: ('#1d62ad', '^')}
    """
    shown = sorted(np.argsort([-n for n in frequencies], kind="stable")[: len(COLOURS)].tolist())
    numbers = [*range(len(shown) - 1), len(COLOURS) - 1][-len(shown) :]
    return {label: (COLOURS[n], MARKERS[n]) for label, n in zip(shown, numbers, strict=True)}


def styles(words: WordPoints, scale: float) -> list[tuple[Any, str]]:
    """A colour (3,) and a marker for each word.

    With two labels the colour is that of the log-odds ratio, which is strongest from `scale`.
    """
    known = looks(words.documents)
    chosen = [known.get(label, (NEUTRAL, "o")) for label in evidence(words)]
    if len(words.documents) == 2:
        colours = DIVERGING(np.clip(words.ratios[:, 1] / scale, -1, 1) / 2 + 0.5)[:, :3]
    else:
        colours = np.array([to_rgb(colour) for colour, _ in chosen])
    return [(colour, marker) for colour, (_, marker) in zip(colours, chosen, strict=True)]


def light(colour: Any) -> Any:
    """The colour of a small dot without a label."""
    return 0.35 * np.asarray(colour) + 0.65


def drawn_text(text: str) -> str:
    """The beginning of a text, with a box for what cannot be drawn.

    >>> drawn_text("a\\nb" + 30 * "c")
    'a□bccccccccccccccccccccc…'
    """
    characters = [c if is_drawable(c) else "\u25a1" for c in text[:LENGTH]]
    return "".join(characters) + ("…" if len(text) > LENGTH else "")


def word_map(
    words: WordPoints, background: WordPoints, explained: Sequence[float], labels: Sequence[str]
) -> Figure:
    """The words with their labels, as many as have room, over small dots for the `background`.

    `explained` are the shares of the variance of the two axes. Words that the font lacks are markers only.
    """
    with mpl.rc_context():
        mpl.rcdefaults()
        figure = Figure(figsize=(WIDTH, HEIGHT), dpi=DPI, facecolor="white")
        FigureCanvasAgg(figure)
        axes = figure.add_axes(AREA)
        axes.set_xticks([])
        axes.set_yticks([])
        axes.spines[:].set_visible(False)
        if len(words.tokens):
            certain = np.abs(words.ratios[np.abs(words.in_errors) >= CERTAIN])
            scale = float(np.quantile(certain, 0.75)) if len(certain) else 1.0
            set_limits(axes, words.points)
            draw_dots(axes, background.points, [colour for colour, _ in styles(background, scale)])
            draw_words(figure, axes, words, styles(words, scale))
        missing = sum(not is_drawable(token[:LENGTH]) for token in words.tokens)
        write_titles(figure, explained, NOTE.format(missing, len(words.tokens)) if missing else "")
        write_legend(figure, labels, looks(words.documents))
        figure.canvas.draw()
    return figure


def set_limits(axes: Axes, points: Float64) -> None:
    """Shows almost all points, at the same scale on both axes, so that distances can be compared."""
    low, high = np.quantile(points, [0.01, 0.99], axis=0)
    margin = 0.15 * (high - low)
    low, high = np.maximum(points.min(0), low - margin), np.minimum(points.max(0), high + margin)
    middle, half = (low + high) / 2, np.maximum((high - low) / 2 * 1.05, 1e-9)
    ratio = WIDTH * AREA[2] / (HEIGHT * AREA[3])
    tall = max(half[1], half[0] / ratio)
    axes.set_xlim(middle[0] - tall * ratio, middle[0] + tall * ratio)
    axes.set_ylim(middle[1] - tall, middle[1] + tall)


def draw_dots(axes: Axes, points: Float64, colours: Sequence[Any]) -> None:
    """A small light dot for each point (N, 2)."""
    if len(points):
        axes.scatter(points[:, 0], points[:, 1], c=light(np.stack(colours)), s=6, linewidths=0, zorder=1)


def draw_words(figure: Figure, axes: Axes, words: WordPoints, chosen: Sequence[tuple[Any, str]]) -> None:
    """Markers and labels of the words whose label has room, and dots for the others."""
    renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]
    halo = withStroke(linewidth=2, foreground="white")
    texts = [
        figure.text(
            0, 0, drawn_text(token) if is_drawable(token[:LENGTH]) else "", fontproperties=font(),
            size=LARGE if n < IMPORTANT and label >= 0 else TEXT, va="center", parse_math=False, zorder=4,
            path_effects=[halo],
        )
        for n, (token, label) in enumerate(zip(words.tokens, evidence(words), strict=True))
    ]  # fmt: skip
    measured = [text.get_window_extent(renderer) for text in texts]
    extents = [(box.width + 2 * MARGIN, box.height + MARGIN) for box in measured]
    pixels = [(x, y) for x, y in axes.transData.transform(words.points).tolist()]
    area = Box(*axes.get_window_extent(renderer).extents)
    places = place_labels(pixels, extents, RADIUS * DPI / 72, area)
    for text, box, (x, y), (colour, marker) in zip(texts, places, words.points, chosen, strict=True):
        if box is None:
            text.remove()
            draw_dots(axes, np.array([[x, y]]), [colour])
            continue
        axes.scatter([x], [y], c=[colour], marker=marker, s=2 * RADIUS**2, linewidths=0, zorder=3)
        corner = (box.left + MARGIN, (box.bottom + box.top) / 2)
        text.set(position=figure.transFigure.inverted().transform(corner), color=colour)


def write_titles(figure: Figure, explained: Sequence[float], note: str) -> None:
    """What the picture shows, and what its axes are."""
    left, bottom, width, height = AREA
    bold = FontProperties(fname=font_path("DejaVuSans-Bold"))
    figure.text(0.028, 0.962, TITLE, fontproperties=bold, size=11.5, color=INK, va="center")
    axes = [f"principal component {n}: {part:.1%} of the variance" for n, part in enumerate(explained, 1)]
    write(figure, left + width, 0.962, SUBTITLE, ha="right")
    write(figure, left + width / 2, 0.025, axes[0])
    write(figure, 0.02, bottom + height / 2, axes[1], rotation=90)
    write(figure, left + width, 0.918, note, ha="right")


def write(figure: Figure, x: float, y: float, text: str, **style: Any) -> None:
    """A small text at a position from 0 to 1."""
    settings: dict[str, Any] = {"ha": "center", "va": "center", "color": NEUTRAL, "size": SMALL}
    figure.text(x, y, text, fontproperties=font(), **(settings | style))


def write_legend(figure: Figure, labels: Sequence[str], known: Mapping[int, tuple[str, str]]) -> None:
    """Which colour and marker stands for which label."""
    entries = [(colour, marker, drawn_text(labels[label])) for label, (colour, marker) in known.items()]
    rest = "neither" if len(labels) == 2 else "none" if len(labels) == len(known) else "none or another label"
    entries.append((NEUTRAL, "o", rest))
    handles = [
        Line2D([], [], color=colour, marker=marker, linestyle="", markersize=6, markeredgewidth=0, label=name)
        for colour, marker, name in entries
    ]
    legend = figure.legend(
        handles=handles, loc="center left", bbox_to_anchor=(0.02, 0.918), ncols=5, prop=font(),
        frameon=False, borderpad=0, borderaxespad=0, handletextpad=0.1, columnspacing=1.2, labelspacing=0.3,
    )  # fmt: skip
    for text, (colour, _, _) in zip(legend.get_texts(), entries, strict=True):
        text.set(color=colour, size=SMALL, parse_math=False)


def save_png(figure: Figure, path: Path) -> None:
    """Writes a figure with a palette of PALETTE colours, which makes the file a third as long."""
    rows = np.asarray(figure.canvas.buffer_rgba())[:, :, :3]  # type: ignore[attr-defined]
    picture = Image.fromarray(np.ascontiguousarray(rows), "RGB")
    picture.quantize(PALETTE, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(
        path, "PNG", optimize=True, dpi=(DPI, DPI)
    )
