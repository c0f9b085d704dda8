"""Projection: scikit-learn's PCA up to sign, the sign, and the picture of the words."""

import csv
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from safetensors.numpy import save_file
from sklearn.decomposition import PCA

from stages.ids import SCHEMA as IDS
from stages.lib.command import Refusal
from stages.lib.files import write_json
from stages.lib.tables import table_writer
from stages.projection import PICTURED, axis_names, main, principal_components, words_to_show
from stages.vocabulary import SCHEMA as VOCABULARY

WORDS = ["good", "film", "!", "don't", "9", "été", "кино"]
PNG = b"\x89PNG\r\n\x1a\n"
SIZES = st.tuples(st.integers(2, 30), st.integers(2, 8))


def cloud(rows: int, dim: int, seed: int = 0) -> NDArray[np.float32]:
    """Vectors that spread differently in each direction, around a point that is not zero."""
    generator = np.random.default_rng(seed)
    turned = generator.normal(size=(rows, dim)) * np.arange(1, dim + 1) @ generator.normal(size=(dim, dim))
    return (turned + 3).astype(np.float32)


def write_inputs(
    folder: Path,
    words: Sequence[str] = WORDS,
    dim: int = 5,
    labels: Sequence[str] = ("bad", "fine"),
    documents: Sequence[tuple[int, list[int]]] = ((0, [2]), (1, [2])),
) -> list[Path]:
    """The files that the stage reads after params.yaml. `documents` are labels and row numbers of words."""
    names = ("ids.parquet", "labels.json", "embeddings.safetensors", "vocabulary.parquet")
    inputs = [folder / name for name in names]
    rows = [list(column) for column in zip(*documents, strict=True)]
    columns = [[str(n) for n in range(len(documents))], rows[0], ["train"] * len(documents), rows[1]]
    unknown: list[list[str]] = [[]] * len(documents)
    with table_writer(inputs[0], IDS) as writer:
        writer.write_table(pa.table([*columns, unknown], schema=IDS))
    write_json(inputs[1], {"labels": labels})
    save_file({"embeddings": cloud(len(words) + 2, dim)}, inputs[2])
    columns = [range(len(words) + 2), ["<pad>", "<unk>", *words], [1] * (len(words) + 2)]
    with table_writer(inputs[3], VOCABULARY) as writer:
        arrays = [pa.array(c, f.type) for c, f in zip(columns, VOCABULARY, strict=True)]
        writer.write_batch(pa.record_batch(arrays, VOCABULARY))
    return inputs


def outputs(folder: Path) -> list[Path]:
    return [folder / name for name in ("projection.parquet", "metrics.json", "words.csv", "words.png")]


def csv_rows(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def test_points_on_a_line_give_the_values_computed_by_hand() -> None:
    points, shares = principal_components(np.array([[0, 0], [3, 4], [6, 8]], np.float32), 2)
    assert points.round(9).tolist() == [[-5, 0], [0, 0], [5, 0]]
    assert shares.round(9).tolist() == [1, 0]


def test_the_axis_of_largest_variance_comes_first() -> None:
    points, shares = principal_components(np.array([[-1, 0], [1, 0], [0, 3], [0, -3]], np.float32), 2)
    assert points.tolist() == [[0, -1], [0, 1], [3, 0], [-3, 0]]
    assert shares.tolist() == [0.9, 0.1]


@given(size=SIZES, seed=st.integers(0, 99))
@settings(deadline=None, max_examples=50)
def test_coordinates_equal_those_of_scikit_learn_up_to_sign(size: tuple[int, int], seed: int) -> None:
    vectors = cloud(*size, seed)
    components = min(*size, 3)
    points, shares = principal_components(vectors, components)
    peer = PCA(components, svd_solver="full").fit(vectors.astype(np.float64))
    expected = peer.transform(vectors.astype(np.float64))
    expected *= np.sign((expected * points).sum(0))
    np.testing.assert_allclose(points, expected, atol=1e-6 * np.abs(vectors).max())
    np.testing.assert_allclose(shares, peer.explained_variance_ratio_, atol=1e-9)


@given(size=SIZES, seed=st.integers(0, 99))
@settings(deadline=None, max_examples=50)
def test_explained_variance_falls_and_all_components_sum_to_1(size: tuple[int, int], seed: int) -> None:
    _, shares = principal_components(cloud(*size, seed), size[1])
    assert (shares >= 0).all()
    assert (np.diff(shares) <= 1e-12).all()
    assert shares.sum() == pytest.approx(1)


@given(seed=st.integers(0, 99))
@settings(deadline=None, max_examples=30)
def test_the_largest_weight_of_a_component_is_positive(seed: int) -> None:
    vectors = cloud(20, 4, seed)
    points, _ = principal_components(vectors, 3)
    weights = np.linalg.lstsq(points, vectors - vectors.mean(0), rcond=None)[0]  # (3, 4)
    assert (weights[np.arange(3), np.abs(weights).argmax(1)] > 0).all()


def test_negated_vectors_give_negated_coordinates() -> None:
    vectors = cloud(20, 4)
    points, shares = principal_components(vectors, 3)
    negated, same = principal_components(-vectors, 3)
    np.testing.assert_allclose(negated, -points, atol=1e-9)
    np.testing.assert_allclose(same, shares)


def test_coordinates_do_not_depend_on_the_mean() -> None:
    vectors = cloud(20, 4).round(1)
    moved = principal_components(vectors + np.float32(64), 3)[0]
    np.testing.assert_allclose(moved, principal_components(vectors, 3)[0], atol=1e-3)


@pytest.mark.parametrize("rows", [1, 2, 7])
@pytest.mark.parametrize("value", [0, 0.1, 1e6])
def test_equal_vectors_give_zeros_and_not_nan(rows: int, value: float) -> None:
    points, shares = principal_components(np.full((rows, 3), value, np.float32), 2)
    assert points.tolist() == [[0, 0]] * rows
    assert shares.tolist() == [0, 0]


def test_axes_are_x_y_z_and_then_numbered() -> None:
    assert axis_names(2) == ["x", "y"]
    assert axis_names(5) == ["x", "y", "z", "pc4", "pc5"]


@pytest.mark.parametrize("components", [2, 3, 5])
def test_each_word_has_a_point_and_reserved_rows_have_none(
    tmp_path: Path, write_params: Callable[..., Path], components: int
) -> None:
    inputs, made = write_inputs(tmp_path), outputs(tmp_path)
    main(write_params(projection={"components": components}), *inputs, *made)
    table = pq.read_table(made[0])
    assert table.schema.names == ["token", "x", "y", "z", "pc4", "pc5"][: components + 1]
    assert table.schema.types == [pa.string(), *[pa.float32()] * components]
    assert table["token"].to_pylist() == WORDS
    points, _ = principal_components(cloud(len(WORDS) + 2, 5)[2:], components)
    result = np.stack([table[axis].to_numpy() for axis in axis_names(components)], 1)
    np.testing.assert_array_equal(result, points.astype(np.float32))


def test_metrics_are_the_explained_variances_and_their_sum(
    tmp_path: Path, write_params: Callable[..., Path]
) -> None:
    inputs, made = write_inputs(tmp_path), outputs(tmp_path)
    main(write_params(projection={"components": 3}), *inputs, *made)
    result = json.loads(made[1].read_text())
    _, shares = principal_components(cloud(len(WORDS) + 2, 5)[2:], 3)
    assert result["explained"] == pytest.approx(dict(zip("xyz", shares, strict=True)), abs=1e-6)
    assert result["kept"] == pytest.approx(shares.sum(), abs=1e-6)


def test_the_table_of_shown_words_leaves_out_punctuation_and_numbers(
    tmp_path: Path, write_params: Callable[..., Path]
) -> None:
    inputs, made = write_inputs(tmp_path), outputs(tmp_path)
    main(write_params(projection={"components": 4}), *inputs, *made)
    header, *rows = csv_rows(made[2])
    assert header == ["token", "x", "y", "z", "label", "log_odds_ratio"]
    assert not {"!", "9", "<pad>", "<unk>"} & {row[0] for row in rows}
    points = {row["token"]: row for row in pq.read_table(made[0]).to_pylist()}
    for token, *numbers, _, _ in rows:
        assert [float(n) for n in numbers] == pytest.approx([points[token][a] for a in "xyz"], abs=1e-5)


@pytest.mark.parametrize("word", ["été", "кино", "▁fine", "电", "हिन्दी", "ดีที่", "don't"])
def test_words_of_any_script_are_shown(tmp_path: Path, write_params: Callable[..., Path], word: str) -> None:
    inputs, made = write_inputs(tmp_path, ["good", word, "?"]), outputs(tmp_path)
    main(write_params(), *inputs, *made)
    assert [row[0] for row in csv_rows(made[2])[1:]] == ["good", word]


def test_the_words_that_tell_the_labels_apart_come_first_and_function_words_last() -> None:
    words = ["the", "and", "it", "dog", "tree", "awful", "lovely", "9"]
    counts = np.array([100.0, 90, 80, 30, 30, 20, 20, 5])
    every = [20.0, 20, 19, 15, 4, 0, 14, 5]
    frequencies = np.array([every, [20.0, 8, 20, 15, 4, 14, 0, 5]])  # "and" tells the labels apart
    rows = words_to_show(words, counts, frequencies, np.array([20.0, 20]))
    # tree occurs as often as dog, in fewer documents
    assert [words[row] for row in rows] == ["awful", "lovely", "tree", "dog", "the", "and", "it"]


def test_a_number_of_words_is_shown(tmp_path: Path, write_params: Callable[..., Path]) -> None:
    words = ["word" + "abcdefghij"[n // 20] + "abcdefghijklmnopqrst"[n % 20] for n in range(PICTURED + 9)]
    inputs, made = write_inputs(tmp_path, words), outputs(tmp_path)
    main(write_params(), *inputs, *made)
    rows = [row[0] for row in csv_rows(made[2])[1:]]
    assert len(rows) == len(set(rows)) == PICTURED
    assert set(rows) <= set(words)


def test_the_table_has_the_label_that_a_word_is_evidence_for(
    tmp_path: Path, write_params: Callable[..., Path]
) -> None:
    documents = [(0, [2, 3])] * 9 + [(1, [3, 8])] * 9
    inputs, made = write_inputs(tmp_path, documents=documents), outputs(tmp_path)
    main(write_params(), *inputs, *made)
    rows = {row[0]: row for row in csv_rows(made[2])[1:]}
    expected = round(2 * np.log(9.5 / 0.5), 6)
    assert rows["good"][-2:] == ["bad", str(expected)]
    assert rows["кино"][-2:] == ["fine", str(expected)]
    assert float(rows["film"][-1]) == 0


def test_the_explained_variances_are_in_the_order_of_the_axes(
    tmp_path: Path, write_params: Callable[..., Path]
) -> None:
    inputs, made = write_inputs(tmp_path, dim=12), outputs(tmp_path)
    main(write_params(projection={"components": 11}), *inputs, *made)
    assert list(json.loads(made[1].read_text())["explained"]) == axis_names(11)


@pytest.mark.parametrize("labels", [("one", "two", "three"), tuple("abcdefghijk")])
def test_more_labels_than_two_and_labels_without_train_documents_work(
    tmp_path: Path, write_params: Callable[..., Path], labels: Sequence[str]
) -> None:
    inputs, made = write_inputs(tmp_path, labels=labels), outputs(tmp_path)
    main(write_params(), *inputs, *made)
    assert {row[-2] for row in csv_rows(made[2])[1:]} <= set(labels)


def test_two_runs_give_the_same_bytes(tmp_path: Path, write_params: Callable[..., Path]) -> None:
    inputs, params = write_inputs(tmp_path), write_params()
    first, second = outputs(tmp_path / "first"), outputs(tmp_path / "second")
    main(params, *inputs, *first)
    main(params, *inputs, *second)
    assert first[3].read_bytes().startswith(PNG)
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


@pytest.mark.filterwarnings("error::UserWarning")
def test_characters_that_the_font_lacks_give_no_warning(
    tmp_path: Path, write_params: Callable[..., Path]
) -> None:
    inputs, made = write_inputs(tmp_path, ["电", "影", "good"]), outputs(tmp_path)
    main(write_params(), *inputs, *made)
    assert made[3].exists()


def test_a_vocabulary_of_punctuation_gives_an_empty_picture(
    tmp_path: Path, write_params: Callable[..., Path]
) -> None:
    inputs, made = write_inputs(tmp_path, ["!", "9", "?"]), outputs(tmp_path)
    main(write_params(), *inputs, *made)
    assert csv_rows(made[2]) == [["token", "x", "y", "z", "label", "log_odds_ratio"]]
    assert made[3].read_bytes().startswith(PNG)
    assert len(pq.read_table(made[0])) == 3


def test_a_single_word_is_at_the_origin(tmp_path: Path, write_params: Callable[..., Path]) -> None:
    inputs, made = write_inputs(tmp_path, ["good"]), outputs(tmp_path)
    main(write_params(), *inputs, *made)
    assert pq.read_table(made[0]).to_pylist() == [{"token": "good"} | dict.fromkeys(axis_names(5), 0)]
    assert json.loads(made[1].read_text())["kept"] == 0


@pytest.mark.parametrize("components", [1, 1001, 3.0])
def test_an_invalid_number_of_components_is_refused(
    tmp_path: Path, write_params: Callable[..., Path], components: float
) -> None:
    with pytest.raises(Refusal, match=rf"params\.yaml: projection\.components: found {components}"):
        main(write_params(projection={"components": components}), *[tmp_path / "none"] * 8)


@pytest.mark.parametrize("dim", [1, 2, 5, 12])
def test_there_are_at_most_as_many_components_as_dimensions(
    tmp_path: Path, write_params: Callable[..., Path], dim: int
) -> None:
    inputs, made = write_inputs(tmp_path, dim=dim), outputs(tmp_path)
    main(write_params(projection={"components": 10}), *inputs, *made)
    axes = axis_names(max(2, min(dim, 10)))
    assert pq.read_table(made[0]).column_names == ["token", *axes]
    assert set(json.loads(made[1].read_text())["explained"]) == set(axes)
