"""Robustness: the way of a text to the model is the pipeline's own; each alteration and each kind of
pair by hand."""

import json
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from stages import classifier, evaluation, ids, raw, robustness, tensors, tokens, vocabulary
from stages.classifier import About, Classifier
from stages.ids import look_up
from stages.lib.command import Refusal
from stages.lib.reviews import read_split
from stages.robustness import (
    CELLS,
    Chain,
    Pair,
    answer,
    blocks,
    by_kind,
    compared,
    cut,
    mistyped,
    neighbours,
    of_text,
    of_words,
    paired,
    read_pairs,
    shuffled,
)
from stages.tokens import learn_subwords, tokeniser_of
from tests.conftest import ROOT, refused

WORDS = ["a", "good", "film", "don't", "!", "▁a", "▁good", "g", "o", " ", "é"]
NUMBERS = {word: number for number, word in enumerate(WORDS, 2)}


def run_in(folder: Path) -> Path:
    """The bundled sample's way to predictions, with small random vectors and reviews cut to 30 tokens."""
    params: dict[str, Any] = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    params["tensors"] |= {"max_length": 30, "keep": "both"}
    params["classifier"] |= {"epochs": 2, "threads": 1}
    choices = folder / "params.yaml"
    choices.write_text(yaml.safe_dump(params), encoding="utf-8")

    def at(*names: str) -> list[Path]:
        return [folder / name for name in names]

    raw.main(choices, ROOT / "data/corpora/sample", *at("raw.parquet", "labels.json", "raw.json"))
    tokens.main(choices, *at("raw.parquet", "tokens.parquet", "tokeniser.json", "tokens.json"))
    vocabulary.main(choices, *at("tokens.parquet", "vocabulary.parquet", "vocabulary.json"))
    ids.main(choices, *at("tokens.parquet", "vocabulary.parquet", "ids.parquet", "ids.json"))
    tensors.main(choices, *at("ids.parquet", "tensors.safetensors", "tensors.json"))
    rows = pq.read_metadata(folder / "vocabulary.parquet").num_rows
    vectors = np.random.default_rng(1).normal(size=(rows, 8)).astype(np.float32)
    vectors[0] = 0
    save_file({"embeddings": vectors}, folder / "embeddings.safetensors")
    inputs = at("ids.parquet", "tensors.safetensors", "embeddings.safetensors", "vocabulary.parquet")
    classifier.main(
        choices, *inputs, *at("labels.json", "classifier.safetensors", "classifier.json", "curve.csv")
    )
    inputs = at("tensors.safetensors", "classifier.safetensors", "ids.parquet", "raw.parquet", "labels.json")
    outputs = at("predictions.parquet", "evaluation.json", "roc.csv", "confusion.csv")
    evaluation.main(choices, *inputs, *outputs, *at("reliability.csv", "slices.csv"))
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_in(tmp_path_factory.mktemp("run"))


def artefacts(folder: Path) -> list[Path]:
    return [
        folder / name
        for name in ("tokeniser.json", "vocabulary.parquet", "classifier.safetensors", "labels.json")
    ]


def held_out(folder: Path) -> list[str]:
    return pl.read_parquet(folder / "raw.parquet").filter(pl.col("split") == "test")["text"].to_list()


def test_a_text_has_the_probability_that_the_pipeline_gave_it(run: Path) -> None:
    chain, texts = Chain.load(*artefacts(run)), held_out(run)
    wanted = pl.read_parquet(run / "predictions.parquet")
    found = chain.probabilities(texts).numpy()
    assert len(texts) > 200
    for number, name in enumerate(chain.labels):
        assert found[:, number] == pytest.approx(wanted[f"probability_{name}"].to_numpy(), abs=1e-6)
    assert [chain.labels[n] for n in chain.predict(texts)] == wanted["predicted"].to_list()


def test_a_text_has_the_row_numbers_that_the_pipeline_gave_it(run: Path) -> None:
    found, wanted = (
        Chain.load(*artefacts(run)).ids(held_out(run)),
        read_split(run / "tensors.safetensors", "test"),
    )
    assert torch.equal(found.ids, wanted.ids)
    assert torch.equal(found.lengths, wanted.lengths)


def test_a_text_comes_as_a_user_types_it(run: Path) -> None:
    chain = Chain.load(*artefacts(run))
    assert chain.tokens(["Good.<br /><br />Film", "half an \ud83d emoji"]) == [
        ["good", ".", "film"],
        ["half", "an", "?", "emoji"],
    ]
    assert torch.equal(chain.logits(["Good.<br /><br />Film"]), chain.logits(["good . film"]))


def test_texts_that_say_nothing_have_a_probability(run: Path) -> None:
    chain = Chain.load(*artefacts(run))
    found = chain.probabilities(["", " \n ", "\u200b", "🙃", "zzxqv"])
    assert found.shape == (5, 2)
    assert bool(torch.isfinite(found).all())
    assert found[0].tolist() == found[1].tolist() == found[2].tolist()
    assert torch.equal(chain.logits([""])[0], chain.model.bias())
    assert chain.probabilities([]).shape == (0, 2)
    assert chain.ids([]).ids.shape[0] == 0


def test_neighbours_and_their_number_change_no_probability(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain, texts = Chain.load(*artefacts(run)), held_out(run)
    whole = chain.probabilities(texts)
    monkeypatch.setattr("stages.robustness.TOGETHER", 7)
    monkeypatch.setattr("stages.robustness.CELLS", 40)
    assert torch.allclose(chain.probabilities(texts), whole, atol=1e-6)


def test_one_long_text_does_not_widen_the_others() -> None:
    lengths = np.array([2, 3, 3, CELLS // 2, CELLS, 2 * CELLS], np.int32)
    assert [lengths[block].tolist() for block in blocks(lengths)] == [
        [2, 3, 3],
        [CELLS // 2],
        [CELLS],
        [2 * CELLS],
    ]


@pytest.mark.parametrize(
    "changed", ["vocabulary.parquet", "labels.json", "classifier.safetensors", "tokeniser.json"]
)
def test_artefacts_of_another_run_are_refused(tmp_path: Path, run: Path, changed: str) -> None:
    paths = artefacts(run)
    content = {"labels.json": '{"labels": ["a", "b", "c"]}'}.get(changed, "{}")
    other = tmp_path / changed
    other.write_text(content, encoding="utf-8")
    place = [path.name for path in paths].index(changed)
    with pytest.raises(Refusal, match=rf"{changed}.*`dvc repro`"):
        Chain.load(*paths[:place], other, *paths[place + 1 :])


def chain_of(unit: str) -> Chain:
    """A chain with a few words, for what comes before the model."""
    if unit == "subwords":
        description = learn_subwords(iter(["a good film don't"] * 3), 100, True).to_str()
    else:
        description = json.dumps({"unit": unit, "lowercase": True})
    model = Classifier(torch.eye(len(WORDS) + 2), 2, True, About(vocabulary="", width=None, keep="head"))
    return Chain(tokeniser_of(description), NUMBERS, model, ["bad", "good"])


TEXTS = st.lists(
    st.text(
        st.sampled_from("ag dofilmn't ’\u2581.!<br/>\n\t\u00a0\u0301ΣΟσéßİ\u200d\u200b👍🏽\ufe0f中")
        | st.characters(exclude_categories=["Cs"]),
        max_size=30,
    ),
    min_size=1,
    max_size=6,
)


@pytest.mark.parametrize("unit", ["words", "characters", "subwords"])
def test_word_by_word_a_text_has_the_tokens_that_it_has_as_a_whole(unit: str) -> None:
    chain = chain_of(unit)

    @given(texts=TEXTS)
    @settings(deadline=None, max_examples=300)
    def holds(texts: list[str]) -> None:
        whole = (
            pl.Series(chain.tokens(texts), dtype=pl.List(pl.String)).to_arrow().cast(pa.list_(pa.string()))
        )
        assert chain.lists(texts).to_pylist() == look_up(whole, NUMBERS).to_pylist()

    holds()


LISTS = st.lists(st.lists(st.integers(2, 9), max_size=8), min_size=1, max_size=8)


def as_arrow(lists: list[list[int]]) -> pa.ListArray:
    return pa.array(lists, pa.list_(pa.int32()))


@given(lists=LISTS, seed=st.integers(0, 99))
def test_shuffling_keeps_each_reviews_words_and_nothing_but_their_order(
    lists: list[list[int]], seed: int
) -> None:
    found = shuffled(as_arrow(lists), np.random.default_rng(seed)).to_pylist()
    assert list(map(Counter, found)) == list(map(Counter, lists))


def test_shuffling_finds_every_order_about_as_often() -> None:
    found = shuffled(as_arrow([[2, 3, 4]] * 6000), np.random.default_rng(1)).to_pylist()
    counts = Counter(map(tuple, found))
    assert len(counts) == 6
    assert all(900 < count < 1100 for count in counts.values())


@given(lists=LISTS, kept=st.integers(1, 9), start=st.integers(0, 3))
def test_a_cut_is_a_slice(lists: list[list[int]], kept: int, start: int) -> None:
    part = as_arrow(lists)[start:]  # a batch may be a part of another
    assert cut(part, kept, "head").to_pylist() == [one[:kept] for one in lists[start:]]
    assert cut(part, kept, "tail").to_pylist() == [one[-kept:] for one in lists[start:]]


class Told(np.random.Generator):
    """A generator that draws what it was told: which letters, which way, which key."""

    def __init__(self, *draws: list[float]) -> None:
        super().__init__(np.random.PCG64(0))
        self.draws = [np.array(draw) for draw in draws]

    def random(self, *_: object, **__: object) -> Any:
        return self.draws.pop(0)

    def integers(self, *range_and_count: int, **_: object) -> Any:
        return self.draws.pop(0).astype(np.int64)[: range_and_count[2]]


@pytest.mark.parametrize(
    ("text", "place", "way", "wanted"),
    [
        ("good film", 3, 0, "goodd film"),  # the last letter of a word changes places with none
        ("good film", 0, 0, "ogod film"),
        ("good film", 1, 1, "god film"),
        ("good film", 5, 2, "good ffilm"),
        ("good film", 3, 3, "gooe film"),
        ("GOOD", 3, 3, "GOOE"),
        ("çok", 0, 3, "ççok"),  # no key of this keyboard
        ("a!", 1, 1, "a!"),  # no letter
        ("end", 2, 0, "endd"),
    ],
)
def test_typos_by_hand(text: str, place: int, way: int, wanted: str) -> None:
    chosen = [0.0 if n == place else 1.0 for n in range(len(text))]
    assert mistyped([text], 50, Told(chosen, [way], [0.0])) == [wanted]


def test_no_letter_leaves_its_text() -> None:
    assert mistyped(["a", "", "b"], 100, Told([0.0, 0.0], [0, 0], [])) == ["aa", "", "bb"]
    assert mistyped(["ab", "cd"], 100, Told([1.0, 0.0, 1.0, 1.0], [0], [])) == ["abb", "cd"]
    assert mistyped(["abc"], 100, Told([0.0, 0.0, 1.0], [0, 0], [])) == ["aacb"]  # one swap at a time
    assert mistyped([], 5, np.random.default_rng(1)) == []


@given(
    texts=st.lists(st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from("abc "), max_size=20))
)
def test_typos_leave_all_but_letters_as_it_was(texts: list[str]) -> None:
    found = mistyped(texts, 30, np.random.default_rng(1))
    marks = [[c for c in text if not c.isalpha()] for text in texts]
    assert [[c for c in text if not c.isalpha()] for text in found] == marks


def test_as_many_letters_are_mistyped_as_asked_for() -> None:
    text = "the quick brown fox jumps over a lazy dog; " * 2000
    letters = sum(map(str.isalpha, text))
    # Each of the four ways is as likely: a quarter leaves a letter out, more than a quarter doubles one.
    for percent in (5, 10):
        found = mistyped([text], percent, np.random.default_rng(3))[0]
        dropped = doubled = 0
        for before, after in zip(text.split(" "), found.split(" "), strict=True):
            dropped += len(after) < len(before)
            doubled += len(after) > len(before)
        assert dropped < doubled
        assert dropped / letters == pytest.approx(percent / 400, rel=0.2)


def test_the_neighbours_of_a_key_touch_it() -> None:
    table, count = neighbours()
    near = {chr(n): {chr(c) for c in table[n][: count[n]]} for n in range(128) if count[n]}
    assert near["g"] == set("ftyhbv")
    assert near["Q"] == set("WA")
    assert near["m"] == set("njk")
    assert set(near) == set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
    assert all(key in near[other] for key, others in near.items() for other in others)


def test_what_is_drawn_depends_on_the_seed_and_on_nothing_else() -> None:
    lists, texts = as_arrow([list(range(2, 30))]), ["a film about a lighthouse and its keeper"]

    def drawn(seed: int, *typos: int) -> tuple[object, object]:
        choices = robustness.Params(typos=list(typos), kept=1, pairs=[], seed=seed, threads=1)
        return of_words(choices)["shuffled"](lists).to_pylist(), of_text(choices)["typos_50"](texts)

    assert drawn(1, 50) == drawn(1, 5, 50)
    assert drawn(1, 50)[0] != drawn(2, 50)[0]
    assert drawn(1, 50)[1] != drawn(2, 50)[1]


def test_an_alteration_beside_none_by_hand() -> None:
    truth, before, after = (np.array(rows) for rows in ([0, 0, 1, 1], [0, 1, 1, 1], [0, 0, 0, 0]))
    found = compared(truth, before, after)
    assert {name: found[name] for name in ("accuracy", "difference", "changed")} == {
        "accuracy": 0.5,
        "difference": -0.25,
        "changed": 0.75,
    }
    assert found["difference_low"] < -0.25 < found["difference_high"]
    assert found["accuracy_low"] == pytest.approx(0.15, abs=0.001)  # Wilson's of 2 in 4


def test_the_interval_of_a_difference_by_hand() -> None:
    # 8 of 100 rows net, 12 of them changed, half a row more in each cell: (8, 13, 102).
    half = 1.959964 * (13 - 8**2 / 102) ** 0.5 / 102
    assert paired(2, 10, 100) == pytest.approx((-8 / 102 - half, -8 / 102 + half))
    assert paired(0, 0, 1)[1] <= 1


def test_the_interval_of_a_difference_is_about_what_drawing_again_gives() -> None:
    rows = np.repeat([1, -1, 0], [40, 70, 390])
    draws = np.random.default_rng(1).choice(rows, (4000, 500)).mean(1)
    assert paired(40, 70, 500) == pytest.approx(np.quantile(draws, [0.025, 0.975]), abs=0.004)


def opinion(labels: list[str], threshold: float = 0.5) -> Chain:
    """A chain of words that each have a score of their own; a text's logit is their mean."""
    scores = {"good": 2.0, "great": 4.0, "bad": -2.0, "awful": -4.0, "so": 0.0}
    vectors = torch.tensor([[0.0], [0.0], *([score] for score in scores.values())])
    told = About(vocabulary="", width=None, keep="head", threshold=threshold)
    model = Classifier(vectors, len(labels), True, told)
    torch.nn.init.ones_(model.linear.weight)
    torch.nn.init.zeros_(model.linear.bias)
    numbers = {word: number for number, word in enumerate(scores, 2)}
    return Chain(tokeniser_of('{"unit": "words", "lowercase": true}'), numbers, model.eval(), labels)


N, P = "negative", "positive"
PAIRS = [
    Pair("turned", "negation", "Good!", "Bad!", P, N),
    Pair("not turned", "negation", "Good so", "So good", P, N),
    Pair("surer", "intensity", "Bad", "Awful", N, N),
    Pair("less sure", "intensity", "Great", "Good", P, P),
    Pair("as sure", "intensity", "Great", "GREAT", P, P),
    Pair("surer and wrong", "intensity", "Good", "Great", N, N),
    Pair("kept", "irrelevant", "Good Tom", "Good Bo", P, P),
    Pair("kept and wrong", "irrelevant", "Good Tom", "Good Bo", N, N),
]


def test_pairs_by_hand() -> None:
    answered = answer(PAIRS, opinion([N, P]))
    right = dict(zip(answered["id"].to_pylist(), answered["right"].to_pylist(), strict=True))
    assert [name for name, held in right.items() if held] == ["turned", "surer", "kept"]
    assert answered["predicted_a"].to_pylist() == [P, P, N, P, P, P, P, P]
    assert answered["probability_b"].to_pylist()[0] == pytest.approx(1 / (1 + np.exp(-1)))  # "bad", "!"
    found = by_kind(answered)
    assert list(found) == ["negation", "intensity", "irrelevant"]  # no contrast was asked
    shown = ("pairs", "right", "sides", "changed")
    assert [found["negation"][name] for name in shown] == [2, 0.5, 0.75, 0.5]
    assert [found["intensity"][name] for name in shown] == [4, 0.25, 0.75, 0.0]
    assert [found["irrelevant"][name] for name in shown] == [2, 0.5, 0.5, 0.0]
    assert found["negation"]["right_low"] == pytest.approx(0.0945, abs=1e-4)


def test_pairs_are_decided_from_the_models_threshold() -> None:
    answered = answer(PAIRS[:1], opinion([N, P], threshold=0.99))
    assert answered["predicted_a"].to_pylist() == [N]
    assert opinion([N, P], threshold=0.99).predict(["good", "great great"]).tolist() == [0, 0]
    assert opinion([N, P], threshold=0.9).predict(["good", "great great"]).tolist() == [0, 1]


def test_a_name_that_is_known_may_change_a_decision() -> None:
    found = by_kind(answer([Pair("x", "irrelevant", "Good", "Bad", P, P)], opinion([N, P])))["irrelevant"]
    assert (found["right"], found["sides"], found["changed"]) == (0.0, 0.5, 1.0)


def test_no_pairs_are_no_figures() -> None:
    assert by_kind(answer([], opinion([N, P]))) == {}


HEADER = ",".join(Pair._fields)


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (["1,negation,good,bad,positive,positive"], "pair 1: found 'positive' and 'positive'.*two different"),
        (["1,irrelevant,good,bad,positive,negative"], "pair 1: found.*one label on both sides"),
        (["1,negations,good,bad,positive,negative"], "unknown kind 'negations'; did you mean negation"),
        (["1,negation,good,,positive,negative"], "text_b is empty"),
        (["1,negation,good,bad,positive"], "row 2: 5 cells"),
        (["1,negation,good,bad,positive,negative"] * 2, "two pairs have the id '1'"),
    ],
)
def test_what_is_no_pair_is_refused(tmp_path: Path, lines: list[str], told: str) -> None:
    (tmp_path / "mine.csv").write_text("\n".join([HEADER, *lines]), encoding="utf-8")
    with pytest.raises(Refusal, match=told):
        read_pairs(tmp_path, ["mine.csv"])


def test_a_file_of_pairs_that_is_not_there_is_refused(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("text", encoding="utf-8")
    with pytest.raises(Refusal, match=r"robustness.pairs: no file 'x.csv'.*there: nothing"):
        read_pairs(tmp_path, ["x.csv"])
    (tmp_path / "mine.csv").write_text("id,kind\n1,negation\n", encoding="utf-8")
    with pytest.raises(Refusal, match="no column 'text_a'"):
        read_pairs(tmp_path, ["mine.csv"])


def paths(folder: Path, pairs: Path, out: Path) -> list[Path]:
    inputs = ["raw.parquet", "tokeniser.json", "vocabulary.parquet", "ids.parquet", "tensors.safetensors"]
    inputs += ["classifier.safetensors", "labels.json"]
    outputs = ["robustness.parquet", "robustness_pairs.parquet", "robustness.json"]
    return [*(folder / name for name in inputs), pairs, *(out / name for name in outputs)]


def test_a_run_gives_a_row_for_each_review_and_alteration(
    tmp_path: Path, run: Path, write_params: Callable[..., Path]
) -> None:
    where = paths(run, ROOT / "data/pairs", tmp_path)
    robustness.main(write_params(robustness={"typos": [3], "kept": 5}), *where)
    figures, evaluated = (json.loads(path.read_text()) for path in (where[-1], run / "evaluation.json"))
    assert figures["unaltered"]["accuracy"] == evaluated["classifier"]["accuracy"]
    names = ["first_5", "last_5", "shuffled", "typos_3", "upper_case"]
    assert list(figures["altered"]) == names
    assert figures["altered"]["upper_case"]["changed"] == 0  # all is lower case to this tokeniser
    assert figures["pairs_left_out"] == 0
    assert sum(kind["pairs"] for kind in figures["pairs"].values()) == len(pl.read_parquet(where[-2]))
    table, told = pl.read_parquet(where[-3]), pl.read_parquet(run / "predictions.parquet")
    assert sorted(set(table["alteration"])) == [*names[:3], "typos_3", "unaltered", "upper_case"]
    plain = table.filter(pl.col("alteration") == "unaltered")
    assert plain.drop("alteration").equals(told.select(plain.drop("alteration").columns))
    for name, found in figures["altered"].items():
        mine = table.filter(pl.col("alteration") == name)
        assert mine["id"].to_list() == plain["id"].to_list()
        assert (mine["label"] == mine["predicted"]).mean() == pytest.approx(found["accuracy"], abs=1e-6)
        assert (mine["predicted"] != plain["predicted"]).mean() == pytest.approx(found["changed"], abs=1e-6)


def test_two_runs_give_the_same_bytes_and_another_seed_gives_others(
    tmp_path: Path, run: Path, write_params: Callable[..., Path]
) -> None:
    bytes_of = {}
    for name, seed in (("one", 1), ("same", 1), ("other", 2)):
        where = paths(run, ROOT / "data/pairs", tmp_path / name)
        robustness.main(write_params(robustness={"seed": seed}), *where)
        bytes_of[name] = [path.read_bytes() for path in where[-3:]]
    assert bytes_of["one"] == bytes_of["same"]
    assert bytes_of["one"][0] != bytes_of["other"][0]
    assert bytes_of["one"][1] == bytes_of["other"][1]


def test_pairs_of_labels_that_the_corpus_lacks_are_left_out_and_counted(
    tmp_path: Path, run: Path, write_params: Callable[..., Path]
) -> None:
    lines = ["1,negation,good,bad,positive,negative", "2,negation,good,bad,5 stars,1 star"]
    (tmp_path / "mine.csv").write_text("\n".join([HEADER, *lines]), encoding="utf-8")
    where = paths(run, tmp_path, tmp_path / "out")
    robustness.main(write_params(robustness={"pairs": ["mine.csv"], "typos": []}), *where)
    figures = json.loads(where[-1].read_text())
    assert figures["pairs_left_out"] == 1
    assert figures["pairs"]["negation"]["pairs"] == 1
    assert pl.read_parquet(where[-2])["id"].to_list() == ["1"]


@pytest.mark.parametrize(
    ("choice", "told"),
    [
        ({"typos": [0]}, "robustness.typos"),
        ({"kept": 0}, "robustness.kept"),
        ({"pairs": ["minimal_pair.csv"]}, "no file 'minimal_pair.csv'"),
    ],
)
def test_unknown_choices_are_refused_in_one_line(
    tmp_path: Path,
    run: Path,
    write_params: Callable[..., Path],
    stage: Callable[..., subprocess.CompletedProcess[str]],
    choice: dict[str, Any],
    told: str,
) -> None:
    ended = stage("robustness", write_params(robustness=choice), *paths(run, ROOT / "data/pairs", tmp_path))
    assert refused(ended, "robustness: ", told)
