"""Takes the pictures of the report and the explorer in docs/, from the pages in metrics/.

    make screenshots
    python -m tools.screenshots --output docs

Chromium draws them, driven by Playwright. Fonts differ between machines, so the pictures are made on demand
and are no outputs of the pipeline. They are stored with a palette, which makes them a third as large.
"""

import argparse
import io
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from stages.lib.command import Refusal, exit_on_refusal
from stages.lib.files import atomic

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")  # searched for on PATH
# The sandbox does not start for root. The browser makes no connections of its own; WebGL runs in software.
ARGUMENTS = [
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
]
READY = "document.querySelectorAll('.explorer:not([data-ready])').length === 0"
COLOURS = 256


class Picture(NamedTuple):
    """A picture in docs/."""

    page: str  # in metrics/
    size: tuple[int, int]  # pixels
    action: str  # JavaScript that is run before


PICTURES = {
    "report.png": Picture("report.html", (1280, 730), ""),
    "explorer.png": Picture(
        "explorer.html",
        (1280, 800),
        "const { explorer } = document.querySelector('.explorer');"
        "explorer.show(Math.max(0, explorer.words.indexOf('boring')));",
    ),
}


def executable() -> str | None:
    """The first browser on PATH."""
    return next(filter(None, map(shutil.which, BROWSERS)), None)


def take(picture: Picture, folder: Path, browser: str) -> bytes:
    """The picture as a PNG file. `folder` has the pages."""
    page_file = folder / picture.page
    if not page_file.is_file():
        raise Refusal(f"{page_file}: no such file; run `dvc repro`")
    from playwright.sync_api import sync_playwright

    width, height = picture.size
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=browser, args=ARGUMENTS)
        page = started.new_page(
            viewport={"width": width, "height": height}, color_scheme="light", reduced_motion="reduce"
        )
        page.goto(page_file.resolve().as_uri())
        page.wait_for_function(READY)
        page.evaluate(f"() => {{ {picture.action} }}")
        page.wait_for_timeout(500)  # the plot is drawn before the next frame
        content = page.screenshot()
        started.close()
    return with_palette(content)


def with_palette(content: bytes) -> bytes:
    """A PNG file with at most COLOURS colours."""
    from PIL import Image

    reduced = Image.open(io.BytesIO(content)).convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
    stream = io.BytesIO()
    reduced.save(stream, "PNG", optimize=True)
    return stream.getvalue()


def main(arguments: Sequence[str] | None = None) -> None:
    """Raises Refusal if a page or the browser is missing."""
    parser = argparse.ArgumentParser(
        "screenshots", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pages", type=Path, default=Path("metrics"), metavar="FOLDER", help="(metrics)")
    parser.add_argument("--output", type=Path, default=Path("docs"), metavar="FOLDER", help="(docs)")
    options = parser.parse_args(arguments)
    browser = executable()
    if browser is None:
        raise Refusal(f"no browser on PATH; install the package chromium (searched: {', '.join(BROWSERS)})")
    for name, picture in PICTURES.items():
        path = options.output / name
        content = take(picture, options.pages, browser)
        with atomic(path) as temporary:
            temporary.write_bytes(content)
        print(f"{path}: {len(content) / 1000:.0f} kB")


if __name__ == "__main__":
    with exit_on_refusal("screenshots"):
        main()
