"""Type a review: the page gives what `tools.predict` gives.

Models with random weights, made in a second, cover every choice that changes how a text is scored.
"""

import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import polars as pl
import pytest

from stages import PAD_TOKEN, UNK_TOKEN
from stages.lib.arrays import Int32
from stages.lib.files import sha256
from stages.lib.model import Model, ModelConfig
from stages.lib.ngram.chars import CharModel
from stages.lib.ngram.keys import learn_ngrams
from stages.lib.ngram.letters import learn_alphabet, learn_char_ngrams
from stages.lib.ngram.model import NGramConfig, NGramModel
from stages.lib.page.assemble import policy, source
from stages.lib.page.pack import pack
from stages.lib.page.reduction import fitted, recoded, reduced, rounded
from stages.lib.page.scorer import SCRIPTS, Limits, Scorer, scorer_of
from stages.lib.reviews import Documents, logits_for
from stages.lib.word_model import WordModel, word_weights
from stages.predictor import Explanation, Predictor
from stages.tokens import learn_subwords, tokeniser_of
from tests.browser import OpenPage
from tests.conftest import ROOT

if TYPE_CHECKING:
    from playwright.sync_api import Page
else:
    Page = Any

WHOLE = Limits(10**9, 10**9)
LABELS = {2: ["negative", "positive"], 3: ["bad", "mixed", "good"]}

# Scores texts with a packed model: probabilities, logits, label, and the explanation of each label.
SCORE = """async ([packed, texts]) => {
  const element = document.createElement("script");
  element.textContent = packed;
  const model = scorerModel(await unpack(element));
  return texts.map((text) => {
    const scored = model.score(text);
    const { tokens, probabilities, label, known, dropped } = scored;
    const explanations = model.labels.map((_, number) => scored.explain(number));
    return { tokens, probabilities, label, known, dropped, explanations };
  });
}"""

STRANGE = [
    "", " ", "\n\t ", "good", "GOOD GOOD good Good", "zzxqv wqqk xxvv", "wonderfulll boringgg", "!!!",
    "Don’t, don't; DON’T", "soft\u00adhyphen and word\u2060joiner", "a\u200bb\u200cc\u200dd",
    "\u0000nul\u0001",
    "👍🏽 👨‍👩‍👧 🏳️‍🌈 🇩🇪🇫🇷 #️⃣ 1️⃣ *️⃣ © ™ ☺ ☺️", "这部电影很好看。剧情无聊", "映画は面白い カタカナ", "영화 좋아요",
    "فیلم خوبی بود می‌خواهم", "סרט נהדר ״מאוד״", "हिन्दी फ़िल्म अच्छी थी", "ภาพยนตร์ดีมาก", "Größe STRASSE ẞ ŉ ǰ",
    "ΣΟΦΟΣ ΣΑΣ Σ ΌΣΟΣ.", "İstanbul ISPARTA ı", "e\u0301te\u0301 caf\u00e9 \u212b \u2126 ﬁ", "Æsthetic œuvre",
    "<br>a<br />b<BR/>c<br\t/>d<br\u00a0>e<br\ufeff>f", "<script>alert(1)</script> & <b>",
    "<unk> <pad> x<unk>y", "\ufeffstart \u0085 \u2028 \u3000 end\ufeff", "half \ud83d emoji \udc4d",
    "\u202eright to left\u202c", "100,000.50 $5+3=8 <=> `a|b~c^d` @home #tag http://x.y/z?q=1",
    "it's 'quoted' o'clock rock'n'roll ''", "a_b-c/d\\e", "word " * 500, "loooong" * 99, "x" * 1500, "▁a▁▁b",
    "ⅷ ² ½ ௧ ٣", "x\u0301\u0302\u0327 \u0301", "\U000e0041 \ue000 \U0010ffff \ufdd0 \U00013000",
    "a\rb\r\nc\u000bd\u000ce\u001cf\u001fg", "the the the the the", "a film. " * 40,
]  # fmt: skip


REVIEWS: list[str] = pl.read_csv(ROOT / "data/corpora/sample/reviews.csv")["text"].to_list()[250:310]


class Case(NamedTuple):
    """A model and its texts."""

    predictor: Predictor
    description: str
    texts: list[str]

    def scorer(self, limits: Limits = WHOLE) -> Scorer:
        """What the page carries."""

        def test() -> tuple[Documents, np.ndarray]:
            labels = np.arange(len(self.texts), dtype=np.int32) % len(self.predictor.labels)
            return self.predictor.cut(self.predictor.encode(self.texts)), labels

        return scorer_of(self.predictor.model, list(self.predictor.numbers), self.description, limits, test)


def case_of(
    unit: str = "words",
    pool: str = "mean",
    labels: int = 2,
    lowercase: bool = True,
    config: dict[str, Any] | None = None,
    ngrams: dict[str, Any] | None = None,
    texts: list[str] | None = None,
) -> Case:
    """A model with random weights, and vocabulary and n-grams of reviews of the sample."""
    reviews = pl.read_csv(ROOT / "data/corpora/sample/reviews.csv")["text"].to_list()
    learned = reviews[:300] + STRANGE[3:29]
    if unit == "subwords":
        description = learn_subwords(iter(learned), 500, lowercase).to_str()
    else:
        description = f'{{"unit": "{unit}", "lowercase": {str(lowercase).lower()}}}'
    tokeniser = tokeniser_of(description)
    lists = tokeniser.split(pl.DataFrame({"text": [t.encode("utf-8", "replace").decode() for t in learned]}))
    counts = Counter(token for tokens in lists.to_list() for token in tokens)
    words = [word for word, count in counts.most_common(3000) if count > 1 and word != UNK_TOKEN]
    numbers = {word: row for row, word in enumerate(words, 2)}
    random = np.random.default_rng(1)
    outputs = logits_for(labels)
    word_model = random_words(pool, len(words) + 2, outputs, random)
    rows = [[numbers.get(token, 1) for token in tokens] for tokens in lists.to_list()]
    ngram_model = None if ngrams is None else random_ngrams(ngrams, rows, words, outputs, random)
    settings: dict[str, Any] = {"width": None, "keep": "head", "temperature": 0.8, "shrinkage": 3.0}
    model_config = ModelConfig(
        vocabulary="0", labels=LABELS[labels], pool=pool, prior=random.normal(0, 0.3, outputs).tolist(),
        ngrams=ngram_model and ngram_model.config, **settings | (config or {}),
    )  # fmt: skip
    model = Model(model_config, word_model, ngram_model)
    return Case(Predictor(tokeniser, numbers, model), description, texts or STRANGE + REVIEWS[:10])


def random_words(pool: str, rows: int, outputs: int, random: np.random.Generator) -> WordModel:
    """Random word vectors and a linear layer."""
    vectors = random.normal(0, 1, (rows, 8)).astype(np.float32)
    layer = random.normal(0, 0.5, (outputs, 8)).astype(np.float32)
    arrays: dict[str, Any] = {"bias": random.normal(0, 0.2, outputs).astype(np.float32)}
    if "max" in pool:
        arrays |= {"vectors": vectors, "layer": layer}
    if pool != "max":
        arrays["weight"] = word_weights(vectors, layer)
    if pool == "idf_mean":
        arrays["idf"] = random.uniform(0.1, 6, rows).astype(np.float32)
    return WordModel(pool, arrays)


def random_ngrams(
    choices: dict[str, Any],
    rows: list[list[int]],
    words: list[str],
    outputs: int,
    random: np.random.Generator,
) -> NGramModel:
    """Random weights of the n-grams of documents."""
    config = NGramConfig(
        **{"max_n": 3, "buckets": None, "binary": True, "char_max_n": 0, "pool": "sqrt", "ending_boost": 0.0}
        | choices,
        words=len(words) + 2,
        vocabulary="0",
    )
    flat, lengths = np.concatenate(rows).astype(np.int32), np.array([len(row) for row in rows])
    keys = np.zeros(0, np.int64)
    if not config.buckets and config.max_n:
        keys, _ = learn_ngrams(flat, lengths, config.max_n, config.words, 2, 10**6)
    count = config.buckets or len(keys)
    weight = random.normal(0, 0.5, (count, outputs)).astype(np.float32)
    chars = None
    if config.char_max_n:
        alphabet = learn_alphabet(words, config.char_max_n)
        char_keys, _ = learn_char_ngrams(words, alphabet, config.char_max_n)
        char_weight = random.normal(0, 0.1, (len(char_keys), outputs)).astype(np.float32)
        every = [PAD_TOKEN, UNK_TOKEN, *words]
        chars = CharModel.of_words(every, alphabet, char_keys, char_weight, config.char_max_n)
    return NGramModel(weight, random.normal(0, 0.1, outputs), keys, config, chars)


@pytest.fixture(scope="module")
def page(
    tmp_path_factory: pytest.TempPathFactory, open_in: Callable[..., AbstractContextManager[Page]]
) -> Iterator[Page]:
    """An empty page with the scripts that score."""
    folder = ROOT / "stages/page"
    script = "\n".join((folder / name).read_text(encoding="utf-8") for name in ("unpack.js", *SCRIPTS))
    path = tmp_path_factory.mktemp("page") / "page.html"
    path.write_text(f"<!doctype html><meta charset=utf-8><script>{script}</script>", encoding="utf-8")
    with open_in(path) as page:
        yield page


CASES: dict[str, dict[str, Any]] = {
    "everything": {"ngrams": {"char_max_n": 4}},
    "no n-grams": {},
    "letters only": {"ngrams": {"max_n": 0, "char_max_n": 5}},
    "characters": {"unit": "characters", "ngrams": {"max_n": 4}, "texts": STRANGE[:30]},
    "subwords": {"unit": "subwords", "ngrams": {"char_max_n": 3}},
    "subwords in upper case": {"unit": "subwords", "lowercase": False},
    "upper case": {"lowercase": False, "ngrams": {"char_max_n": 2}},
    "sum": {"pool": "sum", "ngrams": {"pool": "mean"}},
    "idf_mean": {"pool": "idf_mean", "ngrams": {"pool": "mean", "ending_boost": 0.5}},
    "max": {"pool": "max", "labels": 3},
    "mean_max": {"pool": "mean_max", "ngrams": {"char_max_n": 3}},
    "buckets": {"ngrams": {"buckets": 5000, "max_n": 3}},
    "buckets of counts": {"ngrams": {"buckets": 512, "binary": False, "ending_boost": 2.0}},
    "counts": {"ngrams": {"binary": False, "ending_boost": 0.7}},
    "sums": {"ngrams": {"pool": "sum", "binary": False}},
    "three labels": {"labels": 3, "ngrams": {"char_max_n": 3}},
    "both": {"config": {"width": 21, "keep": "both"}, "ngrams": {}},
    "tail": {"config": {"width": 7, "keep": "tail", "threshold": 0.4}, "ngrams": {}},
    "head": {"config": {"width": 7, "keep": "head", "shrinkage": 0.0}, "ngrams": {"char_max_n": 3}},
}


@pytest.mark.parametrize("name", CASES)
def test_the_page_scores_as_the_predictor(name: str, page: Page) -> None:
    assert_equal(case_of(**CASES[name]), page)


@pytest.mark.parametrize("choices", [{"char_max_n": 3}, {"pool": "mean"}, {"buckets": 4000}], ids=str)
def test_a_page_with_a_part_of_the_model_scores_as_that_part(choices: dict[str, Any], page: Page) -> None:
    case = case_of(ngrams=choices, texts=STRANGE[:34] + REVIEWS[:30])
    model, numbers, limits = case.predictor.model, case.predictor.numbers, Limits(1500, 150)
    rows = limits.vocabulary + 2
    documents = case.predictor.cut(case.predictor.encode(case.texts))
    part = reduced(model, *limits)
    part = rounded(fitted(part, model, documents, recoded(documents, list(numbers), rows)))
    known = {word: row for word, row in numbers.items() if row < rows}
    expected = Predictor(case.predictor.tokeniser, known, part).probabilities(case.texts)
    results = page.evaluate(SCORE, [pack(case.scorer(limits).arrays), case.texts])
    assert [result["probabilities"] for result in results] == pytest.approx(expected, abs=1e-6)
    assert np.abs(expected - case.predictor.probabilities(case.texts)).max() > 0.01


def test_words_of_any_length_are_recognised(page: Page) -> None:
    words = ["x" * 100, "x" * 101, "x" * 101 + "y", "😀x" * 50 + "é", "x" * 100_000]
    case = case_of()
    numbers = {word: row for row, word in enumerate(words, 2)}
    case = case._replace(
        predictor=Predictor(case.predictor.tokeniser, numbers, reduced(case.predictor.model, 0, len(words))),
        texts=[*words, "x" * 99, "x" * 102, "x" * 99_999, " ".join(words)],
    )
    results = page.evaluate(SCORE, [pack(case.scorer().arrays), case.texts])
    explanations = case.predictor.explain_all(case.texts)
    assert [one["known"] for one in results] == [one.known for one in explanations]
    assert [one.known for one in explanations][:3] == [1, 1, 1]


def assert_equal(case: Case, page: Page) -> None:
    """Asserts that the page gives a text the tokens, probabilities and contributions of the predictor: nearly
    those of the whole model, and exactly those of the model with rounded weights."""
    predictor = case.predictor
    exact = Predictor(predictor.tokeniser, predictor.numbers, rounded(predictor.model))
    results = page.evaluate(SCORE, [pack(case.scorer().arrays), case.texts])
    found = np.array([result["probabilities"] for result in results])
    probabilities = predictor.probabilities(case.texts)
    assert np.abs(found - probabilities).max() < (
        1e-4 if "vectors" not in predictor.model.words.arrays else 5e-4
    )
    assert np.abs(found - exact.probabilities(case.texts)).max() < 1e-6
    assert [result["label"] for result in results] == predictor.model.predicted(probabilities).tolist()
    for label in range(len(predictor.labels)):
        for result, explanation in zip(results, exact.explain_all(case.texts, label), strict=True):
            assert result["tokens"] == explanation.tokens
            assert (result["known"], result["dropped"]) == (explanation.known, explanation.dropped)
            assert_explains(result["explanations"][label], explanation)


def assert_explains(result: dict[str, Any], explanation: Explanation) -> None:
    """Asserts that an explanation of the page is the predictor's."""
    assert result["logit"] == pytest.approx(explanation.logit, abs=1e-5)
    assert result["bias"] == pytest.approx(explanation.bias, abs=1e-5)
    if explanation.contributions is None:
        assert result["contributions"] is None
        return
    found = {(one["start"], one["end"]): one["value"] for one in result["contributions"]}
    expected = {(one.start, one.end): one.value for one in explanation.contributions}
    assert found.keys() == expected.keys()
    assert all(abs(found[span] - value) < 1e-5 for span, value in expected.items())
    assert result["bias"] + sum(found.values()) == pytest.approx(result["logit"], abs=1e-9)
    assert list(found) == sorted(found)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files of a run that `tools.predict` reads."""
    folder = tmp_path_factory.mktemp("run")
    case = case_of(ngrams={"char_max_n": 4}, config={"width": 400, "keep": "both"})
    (folder / "data").mkdir()
    (folder / "data/tokeniser.json").write_text(case.description, encoding="utf-8")
    words = [PAD_TOKEN, UNK_TOKEN, *case.predictor.numbers]
    vocabulary = folder / "data/vocabulary.parquet"
    pl.DataFrame({"id": range(len(words)), "token": words}).write_parquet(vocabulary)
    model = case.predictor.model
    config = model.config.model_copy(update={"vocabulary": sha256(vocabulary)})
    Model(config, model.words, model.ngrams).save(folder / "data/ensemble.safetensors")
    return folder


def packed(run: Path) -> str:
    """The model of a run as its page has it."""
    model = Model.load(run / "data/ensemble.safetensors")
    words = pl.read_parquet(run / "data/vocabulary.parquet")["token"].to_list()[2:]
    return pack(case_scorer(model, words, (run / "data/tokeniser.json").read_text(encoding="utf-8")).arrays)


def case_scorer(model: Model, words: list[str], description: str) -> Scorer:
    def test() -> tuple[Documents, Int32]:
        raise AssertionError

    return scorer_of(model, words, description, WHOLE, test)


def test_200_texts_get_what_tools_predict_gives(run: Path, page: Page) -> None:
    every = pl.read_csv(ROOT / "data/corpora/sample/reviews.csv")["text"].to_list()
    strange = [text.encode("utf-8", "replace").decode() for text in STRANGE]
    texts = strange + every[-(200 - len(strange)) :]
    pl.DataFrame({"text": texts}).write_parquet(run / "texts.parquet")
    command = [sys.executable, "-m", "tools.predict", "--file", "texts.parquet", "--output", "out.parquet"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    subprocess.run(command, cwd=run, env=environment, check=True, capture_output=True)
    expected = pl.read_parquet(run / "out.parquet")
    results = page.evaluate(SCORE, [packed(run), texts])
    labels = [LABELS[2][result["label"]] for result in results]
    assert len(labels) == 200
    assert labels == expected["label"].to_list()
    found = [max(result["probabilities"]) for result in results]
    assert found == pytest.approx(expected["probability"].to_list(), abs=1e-4)


def page_of(scorer: Scorer, path: Path) -> Path:
    """Writes a page with nothing but the scorer, under the policy that all pages have."""
    names = ("unpack.js", *SCRIPTS)
    start = 'scorerOf(document.getElementById("scorer-box"), document.getElementById("scorer"));'
    script = '"use strict";\n' + "\n".join([*map(source, names), start])
    style = source("base.css") + source("scorer.css")
    path.write_text(
        f"""<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Scorer</title>
        <style>{style}</style>
        <meta http-equiv="Content-Security-Policy" content="{policy(script, style)}"></head>
        <body>{source("scorer.jinja")}<script type="text/plain" id="scorer">{pack(scorer.arrays)}</script>
        <script>{script}</script></body></html>""",
        encoding="utf-8",
    )
    return path


@pytest.fixture(scope="module")
def typed() -> Case:
    """The model of `typing`."""
    return case_of(ngrams={"char_max_n": 3}, config={"width": 400, "keep": "both", "threshold": 0.45})


@pytest.fixture(scope="module")
def typing(
    tmp_path_factory: pytest.TempPathFactory,
    typed: Case,
    open_in: Callable[..., AbstractContextManager[Page]],
) -> Iterator[Page]:
    """A page in which one types."""
    with open_in(page_of(typed.scorer(), tmp_path_factory.mktemp("typing") / "page.html")) as page:
        page.locator(".scorer-bars li").first.wait_for()
        yield page


def type_in(page: Page, text: str) -> None:
    """Types a text, and waits for the answer."""
    page.locator("#scorer-text").fill(text)
    wait(page)


def wait(page: Page) -> None:
    """Waits for the answer."""
    page.evaluate("() => new Promise((done) => setTimeout(() => requestAnimationFrame(done), 320))")


def part(page: Page, name: str) -> str:
    """The text of a part of the page."""
    text: str = page.locator(f"[data-part={name}]").text_content() or ""
    return text


def number(text: str) -> float:
    """A number as the page writes it."""
    return float(re.sub(r"[^0-9.+-]", "", text.replace("\u2212", "-")))


def test_the_page_starts_with_an_answer_to_an_example(typing: Page, typed: Case) -> None:
    example = typing.locator("#scorer-text").input_value()
    assert len(example) > 50
    explanation = typed.predictor.explain(example)
    assert part(typing, "label") == explanation.label
    assert part(typing, "tokens").split() == explanation.tokens


def test_the_answer_follows_the_text(typing: Page, typed: Case) -> None:
    for text in (REVIEWS[3], "good", "GOOD film!", "zzxqv wqqk"):
        type_in(typing, text)
        explanation = typed.predictor.explain(text)
        (probabilities,) = typed.predictor.probabilities([text])
        assert part(typing, "label") == explanation.label
        shown = typing.locator(".scorer-bars .number").all_text_contents()
        assert [number(one) for one in shown] == pytest.approx(100 * probabilities, abs=0.06)
        assert part(typing, "probability") in shown
        assert part(typing, "notes").startswith(f"{explanation.known} of {len(explanation.tokens)} words")


def test_the_contributions_add_up_to_the_score(typing: Page, typed: Case) -> None:
    type_in(typing, REVIEWS[5])
    explanation = typed.predictor.explain(REVIEWS[5])
    *parts, total = typing.locator(".scorer-sum td.number").all_text_contents()
    assert number(total) == pytest.approx(explanation.logit, abs=0.001)
    assert sum(map(number, parts)) == pytest.approx(explanation.logit, abs=0.0006 * len(parts))
    strongest, _ = explanation.strongest(10)
    assert [number(one) for one in parts[:10]] == pytest.approx([value for _, value in strongest], abs=0.001)
    assert number(parts[-1]) == pytest.approx(explanation.bias, abs=0.001)


def test_tokens_are_marked_by_more_than_colour(typing: Page, typed: Case) -> None:
    type_in(typing, f"{REVIEWS[5]} zzxqv")
    marked = typing.evaluate(
        """() => Array.from(document.querySelectorAll(".scorer-tokens .scorer-token"), (token) => {
          const style = getComputedStyle(token);
          return [token.textContent, style.outlineStyle, style.textDecorationLine, style.textDecorationStyle];
        })"""
    )
    explanation = typed.predictor.explain(f"{REVIEWS[5]} zzxqv")
    values = np.zeros(len(explanation.tokens))
    for one in explanation.contributions or []:
        values[one.start : one.end] += one.value / (one.end - one.start)
    expected = {True: ("underline", "solid"), False: ("underline", "wavy")}
    strong = np.flatnonzero(np.abs(values) > 0.1 * np.abs(values).max()).tolist()
    assert {tuple(marked[n][2:]) for n in strong} == set(expected.values())
    assert [tuple(marked[n][2:]) for n in strong] == [expected[values[n] > 0] for n in strong]
    assert [text for text, outline, _, _ in marked if outline == "dotted"][-1] == "zzxqv"


def test_evidence_is_shown_for_the_chosen_label(typing: Page) -> None:
    type_in(typing, REVIEWS[5])
    values = {}
    for label in LABELS[2]:
        typing.locator("#scorer-of").select_option(label=label)
        values[label] = [number(one) for one in typing.locator(".scorer-sum td.number").all_text_contents()]
    typing.locator("#scorer-of").select_option(label="the predicted label")
    assert values["negative"] == [-value for value in values["positive"]]


def test_markup_is_shown_as_text(typing: Page) -> None:
    hostile = "<img src=x onerror=alert(1)><script>alert(2)</script> \u202egood"
    type_in(typing, hostile)
    assert "< script >" in part(typing, "tokens")
    assert typing.locator(".scorer img, .scorer-tokens script").count() == 0


def test_the_page_reports_what_was_cut_off(typing: Page) -> None:
    type_in(typing, "good film " * 300)
    assert "The model reads the first and last 400 only; 200 were cut off." in part(typing, "notes")


def test_a_text_from_right_to_left_is_shown_so(typing: Page) -> None:
    type_in(typing, "סרט נהדר מאוד")
    assert (
        typing.evaluate('() => getComputedStyle(document.querySelector(".scorer-tokens")).direction') == "rtl"
    )


def test_keys_are_enough(typing: Page, typed: Case) -> None:
    type_in(typing, "good")
    typing.locator("#scorer-text").focus()
    for key in ("Tab", "Enter"):
        typing.keyboard.press(key)
    assert typing.locator("#scorer-text").input_value() != "good"
    for key in ("Tab", "Enter"):
        typing.keyboard.press(key)
    assert typing.locator("#scorer-text").input_value() == ""
    assert typing.evaluate("() => document.activeElement.id") == "scorer-text"
    wait(typing)
    assert part(typing, "tokens") == ""
    assert part(typing, "notes").startswith("Without a text")
    prior = typed.predictor.explain("")
    assert part(typing, "label") == prior.label


def test_a_screen_reader_hears_the_answer_once_after_a_pause(typing: Page) -> None:
    typing.locator("#scorer-text").fill("good")
    status = typing.locator("[data-part=status]")
    before = status.text_content()
    typing.locator("#scorer-text").fill(REVIEWS[3])
    assert status.text_content() == before
    typing.wait_for_timeout(1600)
    assert status.text_content() == f"{part(typing, 'label')}, {part(typing, 'probability')}"


def test_a_long_text_is_shown_in_part(typing: Page, tmp_path: Path, open_page: OpenPage) -> None:
    page = open_page(page_of(case_of(ngrams={}).scorer(), tmp_path / "page.html"))
    page.locator(".scorer-bars li").first.wait_for()
    page.locator("#scorer-text").fill("good film! " * 20_000)
    page.locator("[data-part=hidden]").wait_for()
    assert "The first 1,000 of" in part(page, "hidden")
    assert "Only the first 200,000 characters are read." in part(page, "notes")
    assert page.locator(".scorer-tokens .scorer-token").count() == 1000


def test_a_maximum_has_no_parts(tmp_path: Path, open_page: OpenPage) -> None:
    case = case_of(pool="max", labels=3)
    page = open_page(page_of(case.scorer(), tmp_path / "page.html"))
    page.locator(".scorer-bars li").first.wait_for()
    assert "takes maxima" in part(page, "sum")
    assert page.locator(".scorer-bars li").count() == 3
    assert page.locator(".scorer-tokens .scorer-for").count() == 0
    assert page.locator(".scorer-legend .scorer-for").is_hidden()


def test_the_page_names_what_was_left_out(tmp_path: Path, open_page: OpenPage) -> None:
    case = case_of(ngrams={}, texts=REVIEWS)
    scorer = case.scorer(Limits(1000, 300))
    page = open_page(page_of(scorer, tmp_path / "page.html"))
    page.locator(".scorer-bars li").first.wait_for()
    facts = scorer.facts
    assert f"300 of {facts['words'][1]:,} words, 1,000 of {facts['ngrams'][1]:,} n-grams" in part(
        page, "whole"
    )
    assert f"On the {len(REVIEWS)} test reviews" in part(page, "whole")
    assert f"{100 * facts['changed']:.2f} % of the predictions differ" in part(page, "whole")


def test_a_model_that_cannot_be_read_is_reported(tmp_path: Path, open_page: OpenPage) -> None:
    path = page_of(case_of().scorer(), tmp_path / "page.html")
    text = re.sub(r'id="scorer">[^<]+', 'id="scorer">AAAA', path.read_text(encoding="utf-8"))
    page = open_page(text)
    page.locator("[data-part=problem]").wait_for()
    assert "could not be read" in part(page, "problem")
    assert page.locator("#scorer-text").is_hidden()
