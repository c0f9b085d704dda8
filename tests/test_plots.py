"""The plots that DVC draws: axis titles, templates, and a page that needs no network."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.test_pipeline import pipeline

PAGE = ROOT / ".dvc/plots/page.html"
PLOTS = {
    path: settings
    for stage in pipeline().values()
    for entry in stage.get("plots", [])
    for path, settings in entry.items()
    if path.endswith(".csv")
}
TEMPLATES = sorted((ROOT / ".dvc/plots").glob("*.json"))


@pytest.mark.parametrize("path", PLOTS)
def test_a_plot_has_a_title_axis_titles_and_columns_that_exist(path: str) -> None:
    settings = PLOTS[path]
    assert settings["title"]
    assert settings["x_label"]
    assert settings.get("y_label") or settings["template"] == "slices"  # whose y axis has names
    header = (ROOT / path).read_text(encoding="utf-8").partition("\n")[0].split(",")
    assert {settings["x"], settings["y"]} <= set(header)
    assert "template" not in settings or (ROOT / f".dvc/plots/{settings['template']}.json") in TEMPLATES


def test_every_template_is_used() -> None:
    used = {settings["template"] for settings in PLOTS.values() if "template" in settings}
    assert {template.stem for template in TEMPLATES} == used


def test_the_diagonal_is_in_the_roc_template_and_counts_are_readable_on_dark_cells() -> None:
    roc = json.loads((ROOT / ".dvc/plots/roc.json").read_text(encoding="utf-8"))
    assert [layer["data"]["values"] for layer in roc["layer"]][1] == [{"rate": 0}, {"rate": 1}]
    confusion = json.loads((ROOT / ".dvc/plots/confusion_counts.json").read_text(encoding="utf-8"))
    colour = confusion["spec"]["layer"][1]["encoding"]["color"]
    assert (colour["condition"]["value"], colour["value"]) == ("white", "black")


def test_the_page_contains_the_scripts_and_loads_nothing() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert "{plot_divs}" in text
    assert "{scripts}" not in text  # DVC would put the addresses of a server there
    assert not re.search(r"<script[^>]+src|<link|@import", text)
    assert len(re.findall(r"<script>", text)) == text.count("</script>") == 4
    assert "BSD" in text or "Redistribution and use in source and binary forms" in text
    assert PAGE.stat().st_size < 1_000_000


def test_dvc_writes_that_page(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "dvc", "plots", "show", "metrics/evaluation_roc.csv", "-o", str(tmp_path)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert not re.search(r"<script[^>]+src", text)
    assert "false positive rate" in text
    assert "vegaEmbed('#" in text
