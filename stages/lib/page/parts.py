"""The parts that more than one page contains, with the files of stages/page that each needs.

A page includes the part's template, and passes its scripts and styles to `assemble`, after those of the page.
"""

from typing import NamedTuple


class Part(NamedTuple):
    """A part of a page. All scripts of a page share one scope, so top-level names are distinct."""

    scripts: tuple[str, ...]
    styles: tuple[str, ...]


BASE = Part(("unpack.js", "scroll.js"), ("base.css",))
SCORER = Part(  # scorer.jinja
    ("scorer_text.js", "scorer_model.js", "scorer_explain.js", "scorer.js"),
    ("scorer.css",),
)
EXPLORER = Part(  # explorer.jinja
    (
        "explorer_space.js",
        "explorer_colour.js",
        "explorer_camera.js",
        "explorer_gl.js",
        "explorer_canvas.js",
        "explorer_labels.js",
        "explorer_select.js",
        "explorer_hash.js",
        "explorer_export.js",
        "explorer_table.js",
        "explorer_controls.js",
        "explorer_plot.js",
        "explorer.js",
    ),
    ("explorer.css",),
)
