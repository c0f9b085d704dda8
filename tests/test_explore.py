"""Explore: the alignment by an oracle, moved words by hand, the command on revisions, and the page."""

import hashlib
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.linalg
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save

from stages.lib.command import Refusal
from stages.lib.page.pack import unpack, unpack_strings
from stages.lib.page.space import Space
from tests.browser import OpenPage, Page, serious_violations
from tests.conftest import ROOT
from tools import alignment, explore

WORDS = [f"word{n:03}" for n in range(60)]
MOVED = 7  # the row that `moved` moves
HOSTILE = "</script><script>window.ran=1</script>"


def vectors(seed: int = 0, rows: int = len(WORDS), dims: int = 6) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(rows, dims))


def turned(table: np.ndarray, seed: int) -> np.ndarray:
    """Vectors after a random rotation."""
    matrix = np.linalg.qr(np.random.default_rng(seed).normal(size=(table.shape[1],) * 2))[0]
    result: np.ndarray = table @ matrix
    return result


def moved(table: np.ndarray) -> np.ndarray:
    """Vectors with one word in the opposite direction."""
    result = table.copy()
    result[MOVED] *= -1
    return result


def space(table: np.ndarray, words: Sequence[str] = WORDS) -> dict[str, Any]:
    """The arrays of data/explorer.safetensors, with the first dimensions as components."""
    rows = len(words)
    centred = table - table.mean(0)
    axes = np.linalg.svd(centred, full_matrices=False)[2][:3]
    coords = centred @ axes.T
    counts = np.arange(1000, 1000 - rows, -1, dtype=np.uint32)
    labels = ["bad", "good"]
    explained = coords.var(0) / centred.var(0).sum()
    weights, cluster = table[:, :1], np.zeros(rows, np.uint8)
    made = Space(words, counts, table, coords, explained, weights, cluster, ["all"], labels)
    return made.arrays({"corpus": "tiny", "overlap": 1.0, "trustworthiness": {"3": 0.9}, "words": 999})


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 6), st.integers(1, 20))
def test_the_rotation_is_that_of_scipy(seed: int, dims: int, rows: int) -> None:
    a, b = vectors(seed, rows + dims, dims), vectors(seed + 1, rows + dims, dims)
    expected, _ = scipy.linalg.orthogonal_procrustes(b, a)
    found = alignment.rotation(a, b)
    np.testing.assert_allclose(found, expected, atol=1e-9)
    np.testing.assert_allclose(found @ found.T, np.eye(dims), atol=1e-9)


def test_a_rotation_moves_no_word_and_a_moved_word_is_found() -> None:
    table = vectors()
    still, _ = alignment.moves([table, turned(table, 1)], 1)
    np.testing.assert_allclose(still.distance, 0, atol=1e-6)
    assert still.kept.tolist() == [1.0] * len(WORDS)
    assert still.seeds is None
    assert still.exceeds is None
    one, by_chance = alignment.moves([table, turned(moved(table), 1)], 1)
    assert one.distance.argmax() == MOVED
    assert one.distance[MOVED] > 1.5
    assert one.kept[MOVED] < 0.5
    assert by_chance == []


def test_what_exceeds_the_seeds_is_larger_in_every_pair() -> None:
    table = vectors()
    runs = [turned(table + 0.01 * vectors(n), n) for n in range(1, 7)]
    runs[3:] = [turned(moved(table) + 0.01 * vectors(n), n) for n in range(7, 10)]
    result, by_chance = alignment.moves(runs, 3)
    assert result.exceeds is not None
    assert result.seeds_high is not None
    assert result.exceeds[MOVED]
    assert result.low[MOVED] <= result.distance[MOVED] <= result.high[MOVED]
    assert (result.exceeds == (result.low > result.seeds_high)).all()
    assert len(by_chance) == 9  # half of the 20 ways to choose 3 of 6, without the true one
    assert np.mean(by_chance) < len(WORDS) / 10


def test_without_a_difference_no_more_words_exceed_the_seeds_than_by_chance() -> None:
    table = vectors(0, 500)
    runs = [turned(table + 0.3 * vectors(n, 500), n) for n in range(1, 7)]
    result, by_chance = alignment.moves(runs, 3)
    assert result.exceeds is not None
    assert result.exceeds.sum() <= max(by_chance) < 25


def test_shorter_vectors_are_padded() -> None:
    table = vectors()
    wide = np.hstack([table, np.zeros((len(table), 2))])
    result, _ = alignment.moves([table, turned(wide, 3)], 1)
    np.testing.assert_allclose(result.distance, 0, atol=1e-6)


def test_the_axes_of_a_are_found_again() -> None:
    table = vectors()
    arrays = space(table)
    run = explore.RunWords(WORDS, arrays)
    np.testing.assert_allclose(
        alignment.on_axes(run.vectors, run.coords, run.vectors),
        run.coords,
        atol=np.abs(run.coords).max() / 40,
    )
    rows = np.arange(len(WORDS))
    back = explore.aligned(run, explore.RunWords(WORDS, space(turned(table, 5))), [rows, rows])
    found = back["coords"] * back["coords_scale"]
    np.testing.assert_allclose(found, run.coords, atol=np.abs(run.coords).max() / 20)
    np.testing.assert_allclose(back["explained"], arrays["explained"], atol=0.01)


# The command, on revisions whose outputs are in DVC's cache


class Repository:
    """A repository of git and DVC in which each tag is a run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.git("init", "--quiet", "--initial-branch=main")
        (folder / ".dvc").mkdir()
        (folder / ".dvc/config").write_text("[core]\n    analytics = false\n", encoding="utf-8")
        (folder / ".dvc/.gitignore").write_text("/cache\n/tmp\n", encoding="utf-8")
        (folder / "stages").symlink_to(ROOT / "stages", target_is_directory=True)

    def git(self, *words: str) -> None:
        who = ["-c", "user.name=tester", "-c", "user.email=tester@firth"]
        subprocess.run(["git", *who, *words], cwd=self.folder, check=True, capture_output=True)

    def add(self, name: str, arrays: dict[str, Any], **embeddings: Any) -> None:
        """Commits a run with these parameters and tags it."""
        content = save(arrays)
        md5 = hashlib.md5(content).hexdigest()
        path = self.folder / ".dvc/cache/files/md5" / md5[:2] / md5[2:]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        params = {"embeddings": embeddings}
        stage = {"params": {"params.yaml": params}, "outs": [{"path": explore.EXPLORER_DATA, "md5": md5}]}
        for file, text in (("params.yaml", params), ("dvc.lock", {"stages": {"explorer": stage}})):
            (self.folder / file).write_text(yaml.safe_dump(text), encoding="utf-8")
        self.git("add", "params.yaml", "dvc.lock", ".dvc")
        self.git("commit", "--quiet", "--message", name)
        self.git("tag", name)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    made = Repository(tmp_path_factory.mktemp("explore"))
    table = vectors()
    for seed in (1, 2, 3):
        made.add(f"a{seed}", space(turned(table + 0.02 * vectors(seed), seed)), seed=seed)
        other = turned(moved(table) + 0.02 * vectors(seed + 9), seed + 9)
        made.add(f"b{seed}", space(other, [*WORDS[:-1], HOSTILE]), seed=seed, window=9)
    made.add("few", space(vectors(0, 6), WORDS[:6]), seed=1)
    made.add("small", space(table[:, :4]), seed=1, dim=4)
    return made


Explore = Callable[..., str]


@pytest.fixture
def run_explore(
    repository: Repository,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> Explore:
    monkeypatch.chdir(repository.folder)

    def run(*arguments: str, output: str = "comparison.html") -> str:
        explore.main([*arguments, "--output", str(tmp_path / output)])
        return capsys.readouterr().out

    return run


def data_of(html: str, name: str) -> dict[str, Any]:
    start = html.index(">", html.index(f'id="{name}"')) + 1
    return unpack(html[start : html.index("</script>", start)])


def test_one_run_on_each_side(run_explore: Explore, tmp_path: Path) -> None:
    printed = run_explore("a1", "b1")
    assert "59 words are in all runs" in printed
    assert "Each side is one run." in printed
    assert f"10 times or more: {WORDS[MOVED]}, " in printed
    assert "Page: " in printed
    html = (tmp_path / "comparison.html").read_text(encoding="utf-8")
    assert "embeddings.window" in html
    table = data_of(html, "moves-data")
    assert table["row_a"].tolist() == list(range(59))
    assert table["distance"].argmax() == MOVED
    assert "seeds" not in table
    a, b = (data_of(html, f"space-{side}") for side in "ab")
    assert unpack_strings(b, "words")[-1] == HOSTILE
    assert '"trustworthiness"' not in unpack_strings(a, "facts")[0]
    assert '"words": 60' in unpack_strings(a, "facts")[0]


def test_several_runs_on_each_side(run_explore: Explore, tmp_path: Path) -> None:
    printed = run_explore("a1,a2,a3", "b1,b2,b3")
    assert "words moved by more than the seeds' spread" in printed
    assert "(9 ways)" in printed
    table = data_of((tmp_path / "comparison.html").read_text(encoding="utf-8"), "moves-data")
    assert table["exceeds"][MOVED] == 1
    assert table["seeds"].shape == (59,)


def test_two_pages_are_equal(run_explore: Explore, tmp_path: Path) -> None:
    for name in ("one.html", "two.html"):
        run_explore("a1,a2", "b1", output=name)
    assert (tmp_path / "one.html").read_bytes() == (tmp_path / "two.html").read_bytes()


def test_only_the_most_frequent_words_are_compared(run_explore: Explore, tmp_path: Path) -> None:
    assert "20 words are in all runs" in run_explore("a1", "b1", "--words", "20")
    html = (tmp_path / "comparison.html").read_text(encoding="utf-8")
    assert data_of(html, "space-b")["vectors"].shape == (20, 6)


def test_runs_of_different_dimensions_are_compared_and_the_page_says_so(run_explore: Explore) -> None:
    assert "The vectors have 4 and 6 dimensions" in run_explore("a1", "small")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a1", "few"], "a1, few: found 6 words that all of them have, expected more than the 6 dimensions"),
        (["a1,small", "b1"], "a1,small: these differ in embeddings.dim; the runs of one side"),
        (["a1,a1", "b1"], "these differ in no seed"),
        (["a1", "nowhere"], "nowhere"),
        (["a1", "b1", "--words", "0"], "--words: found 0, expected 1 or more"),
    ],
)
def test_refusals(run_explore: Explore, arguments: list[str], message: str) -> None:
    with pytest.raises(Refusal, match=message):
        run_explore(*arguments)


# The page


def ready(page: Page) -> Page:
    for side in "ab":
        page.wait_for_selector(f"#explorer-{side}[data-ready=true]")
    page.wait_for_selector("#moves tr")
    return page


def selected(page: Page, side: str) -> list[str]:
    words: list[str] = page.evaluate(
        "(side) => { const { explorer } = document.getElementById(`explorer-${side}`);"
        "return explorer.selection.indices.map((row) => explorer.words[row]); }",
        side,
    )
    return words


def test_the_selection_is_linked(run_explore: Explore, tmp_path: Path, open_page: OpenPage) -> None:
    run_explore("a1,a2,a3", "b1,b2,b3")
    page = ready(open_page(tmp_path / "comparison.html", viewport={"width": 1280, "height": 900}))
    first = page.locator("#moves tr").first
    assert first.locator("th").inner_text() == WORDS[MOVED]
    assert "▲" in first.inner_text()
    first.locator("button").click()
    assert selected(page, "a")[0] == selected(page, "b")[0] == WORDS[MOVED]
    assert selected(page, "a") != selected(page, "b")  # each with its own neighbours
    page.evaluate("document.getElementById('explorer-b').explorer.show(3)")
    assert selected(page, "a")[0] == WORDS[3]
    page.evaluate("document.getElementById('explorer-b').explorer.search('word01', false)")
    assert selected(page, "a") == selected(page, "b") == WORDS[10:20]
    page.evaluate("document.getElementById('explorer-a').explorer.clear()")
    assert selected(page, "b") == []
    page.evaluate("document.getElementById('explorer-b').explorer.show(59)")  # not among the words of A
    assert HOSTILE not in selected(page, "a")
    assert page.evaluate("window.ran") is None


def test_the_table_is_searched_ordered_and_turned(
    run_explore: Explore, tmp_path: Path, open_page: OpenPage
) -> None:
    run_explore("a1,a2,a3", "b1,b2,b3")
    page = ready(open_page(tmp_path / "comparison.html"))
    status, rows = page.locator("#moves-status"), page.locator("#moves tr")
    assert status.inner_text() == "1 to 25 of 59 words"
    page.click("#moves-after")
    page.click("#moves-after")
    assert status.inner_text() == "51 to 59 of 59 words"
    assert rows.count() == 9
    page.select_option("[name=order]", "kept")
    kept = [int(text.split()[0]) for text in page.locator("#moves td:nth-child(6)").all_inner_texts()]
    assert kept == sorted(kept)
    page.fill("[name=text]", "WORD01")
    assert status.inner_text() == "1 to 10 of 10 words"
    page.fill("[name=text]", "")
    page.check("[name=exceeds]")
    assert rows.count() == page.locator("#moves :text('▲')").count() > 0
    page.fill("[name=minimum]", "2000")
    assert status.inner_text() == "No word matches."


def test_the_page_is_accessible_and_fits_a_phone(
    run_explore: Explore, tmp_path: Path, open_page: OpenPage
) -> None:
    run_explore("a1,a2,a3", "b1,b2,b3")
    page = ready(open_page(tmp_path / "comparison.html", color_scheme="dark"))
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    page.locator("#moves button").first.click()
    assert serious_violations(page) == []
    page.set_viewport_size({"width": 390, "height": 844})
    page.emulate_media(color_scheme="light")
    assert serious_violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
