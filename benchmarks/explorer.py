"""The explorer's page at growing numbers of words: weight, loading, frames and queries in a browser.

    make bench-explorer                 # the table of benchmarks/explorer.md
    make bench-explorer OPTIONS="--words 2000 50000 --dims 100 50"

The vectors are drawn at random around centres, with a variance that falls from one direction to the next as
that of trained vectors does. The stage runs as DVC runs it. Its page is then opened from disk in headless
Chromium, which draws WebGL on the processor: with a graphics card frames are faster.

    load       from the start of the navigation until the first frame is drawn, median
    frame      from one frame to the next while all words rotate; a screen of 60 Hz allows no less than 16.7
    script     the part of a frame that the page's own code takes, which a graphics card does not shorten
    query      the ten nearest neighbours of a word by cosine, among all words
"""

import argparse
import statistics
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from safetensors.numpy import save_file

from benchmarks.measure import ROOT, measured, processor
from stages import UNK
from stages.lib.files import read_json, write_json
from stages.lib.markdown import table
from stages.lib.model import Model, ModelConfig
from stages.lib.word_model import WordModel
from stages.projection import axis_names, principal_components
from tools.screenshots import ARGUMENTS, executable

DIM, CENTRES, COMPONENTS = 100, 200, 10
LETTERS = "etaoinshrdlcumwfgypbvkjxqz"
INPUTS = ("vocabulary", "embeddings", "projection", "ensemble")

READY = """
new MutationObserver((_, observer) => {
  if (document.querySelector('[data-ready="true"]')) {
    observer.disconnect();
    globalThis.readyAfter = performance.now();
  }
}).observe(document, { subtree: true, childList: true, attributes: true, attributeFilter: ["data-ready"] });
"""
ROTATE = """
(frames) => new Promise((resolve) => {
  const { explorer } = document.querySelector('[data-ready="true"]');
  const times = [];
  const step = (time) => {
    times.push(time);
    explorer.camera.turn(0.02, 0);
    explorer.draw();
    if (times.length <= frames) requestAnimationFrame(step);
    else resolve(times.slice(1).map((end, n) => end - times[n]));
  };
  requestAnimationFrame(step);
})
"""
SCRIPT = """
(frames) => {
  const { explorer } = document.querySelector('[data-ready="true"]');
  return Array.from({ length: frames }, () => {
    explorer.camera.turn(0.02, 0);
    const start = performance.now();
    explorer.drawNow();
    return performance.now() - start;
  });
}
"""
QUERY = """
(queries) => {
  const { space } = document.querySelector('[data-ready="true"]').explorer;
  return Array.from({ length: queries }, (_, n) => {
    const start = performance.now();
    space.neighbours(Math.floor((n * space.length) / queries), 10, "cosine");
    return performance.now() - start;
  });
}
"""


class Case(NamedTuple):
    """One row of the table."""

    words: int
    dims: int  # of the vectors in the page


class Visit(NamedTuple):
    """What the browser measured, in milliseconds."""

    load: float
    frames: list[float]
    script: float
    query: float


def word(number: int) -> str:
    """A distinct word of letters for each number.

    >>> [word(n) for n in (0, 25, 26, 18277)]
    ['e', 'z', 'ee', 'zzz']
    """
    letters = ""
    number += 1
    while number:
        number, last = divmod(number - 1, len(LETTERS))
        letters = LETTERS[last] + letters
    return letters


def draw(words: int) -> Any:
    """Vectors (V, DIM), the same in every run."""
    generator = np.random.default_rng(0)
    widths = np.arange(1, DIM + 1) ** -0.5
    centres = generator.normal(size=(CENTRES, DIM)) * widths
    noise = 0.7 * generator.normal(size=(words, DIM)) * widths
    return (centres[generator.integers(0, CENTRES, words)] + noise).astype(np.float32)


def write_model(path: Path, rows: int) -> None:
    """A model of two labels with random weights of words."""
    weights = np.random.default_rng(1).normal(size=(rows, 1)).astype(np.float32)
    words = WordModel("mean", {"weight": weights, "bias": np.zeros(1, np.float32)})
    labels = ["negative", "positive"]
    config = ModelConfig(
        vocabulary="", labels=labels, width=None, keep="head", pool="mean", prior=[0.0], ngrams=None
    )
    Model(config, words).save(path)


def write_inputs(folder: Path, case: Case) -> list[str | Path]:
    """Writes what the stage reads, and returns its arguments."""
    vectors = draw(case.words)
    rows = case.words + UNK + 1
    tokens = ["<pad>", "<unk>", *map(word, range(case.words))]
    counts = [0, 0, *(10 * case.words // (n + 1) for n in range(case.words))]
    paths = {name: folder / f"{name}.data" for name in INPUTS}
    pq.write_table(pa.table({"token": tokens, "count": counts}), paths["vocabulary"])
    table_of = np.concatenate([np.zeros((UNK + 1, DIM), np.float32), vectors])
    save_file({"embeddings": table_of}, paths["embeddings"])
    points, explained = principal_components(vectors, COMPONENTS)
    axes = axis_names(COMPONENTS)
    columns = dict(zip(axes, points.T.astype(np.float32), strict=True))
    pq.write_table(pa.table({"token": tokens[UNK + 1 :], **columns}), paths["projection"])
    write_model(paths["ensemble"], rows)
    explained_json = folder / "projection.json"
    write_json(explained_json, {"explained": dict(zip(axes, explained.tolist(), strict=True))})
    params = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    params["explorer"] |= {"words": case.words, "dims": None if case.dims == DIM else case.dims}
    (folder / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    arguments = {"params": folder / "params.yaml", **paths, "projection-json": explained_json}
    arguments |= {"explorer": folder / "out", "metrics": folder / "out.json", "page": folder / "page.html"}
    return [part for name, path in arguments.items() for part in (f"--{name}", path)]


@contextmanager
def browser() -> Iterator[Any]:
    """Headless Chromium, or None with a line on standard error if it or Playwright is missing."""
    path = executable()
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        path = None
    if path is None:
        print("no Chromium or no Playwright: the columns of the browser are empty", file=sys.stderr)
        yield None
        return
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield started
        started.close()


def visit(started: Any, page_path: Path, times: int, frames: int) -> Visit:
    """Opens the page some times; the last time it rotates and answers queries."""
    loads = []
    for number in range(times):
        page = started.new_page(viewport={"width": 1280, "height": 800})
        page.set_default_timeout(120_000)
        page.add_init_script(READY)
        page.goto(page_path.as_uri())
        page.wait_for_selector('[data-ready="true"]', state="attached")
        loads.append(page.evaluate("globalThis.readyAfter"))
        if number + 1 == times:
            rotation, script, query = (page.evaluate(code, frames) for code in (ROTATE, SCRIPT, QUERY))
        page.close()
    return Visit(statistics.median(loads), rotation, statistics.median(script), statistics.median(query))


def row_of(case: Case, started: Any, times: int, frames: int) -> list[str]:
    """One row of the table."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        cost = measured("stages.explorer", *write_inputs(folder, case))
        facts = read_json(folder / "out.json")
        cells = [
            f"{case.words:,}", str(case.dims), f"{facts['page_bytes'] / 1e6:.1f}", f"{facts['overlap']:.3f}",
            f"{cost.seconds:.1f}", f"{cost.megabytes:.0f}",
        ]  # fmt: skip
        if started is None:
            return [*cells, "", "", "", "", ""]
        seen = visit(started, folder / "page.html", times, frames)
    slowest = float(np.quantile(seen.frames, 0.95))
    return [
        *cells, f"{seen.load / 1000:.2f}", f"{statistics.median(seen.frames):.0f}", f"{slowest:.0f}",
        f"{seen.script:.1f}", f"{seen.query:.1f}",
    ]  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser("explorer", description=__doc__.partition("\n")[0])
    parser.add_argument("--words", type=int, nargs="+", default=[2_000, 20_000, 50_000, 200_000])
    parser.add_argument("--dims", type=int, nargs="+", default=[100, 100, 100, 50], help="for each number")
    parser.add_argument("--times", type=int, default=3, help="loadings of each page")
    parser.add_argument("--frames", type=int, default=60, help="frames, and queries, of each page")
    options = parser.parse_args(arguments)
    if len(options.words) != len(options.dims):
        parser.error("--words and --dims need as many numbers")
    header = ["words", "dimensions", "page, MB", "overlap", "stage, s", "stage, MB", "load, s", "frame, ms"]
    with browser() as started:
        cases = map(Case, options.words, options.dims)
        rows = [row_of(case, started, options.times, options.frames) for case in cases]
        version = f", Chromium {started.version}" if started else ""
    print(f"{processor()}{version}\n")
    print(table([*header, "95 % of frames, ms", "script, ms", "query, ms"], rows))


if __name__ == "__main__":
    main()
