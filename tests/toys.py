"""Small models for tests."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from stages.lib.model import Model, ModelConfig
from stages.lib.ngram.model import NGramConfig, NGramModel
from stages.lib.word_model import WordModel

NGRAMS: dict[str, Any] = {
    "max_n": 2, "char_max_n": 0, "buckets": None, "binary": True, "pool": "sum", "ending_boost": 0.0,
    "vocabulary": "0",
}  # fmt: skip


def toy_model(
    words: Sequence[Sequence[float]],
    bias: Sequence[float],
    labels: Sequence[str],
    ngrams: dict[int, Sequence[float]] | None = None,
    **choices: Any,
) -> Model:
    """A model of word weights (V, O) and bias (O,), and of n-gram weights (O,) by key.

    Without another choice the prior is that of equally frequent labels, and nothing is moved towards it.
    """
    arrays = {"weight": np.array(words, np.float32), "bias": np.array(bias, np.float32)}
    settings = {"vocabulary": "0", "width": None, "keep": "head", "pool": "mean"}
    settings |= {"prior": [0.0] * len(bias)} | choices
    config = NGramConfig(words=len(words), **NGRAMS) if ngrams else None
    pool = settings["pool"]
    word_model = WordModel(pool, arrays if pool != "mean_max" else arrays | max_part(arrays["weight"]))
    ngram_model = None
    if ngrams and config:
        keys = np.array(sorted(ngrams), np.int64)
        weight = np.array([ngrams[key] for key in sorted(ngrams)], np.float32)
        ngram_model = NGramModel(weight, np.zeros(len(bias)), keys, config)
    return Model(ModelConfig(labels=list(labels), ngrams=config, **settings), word_model, ngram_model)


def max_part(weight: np.ndarray) -> dict[str, Any]:
    """Vectors equal to the word weights, and a layer that is the identity."""
    return {"vectors": weight, "layer": np.eye(weight.shape[1], dtype=np.float32)}


def save_toy_model(
    path: Path, words: Sequence[Sequence[float]], bias: Sequence[float], labels: Sequence[str], **choices: Any
) -> None:
    """Writes a model file."""
    toy_model(words, bias, labels, **choices).save(path)
