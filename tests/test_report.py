"""Report: the content of the page, and that nothing from outside becomes markup."""

import json
import re
from collections.abc import Callable
from html import escape as html_escape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stages import STAGES, report
from stages.lib.files import sha256, write_csv, write_json
from stages.predictor import Contribution, Explanation, Predictor
from tests.toys import save_toy_model

SHARES = ["accuracy", "accuracy_low", "accuracy_high", "difference_low", "difference_high", "changed"]
ALTERED = {**dict.fromkeys(SHARES, 0.5), "difference": -0.125}
PAIR_FIGURES = ["right", "right_low", "right_high", "sides", "changed"]
ENSEMBLE: dict[str, Any] = {
    "threshold": 0.5,
    "temperature": 1.25,
    "weights": {"classifier": 0.75, "ngrams": 0.25},
    "validation": {"accuracy": 0.8},
}
EVIL = "</script><img src=x onerror=alert(1)>"


def test_unknown_words_are_marked(tmp_path: Path, write_params: Callable[..., Path]) -> None:
    paths = write_inputs(tmp_path, ["bad", "good"], "film", "text")
    html = page(paths, write_params())
    assert '<th>films<span class="span">unknown, by its character n-grams</span></th>' in html
    assert "<th>film</th>" in html
    assert "trained on 40,917 words of text" in html
    facts = json.loads((paths[0] / "agreement.json").read_text(encoding="utf-8"))
    write_json(paths[0] / "agreement.json", facts | {"enough_text": True})
    assert "words of text" not in page(paths, write_params())


def evaluation_facts() -> dict[str, Any]:
    """metrics/evaluation.json of two labels, with an interval for all that has one."""
    figures = dict.fromkeys(report.MEASURES, 0.5)
    intervals = {name: {"low": 0.4321, "high": 0.5678} for name in report.MEASURES}
    errors = dict.fromkeys(["ece_equal_width", "ece_equal_mass"], 0.03)
    alone = {"mcnemar_p": 0.25, "only_ensemble_right": 1201, "only_baseline_right": 7}
    found = {
        "best_baseline": "nbsvm",
        "positive": "good",
        **dict.fromkeys(report.MODELS, figures),
        "at_half": {"accuracy": 0.375, "f1": 0.5},
        "differences": {"nbsvm": {"accuracy": -0.125, "log_loss": 0.5, **alone}},
        "calibration": {"before": figures | errors, "after": figures | errors, "by_chance": errors},
    }
    row = {"accuracy": 0.5, "mean_probability": 0.6, "log_loss": 0.7, "ece": 0.1, "reviews": 3}
    lengths = {"by_length": [{"tokens": "3 to 5"} | row], "cut_to": [{"tokens": 10} | row]}
    return (
        found
        | lengths
        | {
            "intervals": {
                **dict.fromkeys(report.MODELS, intervals),
                "at_half": intervals,
                "differences": {"nbsvm": intervals},
                "calibration": {"before": intervals, "after": intervals},
            }
        }
    )


def write_model(folder: Path, labels: list[str], words: list[str], sign: float = 1.0, **choices: Any) -> None:
    """A model in which the word in row n has the weight n, "good" 2 more, and "good good" 5; for label l
    1 + l times as much. The bias is 0.5 and the temperature 2."""
    (folder / "tokeniser.json").write_text('{"lowercase": true, "unit": "words"}', encoding="utf-8")
    rows = {"id": range(len(words)), "token": words}
    pd.DataFrame(rows).to_parquet(folder / "vocabulary.parquet")
    scale = [1.0 + n for n in range(1 if len(labels) == 2 else len(labels))]
    good = words.index("good")
    save_toy_model(
        folder / "ensemble.safetensors",
        [[sign * n * s for s in scale] for n in range(len(words))],
        [0.5] * len(scale),
        labels,
        ngrams={good: [2 * s for s in scale], good * len(words) + good: [5 * s for s in scale]},
        vocabulary=sha256(folder / "vocabulary.parquet"),
        temperature=2.0,
        **{"width": 4, "keep": "both"} | choices,
    )


def write_inputs(folder: Path, labels: list[str], word: str, text: str) -> list[Path]:
    metrics = folder / "metrics"
    splits = ("train", "validation", "test")
    facts = {
        "raw": {
            "reviews": {**dict.fromkeys(splits, 3), "unlabelled": 0},
            "labels": {split: {labels[0]: 1, labels[1]: 2} for split in splits},
            "dropped": {"train": 1, "unlabelled": 0, "unlabelled_test": 0, "empty": 0},
            "warnings": {"empty": f"a text is empty {text}"},
        },
        "tokens": {s: {"tokens": 9, "median_length": 3.0, "longest": 4} for s in splits},
        "vocabulary": {"words": 4, "coverage": dict.fromkeys(splits, 0.9)},
        "tensors": {"width": 4, "truncated": dict.fromkeys(splits, 0.0)},
        "projection": {"explained": {"x": 0.5, "y": 0.25, "z": 0.125}},
        "agreement": {
            "enough_text": False,
            "words_of_text": 40917,
            "wordsets": {"simlex": {"spearman": 0.25, "pairs": 1204, "covered": 0.5}},
        },
        "ngrams": {"rows": 1205, "validation": {"accuracy": 0.7}},
        "classifier": {"rounds": 4, "best_epoch": 2, "validation": {"accuracy": 0.6}},
        "ensemble": ENSEMBLE,
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
    listed = {"word": ["film", "films"], "known": [True, False], "neighbour": [word, word]}
    pd.DataFrame({**listed, "similarity": [0.5, 0.25]}).to_parquet(folder / "agreement.parquet")
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
        "agreement.parquet",
        "projection.parquet",
        "ensemble.safetensors",
        "predictions.parquet",
        "robustness_pairs.parquet",
    )
    return [
        metrics,
        folder / "raw.parquet",
        *(folder / n for n in names),
        folder / "metrics/report.json",
        folder / "r.html",
    ]


class Tags(HTMLParser):
    """Collects the tags of a page, which a script's text is not part of."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def page(paths: list[Path], params: Path) -> str:
    report.main(params, *paths)
    # Numbers and their percent signs are kept on one line; tests compare them with plain spaces.
    return paths[-1].read_text(encoding="utf-8").replace("&nbsp;", " ")


def test_what_is_unusual_about_the_data_is_on_the_first_screen(
    tmp_path: Path, write_params: Callable[..., Path]
) -> None:
    html = page(write_inputs(tmp_path, ["bad", "good"], "film", "dull"), write_params())
    assert "<li>a text is empty dull</li>" in html[: html.index("</header>")]


def test_nothing_from_outside_becomes_a_tag(tmp_path: Path, write_params: Callable[..., Path]) -> None:
    paths = write_inputs(tmp_path, [f"a{EVIL}", f"b{EVIL}"], f"w{EVIL}", f"t{EVIL}")
    tags = Tags()
    tags.feed(page(paths, write_params()))
    assert not [tag for tag, _ in tags.tags if tag == "img"]
    assert not [name for _, attributes in tags.tags for name in attributes if name.startswith("on")]


def test_the_page_loads_nothing_from_elsewhere(tmp_path: Path, write_params: Callable[..., Path]) -> None:
    html = page(write_inputs(tmp_path, ["bad", "good"], "film", "a dull film"), write_params())
    tags = Tags()
    tags.feed(html)
    assert not [attributes for tag, attributes in tags.tags if tag == "link" or attributes.get("src")]
    ids = {attributes.get("id") for _, attributes in tags.tags}
    assert {"space", "roc", "confusion", "reliability", "embeddings_loss", "classifier_curve"} <= ids
    assert "a dull film" in html
    assert "skipgram" in html


def metrics_part(html: str) -> str:
    """The text of the section with the metrics."""
    part = html[html.index('id="metrics"') : html.index('id="words"')]
    return " ".join(re.sub(r"<script.*?</script>|<[^>]*>", " ", part, flags=re.DOTALL).split())


def test_metrics_are_shown_with_their_intervals(tmp_path: Path, write_params: Callable[..., Path]) -> None:
    text = metrics_part(page(write_inputs(tmp_path, ["bad", "good"], "film", "text"), write_params()))
    assert "accuracy " + "0.5000 0.4321 to 0.5678 " * 5 + "precision" in text
    assert "NBSVM -0.1250 +0.4321 to +0.5678 +0.5000 +0.4321 to +0.5678 1,201 7 0.2500" in text
    assert "10,000 bootstrap resamples" in text
    assert "1.250" in text
    assert "calibration error, bins of equal width 0.0300 0.0300" in text
    assert "group film 3 90.0 % 80.0 % to 100.0 % +40.0 z 1 40.0 % 35.0 % to 90.0 % -10.0" in text


def test_a_slice_is_notable_if_the_accuracy_on_all_is_outside_its_interval(tmp_path: Path) -> None:
    write_inputs(tmp_path, ["bad", "good"], "film", "text")
    slices = report.read_slices(tmp_path / "metrics/evaluation_slices.csv")
    assert [(one.part, one.is_notable) for one in slices] == [("film", True), ("z", False)]


def test_a_fitted_threshold_is_compared_with_one_half(
    tmp_path: Path, write_params: Callable[..., Path]
) -> None:
    paths = write_inputs(tmp_path, ["bad", "good"], "film", "text")
    assert "Two thresholds" not in metrics_part(page(paths, write_params()))
    write_json(paths[0] / "ensemble.json", ENSEMBLE | {"threshold": 0.4321, "temperature": 1.0})
    text = metrics_part(page(paths, write_params()))
    assert "“good” from accuracy F1 0.4321 0.5000" in text
    assert "0.5 0.3750 0.4321 to 0.5678 0.5000" in text
    assert "The temperature is 1" in text


def test_three_labels_have_one_row_each(tmp_path: Path, write_params: Callable[..., Path]) -> None:
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
    text = metrics_part(page(paths, write_params()))
    assert "fair " + "0.2500 0.1000 to 0.3000 " * 3 + "1,204" in text
    assert "mean weighted by reviews 0.2500 0.2500 0.2500" in text


def test_the_headline_is_written_and_said(
    tmp_path: Path, write_params: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    paths = write_inputs(tmp_path, ["bad", "good"], "film", "a dull film")
    page(paths, write_params())
    listed = json.loads(paths[-2].read_text(encoding="utf-8"))
    assert list(listed)[:3] == ["accuracy", "acc_low", "acc_high"]
    assert (listed["accuracy"], listed["acc_low"], listed["lead"]) == (0.5, 0.4321, -0.125)
    printed = capsys.readouterr().out
    assert printed.startswith(
        "accuracy 50.0 % (43.2 to 56.8) on 3 test reviews; lead over the best baseline, NBSVM"
    )
    assert printed.endswith(f"Report: {paths[-1]}\n")
    assert printed.count("\n") == 1


def test_distances_on_a_scale_are_shown(tmp_path: Path, write_params: Callable[..., Path]) -> None:
    paths = write_inputs(tmp_path, ["bad", "good"], "film", "text")
    assert "mean absolute error" in metrics_part(page(paths, write_params()))
    facts = evaluation_facts()
    for model in report.MODELS:
        facts[model] = {"accuracy": 0.5}
    write_json(paths[0] / "evaluation.json", facts)
    assert "mean absolute error" not in metrics_part(page(paths, write_params()))


def test_the_same_inputs_give_the_same_page(tmp_path: Path, write_params: Callable[..., Path]) -> None:
    paths = write_inputs(tmp_path, ["bad", "good"], "film", "a dull film")
    assert page(paths, write_params()) == page(paths, write_params())


def test_mistakes_are_ordered_by_probability(tmp_path: Path) -> None:
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
    predictions = tmp_path / "predictions.parquet"
    table.to_parquet(predictions)
    assert [m.id for m in report.worst_mistakes(predictions, 2, raw)] == ["c", "a"]
    assert [m.text for m in report.worst_mistakes(predictions, 9, raw)] == ["C", "A", "D"]
    assert report.worst_mistakes(predictions, 0, raw) == []


def test_a_mistake_is_explained_for_the_predicted_label(tmp_path: Path) -> None:
    words = ["<pad>", "<unk>", "film", "good", "and"]
    for labels, expected in ((["bad", "good"], "bad"), (["bad", "fair", "good"], "fair")):
        write_model(tmp_path, labels, words)
        names = ("tokeniser.json", "vocabulary.parquet", "ensemble.safetensors")
        predictor = Predictor.load(*(tmp_path / name for name in names))
        mistake = report.Mistake("1", "bad", "bad" if len(labels) == 2 else "fair", 0.9, "Good good film")
        (explanation,) = report.explain(predictor, [mistake]) or []
        assert explanation.label == expected


def mistakes_part(html: str) -> str:
    return html[html.index('id="mistakes"') : html.index('id="parameters"')]


def test_contributions_are_shown_below_a_mistake(tmp_path: Path, write_params: Callable[..., Path]) -> None:
    paths = write_inputs(tmp_path, ["bad", "good"], "film", "a good film")
    text = mistakes_part(page(paths, write_params()))
    assert "temperature, 2.000" in text
    assert '<span class="for">good +3.000</span><span class="for">film +0.667</span>' in text
    assert '<span class="soft">bias +0.500</span><span class="soft">logit +4.500</span>' in text
    write_model(tmp_path, ["bad", "good"], ["<pad>", "<unk>", "film", "good"], sign=-1.0)
    text = mistakes_part(page(paths, write_params()))  # by magnitude still
    ordered = '<span class="for">good +1.000</span><span class="against">film -0.667</span>'
    assert f'{ordered}<span class="against">a -0.333</span>' in text


def test_a_maximum_has_no_contributions_to_show(tmp_path: Path, write_params: Callable[..., Path]) -> None:
    paths = write_inputs(tmp_path, ["bad", "good"], "film", "a good film")
    write_model(tmp_path, ["bad", "good"], ["<pad>", "<unk>", "film", "good"], pool="mean_max")
    text = mistakes_part(page(paths, write_params(classifier={"pool": "mean_max"})))
    assert "classifier.pool: mean_max" in text
    assert "a good film" in text
    assert "bias" not in text


def test_words_in_contributions_are_escaped(
    tmp_path: Path, write_params: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = write_inputs(tmp_path, [f"a{EVIL}", f"b{EVIL}"], "film", "text")
    # The tokeniser splits what would be a tag, but an own vocabulary may hold anything.
    explanation = Explanation("b", 1.0, 0.5, [Contribution(EVIL, 0, 1, 0.5)], [EVIL], 1, 0)
    monkeypatch.setattr(report, "explain", lambda _, mistakes: [explanation] * len(mistakes))
    html = page(paths, write_params())
    tags = Tags()
    tags.feed(html)
    assert not [tag for tag, _ in tags.tags if tag == "img"]
    assert mistakes_part(html).count(f'<span class="for">{html_escape(EVIL)} +0.500</span>') == 1


def test_a_page_without_mistakes_and_known_words(tmp_path: Path, write_params: Callable[..., Path]) -> None:
    paths = write_inputs(tmp_path, ["bad", "good"], "film", "text")
    predictions = tmp_path / "predictions.parquet"
    pd.read_parquet(predictions).assign(predicted=["bad", "good"]).to_parquet(predictions)
    agreement = tmp_path / "agreement.parquet"
    pd.read_parquet(agreement).iloc[:0].to_parquet(agreement)
    html = page(paths, write_params())
    assert "There are none." in html
    assert "None of the words in agreement.words" in html


def test_alterations_and_wrong_pairs_are_shown(tmp_path: Path, write_params: Callable[..., Path]) -> None:
    paths = write_inputs(tmp_path, ["bad", "good"], "film", "not a dull film")
    html = page(paths, write_params())
    part = html[html.index('id="robustness"') : html.index('id="mistakes"')]
    assert part.index("words shuffled") < part.index("typing errors in 5 % of the letters")
    for text in ("-12.5", "negation", "not a dull film", "1,204 minimal pairs were left out"):
        assert text in part
    pairs = tmp_path / "robustness_pairs.parquet"
    pd.read_parquet(pairs).iloc[:0].to_parquet(pairs)
    facts = json.loads((paths[0] / "robustness.json").read_text())
    write_json(paths[0] / "robustness.json", {**facts, "pairs": {}, "pairs_left_out": 0})
    assert "inimal pairs" not in page(paths, write_params())


def test_wrong_pairs_are_ordered_by_probability(tmp_path: Path) -> None:
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


def test_no_chart_offers_to_upload_its_data(tmp_path: Path, write_params: Callable[..., Path]) -> None:
    html = page(write_inputs(tmp_path, ["bad", "good"], "film", "text"), write_params())
    assert html.count('"showSendToCloud": false') == 6


def test_word_sets_and_the_ensemble_are_shown(tmp_path: Path, write_params: Callable[..., Path]) -> None:
    html = page(write_inputs(tmp_path, ["bad", "good"], "film", "text"), write_params())
    part = " ".join(
        re.sub(r"<[^>]*>", " ", html[html.index('id="training"') : html.index('id="robustness"')]).split()
    )
    assert "0.750 times the classifier's logits plus 0.250 times those of 1,205 n-grams" in part
    assert "simlex 0.250 1,204 50.0 %" in part
