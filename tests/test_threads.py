"""Outputs do not depend on the number of threads, but for the parameters of that name.

tests/test_reproduce.py runs the whole pipeline with one thread and with all.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stages import tokens
from stages.lib.ngram.keys import learn_ngrams

COUNTS = [1, 2, 5]


@pytest.mark.parametrize("unit", ["words", "subwords"])
def test_tokens_are_the_same_for_any_number_of_threads(
    tmp_path: Path, write_params: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, unit: str
) -> None:
    texts = [f"A film, number {n}, " + "good " * (n % 7) for n in range(300)]
    columns = {
        "id": list(map(str, range(300))),
        "text": texts,
        "split": ["train", "test", "validation"] * 100,
    }
    table = pa.table(columns).append_column("label", pa.array([0, 1] * 150, pa.int32()))
    pq.write_table(table, tmp_path / "raw.parquet", row_group_size=20)
    params = write_params(tokens={"unit": unit, "bpe_pieces": 100})
    results = set()
    for count in COUNTS:
        monkeypatch.setattr("stages.lib.parallel.WORKERS", count)
        paths = [tmp_path / name for name in ("tokens.parquet", "tokeniser.json", "metrics.json")]
        tokens.main(params, tmp_path / "raw.parquet", *paths)
        results.add(tuple(path.read_bytes() for path in paths))
    assert len(results) == 1


def test_ngrams_are_the_same_for_any_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(0)
    lengths = generator.integers(0, 30, 200)
    flat = generator.integers(1, 40, lengths.sum())
    results = set()
    for count in COUNTS:
        monkeypatch.setattr("os.cpu_count", lambda count=count: count)
        keys, counts = learn_ngrams(flat, lengths, 4, 40, 2, 500)
        results.add(
            (keys.tobytes(), counts.indptr.tobytes(), counts.indices.tobytes(), counts.data.tobytes())
        )
    assert len(results) == 1
