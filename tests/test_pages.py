"""Both pages in a real browser, made by all stages from a hostile corpus.

Nothing from the corpus runs or loads anything, all of it is shown as text, the content-security policy is
effective, and the pages are accessible.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.browser import TIMEOUT, Browser, OpenPage, Page, serious_violations
from tests.tiny_run import prepare, run_stages

RAN = "window.ran=1"
HOSTILE = [
    f"<script>{RAN}</script>",
    f"</script><script>{RAN}</script>",
    f"</style></title></textarea></template><img src=x onerror={RAN}>",
    f"<svg onload={RAN}><a href='javascript:{RAN}'>x</a></svg>",
    f'" autofocus onfocus="{RAN}" x=\'',
    f"' onmouseover='{RAN}' &lt;b&gt; &amp;amp;",
    "<!-- <!--<script> -->",
    "{{ 7*7 }}{% raw %}{# no #}${7*7}",
    '{"a": "</script>", "b": [1]}',
    f"javascript:{RAN}",
    "\u202ereversed\u2066isolated\u200f",
    "before\0after",
    "👩‍👩‍👧‍👦🏳️‍🌈",
    "http://example.com/a.png",
    "z" * 20_000,
]
LABELS = [f"bad<script>{RAN}</script>", f"good\"'&<img src=x onerror={RAN}>\u202e"]
CORPUS = f"<img src=x onerror={RAN}>&'\"{{{{ 7*7 }}}}"
PAGES = ("explorer", "report")
WIDE, NARROW = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
CONTROLS = "a[href], button, input, select, textarea, summary, [tabindex]"


def reviews(number: int = 90) -> dict[str, list[Any]]:
    """Reviews with a hostile text each; their labels cannot be learnt, so some predictions are wrong."""
    texts = [HOSTILE[n % len(HOSTILE)] for n in range(number)]
    return {
        "id": [f"{n} {text[:99]}" for n, text in enumerate(texts)],
        "text": [
            f"{text} {('dull', 'fine', 'long')[n % 3]} word{n // 2 % len(HOSTILE)} {n}"
            for n, text in enumerate(texts)
        ],
        "label": [LABELS[n * n % 7 % 2] for n in range(number)],
        "group": [text[:99] for text in texts],
        "split": [
            ("test", "test", "validation", "train", "train", "train")[n * 6 // number] for n in range(number)
        ],
    }


def hostile_run(folder: Path) -> Path:
    """A folder with the outputs of all stages. The tokens word0, word1, … become hostile ones, which no
    tokeniser would make; one of them has a million letters."""
    path = folder / "data/tokens.parquet"

    def alter() -> None:
        table = pq.read_table(path)
        change = {f"word{n}": text for n, text in enumerate([*HOSTILE[:-1], 50 * HOSTILE[-1]])}
        tokens = [[change.get(token, token) for token in row] for row in table["tokens"].to_pylist()]
        column = table.schema.get_field_index("tokens")
        changed = table.set_column(
            column, table.schema.field(column), pa.array(tokens, pa.list_(pa.string()))
        )
        pq.write_table(changed, path)

    prepare(folder, reviews(), CORPUS, report={"mistakes": 5, "uncertain": 3, "pairs": 1})
    with pytest.MonkeyPatch.context() as patch:  # check refuses such a name; the pages do not rely on that
        patch.setattr("stages.check.is_corpus_name", lambda name: True)
        run_stages(folder, {"tokens": alter})
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return hostile_run(tmp_path_factory.mktemp("hostile"))


@pytest.fixture(params=PAGES)
def path(run: Path, request: pytest.FixtureRequest) -> Path:
    return run / f"metrics/{request.param}.html"


def open_all(page: Page) -> None:
    """Opens everything that is folded, once the explorer is drawn."""
    page.wait_for_function("document.querySelectorAll('.explorer:not([data-ready])').length === 0")
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    page.evaluate("new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)))")


def test_two_runs_give_equal_pages(run: Path, tmp_path: Path) -> None:
    again = hostile_run(tmp_path)
    for name in PAGES:
        first, second = (folder / f"metrics/{name}.html" for folder in (run, again))
        assert first.read_bytes() == second.read_bytes(), name


def test_nothing_from_the_corpus_runs(path: Path, open_page: OpenPage) -> None:
    page = open_page(path)
    open_all(page)
    assert page.evaluate("window.ran") is None
    assert (
        page.evaluate(
            "[...document.querySelectorAll('*')].flatMap((e) => [...e.attributes])"
            ".filter((a) => a.name.startsWith('on') || /^\\s*javascript:/i.test(a.value)).map((a) => a.value)"
        )
        == []
    )
    images = page.evaluate("[...document.images].map((image) => image.src)")
    assert all(source.startswith(("data:image/", "blob:")) for source in images)
    assert page.locator("iframe, object, embed, base, link, form[action]").count() == 0


def test_hostile_texts_are_shown_as_text(run: Path, open_page: OpenPage) -> None:
    page = open_page(run / "metrics/report.html")
    shown = page.evaluate("document.body.textContent")
    rows = pq.read_table(run / "data/raw.parquet", columns=["group", "split"]).to_pylist()
    slices = {row["group"].replace("\0", "") for row in rows if row["split"] == "test"}  # HTML has no NUL
    assert len(slices) == len(HOSTILE)
    assert {text for text in slices if text not in shown} == set()
    for text in (CORPUS, *LABELS):
        assert text in shown
    assert CORPUS in page.title()


@pytest.fixture
def blocked(browser: Browser, path: Path) -> Iterator[tuple[Page, list[str]]]:
    """A page whose console is not watched, and the addresses that it requested."""
    context = browser.new_context()
    context.set_default_timeout(TIMEOUT)
    requested: list[str] = []
    context.on("response", lambda response: requested.append(response.url))
    context.on("requestfailed", lambda request: request.failure != "csp" and requested.append(request.url))
    page = context.new_page()
    page.goto(path.as_uri())
    requested.clear()
    yield page, requested
    context.close()


def test_the_content_security_policy_is_effective(blocked: tuple[Page, list[str]]) -> None:
    page, requested = blocked
    directives = page.evaluate(
        """async (ran) => {
            const seen = [];
            const add = (name, content) =>
                document.body.append(Object.assign(document.createElement(name), content));
            document.addEventListener("securitypolicyviolation", (event) => {
                seen.push(event.effectiveDirective);
            });
            add("script", { textContent: ran });
            add("script", { src: "http://127.0.0.1:9/a.js" });
            add("img", { src: "http://127.0.0.1:9/a.png" });
            add("style", { textContent: "body { color: red }" });
            add("iframe", { src: "http://127.0.0.1:9/" });
            add("div", { innerHTML: `<p onclick="${ran}">x</p>` });
            document.body.lastChild.firstChild.click();
            await fetch("http://127.0.0.1:9/").catch(() => {});
            for (let wait = 0; wait < 100 && seen.length < 7; wait += 1) {
                await new Promise((later) => setTimeout(later, 50));
            }
            return seen.sort();
        }""",
        RAN,
    )
    expected = [
        "connect-src",
        "frame-src",
        "img-src",
        "script-src-attr",
        "script-src-elem",
        "script-src-elem",
    ]
    assert directives == [*expected, "style-src-elem"]
    assert page.evaluate("window.ran") is None
    assert requested == []


@pytest.mark.parametrize(("scheme", "size"), [("light", WIDE), ("dark", NARROW)], ids=["light", "dark"])
def test_axe_finds_nothing_serious(
    path: Path, scheme: str, size: dict[str, int], open_page: OpenPage
) -> None:
    page = open_page(path, viewport=size, color_scheme=scheme)
    open_all(page)
    assert serious_violations(page) == []


def test_nothing_is_wider_than_a_phone(path: Path, open_page: OpenPage) -> None:
    page = open_page(path, viewport=NARROW)
    open_all(page)
    page.evaluate("document.querySelector('.explorer').explorer.show(0)")
    assert page.evaluate("document.documentElement.scrollWidth") <= NARROW["width"]


def test_tab_reaches_all_controls_and_shows_the_focus(path: Path, open_page: OpenPage) -> None:
    page = open_page(path, viewport=WIDE)
    open_all(page)
    expected = page.evaluate(
        f"""() => {{
            const all = [...document.querySelectorAll("{CONTROLS}")].filter((e) =>
                e.tabIndex >= 0 && !e.disabled && e.checkVisibility({{ visibilityProperty: true }}) &&
                (e.type !== "radio" || e.checked));
            all.forEach((element, n) => {{ element.dataset.control = n; }});
            return all.length;
        }}"""
    )
    reached, unseen = set(), []
    for _ in range(expected + 5):
        page.keyboard.press("Tab")
        number, text, outlined = page.evaluate(
            """() => {
                const element = document.activeElement, style = getComputedStyle(element);
                const outlined = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 0;
                return [element.dataset.control, element.outerHTML.slice(0, 99), outlined];
            }"""
        )
        reached.add(number)
        if number is not None and not outlined:
            unseen.append(text)
    assert reached - {None} == {str(n) for n in range(expected)}
    assert unseen == []
