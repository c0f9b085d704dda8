"""A folder in the layout of the Hugging Face Hub, which `firth.load` reads.

model.safetensors     the weights, and in its metadata all that scoring needs beside them
tokeniser.json, vocabulary.parquet, labels.json
config.json           what is in that metadata, and the parameters of the run, for people and programs
README.md             the model card
"""

from pathlib import Path
from typing import Any

from stages.lib.command import Refusal
from stages.lib.corpora import read_source
from stages.lib.files import atomic, read_json, write_json
from stages.lib.params import read_yaml
from stages.predictor import Predictor
from tools.exports.card import Facts, card
from tools.exports.targets import CONFIG, copy, has_fields, require_folder
from tools.verify import md5_of_bytes

LOCK = Path("dvc.lock")
CORPORA = Path("data/corpora")
FILES = {
    "tokeniser.json": Path("data/tokeniser.json"),
    "vocabulary.parquet": Path("data/vocabulary.parquet"),
    "model.safetensors": Path("data/ensemble.safetensors"),
    "labels.json": Path("data/labels.json"),
}
EVALUATION, REVIEWS = Path("metrics/evaluation.json"), Path("metrics/raw.json")
CARD = "README.md"
FIELDS = {"model_type": "firth"}  # of config.json


def write_hub(folder: Path) -> str:
    """Writes the folder. Raises Refusal if the files are not those of one whole run."""
    stages = read_lock()
    require_one_run(stages, [*FILES.values(), EVALUATION, REVIEWS])
    tokeniser, vocabulary, weights, _ = FILES.values()
    predictor = Predictor.load(tokeniser, vocabulary, weights)
    require_folder(folder, [*FILES, CARD], CONFIG, is_export=lambda: has_fields(folder / CONFIG, FIELDS))
    facts = facts_of(folder.resolve().name, corpus_of(stages), predictor)
    # Written first, so that an interrupted export is recognised as one.
    write_json(folder / CONFIG, config_of(predictor, stages))
    for name, source in FILES.items():
        copy(source, folder / name)
    with atomic(folder / CARD) as temporary:
        temporary.write_text(card(facts), encoding="utf-8", newline="\n")
    return f"a model for the labels {', '.join(predictor.labels)}; read {folder / CARD} before you publish it"


def read_lock() -> dict[str, Any]:
    """The stages in dvc.lock: the files and parameters of the last run."""
    if not LOCK.is_file():
        raise Refusal(f"{LOCK}: no such file; run the pipeline first: dvc repro")
    stages: dict[str, Any] = read_yaml(LOCK).get("stages", {})
    return stages


def require_one_run(stages: dict[str, Any], paths: list[Path]) -> None:
    """Raises Refusal if a file is missing, or is not the one that dvc.lock records for the run.

    The model must be the one that was evaluated: the metrics on the card would be another one's.
    """
    recorded = {entry["path"]: entry["md5"] for stage in stages.values() for entry in stage["outs"]}
    recorded |= {entry["path"]: entry["md5"] for entry in stages.get("evaluation", {}).get("deps", [])}
    for path in paths:
        if not path.is_file():
            raise Refusal(f"{path}: no such file; run the pipeline first: dvc repro")
        if recorded.get(path.as_posix()) != md5_of_bytes(path.read_bytes()):
            raise Refusal(f"{path}: not the file of the run in {LOCK}; run dvc repro")


def corpus_of(stages: dict[str, Any]) -> str:
    """The name of the corpus of the run."""
    for entry in stages["raw"]["deps"]:
        path = Path(entry["path"])
        if CORPORA in path.parents:
            return path.relative_to(CORPORA).parts[0]
    raise Refusal(f"{LOCK}: no corpus below {CORPORA} in the stage raw; run dvc repro")


def facts_of(name: str, corpus: str, predictor: Predictor) -> Facts:
    """What the card states about the run."""
    source, counts = read_source(CORPORA / corpus), read_json(REVIEWS)
    return Facts(
        name=name,
        corpus=corpus,
        origin=source.origin,
        licence=source.licence,
        reviews=counts["reviews"],
        labels=counts["labels"],
        evaluation=read_json(EVALUATION),
        config=predictor.model.config,
        words=len(predictor.numbers),
    )


def config_of(predictor: Predictor, stages: dict[str, Any]) -> dict[str, Any]:
    """The content of config.json. `id2label` and `label2id` are those of transformers."""
    params: dict[str, Any] = {}
    for stage in stages.values():
        params |= stage.get("params", {}).get("params.yaml", {})
    return {
        **FIELDS,
        "id2label": dict(enumerate(predictor.labels)),
        "label2id": {label: number for number, label in enumerate(predictor.labels)},
        "model": predictor.model.config.model_dump(),
        "params": params,
    }
