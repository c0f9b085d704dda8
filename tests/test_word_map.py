"""The picture of words: what is drawn where, in which colour, and that nothing depends on the machine."""

import os
import subprocess
import sys
from itertools import combinations
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from stages.lib.placement import Box
from stages.lib.word_map import (
    AGAINST,
    COLOURS,
    DIVERGING,
    FOR,
    NEUTRAL,
    SUBTITLE,
    TITLE,
    WordPoints,
    drawn_text,
    evidence,
    is_drawable,
    looks,
    save_png,
    styles,
    word_map,
)
from tests.conftest import ROOT


def some_words(tokens: list[str], labels: int = 2, seed: int = 0) -> WordPoints:
    generator = np.random.default_rng(seed)
    ratios = generator.normal(size=(len(tokens), labels))
    if labels == 2:
        ratios[:, 1] = -ratios[:, 0]
    return WordPoints(tokens, generator.normal(size=(len(tokens), 2)), ratios, 3 * ratios, [10.0] * labels)


def draw(words: WordPoints) -> Figure:
    labels = [f"label {n}" for n in range(len(words.documents))]
    return word_map(words, words, [0.2, 0.1], labels)


def word_texts(figure: Figure, words: WordPoints) -> list[Text]:
    return [text for text in figure.texts if text.get_text() in words.tokens and text.get_text()]


def contrast(colour: object) -> float:
    """The contrast of a colour with white, by the Web Content Accessibility Guidelines."""
    channels = np.array(to_rgb(colour))
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return float(1.05 / (linear @ [0.2126, 0.7152, 0.0722] + 0.05))


def test_no_two_texts_overlap_and_most_of_them_are_drawn() -> None:
    words = some_words([f"word{n}" for n in range(150)])
    figure = draw(words)
    renderer = figure.canvas.get_renderer()
    legend = figure.legends[0].get_window_extent(renderer)
    texts = [text for text in figure.texts if text.get_text()]
    boxes = [*(text.get_window_extent(renderer) for text in texts), legend]
    for one, other in combinations(boxes, 2):
        assert not Box(*one.extents).overlaps(Box(*other.extents))
    assert len(word_texts(figure, words)) > 50
    page = Box(0, 0, *figure.canvas.get_width_height())
    assert all(page.contains(Box(*box.extents)) for box in boxes)


def test_the_words_of_the_front_of_the_list_are_drawn_first() -> None:
    words = some_words(["first", *(f"w{n}" for n in range(99))])
    crowded = words._replace(points=np.array([[0.0, 0], [1, 1]] * 50))
    assert [text.get_text() for text in word_texts(draw(crowded), crowded)] == ["first", "w0"]


def test_with_two_labels_colours_go_from_orange_to_blue_and_markers_down_and_up() -> None:
    ratios = np.array([[3, -3], [0.2, -0.2], [0, 0], [-0.2, 0.2], [-9, 9]])
    words = WordPoints(list("abcde"), np.zeros((5, 2)), ratios, 2 * ratios, [5.0, 5.0])
    colours, markers = zip(*styles(words, 3.0), strict=True)
    assert markers == ("v", "o", "o", "o", "^")
    expected = [AGAINST, DIVERGING(0.4667)[:3], NEUTRAL, DIVERGING(0.5333)[:3], FOR]
    np.testing.assert_allclose(colours, [to_rgb(colour) for colour in expected], atol=0.01)
    assert evidence(words) == [0, -1, -1, -1, 1]


def test_with_more_labels_a_word_has_the_colour_of_its_best_label_and_uncertain_words_are_grey() -> None:
    in_errors = np.array([[3, 2.5, -4], [-1, 1.9, 0], [-5, -5, 8]])
    words = WordPoints(list("abc"), np.zeros((3, 2)), in_errors / 2, in_errors, [5.0, 5.0, 5.0])
    colours, markers = zip(*styles(words, 1.0), strict=True)
    np.testing.assert_allclose(colours, [to_rgb(colour) for colour in (AGAINST, NEUTRAL, FOR)])
    assert markers == ("v", "o", "^")


def test_of_many_labels_the_most_frequent_ones_have_colours() -> None:
    known = looks([1.0, 5, 5, 5, 5, 5, 2, 5, 5, 5, 9])
    assert list(known) == [1, 2, 3, 4, 5, 7, 8, 10]
    assert [colour for colour, _ in known.values()] == list(COLOURS)
    assert len({marker for _, marker in known.values()}) == 8
    assert list(looks([3.0] * 4)) == [0, 1, 2, 3]


def test_colours_are_readable_on_white_and_differ_in_more_than_hue() -> None:
    for share in np.linspace(0, 1, 41):
        assert contrast(DIVERGING(share)[:3]) >= 4.5
    assert all(contrast(colour) >= 4.5 for colour in (*COLOURS, NEUTRAL))


def test_the_legend_names_the_labels() -> None:
    for number, rest in ((2, "neither"), (3, "none"), (9, "none or another label")):
        words = some_words(["a", "b"], number)
        figure = word_map(words, words, [0.5, 0.2], ["$x$", "<b>", *"cdefghi"][:number])
        names = [text.get_text() for text in figure.legends[0].get_texts()]
        assert names == [*["$x$", "<b>", *"cdefghi"][: min(number, 8)], rest]
        texts = {text.get_text() for text in figure.texts}
        assert {TITLE, SUBTITLE, "principal component 1: 50.0% of the variance"} <= texts


@pytest.mark.parametrize(
    "word", ["$x$", "$^$", "a$b", "$", "\\", "x_2^{", "%", "😀", "<b>", "a\nb", "_hidden", "x" * 1_000_000]
)
def test_any_word_and_label_can_be_drawn(word: str) -> None:
    words = some_words([word, "good"])
    figure = word_map(words, words, [0.5, 0.3], [word, "other"])
    assert len([t for t in figure.texts if t.get_text() in (drawn_text(word), "good")]) == (
        2 if is_drawable(word) else 1
    )


@pytest.mark.parametrize("word", ["电影", "हिन्दी", "ดีที่", "مرحبا", "סרט", "a\0b", "\u202ea", "👨‍👩‍👧"])
@pytest.mark.filterwarnings("error::UserWarning")
def test_words_that_the_font_lacks_are_markers_and_are_counted(word: str) -> None:
    words = some_words([word, "good"])
    figure = word_map(words, words, [0.5, 0.3], [word, "other"])
    assert not is_drawable(word)
    assert any(text.get_text().startswith("1 of 2 words are in scripts") for text in figure.texts)
    markers = [group for group in figure.axes[0].collections if group.get_zorder() == 3]
    assert len(markers) == 2


@pytest.mark.parametrize("number", [0, 1, 2])
def test_pictures_of_hardly_any_words(number: int, tmp_path: Path) -> None:
    words = some_words(["a", "b"][:number])
    equal = words._replace(points=np.zeros((number, 2)), in_errors=words.in_errors * 0)
    save_png(draw(equal), tmp_path / "a.png")
    assert Image.open(tmp_path / "a.png").size == (1440, 960)


CODE = """
import sys
from pathlib import Path
import numpy as np
from stages.lib.word_map import WordPoints, save_png, word_map
values = np.random.default_rng(0).normal(size=(60, 2))
words = WordPoints([f"word{n}" for n in range(60)], values, values, 3 * values, [1, 1])
save_png(word_map(words, words, [0.2, 0.1], ["no", "yes"]), Path(sys.argv[1]))
"""


def test_the_picture_is_the_same_whatever_the_user_has_set(tmp_path: Path) -> None:
    settings = tmp_path / "matplotlibrc"
    settings.write_text(
        "font.size: 20\nfont.family: serif\nfigure.dpi: 30\nsavefig.dpi: 40\naxes.facecolor: black\n"
        "figure.facecolor: red\nlines.markersize: 30\ntext.usetex: False\nsavefig.bbox: tight\n"
        "path.sketch: 2, 100, 3\nlegend.fontsize: 30\ntext.antialiased: False\n"
    )
    for name, choice in (("one.png", None), ("two.png", str(settings))):
        environment = {k: v for k, v in os.environ.items() if k != "MATPLOTLIBRC"}
        environment |= {"MATPLOTLIBRC": choice} if choice else {}
        command = [sys.executable, "-c", CODE, str(tmp_path / name)]
        subprocess.run(command, cwd=ROOT, env=environment, check=True)
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()


def test_the_settings_of_the_process_are_kept() -> None:
    before = mpl.rcParams["font.size"]
    with mpl.rc_context({"font.size": 33}):
        draw(some_words(["a"]))
        assert mpl.rcParams["font.size"] == 33
    assert mpl.rcParams["font.size"] == before
