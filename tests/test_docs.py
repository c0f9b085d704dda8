"""ARCHITECTURE.md and docs/: what they name exists, and nothing is missing."""

import re
import subprocess
from pathlib import Path

import pytest

from stages import STAGES
from tests.conftest import ROOT
from tests.test_pipeline import pipeline

ARCHITECTURE = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", ROOT / "ARCHITECTURE.md", ROOT / "SECURITY.md"]
PAGES += [page for folder in ("docs", "benchmarks", "data") for page in sorted((ROOT / folder).rglob("*.md"))]


def headings(text: str) -> set[str]:
    """The anchors of a page, as GitHub makes them."""
    return {re.sub(r"[^\w -]", "", h).lower().replace(" ", "-") for h in re.findall(r"^#+ (.*)$", text, re.M)}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files_and_headings(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!https?:)(.*?)\)", text):
        file, _, anchor = target.partition("#")
        path = page.parent / file if file else page
        assert path.is_file(), target
        if anchor:
            assert anchor in headings(path.read_text(encoding="utf-8")), target


def test_every_module_of_lib_has_its_place() -> None:
    table = ARCHITECTURE[ARCHITECTURE.index("## Where things go") : ARCHITECTURE.index("## How to add")]
    named = set(re.findall(r"`(?:stages/lib/)?(\w+(?:\.py|/))`", table))
    lib = ROOT / "stages/lib"
    modules = {path.name for path in lib.glob("*.py")} - {"__init__.py"}
    packages = {f"{path.name}/" for path in lib.iterdir() if (path / "__init__.py").is_file()}
    assert modules | packages <= named
    assert {name for name in named if name.endswith(".py")} - {"predictor.py"} <= modules


def test_the_graph_is_that_of_the_pipeline() -> None:
    graph = re.search(r"```mermaid\n(.*?)```", ARCHITECTURE, re.DOTALL)
    assert graph
    drawn = set(re.findall(r"^    (\w+)\S* --> (\w+)", graph[1], re.MULTILINE))
    # Metrics are read by the report alone and not drawn.
    made_by = {
        out: stage for stage in STAGES for out in pipeline()[stage]["outs"] if not out.startswith("metrics/")
    }
    reads = {
        (made_by[file], stage) for stage in STAGES for file in pipeline()[stage]["deps"] if file in made_by
    }
    early = STAGES[: STAGES.index("ids")]  # what later stages read of these is not drawn
    expected = {(one, other) for one, other in reads if one not in early or other in (*early, "ids")}
    assert drawn == expected | {("corpus", "raw")}


def test_every_node_of_the_graph_names_an_output_of_its_stage() -> None:
    nodes = dict(re.findall(r'(\w+)\["<b>\w+</b><br/>(.*?)"\]', ARCHITECTURE))
    assert set(nodes) == set(STAGES)
    for stage, file in nodes.items():
        outs = pipeline()[stage]["outs"]
        assert file in outs or f"data/{file}" in outs


def test_readme_has_at_most_150_lines() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150


def test_make_help_lists_every_target() -> None:
    lines = (ROOT / "Makefile").read_text(encoding="utf-8").splitlines()
    targets = {line.partition(":")[0] for line in lines if re.match(r"[a-z-]+:(?!=)", line)}
    done = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True)
    listed = {line.split()[1] for line in done.stdout.splitlines() if line.startswith("  make ")}
    assert targets == listed
