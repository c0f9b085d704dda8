"""The report's charts, drawn by plotly, as HTML.

Labels and words come from outside and are escaped here: plotly reads a tag in a text as a tag.
"""

from collections.abc import Sequence
from html import escape
from typing import Any

import plotly.graph_objects as go
import plotly.io

NAMED = 60  # words of the 3-D view whose names are always shown; the others' on hover
HEIGHT = 340  # pixels of a small chart
INK, BLUE, RED = "#44546a", "#2a7f9e", "#c8553d"

Row = dict[str, str]  # of a small CSV file


def line_chart(rows: list[Row], x: str, ys: dict[str, str], y_title: str) -> go.Figure:
    """A line chart of some columns of a table. `ys` maps a column to its name in the legend."""
    figure = go.Figure()
    for (column, name), colour in zip(ys.items(), (BLUE, RED), strict=False):
        figure.add_scatter(
            x=[float(r[x]) for r in rows],
            y=[float(r[column]) for r in rows],
            mode="lines+markers" if len(rows) < 40 else "lines",
            name=name,
            line_color=colour,
        )
    return figure.update_layout(xaxis_title=x, yaxis_title=y_title, showlegend=len(ys) > 1)


def roc_curves(rows: list[Row]) -> go.Figure:
    """Receiver operating characteristic of each label, and the diagonal of a random guess."""
    figure = go.Figure()
    for label in dict.fromkeys(row["label"] for row in rows):
        selected = [row for row in rows if row["label"] == label]
        figure.add_scatter(
            x=[float(r["false_positive_rate"]) for r in selected],
            y=[float(r["true_positive_rate"]) for r in selected],
            mode="lines",
            name=escape(label, quote=False),
        )
    figure.add_scatter(x=[0, 1], y=[0, 1], mode="lines", line={"dash": "dot", "color": "#999"}, name="random")
    return figure.update_layout(xaxis_title="false positive rate", yaxis_title="true positive rate")


def reliability(rows: list[Row]) -> go.Figure:
    """Accuracy by probability with intervals, before and after the temperature. On the diagonal,
    probabilities are calibrated."""
    figure = go.Figure()
    for name, colour in (("before", RED), ("after", BLUE)):
        selected = [row for row in rows if row["calibration"] == name]
        accuracy, low, high = (
            [float(row[column]) for row in selected] for column in ("accuracy", "low", "high")
        )
        spread = {
            "array": [h - a for a, h in zip(accuracy, high, strict=True)],
            "arrayminus": [a - b for a, b in zip(accuracy, low, strict=True)],
            "thickness": 1,
            "visible": name == "after",  # two sets of intervals would overlap
        }
        figure.add_scatter(
            x=[float(row["probability"]) for row in selected],
            y=accuracy,
            error_y=spread,
            mode="lines+markers",
            name=name,
            line={"color": colour, "dash": "solid" if name == "after" else "dot"},
        )
    ends = [min(float(row["probability"]) for row in rows), 1]
    figure.add_scatter(x=ends, y=ends, mode="lines", line={"dash": "dot", "color": "#999"}, name="calibrated")
    return figure.update_layout(xaxis_title="probability of the most probable label", yaxis_title="accuracy")


def confusion_matrix(rows: list[Row]) -> go.Figure:
    """How many reviews of each label were predicted as each label."""
    names = list(dict.fromkeys(row["label"] for row in rows))
    count = {(row["label"], row["predicted"]): int(row["reviews"]) for row in rows}
    cells = [[count[a, b] for b in names] for a in names]
    shown = [escape(name, quote=False) for name in names]
    figure = go.Figure(
        go.Heatmap(
            z=cells, x=shown, y=shown, text=cells, texttemplate="%{text}", colorscale="Blues", showscale=False
        )
    )
    # Labels that look like numbers must not become a numeric axis.
    figure.update_xaxes(title="predicted", type="category")
    return figure.update_yaxes(title="label", type="category", autorange="reversed")


def word_space(projection: dict[str, list[Any]], variance: Sequence[float]) -> go.Figure:
    """Words in the first three principal components, with the share of variance of each on its axis."""
    words = [escape(word, quote=False) for word in projection["token"]]
    third = projection.get("z", [0.0] * len(words))
    named = min(NAMED, len(words))
    style = {"x": projection["x"], "y": projection["y"], "z": third}
    figure = go.Figure()
    figure.add_scatter3d(
        **style,
        mode="markers",
        hovertext=words,
        hoverinfo="text",
        marker={"size": 2.5, "color": third, "colorscale": "Viridis", "opacity": 0.75},
    )
    figure.add_scatter3d(
        **{axis: values[:named] for axis, values in style.items()},
        mode="text",
        text=words[:named],
        textfont={"size": 11, "color": INK},
        hoverinfo="skip",
    )
    axes = {
        f"{axis}axis": {"title": {"text": f"PC {n} ({part:.0%})"}, "showbackground": False}
        for n, (axis, part) in enumerate(zip("xyz", variance, strict=False), 1)
    }
    return figure.update_layout(scene=axes, showlegend=False, uirevision="keep")


def embed(chart: go.Figure, name: str, height: int = HEIGHT) -> str:
    """A chart as HTML. The page has one copy of plotly for all charts."""
    chart.update_layout(
        template="plotly_white",
        height=height,
        margin={"l": 50, "r": 15, "t": 15, "b": 45},
        font={"family": "system-ui, sans-serif", "size": 12},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        modebar={"bgcolor": "rgba(0,0,0,0)", "color": "#b9c3cc", "activecolor": INK},
        legend={"orientation": "h", "y": 1.1},
    )
    html: str = plotly.io.to_html(
        chart,
        include_plotlyjs=False,
        full_html=False,
        div_id=name,  # the default is random, and the page would differ between runs
        # By default every chart offers to upload its data to a server.
        config={"displaylogo": False, "responsive": True, "showSendToCloud": False},
    )
    return html


def script() -> str:
    """The source of plotly's JavaScript, for the page to contain."""
    from plotly.offline import get_plotlyjs

    source: str = get_plotlyjs()
    return source
