"""Report: neighbours, the surest mistakes, and a page that nothing from outside can break."""

import json
import re
from collections.abc import Callable
from html import escape as html_escape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.numpy import save_file

from stages import STAGES, classifier, report
from stages.classifier import About, Classifier
from stages.lib.files import sha256, write_csv, write_json
from stages.lib.nbsvm import NGrams, Runs
from stages.lib.subwords import bucket
from stages.robustness import Chain

SHARES = ["accuracy", "accuracy_low", "accuracy_high", "difference_low", "difference_high", "changed"]
ALTERED = {**dict.fromkeys(SHARES, 0.5), "difference": -0.125}
PAIR_FIGURES = ["right", "right_low", "right_high", "sides", "changed"]
EVIL = "</script><img src=x onerror=alert(1)>"


def test_neighbours_go_by_cosine_and_leave_the_word_itself_out() -> None:
    vectors = np.array([[1, 0], [10, 1], [1, 1], [-1, 0], [0, 0]], np.float32)
    found = report.nearest_words(["a", "far", "b", "not", "nil"], vectors, ["a", "absent"], 2)
    assert [word for word, _ in found["a"]] == ["far", "b"]
    assert found["a"][1][1] == pytest.approx(0.5**0.5)
    assert list(found) == ["a"]


def test_an_unknown_word_has_the_neighbours_of_its_pieces() -> None:
    pieces = {"min": 3, "max": 3, "buckets": 1000}
    table = np.zeros((1000, 2), np.float32)
    table[[bucket(piece, 1000) for piece in ("<he", "her", "er>")]] = [[0, 3], [0, 3], [3, 3]]  # mean 1, 3
    unknown = report.of_pieces(table, pieces)
    vectors = np.array([[1, 0], [0, 5], [2, 2]], np.float32)
    found = report.nearest_words(["x", "y", "xy"], vectors, ["her", "x", ""], 2, unknown)
    assert list(found) == ["her", "x"]  # the last is too short to have pieces
    assert [word for word, _ in found["her"]] == ["y", "xy"]
    assert [cosine for _, cosine in found["her"]] == pytest.approx([3 / 10**0.5, 4 / 20**0.5])
    assert [word for word, _ in found["x"]] == ["xy", "y"]
    for without in (report.of_pieces(None, pieces), report.of_pieces(table, None)):
        assert not report.nearest_words(["x", "y", "xy"], vectors, ["her"], 2, without)


def test_unknown_words_are_marked_in_the_table(tmp_path: Path, write_params: Callable[..., Path]) -> None:
    paths = write_inputs(tmp_path, ["bad", "good"], "film", "text")
    asked = {"report": {"words": ["films", "film"]}}
    assert "unknown, by its pieces" not in page(paths, write_params(**asked))
    tables = {"embeddings": np.eye(4, 3, dtype=np.float32), "subwords": np.ones((7, 3), np.float32)}
    save_file(tables, tmp_path / "embeddings.safetensors")
    pieces = {"subwords": {"min": 3, "max": 4, "buckets": 7}}
    html = page(paths, write_params(**asked, embeddings=pieces))
    assert '<th>films<span class="span">unknown, by its pieces</span></th>' in html
    assert "<th>film</th>" in html


def evaluation_facts() -> dict[str, Any]:
    """metrics/evaluation.json of two labels, with an interval for all that has one."""
    figures = dict.fromkeys(report.FIGURES, 0.5)
    intervals = {name: {"low": 0.4321, "high": 0.5678} for name in report.FIGURES}
    errors = dict.fromkeys(["ece_equal_width", "ece_equal_mass"], 0.03)
    alone = {"mcnemar_p": 0.25, "only_classifier_right": 1201, "only_baseline_right": 7}
    found = {
        **dict.fromkeys(report.CONTENDERS, figures),
        "at_half": {"accuracy": 0.375, "f1": 0.5},
        "differences": {"nbsvm": {"accuracy": -0.125, "log_loss": 0.5, **alone}},
        "calibration": {"before": figures | errors, "after": figures | errors, "by_chance": errors},
    }
    return found | {
        "intervals": {
            **dict.fromkeys(report.CONTENDERS, intervals),
            "at_half": intervals,
            "differences": {"nbsvm": intervals},
            "calibration": {"before": intervals, "after": intervals},
        }
    }


BIGRAMS = NGrams(
    longest=2,
    least=1,
    limit=9,
    buckets=None,
    counts="counted",
    pool="sum",
    ratios="none",
    ending=0.0,
    rarity=0.0,
    decay=1.0,
)


def write_model(folder: Path, labels: list[str], words: list[str], pool: Any = "mean") -> None:
    """A classifier in which the word of row n has a weight of n, "good" 2 more, and "good good" 5; of
    label l 1 + l times as much. The bias is 0.5 and the temperature 2."""
    (folder / "labels.json").write_text(json.dumps({"labels": labels}), encoding="utf-8")
    (folder / "tokeniser.json").write_text('{"lowercase": true, "unit": "words"}', encoding="utf-8")
    rows = {"id": range(len(words)), "token": words}
    pd.DataFrame(rows).to_parquet(folder / "vocabulary.parquet")
    known = sha256(folder / "vocabulary.parquet")
    told = About(vocabulary=known, width=4, keep="both", pool=pool, ngrams=BIGRAMS, temperature=2.0)
    vectors = torch.arange(float(len(words)))[:, None]
    model = Classifier(vectors, len(labels), True, told)
    scale = torch.arange(1.0, len(model.bias()) + 1)
    model.linear.weight.data = scale[:, None].repeat(1, model.linear.weight.shape[1])
    model.linear.bias.data = torch.full_like(scale, 0.5)
    good = words.index("good")
    keys = torch.tensor([good, good * len(words) + good])
    model.ngrams = Runs(torch.tensor([[2.0], [5.0]]) * scale, keys, BIGRAMS, len(words))
    classifier.save(folder / "classifier.safetensors", model)


def write_inputs(folder: Path, labels: list[str], word: str, text: str) -> list[Path]:
    metrics = folder / "metrics"
    splits = ("train", "validation", "test")
    facts = {
        "raw": {
            "reviews": {**dict.fromkeys(splits, 3), "unlabelled": 0},
            "labels": {split: {labels[0]: 1, labels[1]: 2} for split in splits},
            "dropped": {"train": 1, "unlabelled": 0, "unlabelled_test": 0},
        },
        "tokens": {s: {"tokens": 9, "median_length": 3.0, "longest": 4} for s in splits},
        "vocabulary": {"words": 4, "coverage": dict.fromkeys(splits, 0.9)},
        "tensors": {"width": 4, "truncated": dict.fromkeys(splits, 0.0)},
        "projection": {"explained": {"x": 0.5, "y": 0.25, "z": 0.125}},
        "classifier": {"decided_from": 0.5, "best_epoch": 2, "scaled_by": 1.25},
        "evaluation": evaluation_facts(),
        "robustness": {
            "unaltered": dict.fromkeys(["accuracy", "accuracy_low", "accuracy_high"], 0.8),
            "altered": {"typos_5": ALTERED, "shuffled": {**ALTERED, "accuracy": 0.75}},
            "pairs": {"negation": {"pairs": 3, **dict.fromkeys(PAIR_FIGURES, 0.5)}},
            "pairs_left_out": 1204,
        },
    }
    for stage in STAGES[:-1]:
        write_json(metrics / f"{stage}.json", facts.get(stage, {}))
    write_csv(metrics / "embeddings_loss.csv", ["words", "loss"], [(1, 2.0), (2, 1.0)])
    curve = ["epoch", "train_loss", "validation_loss", "validation_accuracy"]
    write_csv(metrics / "classifier_curve.csv", curve, [(1, 0.7, 0.7, 0.5), (2, 0.5, 0.6, 0.7)])
    rates = ["label", "false_positive_rate", "true_positive_rate"]
    write_csv(metrics / "evaluation_roc.csv", rates, [(labels[1], 0, 0), (labels[1], 1, 1)])
    cells = [(a, b, 1) for a in labels for b in labels]
    write_csv(metrics / "evaluation_confusion.csv", ["label", "predicted", "reviews"], cells)
    bins = ["calibration", "probability", "accuracy", "low", "high", "reviews"]
    trust = [(name, 0.75, 0.5, 0.25, 0.875, 4) for name in ("before", "after")]
    write_csv(metrics / "evaluation_reliability.csv", bins, trust)
    parts = ["slice", "part", "reviews", "accuracy", "low", "high", "difference"]
    slices = [("all", "all", 4, 0.5, 0.25, 0.75, 0.0), ("group", word, 3, 0.9, 0.8, 1.0, 0.4)]
    write_csv(metrics / "evaluation_slices.csv", parts, [*slices, ("group", "z", 1, 0.4, 0.35, 0.9, -0.1)])
    pq.write_table(pa.table({"id": ["1", "2"], "text": [text, "fine"]}), folder / "raw.parquet")
    words = ["<pad>", "<unk>", word, "good"]
    write_model(folder, labels, words)
    save_file({"embeddings": np.eye(4, 3, dtype=np.float32)}, folder / "embeddings.safetensors")
    axes = {axis: [0.0, 1.0] for axis in "xyz"}
    pd.DataFrame({"token": words[2:], **axes}).to_parquet(folder / "projection.parquet")
    guesses = {"id": ["1", "2"], "label": labels, "predicted": [labels[1]] * 2, "probability": [0.9, 0.8]}
    pd.DataFrame(guesses).to_parquet(folder / "predictions.parquet")
    sides = [("text_a", text), ("text_b", "fine"), ("label_a", labels[0]), ("label_b", labels[1])]
    sides += [("predicted_a", labels[1]), ("predicted_b", labels[1])]
    pair = {"id": word, "kind": "negation", **dict(sides), "probability_a": 0.25, "probability_b": 0.75}
    pd.DataFrame([{**pair, "right": False}]).to_parquet(folder / "robustness_pairs.parquet")
    names = (
        "tokeniser.json",
        "vocabulary.parquet",
        "embeddings.safetensors",
        "projection.parquet",
        "classifier.safetensors",
        "predictions.parquet",
        "robustness_pairs.parquet",
    )
    return [
        metrics,
        folder / "labels.json",
        folder / "raw.parquet",
        *(folder / n for n in names),
        folder / "r.html",
    ]


class Tags(HTMLParser):
    """Collects the tags of a page, which a script's text is not part of."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def page(paths: list[Path], params: Path) -> str:
    report.main(params, *paths)
    return paths[-1].read_text(encoding="utf-8")


def test_nothing_from_outside_becomes_a_tag(tmp_path: Path, write_params: Callable[..., Path]) -> None:
    paths = write_inputs(tmp_path, [f"a{EVIL}", f"b{EVIL}"], f"w{EVIL}", f"t{EVIL}")
    tags = Tags()
    tags.feed(page(paths, write_params(report={"words": ["good", f"w{EVIL}"]})))
    assert not [tag for tag, _ in tags.found if tag == "img"]
    assert not [name for _, attributes in tags.found for name in attributes if name.startswith("on")]


def test_the_page_carries_all_it_needs(tmp_path: Path, write_params: Callable[..., Path]) -> None:
    html = page(write_inputs(tmp_path, ["bad", "good"], "film", "a dull film"), write_params())
    tags = Tags()
    tags.feed(html)
    assert not [attributes for tag, attributes in tags.found if tag == "link" or attributes.get("src")]
    ids = {attributes.get("id") for _, attributes in tags.found}
    assert {"space", "roc", "confusion", "reliability", "embeddings_loss", "classifier_curve"} <= ids
    assert "a dull film" in html
    assert "skipgram" in html


def figures_part(html: str) -> str:
    """The section on how well it tells them apart, without its pictures and tags."""
    part = html[html.index('id="figures"') : html.index('id="words"')]
    return " ".join(re.sub(r"<script.*?</script>|<[^>]*>", " ", part, flags=re.DOTALL).split())


def test_figures_stand_beside_their_intervals(tmp_path: Path, write_params: Callable[..., Path]) -> None:
    told = figures_part(page(write_inputs(tmp_path, ["bad", "good"], "film", "text"), write_params()))
    assert "accuracy " + "0.5000 0.4321 to 0.5678 " * 4 + "precision" in told
    assert "NBSVM -0.1250 +0.4321 to +0.5678 +0.5000 +0.4321 to +0.5678 1,201 7 0.2500" in told
    assert "10,000 draws" in told
    assert "1.250" in told
    assert "calibration error, bins of equal width 0.0300 0.0300" in told
    assert "group film 3 90.0 % 80.0 % to 100.0 % +40.0 z 1 40.0 % 35.0 % to 90.0 % -10.0" in told


def test_a_part_stands_out_when_all_is_outside_its_interval(tmp_path: Path) -> None:
    write_inputs(tmp_path, ["bad", "good"], "film", "text")
    slices = report.read_slices(tmp_path / "metrics/evaluation_slices.csv")
    assert [(one.part, one.stands_out) for one in slices] == [("film", True), ("z", False)]


def test_a_chosen_threshold_stands_beside_one_half(tmp_path: Path, write_params: Callable[..., Path]) -> None:
    paths = write_inputs(tmp_path, ["bad", "good"], "film", "text")
    assert "Two thresholds" not in figures_part(page(paths, write_params()))
    chosen = {"decided_from": 0.4321, "best_epoch": 2, "scaled_by": 1.0}
    write_json(paths[0] / "classifier.json", chosen)
    told = figures_part(page(paths, write_params()))
    assert "“good” from accuracy F1 0.4321 0.5000" in told
    assert "0.5 0.3750 0.4321 to 0.5678 0.5000" in told
    assert "The temperature is 1" in told


def test_three_labels_have_a_row_each(tmp_path: Path, write_params: Callable[..., Path]) -> None:
    labels = ["bad", "fair", "good"]
    paths = write_inputs(tmp_path, labels[::2], "film", "text")
    write_model(tmp_path, labels, ["<pad>", "<unk>", "film", "good"])
    kinds = dict.fromkeys(["precision", "recall", "f1"], 0.25)
    facts = evaluation_facts()
    del facts["at_half"]
    around = {kind: {"low": 0.1, "high": 0.3} for kind in kinds}
    facts["labels"] = {label: {**kinds, "support": 1204} for label in labels}
    facts["averages"] = {"macro": kinds, "weighted": kinds}
    facts["intervals"]["labels"] = dict.fromkeys(labels, around)
    facts["intervals"]["averages"] = {"macro": around, "weighted": {}}  # a figure may have none
    write_json(paths[0] / "evaluation.json", facts)
    told = figures_part(page(paths, write_params()))
    assert "fair " + "0.2500 0.1000 to 0.3000 " * 3 + "1,204" in told
    assert "mean by reviews 0.2500 0.2500 0.2500" in told


def test_the_same_inputs_give_the_same_page(tmp_path: Path, write_params: Callable[..., Path]) -> None:
    paths = write_inputs(tmp_path, ["bad", "good"], "film", "a dull film")
    assert page(paths, write_params()) == page(paths, write_params())


def test_the_surest_mistakes_come_first(tmp_path: Path) -> None:
    raw = tmp_path / "raw.parquet"
    pq.write_table(pa.table({"id": list("abcd"), "text": ["A", "B", "C", "D"]}), raw)
    table = pd.DataFrame(
        {
            "id": list("abcd"),
            "label": ["x", "x", "y", "y"],
            "predicted": ["y", "x", "x", "x"],
            "probability": [0.6, 0.99, 0.9, 0.6],
        }
    )
    assert [m.id for m in report.surest_mistakes(table, 2, raw)] == ["c", "a"]
    assert [m.text for m in report.surest_mistakes(table, 9, raw)] == ["C", "A", "D"]


WORDS = ["<pad>", "<unk>", "film", "good", "and"]


def chain_in(folder: Path, labels: list[str], pool: str = "mean") -> Chain:
    write_model(folder, labels, WORDS, pool)
    names = ("tokeniser.json", "vocabulary.parquet", "classifier.safetensors", "labels.json")
    return Chain.load(*(folder / name for name in names))


def mistake(text: str, predicted: str = "good") -> report.Mistake:
    return report.Mistake("1", "bad", predicted, 0.9, text)


def test_the_shares_of_a_review_by_hand(tmp_path: Path) -> None:
    chain = chain_in(tmp_path, ["bad", "good"])
    # Cut to "good good" and "and film": each word a quarter of its row's number.
    (why,) = report.reasons(chain, WORDS, [mistake("Good good film film film and film")]) or []
    good = 2 * (3 / 4 + 2)  # two words, and the n-gram of one twice
    shares = [("good", good), ("good good", 5.0), ("and", 1.0), ("film", 0.5)]
    assert why == report.Reason(shares, others=0, bias=0.5, logit=12.5)
    (why,) = report.reasons(chain, WORDS, [mistake("")]) or []
    assert why == report.Reason([], 0, 0.5, 0.5)


def test_of_more_labels_the_predicted_one_is_explained(tmp_path: Path) -> None:
    chain = chain_in(tmp_path, ["bad", "fair", "good"])
    found = report.reasons(chain, WORDS, [mistake("and", "fair"), mistake("and film strange", "good")]) or []
    assert [why.shares for why in found] == [[("and", 8.0)], [("and", 4.0), ("film", 2.0), ("<unk>", 1.0)]]
    assert [why.logit for why in found] == [8.5, 7.5]


def test_what_is_not_shown_is_summed_and_equal_shares_go_by_their_letters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain = chain_in(tmp_path, ["bad", "good"])
    monkeypatch.setattr(report, "STRONGEST", 2)
    for text in ("film film and", "and film film"):
        (why,) = report.reasons(chain, WORDS, [mistake(text)]) or []
        assert [word for word, _ in why.shares] == ["and", "film"]  # 4 / 3 each
    (why,) = report.reasons(chain, WORDS, [mistake("good good film and")]) or []
    assert [word for word, _ in why.shares] == ["good", "good good"]
    assert why.others == pytest.approx(1.5)
    assert sum(share for _, share in why.shares) + why.others + why.bias == pytest.approx(why.logit)


def mistakes_part(html: str) -> str:
    return html[html.index('id="mistakes"') : html.index('id="parameters"')]


def test_shares_stand_below_a_mistake(tmp_path: Path, write_params: Callable[..., Path]) -> None:
    paths = write_inputs(tmp_path, ["bad", "good"], "film", "a good film")
    told = mistakes_part(page(paths, write_params()))
    assert "temperature, 2.000" in told
    assert '<span class="for">good +3.000</span><span class="for">film +0.667</span>' in told
    assert '<span class="soft">bias +0.500</span><span class="soft">logit +4.500</span>' in told
    model = classifier.load(tmp_path / "classifier.safetensors")
    model.linear.weight.data *= -1
    classifier.save(tmp_path / "classifier.safetensors", model)
    told = mistakes_part(page(paths, write_params()))  # by magnitude still
    ordered = '<span class="for">good +1.000</span><span class="against">film -0.667</span>'
    assert f'{ordered}<span class="against">&lt;unk&gt; -0.333</span>' in told


@pytest.mark.parametrize("pool", ["max", "mean_max"])
def test_a_maximum_has_no_shares_and_the_page_says_so(
    tmp_path: Path, write_params: Callable[..., Path], pool: str
) -> None:
    paths = write_inputs(tmp_path, ["bad", "good"], "film", "a good film")
    write_model(tmp_path, ["bad", "good"], ["<pad>", "<unk>", "film", "good"], pool)
    told = mistakes_part(page(paths, write_params(classifier={"pool": pool})))
    assert f"pools by maximum ({pool})" in told
    assert "a good film" in told
    assert "bias" not in told


def test_words_in_shares_stay_text(
    tmp_path: Path, write_params: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = write_inputs(tmp_path, [f"a{EVIL}", f"b{EVIL}"], "film", "text")
    # The tokeniser splits what would be a tag, but an own vocabulary may hold anything.
    why = report.Reason([(EVIL, 0.5)], others=0.0, bias=0.5, logit=1.0)
    monkeypatch.setattr(report, "reasons", lambda chain, words, mistakes: [why] * len(mistakes))
    html = page(paths, write_params())
    tags = Tags()
    tags.feed(html)
    assert not [tag for tag, _ in tags.found if tag == "img"]
    assert mistakes_part(html).count(f'<span class="for">{html_escape(EVIL)} +0.500</span>') == 1


def test_a_page_without_mistakes_or_known_words_says_so(
    tmp_path: Path, write_params: Callable[..., Path]
) -> None:
    paths = write_inputs(tmp_path, ["bad", "good"], "film", "text")
    predictions = tmp_path / "predictions.parquet"
    pd.read_parquet(predictions).assign(predicted=["bad", "good"]).to_parquet(predictions)
    html = page(paths, write_params(report={"words": ["nowhere"]}))
    assert "None to show." in html
    assert "none of the words in report.words" in html


def test_alterations_and_wrong_pairs_are_shown(tmp_path: Path, write_params: Callable[..., Path]) -> None:
    paths = write_inputs(tmp_path, ["bad", "good"], "film", "not a dull film")
    html = page(paths, write_params())
    part = html[html.index('id="robustness"') : html.index('id="mistakes"')]
    assert part.index("words shuffled") < part.index("typos in 5 % of the letters")
    for told in ("-12.5", "negation", "not a dull film", "1,204 minimal pairs were left out"):
        assert told in part
    pairs = tmp_path / "robustness_pairs.parquet"
    pd.read_parquet(pairs).iloc[:0].to_parquet(pairs)
    facts = json.loads((paths[0] / "robustness.json").read_text())
    write_json(paths[0] / "robustness.json", {**facts, "pairs": {}, "pairs_left_out": 0})
    assert "inimal pairs" not in page(paths, write_params())


def test_the_pairs_that_are_most_wrong_come_first(tmp_path: Path) -> None:
    table = pd.DataFrame(
        {
            "id": list("abcde"),
            "kind": ["contrast", "negation", "negation", "negation", "contrast"],
            "probability_a": [0.4, 0.3, 0.9, 0.2, 0.9],
            "probability_b": [0.6, 0.7, 0.1, 0.8, 0.9],
            "right": [False, False, False, False, True],
        }
    )
    table.to_parquet(tmp_path / "pairs.parquet")
    assert [pair["id"] for pair in report.worst_pairs(tmp_path / "pairs.parquet", 2)] == ["a", "c", "d"]
    assert report.worst_pairs(tmp_path / "pairs.parquet", 0) == []
