"""Type a review: the page gives what `tools.predict` gives.

Models with random weights, made in a second, cover every choice that changes how a text is scored.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import polars as pl
import pytest

from stages import PAD_TOKEN, UNK_TOKEN
from stages.lib.model import Model, ModelConfig
from stages.lib.ngram.chars import CharModel
from stages.lib.ngram.keys import learn_ngrams
from stages.lib.ngram.letters import learn_alphabet, learn_char_ngrams
from stages.lib.ngram.model import NGramConfig, NGramModel
from stages.lib.page.pack import pack
from stages.lib.page.reduction import rounded
from stages.lib.page.scorer import SCRIPTS, Limits, Scorer, scorer_of
from stages.lib.reviews import Documents, logits_for
from stages.lib.word_model import WordModel, word_weights
from stages.predictor import Explanation, Predictor
from stages.tokens import learn_subwords, tokeniser_of
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
