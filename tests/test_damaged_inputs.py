"""Each stage refuses, in one line that names the file, a damaged file of the stages before it."""

from pathlib import Path

import pytest
import yaml

from stages import STAGES
from stages.lib.command import Refusal
from tests.conftest import ROOT
from tests.tiny_run import prepare, run_stage, run_stages

PIPELINE = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
# Of these the stage uses the hash alone, unless the text needs more.
HASHED = [
    ("classifier", "data/vocabulary.parquet"),
    ("ensemble", "data/tokeniser.json"),
    ("report", "data/tensors.safetensors"),
]
INPUTS = [
    (stage, path)
    for stage in STAGES
    for path in PIPELINE[stage]["deps"]
    if path.startswith("data/") and Path(path).suffix and (stage, path) not in HASHED
]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder after a run."""
    folder = tmp_path_factory.mktemp("damaged")
    words = [("lovely", "warm", "clever"), ("tedious", "loud", "hollow")]
    texts = [f"A {words[n % 2][n % 3]} and {words[n % 2][n // 3 % 3]} film, number {n}." for n in range(40)]
    prepare(folder, {"text": texts, "label": [("good", "bad")[n % 2] for n in range(40)]})
    run_stages(folder)
    return folder


@pytest.mark.parametrize(("stage", "path"), INPUTS)
def test_a_cut_file_is_refused(
    finished: Path, monkeypatch: pytest.MonkeyPatch, stage: str, path: str
) -> None:
    monkeypatch.chdir(finished)
    monkeypatch.setenv("DVC_ROOT", str(finished))
    content = Path(path).read_bytes()
    Path(path).write_bytes(content[: len(content) // 2])
    try:
        with pytest.raises(Refusal) as caught:
            run_stage(stage)
    finally:
        Path(path).write_bytes(content)
    assert path in str(caught.value)
