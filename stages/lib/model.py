"""The model that scores text: the sum of the classifier and the n-grams, read without torch.

    raw = logits of the words + logits of the n-grams
    logits = prior + s * (raw - prior)        s = 1 - 2 ** (-n / shrinkage)

Each part is already multiplied by its weight. A text of n words is evidence to the extent s: an empty text
gets the prior, the label frequencies of training, and a long one its own logits. So a verdict of one word
is less certain than one of a hundred. The contributions of words and n-grams and the bias sum to the logits.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from stages.lib.arrays import Float64, Int32, Int64
from stages.lib.command import Refusal
from stages.lib.files import atomic
from stages.lib.ngram.model import Contribution, NGramConfig, NGramModel
from stages.lib.params import Section
from stages.lib.reviews import Documents, logits_for
from stages.lib.word_model import Keep, Pool, WordModel

CHECKSUM = ',"sha256":"'  # precedes the checksum, which is the last key of the metadata
UNKNOWN_EVIDENCE = 0.2  # of an unknown word, which is known by its letters only; that of a known word is 1


class ModelConfig(Section):
    """What scoring needs to know beside the weights."""

    vocabulary: str  # SHA-256 of data/vocabulary.parquet
    tokeniser: str | None = None  # SHA-256 of data/tokeniser.json; models of earlier versions have none
    labels: list[str]
    width: int | None  # tokens that a review is cut to
    keep: Keep  # part of a longer review that is kept
    pool: Pool  # of the words
    temperature: float = 1.0  # divisor of the logits
    threshold: float = 0.5  # probability from which the second of two labels is predicted
    prior: list[float]  # (O,) logits of the label frequencies of training
    shrinkage: float = 0.0  # number of words by which the distance from the raw logits is halved
    ngrams: NGramConfig | None


class Model:
    """The content of data/ensemble.safetensors."""

    def __init__(self, config: ModelConfig, words: WordModel, ngrams: NGramModel | None = None) -> None:
        """Raises ValueError if the numbers of logits differ."""
        self.config, self.words, self.ngrams, self.labels = config, words, ngrams, config.labels
        self.bias: Float64 = words.bias + (0 if ngrams is None else ngrams.bias)  # (O,)
        self.prior = np.array(config.prior)  # (O,)
        if not len(self.bias) == len(self.prior) == logits_for(len(self.labels)):
            raise ValueError(f"found {len(self.bias)} logits for {len(self.labels)} labels")

    def logits(self, documents: Documents) -> Float64:
        """The logits of the documents: (N, O)."""
        raw = self.words.logits(documents.ids, documents.lengths)
        if self.ngrams is not None:
            raw += self.ngrams.logits(documents)
        return shrunk(raw, self.prior, evidence(documents, self.config.shrinkage))

    def probabilities(self, logits: Float64, temperature: float | None = None) -> Float64:
        """Calibrated probabilities, (N, O) -> (N, L); by default with the model's own temperature."""
        return probabilities(logits, self.config.temperature if temperature is None else temperature)

    def predicted(self, probabilities: Float64) -> Int64:
        """The predicted labels, (N, L) -> (N,), with the model's own threshold."""
        return decide(probabilities, self.config.threshold)

    def bias_of(self, document: Documents) -> Float64:
        """The logits (O,) of one document without the contributions of its words and n-grams."""
        bias: Float64 = shrunk(self.bias, self.prior, evidence(document, self.config.shrinkage))[0]
        return bias

    def contributions(self, document: Documents) -> list[Contribution]:
        """What each token and each known n-gram of one document adds to its logits.

        Raises ValueError if the pool is max or mean_max.
        """
        parts = self.words.contributions(document.ids)
        if self.ngrams is not None:
            parts += self.ngrams.contributions(document)
        (scale,) = evidence(document, self.config.shrinkage)
        return [part._replace(logits=part.logits * scale) for part in parts]

    def values(self, document: Documents, column: int) -> dict[int, tuple[Int32, Float64]]:
        """`contributions` to one logit: the sum for each token, under 1, and for each known n-gram of another
        length, under its length. Each is first positions and values, (K,).

        Reference: `contributions`. Test: tests/test_model.py, test_values_are_the_sums_of_contributions. It
        is faster, and takes a tenth of the memory, because it makes no object for each token.

        Raises ValueError if the pool is max or mean_max.
        """
        (scale,) = evidence(document, self.config.shrinkage)
        single = self.words.values(document.ids, column) * scale  # (T,)
        spans = {} if self.ngrams is None else self.ngrams.values(document.ids, column)
        starts, values = spans.pop(1, (np.zeros(0, np.int32), np.zeros(0)))
        single[starts] += values * scale
        if self.ngrams is not None and self.ngrams.chars:
            single += self.ngrams.chars.values(document, column) * scale
        longer = {length: (starts, values * scale) for length, (starts, values) in spans.items()}
        return {1: (np.arange(len(single), dtype=np.int32), single)} | longer

    def save(self, path: Path) -> None:
        """Writes data/ensemble.safetensors."""
        arrays = {f"words.{name}": array for name, array in self.words.arrays.items()}
        if self.ngrams is not None:
            arrays |= {f"ngrams.{name}": array for name, array in self.ngrams.arrays().items()}
        with atomic(path) as temporary:
            save_file(arrays, temporary, {"model": with_checksum(self.config.model_dump_json(), arrays)})

    @classmethod
    def load(cls, path: Path) -> "Model":
        """Reads data/ensemble.safetensors. Raises Refusal if the file is damaged or something else."""
        try:
            with safe_open(path, "np") as file:
                text = (file.metadata() or {})["model"]
                arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
            described, checksum, _ = text.partition(CHECKSUM)
            if checksum:  # models of earlier versions have none
                described += "}"
                if with_checksum(described, arrays) != text:
                    raise Refusal(f"{path}: damaged; run `python -m tools.verify --repair`")
            config = ModelConfig.model_validate_json(described)
            parts: dict[str, dict[str, NDArray[Any]]] = {"words": {}, "ngrams": {}}
            for name, array in arrays.items():
                part, _, key = name.partition(".")
                parts[part][key] = array
            if bool(parts["ngrams"]) != bool(config.ngrams):
                raise ValueError(f"found the arrays {', '.join(arrays)}")
            words = WordModel(config.pool, parts["words"])
            if config.ngrams is None:
                return cls(config, words)
            return cls(config, words, NGramModel.from_arrays(parts["ngrams"], config.ngrams))
        except SafetensorError:
            raise Refusal(f"{path}: damaged, or no model; run `python -m tools.verify --repair`") from None
        except (LookupError, TypeError, ValueError):
            raise Refusal(f"{path}: no model of this version; run `dvc repro`") from None


def with_checksum(config: str, arrays: Mapping[str, NDArray[Any]]) -> str:
    """A JSON object with a further, last key: the SHA-256 of its text and of all arrays.

    >>> with_checksum('{"pool":"mean"}', {})[:40]
    '{"pool":"mean","sha256":"25fed115031d149'
    """
    digest = hashlib.sha256(config.encode())
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
        digest.update(array.data)
    return f'{config.removesuffix("}")}{CHECKSUM}{digest.hexdigest()}"}}'


def evidence(documents: Documents, shrinkage: float) -> Float64:
    """How much of each document's logits counts, (N,), between 0 for no words and 1 for many.

    Without shrinkage it is 1 for any words.

    >>> documents = Documents(np.array([5, 7, -1]), np.array([2, 1, 0]), ["qwop"])
    >>> evidence(documents, shrinkage=2).round(2).tolist()
    [0.5, 0.07, 0.0]
    """
    each = np.where(documents.codes < 0, UNKNOWN_EVIDENCE, 1.0)
    words = np.bincount(
        np.repeat(np.arange(len(documents.lengths)), documents.lengths), each, len(documents.lengths)
    )
    result: Float64 = 1 - 0.5 ** (words / max(shrinkage, 1e-9))
    return result


def shrunk(logits: Float64, prior: Float64, weight: Float64) -> Float64:
    """Logits (N, O) moved towards the prior (O,): its share is 1 - weight (N,)."""
    share = weight[:, None]
    result: Float64 = share * logits + (1 - share) * prior  # exact for shares of 0 and 1
    return result


def log_prior(labels: Int32, count: int, weights: Float64 | None = None) -> Float64:
    """The logits (O,) of the frequencies of `count` labels, with 1 added to each frequency.

    >>> log_prior(np.array([0, 0, 1]), 2).round(3).tolist()
    [-0.405]
    """
    logarithms = np.log(np.bincount(labels, weights, count) + 1)
    result: Float64 = logarithms[1:] - logarithms[:1] if count == 2 else logarithms - logarithms.mean()
    return result


def log_probabilities(logits: Float64) -> Float64:
    """The logarithms of the probabilities of the labels: (N, O) -> (N, L)."""
    if logits.shape[1] == 1:
        result: Float64 = -np.logaddexp(0, np.concatenate([logits, -logits], 1))
        return result
    shifted = logits - logits.max(1, keepdims=True)
    result = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
    return result


def probabilities(logits: Float64, temperature: float = 1.0) -> Float64:
    """Sigmoid or softmax: logits (N, O) -> probabilities (N, L), which sum to 1 in each row.

    >>> probabilities(np.array([[0.0], [2.0]]), temperature=2).round(3).tolist()
    [[0.5, 0.5], [0.269, 0.731]]
    """
    result: Float64 = np.exp(log_probabilities(logits / temperature))
    return result


def cross_entropy(logits: Float64, labels: Int32) -> Float64:
    """The cross-entropy of each document, in nats: (N, O), (N,) -> (N,)."""
    result: Float64 = -log_probabilities(logits)[np.arange(len(labels)), labels]
    return result


def scores_of(logits: Float64, labels: Int32) -> dict[str, float]:
    """The accuracy and the mean cross-entropy of logits (N, O)."""
    predicted = decide(probabilities(logits), 0.5)
    return {
        "accuracy": float((predicted == labels).mean()),
        "loss": float(cross_entropy(logits, labels).mean()),
    }


def decide(probabilities: Float64, threshold: float) -> Int64:
    """The predicted label of each row, (N, L) -> (N,). The threshold applies to two labels.

    >>> decide(np.array([[0.6, 0.4], [0.3, 0.7]]), 0.4).tolist()
    [1, 1]
    """
    if probabilities.shape[1] == 2:
        return (probabilities[:, 1] >= threshold).astype(np.int64)
    result: Int64 = probabilities.argmax(1)
    return result
