"""Charts: labels and words are escaped, and a chart needs nothing from a network."""

import json
import re
from typing import Any

import plotly.graph_objects as go

from stages.lib import charts

TAG = "<img src=x onerror=alert(1)>"


def config_of(html: str) -> dict[str, Any]:
    """The configuration that a chart is drawn with: the last object in the call of newPlot."""
    config: dict[str, Any] = json.loads(re.findall(r"\{[^{}]*\}", html)[-1])
    return config


def test_a_chart_does_not_offer_to_upload_its_data() -> None:
    config = config_of(charts.embed(go.Figure(), "name"))
    assert config["showSendToCloud"] is False
    assert config["displaylogo"] is False


def test_a_chart_is_the_same_in_every_run() -> None:
    rows = [{"x": "1", "y": "2"}, {"x": "2", "y": "1"}]
    html = [charts.embed(charts.line_chart(rows, "x", {"y": "loss"}, "loss"), "curve") for _ in range(2)]
    assert html[0] == html[1]
    assert 'id="curve"' in html[0]


def test_a_chart_contains_no_copy_of_plotly() -> None:
    html = charts.embed(go.Figure(), "name")
    assert len(html) < 20_000
    assert "src=" not in html


def test_labels_are_escaped() -> None:
    roc = [{"label": TAG, "false_positive_rate": "0", "true_positive_rate": "1"}]
    confusion = [{"label": TAG, "predicted": TAG, "reviews": "3"}]
    for chart in (charts.roc_curves(roc), charts.confusion_matrix(confusion)):
        assert "<img" not in chart.to_json()
        assert "&lt;img" in chart.to_json()


def test_words_are_escaped() -> None:
    projection = {"token": [TAG, "good"], "x": [0.0, 1.0], "y": [1.0, 0.0]}
    chart = charts.word_space(projection, [0.5, 0.25])
    assert [list(trace.z) for trace in chart.data] == [[0.0, 0.0]] * 2  # two dimensions are drawn flat
    for trace in chart.data:
        words = trace.hovertext or trace.text
        assert list(words) == ["&lt;img src=x onerror=alert(1)&gt;", "good"]


def test_only_the_most_frequent_words_are_named() -> None:
    words = [f"w{n}" for n in range(charts.NAMED + 5)]
    numbers = [float(n) for n in range(len(words))]
    points, names = charts.word_space({"token": words, "x": numbers, "y": numbers, "z": numbers}, [1.0]).data
    assert len(points.x) == len(words)
    assert list(names.text) == words[: charts.NAMED]


def test_the_intervals_of_reliability_are_around_the_accuracy() -> None:
    rows = [
        {"calibration": when, "probability": "0.75", "accuracy": "0.5", "low": "0.25", "high": "1"}
        for when in ("before", "after")
    ]
    before, after, diagonal = charts.reliability(rows).data
    assert (list(after.error_y.array), list(after.error_y.arrayminus)) == ([0.5], [0.25])
    assert (before.error_y.visible, after.error_y.visible) == (False, True)
    assert list(diagonal.x) == list(diagonal.y) == [0.75, 1]


def test_labels_that_look_like_numbers_stay_names() -> None:
    rows = [{"label": a, "predicted": b, "reviews": "1"} for a in "01" for b in "01"]
    chart = charts.confusion_matrix(rows)
    assert (chart.layout.xaxis.type, chart.layout.yaxis.type) == ("category", "category")
