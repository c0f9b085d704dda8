"""tools.difference: the first difference between two files, by their format."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import save_file

from tools.difference import difference


def of(tmp_path: Path, one: bytes, other: bytes, name: str) -> str:
    paths = tmp_path / "one", tmp_path / "other"  # as in a cache, without the ending
    for path, content in zip(paths, (one, other), strict=True):
        path.write_bytes(content)
    return difference(*paths, name)


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        ({"a": {"b": [1, 2.5]}, "c": "x"}, "a.b[1]: 2 recorded, 2.5 made"),
        ({"a": {"b": [1]}, "c": "x"}, "a.b[1]: 2 recorded, nothing made"),
        ({"a": {"b": [1, 2]}, "c": "x", "d": None}, "d: nothing recorded, None made"),
        ({"a": {"b": [True, 2]}, "c": "x"}, "a.b[0]: 1 recorded, True made"),
        ({"a": {"b": [1, 2]}, "c": "\x1b[31m"}, r"c: 'x' recorded, '\x1b[31m' made"),
    ],
)
def test_json_is_compared_by_key(tmp_path: Path, other: object, expected: str) -> None:
    one = {"a": {"b": [1, 2]}, "c": "x"}
    assert of(tmp_path, json.dumps(one).encode(), json.dumps(other).encode(), "m.json") == expected


def test_json_of_equal_values_differs_in_a_byte(tmp_path: Path) -> None:
    message = of(tmp_path, b'{"a": 1}', b'{"a":1}', "m.json")
    assert (
        message
        == """the same values, written otherwise: byte 5: 32 recorded, 49 made; in b'{"a": 1}' recorded, \
b'{"a":1}' made"""
    )


def test_csv_is_compared_by_line_and_column(tmp_path: Path) -> None:
    one = b'step,loss\n1,0.5\n2,"0.4\n"\n3,1\n'
    assert (
        of(tmp_path, one, one.replace(b"3,1", b"3,2"), "loss.csv")
        == "line 4, column loss: '1' recorded, '2' made"
    )
    assert of(tmp_path, one, one + b"4,1\n", "l.csv") == "line 5, column step: nothing recorded, '4' made"


def test_the_part_of_a_long_value_that_differs_is_shown(tmp_path: Path) -> None:
    one, other = ({"a": "x" * 200 + end + "y" * 200} for end in "bc")
    message = of(tmp_path, json.dumps(one).encode(), json.dumps(other).encode(), "m.json")
    assert message.startswith("a: …xxxxxxxxxxxxxxxbyyy")
    assert "… recorded, …xxxxxxxxxxxxxxxcyyy" in message
    assert len(message) < 160


def write_table(path: Path, compression: str = "zstd", **columns: list[object]) -> Path:
    pq.write_table(pa.table(columns), path, compression=compression)
    return path


def test_parquet_is_compared_by_row_and_column(tmp_path: Path) -> None:
    rows = 5000  # more than are read at a time
    ids, tokens = list(map(str, range(rows))), [["a", "b"]] * rows
    one = write_table(tmp_path / "one", id=ids, tokens=tokens)

    def against(**columns: list[object]) -> str:
        return difference(one, write_table(tmp_path / "other", **columns), "t.parquet")

    changed = [*tokens[:4999], ["a", "c"]]
    assert against(id=ids, tokens=changed) == "row 4999, column tokens[1]: 'b' recorded, 'c' made"
    assert against(id=["x", *ids[1:]], tokens=changed) == "row 0, column id: '0' recorded, 'x' made"
    assert against(id=ids[:-1], tokens=tokens[:-1]) == "number of rows: 5000 recorded, 4999 made"
    assert against(id=ids) == "column tokens: 'list<element: string>' recorded, nothing made"
    other = write_table(tmp_path / "other", "none", id=ids, tokens=tokens)
    assert difference(one, other, "t.parquet").startswith("the same values, written otherwise: byte ")


def test_numbers_that_are_none_are_equal(tmp_path: Path) -> None:
    columns = {"x": [float("nan"), 1.0]}
    one = write_table(tmp_path / "one", **columns)
    other = write_table(tmp_path / "other", **(columns | {"x": [float("nan"), 2.0]}))
    assert difference(one, other, "t.parquet") == "row 1, column x: 1.0 recorded, 2.0 made"


def test_safetensors_are_compared_by_tensor_and_index(tmp_path: Path) -> None:
    arrays = {"a": np.zeros(3, np.int32), "b": np.ones((2, 3), np.float32)}
    one, other = tmp_path / "one", tmp_path / "other"
    save_file(arrays, one, {"model": "x"})

    def against(changed: dict[str, np.ndarray], model: str = "x") -> str:
        save_file(changed, other, {"model": model})
        return difference(one, other, "m.safetensors")

    changed = arrays["b"].copy()
    changed[1, 2] = np.nan
    assert against(arrays | {"b": changed}) == "tensor b, index [1, 2]: 1.0 recorded, nan made"
    signed = arrays["b"].copy() * 0
    save_file({"b": signed}, one)
    assert against({"b": -signed}) == "tensor b, index [0, 0]: 0.0 recorded, -0.0 made"
    save_file(arrays, one, {"model": "x"})
    assert against({"a": arrays["a"]}) == "tensor b: 'F32 [2, 3]' recorded, nothing made"
    assert against(arrays, "y") == "metadata model: 'x' recorded, 'y' made"


def test_other_and_damaged_files_are_compared_by_byte(tmp_path: Path) -> None:
    assert of(tmp_path, b"abc", b"abd", "r.html") == (
        "byte 2: 99 recorded, 100 made; in b'abc' recorded, b'abd' made"
    )
    assert of(tmp_path, b"{", b"[", "m.json").startswith("byte 0: 123 recorded, 91 made")
    assert of(tmp_path, b"PAR1", b"PAR2", "t.parquet").startswith("byte 3: 49 recorded, 50 made")
    assert of(tmp_path, b"x", b"", "m.safetensors") == (
        "byte 0: the end of the shorter one; 1 recorded, 0 made as the number of bytes"
    )
    block = b"\0" * (1 << 20)
    assert of(tmp_path, block + b"a", block + b"b", "p.png").startswith("byte 1048576: 97 recorded")
