"""A corpus of two kinds of texts with disjoint words, and the embeddings stage run on it."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
import yaml
from safetensors.torch import load_file
from torch import Tensor

from stages import embeddings, ids, vocabulary
from stages.lib.checkpoint import Checkpoint
from stages.lib.files import read_json
from stages.lib.tables import table_writer
from stages.lib.word2vec.settings import EngineSettings, Word2VecParams, settings_for
from stages.lib.word2vec.tables import initial_table
from stages.lib.word2vec.trainer import LossCurve, train

FRUIT, TOOLS = ["apple", "pear", "plum", "cherry"], ["saw", "hammer", "nail", "drill"]
CHOICES: dict[str, Any] = {
    "engine": "blocks", "objective": "skipgram", "loss": "negative_sampling", "dim": 8, "window": 5,
    "negatives": 5, "noise_power": 0.75, "subsample": 0.001, "char_ngrams": None, "pretrained": None,
    "epochs": 2, "lr": "auto", "seed": 1, "threads": 2, "device": "cpu",
}  # fmt: skip


def fruit_and_tools(number: int) -> list[str]:
    """Texts of twelve words, alternately of fruit and of tools."""
    generator = np.random.default_rng(0)
    return [" ".join(generator.choice((FRUIT, TOOLS)[n % 2], 12)) for n in range(number)]


def write_corpus(folder: Path, texts: list[str]) -> tuple[Path, Path]:
    """Writes data/ids.parquet and data/vocabulary.parquet of some train texts."""
    counts = Counter(word for text in texts for word in text.split())
    rows = vocabulary.build(counts, 1, None)
    number = {word: n for n, (word, _) in enumerate(rows)}
    lists = [[number[word] for word in text.split()] for text in texts]
    names = [str(n) for n in range(len(texts))]
    unknown: list[list[str]] = [[]] * len(texts)
    columns = [names, [0] * len(texts), ["train"] * len(texts), lists, unknown]
    arrays = [pa.array(c, f.type) for c, f in zip(columns, ids.SCHEMA, strict=True)]
    table = pa.table(arrays, schema=ids.SCHEMA)
    with table_writer(folder / "ids.parquet", ids.SCHEMA) as writer:
        writer.write_table(table)
    of_vocabulary = [range(len(rows)), [word for word, _ in rows], [count for _, count in rows]]
    with table_writer(folder / "vocabulary.parquet", vocabulary.SCHEMA) as writer:
        writer.write_table(pa.table([pa.array(c) for c in of_vocabulary], schema=vocabulary.SCHEMA))
    return folder / "ids.parquet", folder / "vocabulary.parquet"


def neighbours(words: list[str], table: Tensor, count: int) -> dict[str, list[str]]:
    """The most similar words of each word, by a table (V, D) with a row for each."""
    units = torch.nn.functional.normalize(table)
    similarity = (units @ units.T).fill_diagonal_(-1)
    return {word: [words[n] for n in similarity[row].topk(count).indices] for row, word in enumerate(words)}


class Run:
    """The stage on a corpus in a folder, with CHOICES except those given."""

    def __init__(self, folder: Path, texts: list[str]) -> None:
        self.folder = folder
        inputs = [*write_corpus(folder, texts), folder / "pretrained"]
        inputs[2].mkdir()
        names = ("embeddings.safetensors", "embeddings.json", "metrics.json", "loss.csv")
        self.outputs = [folder / "out" / name for name in names]
        self.paths = [*inputs, *self.outputs]
        vocabulary_table = pq.read_table(inputs[1])
        self.tokens: list[str] = vocabulary_table["token"].to_pylist()
        self.counts = torch.tensor(vocabulary_table["count"].to_numpy())

    def params(self, **choices: object) -> Path:
        """The path of a params.yaml with these choices."""
        path = self.folder / "params.yaml"
        path.write_text(yaml.safe_dump({"embeddings": CHOICES | choices}), encoding="utf-8")
        return path

    def __call__(self, **choices: object) -> dict[str, Tensor]:
        """Runs the stage and returns its tensors."""
        embeddings.main(self.params(**choices), *self.paths)
        return load_file(self.outputs[0])

    def bytes(self) -> list[bytes]:
        """The contents of all outputs."""
        return [path.read_bytes() for path in self.outputs]

    def vector(self, word: str) -> Tensor:
        """The vector of a word."""
        return load_file(self.outputs[0])["embeddings"][self.tokens.index(word)]

    def metrics(self) -> dict[str, Any]:
        """The metrics."""
        return read_json(self.outputs[2])

    def engine(self, settings: EngineSettings | None = None, **choices: Any) -> tuple[Tensor, LossCurve]:
        """Runs the engine alone, with other constants if given; returns the vectors and the loss curve."""
        params = engine_params(**choices)
        settings = settings or settings_for(params.objective, params.device)
        table = initial_table(self.tokens, params, settings)
        curve = train(self.paths[0], self.counts, table, params, settings, Checkpoint(self.folder / "work"))
        return table.vectors().cpu(), curve


def engine_params(**choices: Any) -> Word2VecParams:
    """The engine's parameters: CHOICES except those given."""
    names = Word2VecParams.__dataclass_fields__
    return Word2VecParams(**{key: value for key, value in (CHOICES | choices).items() if key in names})


def assert_kinds_are_separate(run: Run, table: Tensor) -> None:
    """Asserts that the three nearest neighbours of each word are of the same kind."""
    words = run.tokens[2:]
    for word, nearest in neighbours(words, table[2:], 3).items():
        assert {other in FRUIT for other in nearest} == {word in FRUIT}
