"""Charts: what they draw is what the tables say, and what comes from outside is text."""

import re
from xml.etree import ElementTree

import pytest

from stages.lib.charts import curves
from stages.lib.charts.matrix import NUMBERED, confusion, confusions
from stages.lib.charts.strips import EDGE, bar, scale_of, strip, strip_axis
from stages.lib.charts.svg import Plot, element, shortened, ticks
from stages.lib.charts.words import Word, word_map

TAG = '</svg><img src=x onerror="alert(1)">\x00\N{RIGHT-TO-LEFT OVERRIDE}'
Element = ElementTree.Element


def parsed(svg: str) -> Element:
    """A chart as a tree. Raises ParseError if it is not well-formed."""
    return ElementTree.fromstring(svg)


def texts(root: Element, kind: str = "") -> list[str]:
    """The texts of a chart's text elements, of one class or of all."""
    return [one.text or "" for one in root.iter("text") if kind in one.get("class", "")]


def points(path: Element) -> list[tuple[float, float]]:
    """The points of a path, in pixels."""
    return [(float(x), float(y)) for x, y in re.findall(r"(-?[\d.]+) (-?[\d.]+)", path.get("d", ""))]


def lines(root: Element, kind: str) -> list[list[tuple[float, float]]]:
    return [points(path) for path in root.iter("path") if kind in path.get("class", "").split()]


def roc_rows(*labels: str) -> list[dict[str, str]]:
    """A curve of each label through (0, 0), (0.25, 0.75) and (1, 1)."""
    corners = (("0", "0"), ("0.25", "0.75"), ("1", "1"))
    return [
        {"label": n, "false_positive_rate": x, "true_positive_rate": y} for n in labels for x, y in corners
    ]


def cells(*names: str, reviews: int = 3) -> list[dict[str, str]]:
    return [{"label": a, "predicted": b, "reviews": str(reviews)} for a in names for b in names]


def reliability_rows() -> list[dict[str, str]]:
    row = {"probability": "0.75", "accuracy": "0.5", "low": "0.25", "high": "1", "reviews": "4"}
    return [{"calibration": when, **row} for when in ("before", "after")]


def coverage_rows() -> list[dict[str, str]]:
    values = (("0.5", "1.0", "0.75", "0.5", "0.9"), ("0.9", "0.25", "1.0", "0.75", "1.0"))
    columns = ("threshold", "coverage", "accuracy", "low", "high")
    return [dict(zip(columns, row, strict=True)) for row in values]


def every_chart(label: str) -> dict[str, str]:
    """One chart of each kind, with a label from outside where there is one."""
    losses = [{"x": "1", "y": "2"}, {"x": "2", "y": "1"}]
    return {
        "loss": curves.training("loss", losses, "x", {"y": label}),
        "roc": curves.roc(roc_rows(label)),
        "pr": curves.precision_recall([curves.Curve(label, [0.0, 1.0], [1.0, 0.5])]),
        "reliability": curves.reliability(reliability_rows()),
        "coverage": curves.coverage(coverage_rows(), [0.9]),
        "confusion": confusion(cells(label, "other")),
        "map": word_map([Word(label, 0.0, 1.0, 0.5), Word("b", 1.0, 0.0, -1.0)], [0.5], (label, "b"), 9),
    }


@pytest.mark.parametrize("name", list(every_chart("x")))
def test_a_chart_has_a_name_and_a_description(name: str) -> None:
    root = parsed(every_chart("label")[name])
    assert root.get("role") == "img"
    ids = {one.get("id"): one.text for one in root if one.get("id")}
    assert [bool(ids[part]) for part in (root.get("aria-labelledby") or "").split()] == [True, True]
    assert root.get("id") == name


@pytest.mark.parametrize("name", list(every_chart("x")))
def test_a_label_from_outside_stays_text(name: str) -> None:
    svg = every_chart(TAG)[name]
    assert "<img" not in svg
    names = {one.tag for one in parsed(svg.replace("\x00", "")).iter()}
    assert names <= {"svg", "title", "desc", "line", "path", "circle", "rect", "text"}


@pytest.mark.parametrize("name", list(every_chart("x")))
def test_a_chart_is_the_same_in_every_run_and_has_no_style(name: str) -> None:
    assert every_chart("label")[name] == every_chart("label")[name]
    assert not {"style", "onload", "href"} & {
        key for one in parsed(every_chart("a")[name]).iter() for key in one.attrib
    }


def test_numbers_and_attributes_are_escaped() -> None:
    assert element("text", "a & b", x=1.005, class_='"') == '<text x="1" class="&#34;">a &amp; b</text>'


def test_a_long_or_broken_name_is_one_short_line() -> None:
    assert shortened("x" * 1_000_000, 10) == "x" * 9 + "…"
    assert shortened("a\nb\x00c", 10) == "a b c"
    assert shortened("fits", 4) == "fits"


@pytest.mark.parametrize(
    ("low", "high"), [(0.0, 1.0), (0.3, 0.31), (-5.0, 1e7), (2.5, 2.5), (0.1234, 0.98), (1.0, 925_000.0)]
)
def test_ticks_are_round_and_inside(low: float, high: float) -> None:
    values = ticks(low, high)
    assert 1 <= len(values) <= 6
    assert all(low - 1e-9 <= value <= high + 1e-9 for value in values)


def test_a_plot_puts_values_between_its_margins() -> None:
    plot = Plot((0, 10), (0, 1), width=100, height=100, margin=(10, 20, 30, 40))
    assert (plot.x(0), plot.x(10), plot.y(0), plot.y(1)) == (40, 80, 70, 10)
    assert Plot((3, 3), (1, 1)).x(3) == pytest.approx(223)  # a single value is in the middle


def test_a_training_curve_has_the_points_of_the_table() -> None:
    rows = [{"epoch": "1", "a": "2", "b": "4"}, {"epoch": "3", "a": "1", "b": "3"}]
    root = parsed(curves.training("curve", rows, "epoch", {"a": "training", "b": "validation"}))
    (a,), (b,) = lines(root, "s1"), lines(root, "s2")
    assert a[0][0] == b[0][0] < a[1][0] == b[1][0]
    assert b[0][1] < b[1][1] < a[0][1] < a[1][1]  # 4, 3, 2 and 1, from the top
    assert a[0][1] - b[1][1] == pytest.approx(b[1][1] - b[0][1], abs=0.02)  # equal steps
    assert texts(root, "name") == ["training", "validation"]


def test_a_roc_curve_has_the_points_of_the_table_and_its_area() -> None:
    root = parsed(curves.roc(roc_rows("good")))
    ((start, middle, end),) = lines(root, "s1")
    assert middle[0] - start[0] == pytest.approx((end[0] - start[0]) / 4, abs=0.02)
    assert start[1] - middle[1] == pytest.approx((start[1] - end[1]) * 3 / 4, abs=0.02)
    assert texts(root, "name") == ["good (0.750)"]


def test_of_many_labels_only_the_lowest_curves_have_names() -> None:
    rows = roc_rows(*(f"label {number:02}" for number in range(50)))
    rows[1]["true_positive_rate"] = "0.5"  # of label 00
    root = parsed(curves.roc(rows))
    assert texts(root, "name")[0] == "label 00 (0.625)"
    assert texts(root, "name")[-1] == "47 other labels"
    assert (len(lines(root, "faint")), len(lines(root, "s3"))) == (47, 1)


def test_reliability_has_whiskers_after_calibration_only() -> None:
    root = parsed(curves.reliability(reliability_rows()))
    (whisker,) = [one for one in root.iter("line") if one.get("class") == "whisker"]
    dots = list(root.iter("circle"))
    low, high = (float(whisker.get(end) or 0) for end in ("y1", "y2"))
    assert {one.get("cx") for one in dots} == {whisker.get("x1")} == {whisker.get("x2")}
    y = float(dots[0].get("cy") or 0)
    assert (y - high) == pytest.approx(2 * (low - y), abs=0.03)  # from 0.5 to 1 and to 0.25
    assert [title.text for title in dots[0]] == ["4 reviews: probability 75 %, accuracy 50 %"]


def test_coverage_marks_the_thresholds_of_the_table() -> None:
    root = parsed(curves.coverage(coverage_rows(), [0.9]))
    assert texts(root, "name") == ["90 %"]
    (dot,) = root.iter("circle")
    ((first, second),) = lines(root, "s1")
    assert (float(dot.get("cx") or 0), float(dot.get("cy") or 0)) == second
    assert first[0] > second[0]
    assert len(lines(root, "band")[0]) == 4


def test_confusion_has_a_number_and_a_shade_for_each_cell() -> None:
    rows = cells("a", "b")
    rows[0]["reviews"] = "9"  # of 12 with the label a
    root = parsed(confusion(rows))
    assert texts(root, "count") == ["9", "3", "3", "3"]
    shades = [float(one.get("fill-opacity") or -1) for one in root.iter("rect") if one.get("fill-opacity")]
    assert shades == [0.45, 0.15, 0.3, 0.3]
    assert "12 of 18 reviews are on the diagonal" in next(root.iter("desc")).text.__str__()


def test_confusion_of_many_labels_has_small_cells_with_names_in_titles() -> None:
    names = [f"label {number}" for number in range(NUMBERED + 1)]
    rows = cells(*names, reviews=0)
    rows[1]["reviews"] = "5"
    root = parsed(confusion(rows))
    assert texts(root, "count") == []
    assert [one.text for one in root.iter("title")][1:] == ["label 0, predicted as label 1: 5"]
    assert confusions(rows, 3) == [("label 0", "label 1", 5)]
    occurring = [row for row in rows if row["reviews"] != "0" or row["label"] == row["predicted"]]
    assert confusion(occurring) == confusion(rows)


def test_long_names_of_columns_are_slanted() -> None:
    for names, slanted in ((("a", "b"), 0), (("an entirely different", "b"), 2)):
        root = parsed(confusion(cells(*names)))
        assert sum(one.get("transform") is not None for one in root.iter("text")) == slanted


def test_a_strip_is_where_its_values_are() -> None:
    scale = scale_of([0.0, 1.0])
    root = parsed(strip(scale, 0.5, 0.25, 1.0, reference=0.0))
    (dot,) = root.iter("circle")
    reference, whisker = list(root.iter("line"))[:2]
    assert dot.get("cx") == "50.00%"
    assert reference.get("x1") == f"{EDGE:.2f}%"
    ends = [float((whisker.get(end) or "").rstrip("%")) for end in ("x1", "x2")]
    assert ends == pytest.approx([EDGE + 0.25 * (100 - 2 * EDGE), 100 - EDGE])
    assert len(list(parsed(strip(scale, 0.5, None, None, 0.0)).iter("line"))) == 1


def test_equal_values_have_a_scale() -> None:
    assert parsed(strip_axis(scale_of([0.5, 0.5]))) is not None
    assert parsed(strip_axis(scale_of([1.0]))) is not None


def test_a_bar_has_the_width_of_its_share() -> None:
    assert [next(parsed(bar(share)).iter("rect")).get("width") for share in (0.25, 2.0)] == [
        "25.0%",
        "100.0%",
    ]


def test_the_map_marks_both_sides_in_two_ways() -> None:
    words = [Word("good", 0.0, 0.0, 1.0), Word("bad", 1.0, 1.0, -1.0)]
    root = parsed(word_map(words, [0.25], ("negative", "positive"), 10))
    assert [one.get("class") for one in root.iter("circle")] == ["word for", "word against"]
    assert texts(root, "word") == ["good", "bad"]
    assert "Evidence for negative: bad. Evidence for positive: good." in (next(root.iter("desc")).text or "")
    plain = parsed(word_map(words, [0.25], None, 10))
    assert {one.get("class") for one in plain.iter("circle")} == {"word none"}


def test_names_in_the_map_do_not_cover_each_other() -> None:
    words = [Word(f"word{number}", number % 20 / 40, number // 20 / 40, 1.0) for number in range(400)]
    named = [
        one
        for one in parsed(word_map(words, [0.5], None, 400)).iter("text")
        if one.get("class") == "word none"
    ]
    at = [(float(one.get("x") or 0), float(one.get("y") or 0)) for one in named]
    assert 20 < len(at) < 400
    for number, (x, y) in enumerate(at):
        assert not [1 for x2, y2 in at[number + 1 :] if abs(y - y2) < 12 and abs(x - x2) < 25]
    few = parsed(word_map(words, [0.5], None, 3))
    assert len(texts(few, "word")) == 3
