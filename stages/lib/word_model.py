"""The classifier without torch: the pooled word vectors of a document, times a linear layer.

Reference: `stages.classifier.Classifier`. Test: tests/test_model.py,
test_the_logits_equal_those_of_torch. It is faster because the linear layer of a mean is the mean of the
linear layer of each word: the layer is applied to every row of the embedding once, and a word has O
weights instead of a vector of D numbers. A maximum is not linear, so there the vectors are kept.
"""

import json
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from safetensors import SafetensorError, safe_open
from scipy.sparse import csr_matrix

from stages.lib.arrays import Float32, Float64, Int32, Int64, whole_arrays
from stages.lib.command import Refusal
from stages.lib.files import sha256
from stages.lib.ngram.model import Contribution
from stages.lib.params import Section
from stages.lib.reviews import document_batches

Pool = Literal["mean", "sum", "max", "mean_max", "idf_mean"]
Keep = Literal["head", "tail", "both"]

SMALLEST = 1e-9  # divisor of the weighted mean of no words


class ClassifierConfig(Section):
    """How the reviews were cut and pooled. It is stored with the weights of the classifier."""

    vocabulary: str  # SHA-256 of data/vocabulary.parquet
    width: int | None  # tokens that a review was cut to
    keep: Keep  # part of a longer review that was kept
    pool: Pool

    @classmethod
    def of_run(cls, tensors: Path, vocabulary: Path, pool: Pool) -> "ClassifierConfig":
        """The configuration of a classifier of the reviews in data/tensors.safetensors."""
        with whole_arrays(tensors), safe_open(tensors, "np") as file:
            cut = json.loads((file.metadata() or {})["tensors"])
            width = None if cut["max_length"] == "longest" else cut["max_length"]
            return cls(vocabulary=sha256(vocabulary), width=width, keep=cut["keep"], pool=pool)


class WordModel:
    """Word weights (V, O) that are pooled, and for max pools vectors (V, D) and a layer (O, D).

    The array `weight` is absent if the pool is max; `idf` (V,) is present if it is idf_mean.
    """

    def __init__(self, pool: Pool, arrays: dict[str, Any]) -> None:
        """Raises ValueError if the arrays do not fit together, or LookupError if one is missing."""
        names = {"bias"} | ({"weight"} if pool != "max" else set())
        names |= {"vectors", "layer"} if "max" in pool else set()
        names |= {"idf"} if pool == "idf_mean" else set()
        if set(arrays) != names or pool not in get_args(Pool):
            raise ValueError(f"found the arrays {', '.join(arrays)}")
        self.pool, self.arrays = pool, arrays
        self.bias: Float64 = arrays["bias"].astype(np.float64)  # (O,)
        rows = len(arrays["vectors"] if pool == "max" else arrays["weight"])  # V
        shapes = {"bias": self.bias.shape[:1], "weight": (rows, *self.bias.shape), "idf": (rows,)}
        if "max" in pool:
            dim = arrays["vectors"].shape[-1]
            shapes |= {"vectors": (rows, dim), "layer": (*self.bias.shape, dim)}
        for name, array in arrays.items():
            if array.shape != shapes[name] or not rows:
                raise ValueError(f"found {name} of shape {array.shape} instead of {shapes[name]}")
        self.weight: Float64 | None = arrays["weight"].astype(np.float64) if pool != "max" else None

    @property
    def rows(self) -> int:
        """The number of words V."""
        return len(self.arrays["vectors" if self.pool == "max" else "weight"])

    def logits(self, flat: Int32, lengths: Int32 | Int64) -> Float64:
        """(M,), (N,) -> (N, O)."""
        batches = [self._batch_logits(*batch) for batch in document_batches(flat, lengths)]
        logits: Float64 = np.concatenate(batches or [np.zeros((0, len(self.bias)))]) + self.bias
        return logits

    def _batch_logits(self, flat: Int32, lengths: Int32 | Int64) -> Float64:
        logits = np.zeros((len(lengths), len(self.bias)))
        starts = np.concatenate([[0], np.cumsum(lengths)])
        if self.weight is not None:
            shape = (len(lengths), len(self.weight))
            logits += csr_matrix((self._word_weights(flat, lengths), flat, starts), shape) @ self.weight
        if "max" in self.pool:
            filled = np.flatnonzero(lengths)
            if len(filled):
                vectors = np.maximum.reduceat(self.arrays["vectors"][flat], starts[filled])  # (filled, D)
                logits[filled] += vectors.astype(np.float64) @ self.arrays["layer"].T.astype(np.float64)
        return logits

    def _word_weights(self, flat: Int32, lengths: Int32 | Int64) -> Float64:
        """The weight of each token in its document's sum: (M,)."""
        idf = self.arrays.get("idf")
        each: Float64 = np.ones(len(flat)) if idf is None else idf[flat].astype(np.float64)
        if self.pool == "sum":
            return each
        document = np.repeat(np.arange(len(lengths)), lengths)
        total = np.bincount(document, each, len(lengths)).clip(min=SMALLEST)
        result: Float64 = each / total[document]
        return result

    def contributions(self, flat: Int32) -> list[Contribution]:
        """What each token of one document, (T,), adds to its logits.

        Raises ValueError if the pool is max or mean_max: a maximum has no contributions of words.
        """
        if self.weight is None or "max" in self.pool:
            raise ValueError(f"a classifier with pool {self.pool} has no contributions of words")
        logits = self._word_weights(flat, np.array([len(flat)]))[:, None] * self.weight[flat]  # (T, O)
        return [Contribution(start, start + 1, part) for start, part in enumerate(logits)]

    def values(self, flat: Int32, column: int) -> Float64:
        """`contributions` to one logit: (T,)."""
        if self.weight is None or "max" in self.pool:
            raise ValueError(f"a classifier with pool {self.pool} has no contributions of words")
        values: Float64 = self._word_weights(flat, np.array([len(flat)])) * self.weight[flat, column]
        return values

    def scaled(self, factor: float) -> "WordModel":
        """The model whose logits are `factor` times those of this one."""
        linear = {"weight", "layer", "bias"} & self.arrays.keys()
        scaled = {name: (self.arrays[name] * np.float64(factor)).astype(np.float32) for name in linear}
        return WordModel(self.pool, self.arrays | scaled)

    @classmethod
    def from_classifier(cls, path: Path) -> tuple["WordModel", ClassifierConfig]:
        """Reads data/classifier.safetensors. Raises Refusal if the file is something else."""
        try:
            with safe_open(path, "np") as file:
                config = ClassifierConfig.model_validate_json((file.metadata() or {})["classifier"])
                arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return cls(config.pool, word_arrays(config.pool, arrays)), config
        except (SafetensorError, LookupError, TypeError, ValueError):
            raise Refusal(f"{path}: no classifier of this version; run `dvc repro`") from None


def word_arrays(pool: Pool, arrays: dict[str, Any]) -> dict[str, Any]:
    """The arrays of a `WordModel`, from the parameters of the classifier."""
    vectors, layer = arrays["embedding.weight"], arrays["linear.weight"]  # (V, D), (O, D or 2 D)
    result: dict[str, Any] = {"bias": arrays["linear.bias"]}
    if "max" in pool:
        dim = vectors.shape[-1]
        result |= {"vectors": vectors, "layer": np.ascontiguousarray(layer[:, :dim])}
        layer = layer[:, dim:]
    if pool != "max":
        result["weight"] = word_weights(vectors, layer)
    return result | {name: arrays[name] for name in ("idf",) if name in arrays}


def word_weights(vectors: Float32, layer: Float32) -> Float32:
    """The linear layer, (O, D), of each word vector, (V, D): (V, O), summed in 64 bits."""
    weights: Float32 = (vectors.astype(np.float64) @ layer.T.astype(np.float64)).astype(np.float32)
    return weights
