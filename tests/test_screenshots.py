"""Screenshots: the size and colours of the pictures, and one line without a page or a browser."""

import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from stages.lib.command import Refusal
from tests.browser import executable
from tests.conftest import ROOT
from tools import screenshots

PAGE = """<!doctype html><title>a</title><body style="background: #123456">
<section class="explorer" data-ready="true"></section>
<script>document.querySelector(".explorer").explorer = {
  words: ["good", "boring"],
  show(row) { document.body.style.background = row === 1 ? "#00ff00" : "#ff0000"; },
};</script>"""


def test_pictures_have_a_palette_and_show_the_page(tmp_path: Path) -> None:
    executable()
    for name in ("report", "explorer"):
        (tmp_path / f"{name}.html").write_text(PAGE, encoding="utf-8")
    words = [sys.executable, "-m", "tools.screenshots", "--pages", str(tmp_path), "--output", str(tmp_path)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    for name, colour in (("report", (0x12, 0x34, 0x56)), ("explorer", (0, 255, 0))):
        picture = Image.open(tmp_path / f"{name}.png")
        assert picture.mode == "P"
        assert picture.size == screenshots.PICTURES[f"{name}.png"].size
        assert picture.convert("RGB").getpixel((600, 600)) == colour


def test_a_missing_page_or_browser_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(screenshots, "executable", lambda: "chromium")
    with pytest.raises(Refusal, match=r"report\.html: no such file; run `dvc repro`"):
        screenshots.main(["--pages", str(tmp_path), "--output", str(tmp_path)])
    monkeypatch.setattr(screenshots, "executable", lambda: None)
    with pytest.raises(Refusal, match="install the package chromium"):
        screenshots.main([])


@pytest.mark.parametrize("name", sorted(screenshots.PICTURES))
def test_the_pictures_in_docs_are_small(name: str) -> None:
    path = ROOT / "docs" / name
    assert path.stat().st_size <= 200_000
    assert Image.open(path).size[0] == 1280
