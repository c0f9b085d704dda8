"""The benchmark of Firth's defaults beside tuned peers, on tiny corpora."""

import argparse
import csv
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from scipy.sparse import csr_matrix

from benchmarks import suite, suite_peers
from benchmarks.stages import preset
from benchmarks.suite import FIRTH, Corpus
from benchmarks.suite_peers import PEERS, Nbsvm, Rows
from stages import TEST, TRAIN, VALIDATION
from stages.lib.files import sha256
from stages.lib.params import read_yaml
from stages.raw import SCHEMA
from tests.conftest import ROOT

SCIKIT = [name for name in PEERS if name != "fastText"]
GOOD, BAD = "a good film with a good end", "a bad film with a bad end"


def splits(test_labels: list[int]) -> dict[str, Rows]:
    """Two labels. The word `unseen` is in validation only, where it means the rarer label."""
    train = Rows([f"{BAD} {n}" for n in range(8)] + [f"{GOOD} {n}" for n in range(6)], [0] * 8 + [1] * 6)
    validation = Rows([GOOD, BAD, *["unseen"] * 8], [1, 0, *[1] * 8])
    return {TRAIN: train, VALIDATION: validation, TEST: Rows([GOOD, BAD, "unseen"], test_labels)}


@pytest.mark.parametrize("name", SCIKIT)
def test_peers_train_on_train_and_validation_in_the_end(name: str) -> None:
    result = suite_peers.tuned(name, splits([1, 0, 1]))
    assert result["correct"] == "111"
    assert result["validation"] == max(result["tried"].values())
    assert result["tried"][result["chosen"]] == result["validation"]


@pytest.mark.parametrize("name", SCIKIT)
def test_the_test_rows_choose_nothing(name: str) -> None:
    result, other = (suite_peers.tuned(name, splits(labels)) for labels in ([1, 0, 1], [0, 1, 0]))
    assert other["correct"] == "000"
    assert [other[key] for key in ("chosen", "validation", "tried")] == [
        result[key] for key in ("chosen", "validation", "tried")
    ]


def test_settings_are_chosen_by_the_rows_of_validation() -> None:
    result = suite_peers.tuned("TF-IDF words, SVC", splits([1, 0, 1]))
    assert result["validation"] == 0.2  # a model of train knows two of the ten texts


def test_large_corpora_have_smaller_grids_of_the_same_peers() -> None:
    small, large = (
        {
            name: np.prod([len(values) for values in grid.values()])
            for name, (_, grid) in suite_peers.contenders(large).items()
        }
        for large in (False, True)
    )
    assert list(small) == list(large) == list(PEERS)
    assert all(large[name] < small[name] for name in PEERS)


def test_nbsvm_scales_ngrams_by_their_ratios() -> None:
    present = csr_matrix([[1, 0, 1], [1, 0, 0], [0, 1, 1], [0, 1, 0]])
    model = Nbsvm(interpolation=0).fit(present, [0, 0, 1, 1])
    weights = model.weights_[:, 0]
    # (1 + 2) / 6 of the second label's counts are the second n-gram, (1 + 0) / 6 of the first label's.
    assert weights[1] == pytest.approx(-weights[0])
    assert weights[2] == pytest.approx(0)
    assert weights[1] > 0
    assert model.predict(present).tolist() == [0, 0, 1, 1]


def test_nbsvm_separates_three_labels() -> None:
    model = Nbsvm(C=10, interpolation=1).fit(csr_matrix(np.eye(3)), [2, 5, 7])
    assert model.predict(csr_matrix(np.eye(3))).tolist() == [2, 5, 7]


def test_fasttext_learns_and_predicts_the_commonest_label_without_words(tmp_path: Path) -> None:
    pytest.importorskip("fasttext")
    known = [(GOOD, 0), (BAD, 1), (BAD, 1)]
    rows = [(*row, split) for split in (TRAIN, VALIDATION) for row in known] * 20
    rows += [(GOOD, 0, TEST), (BAD, 1, TEST), ("", 1, TEST)]
    texts, labels, names = zip(*rows, strict=True)
    columns = [[str(n) for n in range(len(rows))], texts, labels, names]
    pq.write_table(pa.table(columns, schema=SCHEMA), tmp_path / "raw.parquet")
    assert suite.peer("fastText", tmp_path / "raw.parquet")["correct"] == "111"


def test_fasttext_gets_chinese_text_as_characters() -> None:
    assert suite_peers.line("味道很好!  Very GOOD") == "味 道 很 好 ! very good"


def write_raw(path: Path, ids: list[str], labels: list[int], names: list[str]) -> None:
    """The output of the stage raw, with empty texts."""
    pq.write_table(pa.table([ids, [""] * len(ids), labels, names], schema=SCHEMA), path)


def test_predictions_are_put_into_the_order_of_raw(tmp_path: Path) -> None:
    raw, predictions = tmp_path / "raw.parquet", tmp_path / "predictions.parquet"
    write_raw(raw, ["c", "t", "a", "b"], [0, 0, 1, 1], [TEST, TRAIN, TEST, TEST])
    rows = {"id": ["a", "b", "c"], "label": ["x", "x", "y"], "predicted": ["x", "y", "y"]}
    pq.write_table(pa.table(rows), predictions)
    assert suite.of_predictions(predictions, raw) == "110"


def test_a_result_is_made_again_only_for_another_key(tmp_path: Path) -> None:
    made: list[str] = []

    def make() -> dict[str, Any]:
        made.append("once")
        return {"seconds": 1.0, "correct": "10"}

    path = tmp_path / "corpus" / "model.json"
    first = suite.kept(path, "a", make)
    assert suite.kept(path, "a", make) == first
    assert len(made) == 1
    suite.kept(path, "b", make)
    assert len(made) == 2


def test_changed_parameters_and_code_run_only_what_they_concern(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    label = 0
    root, folder, out = tmp_path / "root", tmp_path / "toy", tmp_path / "out"
    for path in (
        "root/stages/raw.py",
        "root/params.yaml",
        "root/benchmarks/suite_peers.py",
        "toy/source.yaml",
    ):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("seed: 1\n", encoding="utf-8")

    def firth(corpus: Corpus, params: dict[str, Any], raw: Path) -> dict[str, Any]:
        made.append(FIRTH)
        write_raw(raw, ["a"], [label], [TEST])
        return {"seconds": 1.0, "correct": "10"}

    def peer(name: str, raw: Path) -> dict[str, Any]:
        made.append(name)
        return {"seconds": 1.0, "correct": "11"}

    def rerun() -> list[str]:
        made.clear()
        suite.results_on(Corpus("toy", folder, None), ["NBSVM"], out)
        return list(made)

    monkeypatch.setattr(suite, "ROOT", root)
    monkeypatch.setattr(suite, "firth", firth)
    monkeypatch.setattr(suite, "peer", peer)
    assert rerun() == [FIRTH, "NBSVM"]
    assert rerun() == []
    for path in ("root/params.yaml", "root/stages/raw.py", "toy/source.yaml"):
        (tmp_path / path).write_text("seed: 2\n", encoding="utf-8")
        assert rerun() == [FIRTH], path
    label = 1
    (root / "params.yaml").write_text("seed: 3\n", encoding="utf-8")
    assert rerun() == [FIRTH, "NBSVM"]  # the rows changed
    (root / suite.PEER_CODE).write_text("seed: 2\n", encoding="utf-8")
    assert rerun() == ["NBSVM"]


def test_archives_stand_for_the_downloads_of_imdb_and_sst2(tmp_path: Path) -> None:
    archive = tmp_path / "other.zip"
    archive.write_text("rows", encoding="utf-8")
    (tmp_path / "suite/toy").mkdir(parents=True)
    (tmp_path / "suite/toy/source.yaml").touch()
    options = argparse.Namespace(suite=tmp_path / "suite", archive=None, sst2=archive)
    toy, sst2 = suite.corpora(options)
    assert (toy.name, toy.archive) == ("toy", None)
    assert toy.params({"corpus": "sample"}) == {"corpus": "toy"}
    params = sst2.params({"corpus": "sample", "raw": {"checksum": None, "salt": "s"}})
    assert params["corpus"] == "sst2"
    assert params["raw"] == {"checksum": f"sha256:{sha256(archive)}", "salt": "s"}
    assert sst2.files() == [ROOT / "data/corpora/sst2/source.yaml", archive]


def test_a_preset_runs_beside_the_defaults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: dict[str, Any] = {}

    def firth(corpus: Corpus, params: dict[str, Any], raw: Path) -> dict[str, Any]:
        ran[raw.name] = params["ngrams"]["max_n"]
        write_raw(raw, ["a"], [0], [TEST])
        return {"seconds": 1.0, "correct": "10"}

    monkeypatch.setattr(suite, "firth", firth)
    corpus = Corpus("sst2", ROOT / "data/corpora/sst2", None)
    results = suite.results_on(corpus, [suite.PRESET], tmp_path)
    defaults = read_yaml(ROOT / "params.yaml")["ngrams"]["max_n"]
    assert ran == {"raw.parquet": defaults, "preset.parquet": preset("sst2")["ngrams"]["max_n"]}
    assert list(results) == [FIRTH, suite.PRESET]


def result(correct: int, n: int = 10) -> dict[str, Any]:
    return {"correct": "1" * correct + "0" * (n - correct), "seconds": 1.0, "processor_seconds": 2.0}


def test_the_summary_compares_with_the_best_peer_of_each_corpus_and_of_all() -> None:
    results = {
        "a": {FIRTH: result(9), "NBSVM": result(7), "fastText": result(8)},
        "b": {FIRTH: result(5), "NBSVM": result(8), "fastText": result(4)},
        "c": {FIRTH: result(8), "NBSVM": result(8), "fastText": result(3)},
    }
    text = suite.summary(results)
    rows = [[cell.strip() for cell in row.split("|")[1:-1]] for row in text.splitlines() if "|" in row]
    assert rows[0] == ["", "test rows", FIRTH, "NBSVM", "fastText", "best peer", "Firth's lead"]
    a, b, _, average = ([*row[:6], row[6].split()[0]] for row in rows[2:])
    assert a == ["a", "10", "90.00", "70.00", "80.00", "fastText", "+10.00"]
    assert b == ["b", "10", "50.00", "80.00", "40.00", "NBSVM", "-30.00"]
    assert average == ["mean", "", "73.33", "76.67", "50.00", "NBSVM", "-3.33"]
    assert "best peer: -6.67 points" in text
    assert "behind on 1 of 3" in text


def test_the_suite_prints_its_tables_and_continues(tmp_path: Path) -> None:
    folder, out = tmp_path / "suite/toy", tmp_path / "out"
    folder.mkdir(parents=True)
    with (ROOT / "data/corpora/sample/reviews.csv").open(encoding="utf-8", newline="") as file:
        rows = [(row["text"], row["label"]) for row in csv.DictReader(file)][:150]
    with (folder / "rows.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *rows])
    source = {"origin": "sample", "licence": "MIT", "file": "rows.csv"}
    source |= {"columns": {"text": "text", "label": "label"}}
    (folder / "source.yaml").write_text(yaml.safe_dump(source), encoding="utf-8")
    command = [sys.executable, "-m", "benchmarks.suite", "--suite", folder.parent, "--out", out]
    command += ["--peers", "complement Naive Bayes"]
    share = r"[\d.]+ \([\d.]+ to [\d.]+\)"
    printed = []
    for _ in range(2):
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        printed.append(done.stdout)
    assert printed[0] == printed[1]
    assert re.search(rf"\| toy, Firth +\| +{share} \| +\| +[\d.]+ \|", printed[0]), printed[0]
    assert re.search(rf"\| toy, complement Naive Bayes \| +{share} \| +[\d.]+ \| +[\d.]+ \|", printed[0])
    assert "toy" not in done.stderr  # nothing ran again
