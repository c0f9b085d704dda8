"""Explorer: the arrays of the page, the weights of single words, and one file that opens from disk."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import load_file, save_file

from stages import explorer
from stages.explorer import SCRIPTS, STYLES, word_weights
from stages.lib.files import read_json, write_json
from stages.lib.page.pack import unpack
from tests.conftest import ROOT
from tests.test_page_pack import strings_of
from tests.test_pipeline import files_of
from tests.toys import toy_model

WORDS = ["film", "good", "bad", "</script>"]
WEIGHTS = [[0], [0.5], [0], [2], [-3], [1]]  # of <pad>, <unk> and WORDS


def write_inputs(
    folder: Path, words: Sequence[str] = WORDS, dim: int = 5, labels: Sequence[str] = ("neg", "pos")
) -> list[Path]:
    """The files that the stage reads after params.yaml, and the three that it writes."""
    generator = np.random.default_rng(1)
    vectors = generator.normal(size=(len(words) + 2, dim)).astype(np.float32)
    logits = 1 if len(labels) == 2 else len(labels)
    weights = WEIGHTS if words == WORDS and logits == 1 else generator.normal(size=(len(words) + 2, logits))
    tokens = ["<pad>", "<unk>", *words]
    pq.write_table(
        pa.table({"token": tokens, "count": [0, 0, *range(len(words), 0, -1)]}), folder / "v.parquet"
    )
    save_file({"embeddings": vectors}, folder / "e.safetensors")
    axes = ["x", "y", "z", "pc4"][:dim]
    points = {axis: vectors[2:, n] for n, axis in enumerate(axes)}
    pq.write_table(pa.table({"token": words, **points}), folder / "p.parquet")
    toy_model(weights, [0.25] * logits, labels).save(folder / "m.safetensors")
    write_json(folder / "p.json", {"explained": dict.fromkeys(axes, 0.2)})
    names = ("v.parquet", "e.safetensors", "p.parquet", "m.safetensors", "p.json")
    return [*(folder / name for name in names), *outputs(folder)]


def outputs(folder: Path) -> list[Path]:
    return [folder / name for name in ("explorer.safetensors", "explorer.json", "explorer.html")]


def read_page(path: Path) -> dict[str, Any]:
    """The arrays in a page."""
    (text,) = re.findall(r'<script type="text/plain" id="space">(.*?)</script>', path.read_text("utf-8"))
    return unpack(text)


def test_the_page_carries_the_arrays_of_the_data_file(
    tmp_path: Path, write_params: Callable[..., Path]
) -> None:
    paths = write_inputs(tmp_path)
    explorer.main(write_params(), *paths)
    arrays, in_page = load_file(paths[-3]), read_page(paths[-1])
    assert set(arrays) == set(in_page)
    for name, array in arrays.items():
        np.testing.assert_array_equal(array, in_page[name])
    assert strings_of(arrays, "words") == WORDS
    assert strings_of(arrays, "labels") == ["neg", "pos"]
    assert arrays["count"].tolist() == [4, 3, 2, 1]
    weights = arrays["weights"] * arrays["weights_scale"]
    assert weights.T.tolist() == [pytest.approx([0, 2, -3, 1], abs=1e-4)]
    vectors = load_file(paths[1])["embeddings"][2:]
    np.testing.assert_allclose(arrays["vectors"] * arrays["scale"][:, None], vectors, atol=0.02)
    coords = arrays["coords"] * arrays["coords_scale"]
    np.testing.assert_allclose(coords, vectors[:, :4], atol=1e-4)
    assert read_json(paths[-2])["words"] == 4


def test_only_the_most_frequent_words_are_in_the_page(
    tmp_path: Path, write_params: Callable[..., Path]
) -> None:
    paths = write_inputs(tmp_path)
    explorer.main(write_params(explorer={"words": 2}), *paths)
    arrays = load_file(paths[-3])
    assert strings_of(arrays, "words") == ["film", "good"]
    per_word = ("count", "vectors", "scale", "coords", "weights", "cluster")
    assert {len(arrays[name]) for name in per_word} == {2}


def test_two_runs_give_the_same_bytes(tmp_path: Path, write_params: Callable[..., Path]) -> None:
    params, paths = write_params(), write_inputs(tmp_path)
    again = outputs(tmp_path / "again")
    explorer.main(params, *paths)
    explorer.main(params, *paths[:-3], *again)
    assert [path.read_bytes() for path in paths[-3:]] == [path.read_bytes() for path in again]


def test_a_word_has_the_weight_of_its_vector_and_of_its_ngram_over_the_temperature() -> None:
    ngrams = {2: [0.5], 4: [7.0]}  # the n-grams of the words in rows 2 and 4 alone
    model = toy_model([[9], [9], [1], [2], [3]], [10.0], ["neg", "pos"], ngrams, temperature=2.0)
    assert word_weights(model, 3).tolist() == [[0.75], [1], [5]]


def test_the_files_of_the_page_are_deps_of_the_stage() -> None:
    deps = {path for path in files_of("explorer", "deps") if path.startswith("stages/page/")}
    templates, waiting = set(), ["explorer_page.jinja"]
    while waiting:
        templates.add(name := waiting.pop())
        text = (ROOT / "stages/page" / name).read_text(encoding="utf-8")
        waiting += re.findall(r'{% (?:include|extends|import|from) "(.*?)"', text)
    assert deps == {f"stages/page/{name}" for name in {*SCRIPTS, *STYLES, *templates}}
