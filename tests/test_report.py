"""Report: neighbours, the surest mistakes, and a page that nothing from outside can break."""

import json
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import save_file

from stages import STAGES, report
from stages.lib.files import write_csv, write_json

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


def write_inputs(folder: Path, labels: list[str], word: str, text: str) -> list[Path]:
    metrics = folder / "metrics"
    splits = ("train", "validation", "test")
    figures = dict.fromkeys(report.FIGURES, 0.5)
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
        "classifier": {"decided_from": 0.5, "best_epoch": 2},
        "evaluation": dict.fromkeys(report.CONTENDERS, figures),
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
    (folder / "labels.json").write_text(json.dumps({"labels": labels}), encoding="utf-8")
    pq.write_table(pa.table({"id": ["1", "2"], "text": [text, "fine"]}), folder / "raw.parquet")
    words = ["<pad>", "<unk>", word, "good"]
    pd.DataFrame({"token": words}).to_parquet(folder / "vocabulary.parquet")
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
        "vocabulary.parquet",
        "embeddings.safetensors",
        "projection.parquet",
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
    assert {"space", "roc", "confusion", "embeddings_loss", "classifier_curve"} <= ids
    assert "a dull film" in html
    assert "skipgram" in html


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


def test_a_page_without_mistakes_or_known_words_says_so(
    tmp_path: Path, write_params: Callable[..., Path]
) -> None:
    paths = write_inputs(tmp_path, ["bad", "good"], "film", "text")
    pd.read_parquet(paths[6]).assign(predicted=["bad", "good"]).to_parquet(paths[6])
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
    pd.read_parquet(paths[7]).iloc[:0].to_parquet(paths[7])
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
