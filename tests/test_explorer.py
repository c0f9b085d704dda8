"""Explorer: the arrays of the page, the weights of single words, and one file that opens from disk."""

import json
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
from stages.explorer import SCRIPTS, STYLES, clusters_of, word_weights
from stages.lib.files import read_json, write_json
from stages.lib.page.pack import unpack, unpack_strings
from stages.lib.word_model import WordModel
from tests.conftest import ROOT, refused
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
    assert unpack_strings(arrays, "words") == WORDS
    assert unpack_strings(arrays, "labels") == ["neg", "pos"]
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
    assert unpack_strings(arrays, "words") == ["film", "good"]
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


@pytest.mark.parametrize("words", [[f"w{'abcdefghij'[n]}" for n in range(count)] for count in (1, 2, 3, 5)])
@pytest.mark.parametrize("labels", [("neg", "pos"), tuple("abcde")])
@pytest.mark.parametrize("choice", [{"dims": 1}, {"clusters": 255}])
def test_tiny_vocabularies_and_more_labels_work(
    tmp_path: Path,
    write_params: Callable[..., Path],
    words: list[str],
    labels: Sequence[str],
    choice: dict[str, int],
) -> None:
    paths = write_inputs(tmp_path, words, 2, labels)
    explorer.main(write_params(explorer=choice), *paths)
    arrays = load_file(paths[-3])
    assert arrays["weights"].shape == (len(words), 1 if len(labels) == 2 else len(labels))
    assert arrays["coords"].shape == (len(words), 2)
    assert arrays["vectors"].shape == (len(words), choice.get("dims", 2))
    assert 1 <= len(unpack_strings(arrays, "clusters")) <= len(words)
    assert arrays["cluster"].max() < len(unpack_strings(arrays, "clusters"))


@pytest.mark.parametrize("pool", ["max", "mean_max", "sum"])
def test_every_pool_has_weights_of_words(pool: str) -> None:
    model = toy_model([[9], [9], [1], [2], [3]], [0.5], ["neg", "pos"], pool="sum")
    arrays = model.words.arrays
    if "max" in pool:
        layer = {"vectors": arrays["weight"], "layer": np.ones((1, 1), np.float32), "bias": arrays["bias"]}
        model.words = WordModel(pool, layer | ({"weight": arrays["weight"]} if pool == "mean_max" else {}))
    assert word_weights(model, 3).T.tolist() == [[2, 4, 6] if pool == "mean_max" else [1, 2, 3]]


def test_strange_words_labels_and_names_are_kept_as_text(
    tmp_path: Path, write_params: Callable[..., Path]
) -> None:
    words = ["\0", "\u202etxet", "x" * 1_000_000, "</script><script>alert(1)</script>", "👩‍👩‍👧", '"', "<!--"]
    paths = write_inputs(tmp_path, words, labels=("</script>", "\0"))
    params = write_params()
    params.write_text(params.read_text().replace("corpus: sample", "corpus: <b>"))
    explorer.main(params, *paths)
    html = paths[-1].read_text(encoding="utf-8")
    assert "alert(1)" not in html
    assert "<b>" not in html
    assert len(html) < 1_000_000
    arrays = read_page(paths[-1])
    assert unpack_strings(arrays, "words") == [*words[:2], "x" * 100 + "…", *words[3:]]
    assert unpack_strings(arrays, "labels") == ["</script>", "\0"]


def test_fewer_dimensions_make_a_smaller_page_and_the_loss_is_stated(
    tmp_path: Path, write_params: Callable[..., Path]
) -> None:
    words = [f"w{n}" for n in range(300)]
    results = {}
    for dims in (None, 3):
        paths = write_inputs(tmp_path, words, dim=30)
        explorer.main(write_params(explorer={"dims": dims}), *paths)
        results[dims] = read_json(paths[-2])
        assert json.loads(unpack_strings(load_file(paths[-3]), "facts")[0]).items() >= {
            "corpus": "sample", "overlap": results[dims]["overlap"], "vector_dims": dims or 30,
            "embedding_dims": 30, "words": 300, "words_of_vocabulary": 300,
        }.items()  # fmt: skip
    assert results[None]["overlap"] > 0.95
    assert results[3]["overlap"] < 0.6
    assert results[3]["page_bytes"] < results[None]["page_bytes"] - 5000
    assert results[3]["trustworthiness"] == results[None]["trustworthiness"]


def test_more_dimensions_than_the_vectors_have_are_refused(
    tmp_path: Path, write_params: Callable[..., Path], stage: Callable[..., Any]
) -> None:
    paths = write_inputs(tmp_path, dim=5)
    ended = stage("explorer", write_params(explorer={"dims": 6}), *paths)
    assert refused(ended, "explorer.dims: found 6", "5 dimensions", "null")
    assert not any(path.exists() for path in paths[-3:])


def test_clusters_are_numbered_by_their_words_and_named_by_their_central_words() -> None:
    directions = np.repeat(np.eye(3, dtype=np.float32), [2, 5, 3], axis=0)
    vectors = directions + np.float32(0.01) * np.arange(10, dtype=np.float32)[:, None] % 3
    words = ["9", "ab", "ca", "cb", "!", "cd", "ce", "e" * 99, "eb", "ec"]
    cluster, names = clusters_of(words, vectors, 3)
    assert cluster.tolist() == [2, 2, 0, 0, 0, 0, 0, 1, 1, 1]
    assert names[2] == "ab"
    assert set(names[0].split(", ")) <= {"ca", "cb", "cd", "ce"}
    assert "e" * 20 + "…" in names[1].split(", ")


def test_rare_words_are_in_the_cluster_of_their_direction(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(explorer, "FITTED", 4)
    vectors = np.array([[1, 0], [0, 1], [2, 0.1], [0.1, 2], [0, 9], [9, 0.5]], np.float32)
    cluster, _ = clusters_of(list("abcdef"), vectors, 2)
    assert cluster[0] == cluster[2] == cluster[5] != cluster[1] == cluster[3] == cluster[4]
