"""Fixtures that open pages in a real browser: Chromium, driven by Playwright.

A test that uses them is skipped if one of the two is missing. Playwright's own download of browsers is not
used; Chromium or Chrome is searched for on PATH. Each process that runs such tests starts one browser.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tools import screenshots
from tools.screenshots import ARGUMENTS, BROWSERS

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page
else:
    Browser = Page = Any  # playwright may be missing

TIMEOUT = 90_000  # milliseconds; the machine may be busy with other work

OpenPage = Callable[..., Page]


def executable() -> str:
    """The first browser on PATH. Skips the test if there is none, or no Playwright."""
    pytest.importorskip("playwright", reason="the package playwright is not installed; `make` installs it")
    path = screenshots.executable()
    if path is None:
        pytest.skip(f"no browser on PATH; install the package chromium (searched: {', '.join(BROWSERS)})")
    return path


@contextmanager
def started(path: str) -> Iterator[Browser]:
    """The browser of this executable."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """One browser for all tests of this process."""
    with started(executable()) as browser:
        yield browser


@contextmanager
def opened(browser: Browser, path: Path, fragment: str = "", **options: Any) -> Iterator[Page]:
    """A page opened from disk, in a context with these options of Playwright: `viewport`, `color_scheme`, …

    Asserts at the end that the page requested nothing but its own file (data: and blob: excepted), and that
    it had no error, no console error and no dialog.
    """
    url = path.resolve().as_uri()
    problems: list[str] = []

    def on_request(requested: str) -> None:
        if requested.partition("#")[0] != url and not requested.startswith(("data:", "blob:")):
            problems.append(f"request: {requested}")

    context = browser.new_context(**options)
    context.set_default_timeout(TIMEOUT)
    context.on("request", lambda request: on_request(request.url))
    context.on("weberror", lambda error: problems.append(f"error: {error.error}"))
    context.on("console", lambda line: line.type == "error" and problems.append(f"console: {line.text}"))
    page = context.new_page()
    page.on("dialog", lambda dialog: (problems.append(f"dialog: {dialog.message}"), dialog.dismiss()))
    page.goto(url + fragment)
    try:
        yield page
    finally:
        context.close()
    assert not problems, problems


@pytest.fixture(scope="session")
def open_in(browser: Browser) -> Callable[..., AbstractContextManager[Page]]:
    """`opened` with the browser, for fixtures that share a page: `with open_in(path) as page`."""
    return lambda path, *arguments, **options: opened(browser, path, *arguments, **options)


@pytest.fixture
def open_page(browser: Browser, tmp_path: Path) -> Iterator[OpenPage]:
    """Opens a file, given its path, or HTML, given as text: `open_page(path, viewport={…})`. The checks of
    `opened` are made at the end of the test."""
    with ExitStack() as stack:

        def open_(source: Path | str, fragment: str = "", **options: Any) -> Page:
            path = source if isinstance(source, Path) else tmp_path / "page.html"
            if isinstance(source, str):
                path.write_text(source, encoding="utf-8")
            return stack.enter_context(opened(browser, path, fragment, **options))

        yield open_


def serious_violations(page: Page) -> list[str]:
    """What axe-core finds in the page that is serious or critical, and where."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    return [
        f"{one['id']} ({len(one['nodes'])}): "
        + "; ".join(f"{node['target']}: {node['failureSummary']}" for node in one["nodes"][:3])
        for one in axe.run(page).response["violations"]
        if one["impact"] in ("serious", "critical")
    ]
