"""The folder for the Hugging Face Hub: the model as it was, and a card that states what the run measured."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

import firth
from stages.lib.command import Refusal
from stages.lib.files import write_json
from tests.conftest import ROOT
from tests.test_export import contents
from tests.test_firth import TEXTS, write_model
from tools import export
from tools.exports import hub
from tools.exports.card import licence

METRICS = {"accuracy": 0.75, "f1": 0.7, "log_loss": 0.5}
ENDS = {name: {"low": value - 0.1, "high": value + 0.05} for name, value in METRICS.items()}
EVALUATION = {
    "ensemble": METRICS,
    "majority": {"accuracy": 0.5},
    "nbsvm": {"accuracy": 0.625},
    "at_half": {"accuracy": 0.5},
    "intervals": {"ensemble": ENDS},
}


def write_run(folder: Path, labels: list[str], source: dict[str, Any], **choices: Any) -> None:
    """Writes the files of a run, as DVC records them."""
    write_model(folder / "data", labels, **choices)
    (folder / "data/model.safetensors").rename(folder / "data/ensemble.safetensors")
    write_json(folder / "data/labels.json", {"labels": labels})
    corpus = folder / "data/corpora/films"
    corpus.mkdir(parents=True, exist_ok=True)
    columns = {"file": "films.csv", "columns": {"text": "text", "label": "label"}}
    (corpus / "source.yaml").write_text(yaml.safe_dump(source | columns))
    counts = {split: dict.fromkeys(labels, 100) for split in ("train", "validation", "test")}
    reviews = {"train": 1000, "validation": 200, "test": 200, "unlabelled": 3}
    write_json(folder / "metrics/raw.json", {"reviews": reviews, "labels": counts, "dropped": {}})
    write_json(folder / "metrics/evaluation.json", EVALUATION)
    record(folder)


def record(folder: Path) -> None:
    """Writes dvc.lock."""

    def entries(*paths: str) -> list[dict[str, str]]:
        return [{"path": p, "md5": hashlib.md5((folder / p).read_bytes()).hexdigest()} for p in paths]

    stages = {
        "raw": {
            "deps": [{"path": "data/corpora/films", "md5": "0.dir"}],
            "params": {"params.yaml": {"raw": {"test": 0.2}}},
            "outs": entries("data/labels.json", "metrics/raw.json"),
        },
        "tokens": {"outs": entries("data/tokeniser.json")},
        "vocabulary": {"outs": entries("data/vocabulary.parquet")},
        "ensemble": {"outs": entries("data/ensemble.safetensors")},
        "evaluation": {
            "deps": entries("data/ensemble.safetensors"),
            "outs": entries("metrics/evaluation.json"),
        },
    }
    (folder / "dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": stages}))


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a run, as the working directory."""
    write_run(tmp_path, ["good", "bad"], {"origin": "written for a test", "licence": "CC-BY-4.0"})
    monkeypatch.chdir(tmp_path)
    return tmp_path


def exported(name: str = "my-model") -> Path:
    export.main(["--format", "hub", name])
    return Path(name)


def front_of(folder: Path) -> dict[str, Any]:
    _, front, _ = (folder / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    content: dict[str, Any] = yaml.safe_load(front)
    return content


def body_of(folder: Path) -> str:
    return (folder / "README.md").read_text(encoding="utf-8").split("---\n", 2)[2]


def test_the_exported_model_has_the_probabilities_of_the_run(run: Path) -> None:
    folder = exported()
    assert sorted(contents(folder)) == [
        "README.md", "config.json", "labels.json",
        "model.safetensors", "tokeniser.json", "vocabulary.parquet",
    ]  # fmt: skip
    here, there = firth.load(run / "data"), firth.load(folder)
    assert there.predict_proba(TEXTS).tolist() == here.predict_proba(TEXTS).tolist()
    assert (folder / "model.safetensors").read_bytes() == (run / "data/ensemble.safetensors").read_bytes()


def test_the_configuration_has_the_labels_and_the_parameters(run: Path) -> None:
    config = json.loads((exported() / "config.json").read_text())
    assert config["model_type"] == "firth"
    assert config["id2label"] == {"0": "good", "1": "bad"}
    assert config["label2id"] == {"good": 0, "bad": 1}
    assert config["params"] == {"raw": {"test": 0.2}}
    assert config["model"]["labels"] == ["good", "bad"]


def test_the_card_has_the_metadata_of_the_hub(run: Path) -> None:
    front = front_of(exported())
    assert front["license"] == "cc-by-4.0"
    assert (front["library_name"], front["pipeline_tag"]) == ("firth", "text-classification")
    (model,) = front["model-index"]
    assert model["name"] == "my-model"
    (results,) = model["results"]
    assert results["task"]["type"] == "text-classification"
    assert results["dataset"] == {"type": "films", "name": "films", "split": "test"}
    assert {metric["type"]: metric["value"] for metric in results["metrics"]} == METRICS
    assert results["metrics"][0]["name"] == "accuracy (95 % interval 0.650 to 0.800)"


def test_huggingface_hub_reads_the_card(run: Path) -> None:
    library = pytest.importorskip(
        "huggingface_hub", reason="huggingface_hub, which reads the card, is not installed"
    )
    data = library.ModelCard.load(exported() / "README.md", ignore_metadata_errors=False).data
    assert data.model_name == "my-model"
    assert {result.metric_type: result.metric_value for result in data.eval_results} == METRICS


def test_the_card_states_intervals_data_use_and_limits(run: Path) -> None:
    text = body_of(exported())
    for part in (
        "# my-model", "## Use", "## Evaluation", "## Training data", "## Intended use", "## Limits",
        "On 200 test texts", "| accuracy | 0.750 | 0.650 | 0.800 |", "nbsvm 0.625, majority 0.500.",
        "Origin: written for a test", "Licence: CC-BY-4.0", "1,000", "known to 7.5 points more or less",
        "The vocabulary has 3 words.",
    ):  # fmt: skip
        assert part in text, part
    assert "at half" not in text


def test_names_from_elsewhere_are_escaped(run: Path) -> None:
    source = {"origin": "<script>\n---\n# mine | `x`", "licence": "ours: only\n---"}
    write_run(run, ["<b>good</b>", "a|b"], source)
    folder = exported()
    front, body = front_of(folder), body_of(folder)
    assert front["license_name"] == "ours: only\n---"
    assert "<script>" not in body
    assert "<b>" not in body
    assert r"a\|b" in body
    assert [line for line in body.splitlines() if line.startswith("# ")] == ["# my-model"]


def test_the_card_states_what_is_read_of_a_long_text(run: Path) -> None:
    assert "Of a text of more than" not in body_of(exported())
    source = {"origin": "written for a test", "licence": "CC-BY-4.0"}
    write_run(run, ["good", "bad"], source, width=30, keep="tail")
    assert "Of a text of more than 30 tokens, only the end is read." in body_of(exported())


def test_a_corpus_without_origin_and_licence_is_named_as_such() -> None:
    assert licence(None) == {}
    assert licence("Apache-2.0") == {"license": "apache-2.0"}
    assert licence("Apache-2.0 in part")["license"] == "other"


def test_a_second_export_writes_the_same_bytes(run: Path) -> None:
    first = contents(exported())
    assert contents(exported()) == first


@pytest.mark.parametrize("content", ['{"model_type": "bert"}', "[]", "{"])
@pytest.mark.parametrize("name", ["README.md", "config.json", "labels.json"])
def test_files_of_other_origin_are_kept(run: Path, name: str, content: str) -> None:
    (run / "my-model").mkdir()
    (run / "my-model" / name).write_text(content)
    before = contents(run)
    with pytest.raises(Refusal, match=f"{name}: not from an earlier export, and would be overwritten"):
        exported()
    assert contents(run) == before


def test_the_folder_of_the_pipeline_is_refused(run: Path) -> None:
    with pytest.raises(Refusal, match=r"data/config\.json: this is in a folder of the pipeline"):
        exported("data")


def test_a_run_that_is_not_complete_is_refused(run: Path) -> None:
    (run / "metrics/evaluation.json").unlink()
    with pytest.raises(Refusal, match=r"metrics/evaluation\.json: no such file; run the pipeline first"):
        exported()
    (run / "dvc.lock").unlink()
    with pytest.raises(Refusal, match=r"dvc\.lock: no such file; run the pipeline first"):
        exported()


def test_metrics_of_another_run_are_refused(run: Path) -> None:
    write_json(run / "metrics/evaluation.json", EVALUATION | {"ensemble": {"accuracy": 1.0}})
    with pytest.raises(Refusal, match=r"evaluation\.json: not the file of the run in dvc\.lock; run dvc"):
        exported()


def test_a_model_that_was_not_evaluated_is_refused(run: Path) -> None:
    lock = yaml.safe_load((run / "dvc.lock").read_text())
    lock["stages"]["evaluation"]["deps"][0]["md5"] = "0"
    (run / "dvc.lock").write_text(yaml.safe_dump(lock))
    with pytest.raises(Refusal, match=r"ensemble\.safetensors: not the file of the run in dvc\.lock"):
        exported()
    assert not Path("my-model").exists()


def test_dvc_records_what_is_read_here() -> None:
    stages = yaml.safe_load((ROOT / "dvc.lock").read_text())["stages"]
    recorded = {entry["path"] for stage in stages.values() for entry in stage["outs"]}
    assert {str(path) for path in (*hub.FILES.values(), hub.EVALUATION, hub.REVIEWS)} <= recorded
    assert "data/ensemble.safetensors" in {entry["path"] for entry in stages["evaluation"]["deps"]}
    assert hub.corpus_of(stages) == "sample"
