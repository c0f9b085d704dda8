"""The explorer in a real browser: what a reader does with mouse and keys, compared with numpy."""

import csv
import io
import json
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import numpy as np
import pytest

from stages.explorer import SCRIPTS, STYLES
from stages.lib.page.assemble import assemble
from stages.lib.page.pack import pack
from stages.lib.page.space import Space
from tests.browser import OpenPage, Page

HOSTILE = [
    "<b>bold</b>", "</script><script>window.ran=1</script>", "=cmd()", '-2"', "a\u202eb", "\N{FAMILY}", "x,y",
    "\0",
]  # fmt: skip
NAMED = ["good", "great", "bad", "awful", "king", "man", "woman", "queen", "film", "films", "Film"]
ROWS, DIMS, COMPONENTS = 300, 12, 5
NO_WEBGL = """
const get = HTMLCanvasElement.prototype.getContext;
HTMLCanvasElement.prototype.getContext = function (kind, ...rest) {
  return kind.startsWith("webgl") ? null : get.call(this, kind, ...rest);
};
"""


STATE = "JSON.stringify([e.state, e.camera])"
RESET = """
(initial) => {
  history.replaceState(null, "", location.pathname);
  const e = document.querySelector("#explorer").explorer;
  const [state, camera] = JSON.parse(initial);
  e.clear();
  Object.assign(e.state, state);
  e.input.mode = "move";
  e.axisValues = null;
  for (const field of document.querySelectorAll("#explorer input:not([type=checkbox])")) field.value = "";
  for (const box of document.querySelectorAll("details")) box.open = false;
  e.controls.openTab(1);
  e.setDims(3);
  Object.assign(e.camera, camera);
  document.activeElement.blur();
  scrollTo(0, 0);
  e.drawNow();
}
"""


def words_of(rows: int = ROWS) -> list[str]:
    return [*NAMED, *HOSTILE, *(f"word{n}" for n in range(rows))][:rows]


def arrays_of(rows: int = ROWS, components: int = COMPONENTS, outputs: int = 1) -> dict[str, Any]:
    """A space in which queen is king - man + woman, and good and bad are opposites."""
    generator = np.random.default_rng(0)
    vectors = generator.normal(size=(rows, DIMS))
    if rows > len(NAMED):
        vectors[NAMED.index("bad")] = -vectors[NAMED.index("good")]
        unit = vectors / np.linalg.norm(vectors, axis=1)[:, None]
        king, man, woman = (unit[NAMED.index(word)] for word in ("king", "man", "woman"))
        vectors[NAMED.index("queen")] = king - man + woman
    labels = ["neg", "pos"] if outputs == 1 else [f"label{n}" for n in range(outputs)]
    return Space(
        words_of(rows),
        np.arange(10 * rows, 9 * rows, -1).astype(np.uint32)[:rows],
        vectors,
        vectors[:, :components],
        np.linspace(0.3, 0.1, 5)[:components],
        generator.normal(size=(rows, outputs)),
        np.arange(rows) % 3,
        ["zero", "<i>one</i>", "two"],
        labels,
    ).arrays({"corpus": "toy", "trustworthiness": {"2": 0.71, "3": 0.83}, "overlap": 0.975})


def html_of(arrays: dict[str, Any], data: str | None = None) -> str:
    text = pack(arrays) if data is None else data
    return assemble("explorer_page.jinja", {"corpus": "toy"}, SCRIPTS, STYLES, {"space": text})


@pytest.fixture(scope="module")
def arrays() -> dict[str, Any]:
    return arrays_of()


@pytest.fixture(scope="module")
def shared(
    open_in: Callable[..., AbstractContextManager[Page]],
    arrays: dict[str, Any],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Page, str]]:
    path = tmp_path_factory.mktemp("explorer") / "explorer.html"
    path.write_text(html_of(arrays), encoding="utf-8")
    with open_in(path, viewport={"width": 1000, "height": 700}, reduced_motion="reduce") as page:
        yield page, value(ready(page), STATE)


@pytest.fixture
def page(shared: tuple[Page, str]) -> Page:
    """The page as it is when it is opened. It is not opened again, which takes a second."""
    page, initial = shared
    page.evaluate(RESET, initial)
    return page


def ready(page: Page) -> Page:
    page.wait_for_selector("#explorer[data-ready='true']")
    return page


def value(page: Page, expression: str) -> Any:
    """The value of an expression in which `e` is the explorer."""
    return page.evaluate(function_of(expression))


def wait(page: Page, expression: str) -> None:
    """Waits until an expression is true. It is a function, because the page forbids to evaluate text."""
    page.wait_for_function(function_of(expression))


def function_of(expression: str) -> str:
    return f"() => {{ const e = document.querySelector('#explorer').explorer; return {expression}; }}"


def frame(page: Page) -> None:
    """Waits until the page is drawn."""
    page.evaluate("new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)))")


def part(page: Page, name: str) -> Any:
    return page.locator(f"[data-part={name}]")


def listed(page: Page, name: str) -> list[tuple[str, float]]:
    """The words of a list with their scores."""
    buttons = page.locator(f"[data-part={name}] button")
    words = buttons.locator("bdi").all_text_contents()
    scores = [
        score.replace(",", "").replace("−", "-") for score in buttons.locator("span").all_text_contents()
    ]
    return list(zip(words, map(float, scores), strict=True))


def tab(page: Page, name: str) -> None:
    page.get_by_role("tab", name=name).click()


def selected(page: Page) -> list[int]:
    return list(value(page, "e.selection.indices"))


def pixel(page: Page, word: str) -> tuple[float, float]:
    """Where a word's point is in the window."""
    box = part(page, "overlay").bounding_box()
    x, y = value(page, f"[e.pixels.x, e.pixels.y].map((all) => all[e.space.indexOf({json.dumps(word)})])")
    return box["x"] + x, box["y"] + y


def shown(page: Page) -> int:
    """How many points have a size."""
    return int(value(page, "e.sizes.filter((size) => size > 0).length"))


def cosines(arrays: dict[str, Any], query: Any) -> Any:
    vectors = arrays["vectors"].astype(np.float64)
    return vectors @ query / np.linalg.norm(vectors, axis=1) / np.linalg.norm(query)


def test_the_first_frame_shows_points_labels_and_the_legend(page: Page) -> None:
    assert value(page, "e.isFallback") is None, "the test browser has WebGL2"
    colours = page.evaluate(
        """async () => {
          const e = document.querySelector("#explorer").explorer;
          e.drawNow();
          const canvas = document.createElement("canvas");
          [canvas.width, canvas.height] = [e.part("points").width, e.part("points").height];
          const context = canvas.getContext("2d");
          context.drawImage(e.part("points"), 0, 0);
          const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
          let [blue, orange] = [0, 0];
          for (let k = 0; k < data.length; k += 4) {
            blue += data[k + 2] - data[k] > 60;
            orange += data[k] - data[k + 2] > 60;
          }
          return [blue, orange];
        }"""
    )
    assert min(colours) > 100
    assert value(page, "e.overlay.placed.length") > 20
    assert part(page, "legend").inner_text().split() == ["Weight", "−", "neg", "+", "pos"]
    assert page.evaluate("window.ran") is None
    assert page.evaluate("Object.keys(window).filter((name) => /explorer/i.test(name))") == []


def test_labels_do_not_cover_each_other_and_more_appear_closer(page: Page) -> None:
    def boxes() -> Any:
        placed = value(
            page, "e.overlay.placed.map(({ x, y, width, height }) => [x, y, x + width, y + height])"
        )
        return np.array(placed)

    def overlaps(boxes: Any) -> int:
        left, top, right, bottom = boxes.T
        covers = (
            (left[:, None] < right)
            & (left < right[:, None])
            & (top[:, None] < bottom)
            & (top < bottom[:, None])
        )
        return int(covers.sum()) - len(boxes)

    def share() -> float:
        """Of the words in the picture, those that have a label."""
        inside = "x > 0 && x < e.camera.width && e.pixels.y[k] > 0 && e.pixels.y[k] < e.camera.height"
        return float(value(page, f"e.overlay.placed.length / e.pixels.x.filter((x, k) => {inside}).length"))

    assert overlaps(boxes()) == 0
    before = share()
    for _ in range(3):
        part(page, "closer").click()
    frame(page)
    assert overlaps(boxes()) == 0
    assert share() > before


def test_search_by_text_and_by_regular_expression(page: Page) -> None:
    words = words_of()
    tab(page, "Search")
    part(page, "search").fill("FILM")
    assert [words[row] for row in selected(page)] == ["film", "films", "Film"]
    assert [word for word, _ in listed(page, "searchList")] == ["film", "films", "Film"]
    assert "3 of 300" in part(page, "status").inner_text()
    part(page, "regex").check()
    part(page, "search").fill("^word1.$")
    assert [words[row] for row in selected(page)] == [f"word1{n}" for n in range(10)]
    part(page, "search").fill("(")
    assert "Not a regular expression" in part(page, "searchMessage").inner_text()
    assert selected(page) == []
    part(page, "search").fill("zzz")
    assert part(page, "searchMessage").inner_text() == "No word matches."
    part(page, "search").fill("")
    assert part(page, "searchMessage").text_content() == ""


@pytest.mark.parametrize("word", ["good", "word7", "=cmd()"])
def test_neighbours_are_those_of_numpy_on_the_int8_vectors(
    page: Page, arrays: dict[str, Any], word: str
) -> None:
    words = words_of()
    row = words.index(word)
    part(page, "word").fill(word)
    part(page, "n").fill("15")
    page.keyboard.press("Enter")
    scores = cosines(arrays, arrays["vectors"][row].astype(np.float64))
    scores[row] = -np.inf
    order = np.argsort(-scores, kind="stable")[:15]
    assert listed(page, "neighboursList") == [(words[n], round(scores[n], 3)) for n in order]
    assert selected(page) == [row, *order]
    part(page, "metric").select_option("euclidean")
    vectors = arrays["vectors"] * arrays["scale"].astype(np.float64)[:, None]
    distances = np.linalg.norm(vectors - vectors[row], axis=1)
    distances[row] = np.inf
    order = np.argsort(distances, kind="stable")[:15]
    assert listed(page, "neighboursList") == [
        (words[n], pytest.approx(distances[n], abs=0.00051)) for n in order
    ]


def test_an_unknown_word_gives_a_sentence(page: Page) -> None:
    part(page, "word").fill("nonsense")
    page.keyboard.press("Enter")
    assert (
        re.sub("[\u2068\u2069]", "", part(page, "wordMessage").inner_text())
        == "“nonsense” is not among the words."
    )
    assert selected(page) == []


def test_a_click_on_a_point_and_on_a_listed_word_shows_neighbours(page: Page) -> None:
    words = words_of()
    page.mouse.click(*pixel(page, "great"))
    frame(page)
    focus = value(page, "e.focus")
    assert words[focus] == part(page, "word").input_value()
    # The click reaches the point in front, which may be another one that covers it.
    x, y = value(page, f"[e.pixels.x[{focus}], e.pixels.y[{focus}]]")
    x1, y1 = value(page, "[e.pixels.x[1], e.pixels.y[1]]")
    assert np.hypot(x - x1, y - y1) < 12
    (second, _) = listed(page, "neighboursList")[1]
    page.locator("[data-part=neighboursList] button").nth(1).click()
    assert value(page, "e.words[e.focus]") == second


def test_analogy_excludes_its_words(page: Page, arrays: dict[str, Any]) -> None:
    words = words_of()
    tab(page, "Analogy")
    for name, word in zip("ABC", ["king", "man", "woman"], strict=True):
        part(page, f"analogy{name}").fill(word)
    page.keyboard.press("Enter")
    a, b, c = (words.index(word) for word in ("king", "man", "woman"))
    unit = arrays["vectors"] / np.linalg.norm(arrays["vectors"].astype(np.float64), axis=1)[:, None]
    scores = cosines(arrays, unit[a] - unit[b] + unit[c])
    scores[[a, b, c]] = -np.inf
    order = np.argsort(-scores)[:10]
    assert listed(page, "analogyList") == [(words[n], round(scores[n], 3)) for n in order]
    assert listed(page, "analogyList")[0][0] == "queen"
    part(page, "analogyB").fill("")
    page.keyboard.press("Enter")
    assert part(page, "analogyMessage").inner_text() == "Type a word."


def test_an_axis_between_sets_of_words_orders_all_and_becomes_the_x_axis(
    page: Page, arrays: dict[str, Any]
) -> None:
    words = words_of()
    tab(page, "Axis")
    part(page, "axisFrom").fill("bad, awful")
    part(page, "axisTo").fill("good great")
    page.keyboard.press("Enter")
    unit = arrays["vectors"] / np.linalg.norm(arrays["vectors"].astype(np.float64), axis=1)[:, None]
    mean = {word: unit[words.index(word)] for word in NAMED}
    direction = (mean["good"] + mean["great"] - mean["bad"] - mean["awful"]) / 2
    scores = cosines(arrays, direction)
    order = np.argsort(-scores)
    assert listed(page, "axisToList") == [(words[n], pytest.approx(scores[n], abs=6e-4)) for n in order[:10]]
    assert listed(page, "axisFromList") == [
        (words[n], pytest.approx(scores[n], abs=6e-4)) for n in order[:-11:-1]
    ]
    assert value(page, "e.state.axes") == ["words", 1, 2]
    x = np.array(value(page, "Array.from(e.points.filter((_, k) => k % 3 === 0))"))
    values = arrays["vectors"] * arrays["scale"][:, None] @ direction
    assert np.corrcoef(x, values)[0, 1] == pytest.approx(1)
    assert value(page, "e.axisName('words')") == "bad, awful → good great"
    part(page, "axisTo").fill("good zzz")
    page.keyboard.press("Enter")
    assert "zzz" in part(page, "axisMessage").inner_text()


def test_isolate_shows_the_selection_alone_and_clear_shows_all(page: Page) -> None:
    tab(page, "Search")
    part(page, "search").fill("word1")
    total = len(selected(page))
    distance = value(page, "e.camera.distance")
    part(page, "isolate").click()
    frame(page)
    assert shown(page) == total < ROWS
    assert value(page, "e.camera.distance") != distance
    assert set(value(page, "e.overlay.placed.map((label) => label.index)")) <= set(selected(page))
    part(page, "clear").click()
    assert (shown(page), selected(page)) == (ROWS, [])
    assert part(page, "isolate").is_disabled()


def drag(page: Page, points: list[tuple[float, float]]) -> None:
    page.mouse.move(*points[0])
    page.mouse.down()
    for point in points[1:]:
        page.mouse.move(*point)
    page.mouse.up()
    frame(page)


def test_box_and_lasso_select_the_words_inside(page: Page) -> None:
    box = part(page, "overlay").bounding_box()
    left, top = box["x"], box["y"]
    x, y = (np.array(value(page, f"Array.from(e.pixels.{axis})")) for axis in "xy")
    page.get_by_role("button", name="Select with a box").click()
    drag(page, [(left + 200, top + 120), (left + 300, top + 200), (left + 500, top + 400)])
    expected = np.flatnonzero((x > 200) & (x < 500) & (y > 120) & (y < 400)).tolist()
    assert 10 < len(expected) < ROWS
    assert selected(page) == expected
    assert "inside the box" in part(page, "status").inner_text()
    page.get_by_role("button", name="Select with a lasso").click()
    drag(page, [(left + 200, top + 120), (left + 600, top + 120), (left + 200, top + 520)])
    expected = np.flatnonzero((x > 200) & (y > 120) & (x + y < 720)).tolist()
    assert selected(page) == expected
    page.keyboard.press("Escape")
    assert selected(page) == []


def test_dragging_turns_and_pans_and_the_wheel_zooms(page: Page) -> None:
    box = part(page, "overlay").bounding_box()
    x, y = box["x"] + 300, box["y"] + 300
    yaw, target, distance = value(page, "[e.camera.yaw, e.camera.target, e.camera.distance]")
    drag(page, [(x, y), (x + 50, y), (x + 90, y + 20)])
    assert value(page, "e.camera.yaw") != yaw
    assert value(page, "e.camera.target") == target
    page.keyboard.down("Shift")
    drag(page, [(x, y), (x + 50, y), (x + 90, y + 20)])
    page.keyboard.up("Shift")
    assert value(page, "e.camera.target") != target
    page.mouse.wheel(0, -300)
    wait(page, f"e.camera.distance < {distance}")
    part(page, "dims2").click()
    assert value(page, "[e.camera.yaw, e.camera.pitch]") == [0, 0]
    assert value(page, "e.points.filter((_, k) => k % 3 === 2).every((z) => z === 0)")
    assert part(page, "axis2").is_hidden()


def test_two_fingers_pan_and_zoom(page: Page) -> None:
    distance = value(page, "e.camera.distance")
    page.evaluate(
        """() => {
          const surface = document.querySelector("[data-part=overlay]");
          surface.setPointerCapture = () => {}; // these pointers are made up
          const send = (type, pointerId, clientX) => surface.dispatchEvent(new PointerEvent(type, {
            pointerId, clientX, clientY: 300, pointerType: "touch", bubbles: true, isPrimary: pointerId === 7,
          }));
          send("pointerdown", 7, 300);
          send("pointerdown", 8, 400);
          send("pointermove", 8, 500);
          send("pointerup", 7, 300);
          send("pointerup", 8, 500);
        }"""
    )
    assert value(page, "e.camera.distance") == pytest.approx(distance / 2)
    assert selected(page) == []


def test_axes_colours_and_sizes_can_be_chosen(page: Page) -> None:
    def colours() -> list[int]:
        return list(value(page, "Array.from(e.view.colours)"))

    part(page, "axis0").select_option("4")
    x = np.array(value(page, "Array.from(e.points.filter((_, k) => k % 3 === 0))"))
    assert np.corrcoef(x, value(page, "Array.from(e.space.coordinate(4))"))[0, 1] == pytest.approx(1)
    assert value(page, "e.axisName(4)") == "Component 5 · 10.0 %"
    different = [colours()]
    for name, legend in (("count", "Count (log)"), ("cluster", "<i>one</i>"), ("selection", "other words")):
        part(page, "colour").select_option(name)
        assert legend in part(page, "legend").inner_text()
        different.append(colours())
    assert len({tuple(one) for one in different}) == 4
    assert len(set(value(page, "Array.from(e.sizes)"))) > 10
    part(page, "sized").uncheck()
    assert len(set(value(page, "Array.from(e.sizes)"))) == 1
    part(page, "colour").select_option("cluster")
    page.get_by_role("button", name="<i>one</i>").click()
    assert selected(page) == [row for row in range(ROWS) if row % 3 == 1]


def test_the_address_restores_what_was_seen(page: Page) -> None:
    page.get_by_role("button", name="2-D").click()
    part(page, "axis1").select_option("3")
    part(page, "colour").select_option("count")
    part(page, "n").fill("7")
    part(page, "metric").select_option("euclidean")
    part(page, "word").fill("</script><script>window.ran=1</script>")
    page.keyboard.press("Enter")
    part(page, "isolate").click()
    part(page, "farther").click()
    wait(page, "location.hash.includes('isolate')")
    wait(page, "location.hash.includes(Math.floor(100 * e.camera.distance) / 100)")
    asked = "[e.state, e.camera.distance.toFixed(2), e.focus, e.selection.indices]"
    state, fragment = value(page, asked), page.evaluate("location.hash")
    assert parse_qs(fragment.removeprefix("#explorer:"))["axes"] == ["0,3,2"]
    page.reload()
    ready(page)
    assert value(page, asked) == state
    assert shown(page) == 8


def test_the_address_restores_a_lasso_a_search_and_an_axis(page: Page) -> None:
    def again(expected: str) -> Any:
        wait(page, f"location.hash.includes('{expected}')")
        state = value(page, "[e.state, e.selection.indices]")
        page.reload()
        ready(page)
        assert value(page, "[e.state, e.selection.indices]") == state
        return state

    value(page, "e.setSelection([3, 5, 250], 'shape', 'words')")
    assert again("selected=")[1] == [3, 5, 250]
    tab(page, "Search")
    part(page, "regex").check()
    part(page, "search").fill("^f")
    part(page, "status").click()
    assert again("search=")[0]["search"] == "^f"
    tab(page, "Axis")
    part(page, "axisFrom").fill("bad")
    part(page, "axisTo").fill("good")
    page.keyboard.press("Enter")
    assert again("from=bad")[0]["axes"] == ["words", 1, 2]


def test_a_link_to_another_part_of_the_page_keeps_its_address(page: Page) -> None:
    part(page, "word").fill("good")
    page.keyboard.press("Enter")
    wait(page, "location.hash.includes('word=good')")
    page.evaluate("location.hash = '#theme'")
    page.wait_for_timeout(500)
    assert page.evaluate("location.hash") == "#theme"
    page.evaluate("location.hash = '#explorer:word=bad'")
    wait(page, "e.words[e.focus] === 'bad'")


@pytest.mark.parametrize(
    "fragment",
    [
        "#other",
        "#explorer:",
        "#explorer:dims=9&axes=0,99,x&colour=__proto__&camera=a,b&word=zzz&n=1e9&metric=&isolate=1&selected=zz.--",
        "#explorer:search=(&regex=1&axes=words,1,2&from=zzz&to=&camera=0,0,-1,0,0,0&label=x&%",
    ],
)
def test_a_bad_address_is_ignored(page: Page, fragment: str) -> None:
    before = value(
        page, "[e.state.dims, e.state.axes, e.state.colour, e.state.n, e.state.metric, e.camera.distance]"
    )
    page.evaluate("(hash) => { location.hash = hash; }", fragment)
    page.reload()
    ready(page)
    after = value(
        page, "[e.state.dims, e.state.axes, e.state.colour, e.state.n, e.state.metric, e.camera.distance]"
    )
    assert after == before
    assert selected(page) == []


def saved(page: Page, name: str) -> tuple[str, bytes]:
    with page.expect_download() as waiting:
        part(page, name).click()
    download = waiting.value
    return download.suggested_filename, Path(download.path()).read_bytes()


def test_downloads(page: Page, arrays: dict[str, Any]) -> None:
    words = words_of()
    name, content = saved(page, "savePicture")
    assert (name, content[:8]) == ("words.png", b"\x89PNG\r\n\x1a\n")
    assert len(content) > 10_000, "not an empty picture"
    name, content = saved(page, "saveCoordinates")
    assert name == "words.csv"
    header, *rows = csv.reader(io.StringIO(content.decode(), newline=""))
    assert header == ["word", "count", "weight pos", "cluster", "pc1", "pc2", "pc3", "pc4", "pc5"]
    assert [row[0].removeprefix("'") for row in rows] == words
    assert {row[0] for row in rows if row[0][0] in "'=-+@"} == {"'=cmd()", "'-2\""}
    coords = arrays["coords"] * arrays["coords_scale"].astype(np.float64)
    np.testing.assert_allclose(np.array([row[4:] for row in rows], float), coords, rtol=1e-5)
    weights = arrays["weights"] * arrays["weights_scale"].astype(np.float64)
    np.testing.assert_allclose([float(row[2]) for row in rows], weights[:, 0], rtol=1e-5)
    assert part(page, "saveNeighbours").is_disabled()
    part(page, "word").fill("good")
    page.keyboard.press("Enter")
    name, content = saved(page, "saveNeighbours")
    header, *rows = csv.reader(io.StringIO(content.decode(), newline=""))
    assert header == ["word", "rank", "neighbour", "cosine", "count"]
    shown = listed(page, "neighboursList")
    assert [(row[2].removeprefix("'"), round(float(row[3]), 3)) for row in rows] == shown


def test_everything_can_be_done_with_keys_alone(page: Page) -> None:
    reached = set()
    for _ in range(60):
        page.keyboard.press("Tab")
        name = page.evaluate(
            "document.activeElement.dataset?.part ?? document.activeElement.textContent.trim()"
        )
        if name in reached and name == "colour":
            break
        reached.add(name)
    expected = {
        "colour", "axis0", "axis1", "axis2", "dims3", "dims2", "sized", "overlay", "modeMove", "modeBox",
        "modeLasso", "closer", "farther", "fit", "Neighbours", "word", "Show", "n", "metric", "lines",
        "savePicture", "saveCoordinates",
    }  # fmt: skip
    assert expected <= reached
    part(page, "overlay").focus()
    assert page.evaluate("document.activeElement.matches(':focus-visible')")
    yaw, distance = value(page, "[e.camera.yaw, e.camera.distance]")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("+")
    assert value(page, "e.camera.yaw") != yaw
    assert value(page, "e.camera.distance") < distance
    page.keyboard.press("0")
    assert value(page, "e.camera.distance") == pytest.approx(distance)
    page.get_by_role("tab", name="Neighbours").focus()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Tab")
    page.keyboard.type("film")
    assert len(selected(page)) == 3
    page.keyboard.press("Escape")
    assert selected(page) == []


def test_nothing_is_drawn_while_nothing_changes(page: Page) -> None:
    wait(page, "!e.isMoving && e.pending === null")
    value(page, "e.view.draw = () => { e.drawn = (e.drawn ?? 0) + 1; }")
    page.wait_for_timeout(300)
    assert value(page, "e.drawn ?? 0") == 0
    value(page, "[e.draw(), e.draw()]")
    frame(page)
    assert value(page, "e.drawn") == 1
    value(page, "delete e.view.draw")


def test_the_table_has_the_selection_as_text(page: Page) -> None:
    page.locator("summary", has_text="table").click()
    rows = part(page, "tableBody").locator("tr")
    rows.nth(99).wait_for()
    assert rows.count() == 100
    assert rows.locator("th").all_text_contents() == words_of()[:100]
    assert "1 to 100 of 300" in part(page, "tableCaption").inner_text()
    page.get_by_role("button", name="Next 100").click()
    assert rows.locator("th").all_text_contents() == words_of()[100:200]
    part(page, "word").fill("good")
    page.keyboard.press("Enter")
    assert rows.count() == 11
    assert part(page, "tableHead").locator("th").all_text_contents() == [
        "word", "count", "weight for pos", "cluster", "cosine",
    ]  # fmt: skip
    assert rows.first.locator("td").nth(2).inner_text() == "zero"


def test_the_guide_states_variance_and_trustworthiness(page: Page) -> None:
    page.locator("summary", has_text="How to read").click()
    text = part(page, "guideText").inner_text()
    for words in ("keep 75.0 % of the variance", "is 0.83", "97.5 %", "300"):
        assert words in text
    page.get_by_role("button", name="2-D").click()
    text = part(page, "guideText").inner_text()
    assert "is 0.71" in text
    part(page, "axis0").select_option("4")
    assert "trustworthiness" not in part(page, "guideText").inner_text(), "it was not measured on these axes"


def test_a_toggle_switches_the_colours_of_the_plot(page: Page) -> None:
    light = value(page, "e.theme.paper")
    page.get_by_role("button", name="Dark").click()
    wait(page, "e.theme.paper[0] < 60")
    assert light == [255, 255, 255]
    page.get_by_role("button", name="Light").click()
    wait(page, "e.theme.paper[0] === 255")


def test_select_shows_words_without_calling_back(page: Page) -> None:
    calls = value(
        page,
        "(() => { const calls = []; e.onselect = (words) => calls.push(words); e.select([4, 2], 'two words');"
        " const before = calls.length; e.show(9); return [before, calls[0][0], calls.length]; })()",
    )
    assert calls == [0, 9, 1]


def test_without_webgl_a_canvas_shows_the_2000_most_frequent_words(
    open_in: Callable[..., AbstractContextManager[Page]], tmp_path: Path
) -> None:
    path = tmp_path / "page.html"
    path.write_text(html_of(arrays_of(2400)), encoding="utf-8")
    with open_in(path) as page:
        page.add_init_script(NO_WEBGL)
        page.reload()
        ready(page)
        assert shown(page) == 2000
        assert "no WebGL2" in part(page, "fallback").inner_text()
        ink = page.evaluate(
            """() => {
              const canvas = document.querySelector("[data-part=points]");
              const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
              return data.filter((value, k) => k % 4 === 0 && value < 200).length;
            }"""
        )
        assert ink > 1000
        assert part(page, "dims3").is_disabled()
        part(page, "word").fill("word2300")
        page.keyboard.press("Enter")
        assert len(listed(page, "neighboursList")) == 10
        assert value(page, "e.sizes[e.focus]") > 0, "a selected word is shown, however rare"
        tab(page, "Search")
        part(page, "search").fill("word")
        assert len(selected(page)) > 2000


def test_a_context_that_is_restored_draws_again(open_page: OpenPage) -> None:
    page = ready(open_page(html_of(arrays_of(30))))
    value(page, "(e.lost = e.view.gl.getExtension('WEBGL_lose_context')).loseContext()")
    wait(page, "e.view.isLost")
    value(page, "e.lost.restoreContext()")
    wait(page, "!e.view.isLost")
    assert value(page, "[e.isFallback ?? false, e.view.gl.getError()]") == [False, 0]


def test_a_context_that_is_lost_is_replaced_by_a_canvas(open_page: OpenPage) -> None:
    page = ready(open_page(html_of(arrays_of(30))))
    page.clock.install()
    value(page, "e.view.gl.getExtension('WEBGL_lose_context').loseContext()")
    wait(page, "e.view.isLost")
    page.clock.run_for(4000)
    assert value(page, "[e.isFallback, e.state.dims, e.camera.yaw]") == [True, 2, 0]
    part(page, "word").fill("good")
    page.keyboard.press("Enter")
    assert len(selected(page)) == 11


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("", "damaged or incomplete"),
        ("!", "damaged or incomplete"),
        ("AAAA", "damaged or incomplete"),
        (pack(arrays_of(30))[:900], "damaged or incomplete"),
        (pack({"words": np.zeros(3, np.uint8)}), "damaged or incomplete"),
        (pack(arrays_of(30) | {"count": np.ones(29, np.uint32)}), "unequal length: count"),
        (pack(arrays_of(0)), "there are no words"),
    ],
)
def test_damaged_data_give_one_sentence(open_page: OpenPage, data: str, words: str) -> None:
    page = open_page(html_of({}, data))
    page.wait_for_selector("#explorer[data-ready]")
    assert words in page.locator("#explorer").inner_text()
    assert page.locator("#explorer > *").count() == 1


@pytest.mark.parametrize(("rows", "components", "outputs"), [(1, 1, 1), (2, 2, 1), (40, 1, 4)])
def test_tiny_spaces_work(open_page: OpenPage, rows: int, components: int, outputs: int) -> None:
    page = ready(open_page(html_of(arrays_of(rows, components, outputs))))
    assert value(page, "e.state.dims") == 2
    assert part(page, "output").is_visible() == (outputs > 1)
    part(page, "word").fill("good")
    page.keyboard.press("Enter")
    assert len(listed(page, "neighboursList")) == min(10, rows - 1)
    part(page, "colour").select_option("count")
    if outputs > 1:
        part(page, "colour").select_option("weight")
        part(page, "output").select_option("3")
        assert "label3" in part(page, "legend").inner_text()


def test_two_explorers_in_one_page_share_nothing(open_page: OpenPage, arrays: dict[str, Any]) -> None:
    html = html_of(arrays)
    html = html.replace(
        '<section id="explorer"', '<section id="second" class="explorer"></section><section id="explorer"'
    )
    page = ready(open_page(html))
    page.evaluate(
        """() => {
          const first = document.querySelector("#explorer").explorer;
          new first.constructor(document.querySelector("#second"), first.arrays, { hash: false });
        }"""
    )
    page.wait_for_selector("#second[data-ready='true']")
    ids = page.evaluate("[...document.querySelectorAll('[id]')].map((element) => element.id)")
    assert len(ids) == len(set(ids))
    page.locator("#second [data-part=word]").fill("good")
    page.keyboard.press("Enter")
    assert page.evaluate("document.querySelector('#second').explorer.selection.indices.length") == 11
    assert selected(page) == []
