"""Report: the content of the page, and that nothing from outside becomes markup."""

import json
import re
from collections import Counter
from collections.abc import Callable
from html import unescape
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from safetensors.numpy import save_file

from stages import STAGES, report
from stages.lib.files import sha256, write_csv, write_json
from stages.lib.page.space import Space
from stages.lib.params import read_yaml
from stages.lib.report.provenance import md5
from stages.lib.report.tables import read_slices, worst_pairs
from stages.predictor import Predictor
from tests.conftest import ROOT
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
DEFAULTS, LOCK = ROOT / "presets/defaults.yaml", ROOT / "requirements.lock"
EVIL = "</script><img src=x onerror=alert(1)>"


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
    answered = ["threshold", "coverage", "accuracy", "low", "high", "reviews"]
    certain = [(0.55, 1.0, 0.5, 0.25, 0.75, 4), (0.6, 0.75, 0.6, 0.5, 0.75, 3), (0.7, 0.5, 1.0, 0.5, 1.0, 2)]
    write_csv(metrics / "evaluation_coverage.csv", answered, certain)
    parts = ["slice", "part", "reviews", "accuracy", "low", "high", "difference"]
    slices = [("all", "all", 4, 0.5, 0.25, 0.75, 0.0), ("group", word, 3, 0.9, 0.8, 1.0, 0.4)]
    write_csv(metrics / "evaluation_slices.csv", parts, [*slices, ("group", "z", 1, 0.4, 0.35, 0.9, -0.1)])
    pq.write_table(pa.table({"id": ["1", "2"], "text": [text, "fine"]}), folder / "raw.parquet")
    words = ["<pad>", "<unk>", word, "good"]
    write_model(folder, labels, words)
    listed = {"word": ["film", "films"], "known": [True, False], "neighbour": [word, word]}
    pd.DataFrame({**listed, "similarity": [0.5, 0.25]}).to_parquet(folder / "agreement.parquet")
    write_predictions(folder, labels, [(labels[0], labels[1], 0.9), (labels[1], labels[1], 0.8)])
    write_space(folder, labels, words[2:])
    sides = [("text_a", text), ("text_b", "fine"), ("label_a", labels[0]), ("label_b", labels[1])]
    sides += [("predicted_a", labels[1]), ("predicted_b", labels[1])]
    pair = {"id": word, "kind": "negation", **dict(sides), "probability_a": 0.25, "probability_b": 0.75}
    pd.DataFrame([{**pair, "right": False}]).to_parquet(folder / "robustness_pairs.parquet")
    write_corpus(folder / "corpus", text)
    write_test_split(folder / "tensors.safetensors")
    names = (
        "corpus",
        "raw.parquet",
        "tensors.safetensors",
        "tokeniser.json",
        "vocabulary.parquet",
        "agreement.parquet",
        "ensemble.safetensors",
        "predictions.parquet",
        "robustness_pairs.parquet",
        "explorer.safetensors",
        "metrics/report.json",
        "metrics/report.md",
        "r.html",
    )
    return [DEFAULTS, LOCK, metrics, *(folder / name for name in names)]


def write_corpus(folder: Path, origin: str) -> None:
    """A corpus of one table, without a licence."""
    folder.mkdir(exist_ok=True)
    (folder / "reviews.csv").write_text("text,label\n", encoding="utf-8")
    described = {"origin": origin, "file": "reviews.csv", "columns": {"text": "text", "label": "label"}}
    (folder / "source.yaml").write_text(json.dumps(described), encoding="utf-8")


def write_test_split(path: Path) -> None:
    """data/tensors.safetensors with two test reviews: "film good", and "good"."""
    reviews = {
        "ids": np.array([[2, 3], [3, 0]], np.int32),
        "lengths": np.array([2, 1], np.int32),
        "labels": np.array([0, 1], np.int32),
        "unknown": np.zeros(0, np.uint8),
    }
    save_file({f"test.{name}": array for name, array in reviews.items()}, path)


def write_predictions(folder: Path, labels: list[str], rows: list[tuple[str, str, float]]) -> None:
    """data/predictions.parquet with the ids "1", "2"...: (label, predicted, its probability) of each row."""
    shared = len(labels) - 1
    columns = {
        "id": [str(number) for number, _ in enumerate(rows, 1)],
        "label": [label for label, _, _ in rows],
        "predicted": [predicted for _, predicted, _ in rows],
        "probability": [probability for _, _, probability in rows],
        **{
            f"probability_{name}": [p if name == guess else (1 - p) / shared for _, guess, p in rows]
            for name in labels
        },
    }
    kept = json.dumps({"positive": None, "order": None})
    pq.write_table(pa.table(columns, metadata={"labels": kept}), folder / "predictions.parquet")


def write_space(folder: Path, labels: list[str], words: list[str]) -> None:
    """data/explorer.safetensors in which the word in row n has the weight n - 0.5, and n + 4 occurrences."""
    number = np.arange(len(words))
    space = Space(
        words=words,
        count=(number + 4).astype(np.uint32),
        vectors=np.ones((len(words), 2), np.float32),
        coords=np.stack([number, -number], 1).astype(np.float32),
        explained=np.array([0.5, 0.25]),
        weights=np.repeat(number[:, None] - 0.5, 1 if len(labels) == 2 else len(labels), 1),
        cluster=np.zeros(len(words), np.int64),
        clusters=["all"],
        labels=labels,
    )
    save_file(space.arrays({"corpus": "sample"}), folder / "explorer.safetensors")


class Tags(HTMLParser):
    """Collects the tags of a page, which a script's text is not part of."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def tags_of(html: str) -> list[tuple[str, dict[str, str | None]]]:
    tags = Tags()
    tags.feed(html)
    return tags.tags


def page(paths: list[Path], params: Path) -> str:
    report.main(params, *paths)
    # Numbers and their units are kept on one line; tests compare them with plain spaces.
    return paths[-1].read_text(encoding="utf-8").replace("\N{NO-BREAK SPACE}", " ")


def section(html: str, name: str) -> str:
    """The markup of one section."""
    return re.split(r"</section>", html[html.index(f'<section id="{name}"') :])[0]


def text_of(html: str) -> str:
    """The text of a piece of markup without that of its charts."""
    return " ".join(unescape(re.sub(r"<svg.*?</svg>|<[^>]*>", " ", html, flags=re.DOTALL)).split())


def test_what_is_unusual_about_the_data_is_on_the_first_screen(
    tmp_path: Path, write_params: Callable[..., Path]
) -> None:
    paths = write_inputs(tmp_path, ["bad", "good"], "film", "dull")
    html = page(paths, write_params())
    assert "<li>a text is empty dull</li>" in html[: html.index("</header>")]
    facts = json.loads((paths[2] / "raw.json").read_text(encoding="utf-8"))
    write_json(paths[2] / "raw.json", facts | {"warnings": {}})
    assert "About the data" not in page(paths, write_params())


def test_the_first_screen_has_the_result_beside_the_baselines(
    tmp_path: Path, write_params: Callable[..., Path]
) -> None:
    html = page(write_inputs(tmp_path, ["bad", "good"], "film", "text"), write_params())
    header = html[html.index("<header>") : html.index("</header>")]
    text = text_of(header)
    assert "9 reviews: 3 train, 3 validation, 3 test; 2 labels: bad , good 50" in text
    assert "50.0 % of the 3 test reviews are classified correctly." in text
    assert "Firth 50.0 % TF-IDF 50.0 % NBSVM 50.0 % Naive Bayes 50.0 % majority 50.0 %" in text
    assert "43.2 % to 56.8 %" in text
    assert "Firth is 12.5 points below the best baseline, NBSVM" in text
    assert len(re.findall(r'<circle class="mark', header)) == len(report.MODELS)
    assert 'id="map"' in header


def test_nothing_from_outside_becomes_a_tag(tmp_path: Path, write_params: Callable[..., Path]) -> None:
    paths = write_inputs(tmp_path, [f"a{EVIL}", f"b{EVIL}"], f"w{EVIL}", f"t{EVIL}")
    tags = tags_of(page(paths, write_params()))
    assert not [tag for tag, _ in tags if tag == "img"]
    assert not [name for _, attributes in tags for name in attributes if name.startswith("on")]
    assert "<img" not in paths[-2].read_text(encoding="utf-8")


def test_the_page_loads_nothing_from_elsewhere(tmp_path: Path, write_params: Callable[..., Path]) -> None:
    html = page(write_inputs(tmp_path, ["bad", "good"], "film", "a dull film"), write_params())
    tags = tags_of(html)
    loading = [attributes for tag, attributes in tags if tag in ("link", "iframe") or attributes.get("src")]
    assert not loading
    assert "default-src 'none'" in html
    ids = [attributes["id"] for _, attributes in tags if "id" in attributes]
    charts = {"map", "roc", "pr", "confusion", "reliability", "coverage"}
    assert charts | {"embeddings_loss", "classifier_curve"} | {"space", "explorer"} <= set(ids)
    assert len(ids) == len(set(ids))
    assert "a dull film" in html
    assert "skipgram" in html


def test_links_inside_the_page_have_targets(tmp_path: Path, write_params: Callable[..., Path]) -> None:
    tags = tags_of(page(write_inputs(tmp_path, ["bad", "good"], "film", "text"), write_params()))
    links = [attributes["href"] or "" for tag, attributes in tags if tag == "a"]
    assert len(links) > 5
    assert {link.removeprefix("#") for link in links} <= {attributes.get("id") for _, attributes in tags}


def test_headings_are_in_order(tmp_path: Path, write_params: Callable[..., Path]) -> None:
    tags = tags_of(page(write_inputs(tmp_path, ["bad", "good"], "film", "text"), write_params()))
    levels = [int(tag[1]) for tag, _ in tags if re.fullmatch(r"h\d", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_metrics_are_shown_with_their_intervals(tmp_path: Path, write_params: Callable[..., Path]) -> None:
    html = page(write_inputs(tmp_path, ["bad", "good"], "film", "text"), write_params())
    text = text_of(section(html, "metrics"))
    assert "accuracy " + "0.5000 0.4321 to 0.5678 " * 5 + "precision" in text
    assert "NBSVM -0.1250 +0.4321 to +0.5678 +0.5000 +0.4321 to +0.5678 1,201 7 0.2500" in text
    assert "10,000 bootstrap resamples" in text
    assert "1.250" in text
    assert "calibration error, bins of equal width 0.0300 0.0300" in text


def test_slices_are_shown_with_their_intervals(tmp_path: Path, write_params: Callable[..., Path]) -> None:
    html = section(page(write_inputs(tmp_path, ["bad", "good"], "film", "text"), write_params()), "slices")
    text = text_of(html)
    assert "group film 3 90.0 % 80.0 % to 100.0 % +40.0 z 1 40.0 % 35.0 % to 90.0 % −10.0" in text
    assert "In bold: 1 of 2 slices" in text
    assert html.count('<tr class="notable">') == 1


def test_a_slice_is_notable_if_the_accuracy_on_all_is_outside_its_interval(tmp_path: Path) -> None:
    write_inputs(tmp_path, ["bad", "good"], "film", "text")
    slices = read_slices(tmp_path / "metrics/evaluation_slices.csv")
    assert [(one.part, one.is_notable) for one in slices] == [("film", True), ("z", False)]


def test_abstaining_is_shown_at_round_thresholds(tmp_path: Path, write_params: Callable[..., Path]) -> None:
    html = page(write_inputs(tmp_path, ["bad", "good"], "film", "text"), write_params())
    text = text_of(section(html, "metrics"))
    assert "55 % (all) 100.0 % 4 reviews 50.0 % 25.0 % to 75.0 %" in text
    assert "70 % 50.0 % 2 reviews 100.0 % 50.0 % to 100.0 %" in text


def test_a_fitted_threshold_is_compared_with_one_half(
    tmp_path: Path, write_params: Callable[..., Path]
) -> None:
    paths = write_inputs(tmp_path, ["bad", "good"], "film", "text")
    assert "Two thresholds" not in page(paths, write_params())
    write_json(paths[2] / "ensemble.json", ENSEMBLE | {"threshold": 0.4321, "temperature": 1.0})
    text = text_of(section(page(paths, write_params()), "metrics"))
    assert "“ good ” from accuracy F1 0.4321 0.5000" in text
    assert "0.5 0.3750 0.4321 to 0.5678 0.5000" in text
    assert "The temperature is 1" in text


def test_three_labels_have_one_row_each(tmp_path: Path, write_params: Callable[..., Path]) -> None:
    labels = ["bad", "fair", "good"]
    paths = write_inputs(tmp_path, labels, "film", "text")
    kinds = dict.fromkeys(["precision", "recall", "f1"], 0.25)
    facts = evaluation_facts()
    del facts["at_half"], facts["positive"]
    around = {kind: {"low": 0.1, "high": 0.3} for kind in kinds}
    facts["labels"] = {label: {**kinds, "support": 1204} for label in labels}
    facts["averages"] = {"macro": kinds, "weighted": kinds}
    facts["intervals"]["labels"] = dict.fromkeys(labels, around)
    facts["intervals"]["averages"] = {"macro": around, "weighted": {}}  # a figure may have none
    write_json(paths[2] / "evaluation.json", facts)
    html = page(paths, write_params())
    text = text_of(section(html, "metrics"))
    assert "fair " + "0.2500 0.1000 to 0.3000 " * 3 + "1,204" in text
    assert "mean weighted by reviews 0.2500 0.2500 0.2500" in text
    assert "italics" not in text_of(html[: html.index("</header>")])  # the map has no two sides


def test_the_headline_is_written_and_printed(
    tmp_path: Path, write_params: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    paths = write_inputs(tmp_path, ["bad", "good"], "film", "a dull film")
    page(paths, write_params())
    listed = json.loads(paths[-3].read_text(encoding="utf-8"))
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
    assert "mean absolute error" in section(page(paths, write_params()), "metrics")
    facts = evaluation_facts()
    for model in report.MODELS:
        facts[model] = {"accuracy": 0.5}
    write_json(paths[2] / "evaluation.json", facts)
    assert "mean absolute error" not in section(page(paths, write_params()), "metrics")


def test_the_same_inputs_give_the_same_page(tmp_path: Path, write_params: Callable[..., Path]) -> None:
    paths = write_inputs(tmp_path, ["bad", "good"], "film", "a dull film")
    first = page(paths, write_params()), paths[-2].read_bytes()
    assert (page(paths, write_params()), paths[-2].read_bytes()) == first


def test_mistakes_are_ordered_by_probability(tmp_path: Path) -> None:
    rows = [("x", "y", 0.6), ("x", "x", 0.99), ("y", "x", 0.9), ("y", "x", 0.6)]
    write_predictions(tmp_path, ["x", "y"], rows)
    predictions = pq.read_table(tmp_path / "predictions.parquet")
    assert report.worst_mistakes(predictions, 2) == [2, 0]
    assert report.worst_mistakes(predictions, 9) == [2, 0, 3]
    assert report.worst_mistakes(predictions, 0) == []


def test_uncertain_predictions_are_ordered_by_margin(tmp_path: Path) -> None:
    rows = [("x", "y", 0.6), ("x", "x", 0.99), ("y", "x", 0.55), ("y", "x", 0.6)]
    write_predictions(tmp_path, ["x", "y"], rows)
    predictions = pq.read_table(tmp_path / "predictions.parquet")
    assert report.least_certain(predictions, ["x", "y"], 3) == [2, 0, 3]


def test_an_example_is_explained_for_the_predicted_label(tmp_path: Path) -> None:
    for labels, predicted in ((["bad", "good"], "bad"), (["bad", "fair", "good"], "fair")):
        write_inputs(tmp_path, labels, "film", "Good good film")
        write_predictions(tmp_path, labels, [("good", predicted, 0.9)])
        names = ("tokeniser.json", "vocabulary.parquet", "ensemble.safetensors")
        predictor = Predictor.load(*(tmp_path / name for name in names))
        predictions = pq.read_table(tmp_path / "predictions.parquet")
        (example,) = report.examples(predictions, [0], predictor, tmp_path / "raw.parquet")
        assert (example.label, example.predicted, example.explanation.label) == ("good", predicted, predicted)
        assert "".join(part.text for part in example.parts) == "Good good film"


def test_contributions_are_shown_in_and_below_a_review(
    tmp_path: Path, write_params: Callable[..., Path]
) -> None:
    paths = write_inputs(tmp_path, ["bad", "good"], "film", "a good film")
    html = section(page(paths, write_params()), "examples")
    text = text_of(html)
    assert "bad , predicted as good with a probability of 90.0 %; next, bad with 10.0 %" in text
    assert "divided by the temperature, 1.250" in text
    assert "good +3.000 film +0.667 a +0.333" in text
    assert "bias +0.500 logit +4.500" in text
    assert re.search(r'<mark class="f4"\s+title="\+3.000">good</mark> <mark class="f1"', html)
    write_model(tmp_path, ["bad", "good"], ["<pad>", "<unk>", "film", "good"], sign=-1.0)
    html = section(page(paths, write_params()), "examples")  # by magnitude still
    assert "good +1.000 film −0.667 a −0.333" in text_of(html)
    assert re.search(r'<mark class="a3"\s+title="−0.667">film</mark>', html)


def test_a_maximum_has_no_contributions_to_show(tmp_path: Path, write_params: Callable[..., Path]) -> None:
    paths = write_inputs(tmp_path, ["bad", "good"], "film", "a good film")
    write_model(tmp_path, ["bad", "good"], ["<pad>", "<unk>", "film", "good"], pool="mean_max")
    html = section(page(paths, write_params(classifier={"pool": "mean_max"})), "examples")
    assert "classifier.pool: mean_max" in html
    assert "a good film" in html
    assert "bias" not in html


def test_more_than_a_few_examples_are_folded(tmp_path: Path, write_params: Callable[..., Path]) -> None:
    paths = write_inputs(tmp_path, ["bad", "good"], "film", "text")
    write_predictions(tmp_path, ["bad", "good"], [("bad", "good", 0.9)] * 2)
    few = section(page(paths, write_params()), "examples")
    assert "<details" not in few
    ids = [str(number) for number in range(1, 10)]
    pq.write_table(pa.table({"id": ids, "text": ["text"] * 9}), tmp_path / "raw.parquet")
    write_predictions(tmp_path, ["bad", "good"], [("bad", "good", 0.9)] * 9)
    many = section(page(paths, write_params(report={"mistakes": 5, "uncertain": 0})), "examples")
    assert "<summary>2 more</summary>" in many
    assert many.count("<article") == 5


def test_a_page_without_mistakes_and_known_words(tmp_path: Path, write_params: Callable[..., Path]) -> None:
    paths = write_inputs(tmp_path, ["bad", "good"], "film", "text")
    write_predictions(tmp_path, ["bad", "good"], [("bad", "bad", 0.9), ("good", "good", 0.8)])
    agreement = tmp_path / "agreement.parquet"
    pd.read_parquet(agreement).iloc[:0].to_parquet(agreement)
    html = page(paths, write_params(report={"uncertain": 0}))
    assert "There are none." in html
    assert "Least certain" not in html
    assert "None of the words in agreement.words" in html


def test_a_page_of_which_parts_are_missing(tmp_path: Path, write_params: Callable[..., Path]) -> None:
    paths = write_inputs(tmp_path, ["bad", "good"], "film", "text")
    for name, header in {
        "evaluation_roc.csv": ["label", "false_positive_rate", "true_positive_rate"],
        "evaluation_slices.csv": ["slice", "part", "reviews", "accuracy", "low", "high", "difference"],
    }.items():
        write_csv(paths[2] / name, header, [])
    write_predictions(tmp_path, ["bad", "good"], [("bad", "bad", 0.9)])
    facts = json.loads((paths[2] / "agreement.json").read_text(encoding="utf-8"))
    write_json(paths[2] / "agreement.json", facts | {"wordsets": {}})
    html = page(paths, write_params())
    ids = {attributes.get("id") for _, attributes in tags_of(html)}
    assert not {"roc", "pr"} & ids
    assert "The test reviews cannot be divided." in html
    assert "Agreement with people" not in html


def test_alterations_and_wrong_pairs_are_shown(tmp_path: Path, write_params: Callable[..., Path]) -> None:
    paths = write_inputs(tmp_path, ["bad", "good"], "film", "not a dull film")
    part = text_of(section(page(paths, write_params()), "robustness"))
    assert part.index("words shuffled") < part.index("typing errors in 5 % of the letters")
    for text in ("−12.5", "negation", "not a dull film", "1,204 minimal pairs were left out"):
        assert text in part
    pairs = tmp_path / "robustness_pairs.parquet"
    pd.read_parquet(pairs).iloc[:0].to_parquet(pairs)
    facts = json.loads((paths[2] / "robustness.json").read_text())
    write_json(paths[2] / "robustness.json", {**facts, "pairs": {}, "pairs_left_out": 0})
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
    assert [pair["id"] for pair in worst_pairs(tmp_path / "pairs.parquet", 2)] == ["a", "c", "d"]
    assert worst_pairs(tmp_path / "pairs.parquet", 0) == []


def test_word_sets_and_the_ensemble_are_shown(tmp_path: Path, write_params: Callable[..., Path]) -> None:
    html = page(write_inputs(tmp_path, ["bad", "good"], "film", "text"), write_params())
    part = text_of(section(html, "training"))
    assert "0.750 times the logits of the classifier plus 0.250 times those of 1,205 n-grams" in part
    assert "fitted on held-out training reviews" in part
    assert "simlex 0.250 1,204 50.0 %" in part


def test_weights_that_are_set_are_not_called_fitted(
    tmp_path: Path, write_params: Callable[..., Path]
) -> None:
    paths = write_inputs(tmp_path, ["bad", "good"], "film", "text")
    part = text_of(section(page(paths, write_params(ensemble={"weights": 0.25})), "training"))
    assert "those of the parameter ensemble.weights" in part
    assert "fitted" not in part
    facts = json.loads((paths[2] / "ngrams.json").read_text(encoding="utf-8"))
    write_json(paths[2] / "ngrams.json", facts | {"rows": 0})
    assert "the model has no n-grams" in text_of(section(page(paths, write_params()), "training"))


def test_unknown_words_are_marked(tmp_path: Path, write_params: Callable[..., Path]) -> None:
    paths = write_inputs(tmp_path, ["bad", "good"], "film", "text")
    text = text_of(section(page(paths, write_params()), "words"))
    assert "film film 0.50 films unknown, by its character n-grams film 0.25" in text
    assert "trained on 40,917 words of text" in text
    facts = json.loads((paths[2] / "agreement.json").read_text(encoding="utf-8"))
    write_json(paths[2] / "agreement.json", facts | {"enough_text": True})
    assert "words of text" not in page(paths, write_params())


def test_strongest_words_are_listed_by_label(tmp_path: Path, write_params: Callable[..., Path]) -> None:
    html = page(write_inputs(tmp_path, ["bad", "good"], "film", "text"), write_params())
    text = text_of(section(html, "words"))
    assert "good word weight count good +0.50 5 n-gram weight good good +2.50" in text
    assert "bad word weight count film +0.50 4" in text


def test_changed_parameters_are_marked(tmp_path: Path, write_params: Callable[..., Path]) -> None:
    paths = write_inputs(tmp_path, ["bad", "good"], "film", "text")
    assert "All parameters have their default values." in page(paths, write_params())
    text = text_of(section(page(paths, write_params(embeddings={"dim": 50})), "parameters"))
    assert "embeddings.dim 50 100" in text
    assert "dim 50 (default: 100)" in text


def test_the_page_says_how_to_make_it_again(tmp_path: Path, write_params: Callable[..., Path]) -> None:
    paths = write_inputs(tmp_path, ["bad", "good"], "film", "text")
    text = text_of(section(page(paths, write_params()), "again"))
    assert 'python -m tools.reproduce "$REV"' in text
    assert 'git checkout "$REV" && make repro' in text
    assert "licence not stated in source.yaml" in text
    assert f"sha256:{sha256(tmp_path / 'corpus/reviews.csv')}" in text
    assert "embeddings.seed: 1" in text
    assert f"{md5(tmp_path / 'raw.parquet')} {tmp_path.name}/raw.parquet" in text


def test_the_defaults_are_the_shipped_parameters() -> None:
    assert read_yaml(DEFAULTS) == read_yaml(ROOT / "params.yaml")


def test_the_page_depends_on_all_its_files() -> None:
    files, waiting = {*report.SCRIPTS, *report.STYLES}, ["report.jinja"]
    while waiting:
        files.add(name := waiting.pop())
        content = (ROOT / "stages/page" / name).read_text(encoding="utf-8")
        waiting += set(re.findall(r'{% (?:include|from) "([^"]+)"', content)) - files
    deps = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]["report"]["deps"]
    assert {name for name in deps if name.startswith("stages/page/")} == {f"stages/page/{n}" for n in files}


def test_the_scripts_of_the_page_share_no_name() -> None:
    declared = re.compile(r"^(?:const|let|class|function|async function) +(\w+)", re.MULTILINE)
    texts = [(ROOT / "stages/page" / name).read_text(encoding="utf-8") for name in report.SCRIPTS]
    names = Counter(name for text in texts for name in declared.findall(text))
    assert len(names) > len(texts)
    assert [name for name, times in names.items() if times > 1] == []


def test_a_number_is_rounded_once(tmp_path: Path, write_params: Callable[..., Path]) -> None:
    paths = write_inputs(tmp_path, ["bad", "good"], "film", "text")
    facts = evaluation_facts()
    facts["ensemble"] = {
        **facts["ensemble"],
        "accuracy": 0.58046,
    }  # 0.5805 with four digits, and that is 58.1 %
    write_json(paths[2] / "evaluation.json", facts)
    text = text_of(page(paths, write_params()))
    assert "58.0 % of the 3 test reviews" in text
    assert "Firth 58.0 %" in text
    assert json.loads(paths[-3].read_text(encoding="utf-8"))["accuracy"] == 0.5805
