"""The fixtures of the browser tests: they notice what a page must not do."""

import shutil
import sys
from pathlib import Path

import pytest

from tests.browser import Browser, OpenPage, executable, opened

PAGE = "<!doctype html><title>a</title><p>text</p>{}"


def test_a_page_without_problems_passes(open_page: OpenPage) -> None:
    image = "data:image/gif;base64,R0lGODlhAQABAAAAACwAAAAAAQABAAA="
    page = open_page(
        PAGE.format(f'<img alt="" src="{image}">'), "#here", viewport={"width": 390, "height": 844}
    )
    assert page.inner_text("p") == "text"
    assert page.evaluate("[innerWidth, location.hash]") == [390, "#here"]


@pytest.mark.parametrize(
    ("markup", "problem"),
    [
        ("<script>throw new Error('wrong')</script>", "error: wrong"),
        ("<script>console.error('bad')</script>", "console: bad"),
        ("<script>alert('hello')</script>", "dialog: hello"),
        ("<img src='http://127.0.0.1:9/a.png'>", "request: http://127.0.0.1:9/a.png"),
        ("<img src='other.png'>", "other.png"),
    ],
)
def test_problems_fail_the_test(browser: Browser, tmp_path: Path, markup: str, problem: str) -> None:
    path = tmp_path / "page.html"
    path.write_text(PAGE.format(markup), encoding="utf-8")
    with pytest.raises(AssertionError, match=problem), opened(browser, path) as page:
        page.wait_for_load_state()


def test_the_browser_is_searched_for_on_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: f"/bin/{name}" if name.startswith("google") else None)
    assert executable() == "/bin/google-chrome"


@pytest.mark.parametrize("missing", ["playwright", "chromium"])
def test_without_a_browser_tests_are_skipped_and_say_what_to_install(
    monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    if missing == "playwright":
        monkeypatch.setitem(sys.modules, "playwright", None)
    with pytest.raises(pytest.skip.Exception, match=f"the package {missing}"):
        executable()
