"""A training that is stopped after any of its checkpoints and started again ends with the same bytes.

tests/test_embeddings.py kills the process; here every option of the engine is stopped many times.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

from stages import embeddings
from stages.lib import checkpoint
from stages.lib.checkpoint import Checkpoint
from stages.lib.files import read_json
from stages.lib.word2vec.settings import EngineSettings, settings_for
from tests.tiny_corpus import Run, fruit_and_tools

NGRAMS = {"min": 3, "max": 4, "buckets": 200}
CHOICES: list[dict[str, Any]] = [
    {"objective": "skipgram", "threads": 1},
    {"objective": "skipgram", "threads": 2, "lr": 0.1},
    {"objective": "cbow", "threads": 1, "char_ngrams": NGRAMS},
    {"objective": "cbow", "threads": 3, "seed": 3},
    {"objective": "skipgram", "threads": 2, "char_ngrams": NGRAMS, "pretrained": "some.vec"},
]


class Stopped(Exception):
    """As a kill right after a checkpoint was saved."""


@pytest.mark.parametrize("choices", CHOICES, ids=str)
def test_a_training_stopped_after_any_checkpoint_gives_the_same_bytes(
    tmp_path: Path, work_folder: Path, monkeypatch: pytest.MonkeyPatch, choices: dict[str, Any]
) -> None:
    run = Run(tmp_path, fruit_and_tools(400))

    def several_workers(*of: Any) -> EngineSettings:  # for so short a text, too
        return replace(settings_for(*of), shortest_round=1, words_per_worker=1)

    monkeypatch.setattr(embeddings, "settings_for", several_workers)
    (tmp_path / "pretrained/some.vec").write_text("apple 1 2 3 4 5 6 7 8\n", encoding="utf-8")
    params = run.params(epochs=3, **choices)
    embeddings.main(params, *run.paths)
    whole = run.bytes()
    assert read_json(run.outputs[1])["workers"] == choices["threads"]
    for path in run.outputs:
        path.unlink()
    save = Checkpoint.save
    positions = []

    def save_and_stop(self: Checkpoint, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
        save(self, tensors, state)
        positions.append(str(state))
        if len(positions) % 3 == 0:
            raise Stopped

    monkeypatch.setattr(checkpoint, "INTERVAL", 0)
    monkeypatch.setattr(checkpoint, "COST_FACTOR", 0)
    monkeypatch.setattr(Checkpoint, "save", save_and_stop)
    stops = 0
    while not run.outputs[0].is_file():
        try:
            embeddings.main(params, *run.paths)
        except Stopped:
            stops += 1
            assert not any(path.exists() for path in run.outputs)
    assert stops >= 2
    assert positions.count(positions[0]) == 1  # it went on, and did not start again
    assert run.bytes() == whole
    assert not list(work_folder.rglob("state.safetensors"))
