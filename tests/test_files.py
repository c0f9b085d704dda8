"""Files: written completely or not at all, with the same bytes for the same content."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.lib.files import atomic, read_json, rounded, write_csv, write_json

FIGURES = st.floats(allow_nan=False, allow_infinity=False)
CONTENT = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), FIGURES, st.text(max_size=5)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


def listed(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def interrupt(path: Path, written: str) -> None:
    with atomic(path) as temporary:
        temporary.write_text(written)
        raise KeyboardInterrupt


def test_a_block_that_succeeds_replaces_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with atomic(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
        (temporary.parent / "another").touch()  # as libraries do
        assert temporary.parent.parent == path.parent  # on the same disk
    assert path.read_text() == "new"
    assert listed(tmp_path) == ["a.txt"]


def test_a_block_that_raises_keeps_the_old_file_and_leaves_no_temporary_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt):
        interrupt(path, "half")
    assert path.read_text() == "old"
    assert listed(tmp_path) == ["a.txt"]


def test_a_block_that_raises_creates_no_file(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        interrupt(tmp_path / "a.txt", "half")
    assert listed(tmp_path) == []


def test_a_block_that_writes_nothing_is_an_error_and_keeps_the_old_file(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("old")
    with pytest.raises(FileNotFoundError), atomic(tmp_path / "a.txt"):
        pass
    assert (tmp_path / "a.txt").read_text() == "old"


def test_missing_folders_are_created(tmp_path: Path) -> None:
    write_json(tmp_path / "a" / "b" / "c.json", {})
    assert (tmp_path / "a" / "b" / "c.json").read_text() == "{}\n"


def test_json_is_sorted_rounded_and_indented(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"ü": "naïve 映画", "b": [1, 2.0, 1 / 3], "a": {"z": None, "y": -0.0, "x": True}})
    assert path.read_text(encoding="utf-8") == (
        '{\n  "a": {\n    "x": true,\n    "y": 0.0,\n    "z": null\n  },\n'
        '  "b": [\n    1,\n    2.0,\n    0.333333\n  ],\n  "ü": "naïve 映画"\n}\n'
    )


@pytest.mark.parametrize("figure", [math.nan, math.inf, -math.inf])
def test_nan_and_infinity_in_json_raise_and_keep_the_old_file(tmp_path: Path, figure: float) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"loss": 1.0})
    before = path.read_bytes()
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, {"loss": [{"deep": figure}]})
    assert path.read_bytes() == before
    assert listed(tmp_path) == ["a.json"]


@pytest.mark.parametrize(
    ("figure", "expected"),
    [(0.1234565001, 0.123457), (1e-7, 0.0), (-1e-7, 0.0), (-0.0, 0.0), (1234567.0, 1234567.0), (2, 2)],
)
def test_numbers_are_rounded_to_six_places_and_zero_has_no_sign(figure: float, expected: float) -> None:
    assert repr(rounded(figure)) == repr(expected)


@given(figure=FIGURES)
@settings(deadline=None)
def test_rounding_is_accurate_and_idempotent(figure: float) -> None:
    once = rounded(figure)
    assert once == pytest.approx(figure, abs=5.01e-7, rel=1e-15)
    assert repr(rounded(once)) == repr(once)
    assert repr(once) != "-0.0"


@given(content=st.dictionaries(st.text(max_size=3), CONTENT, max_size=4))
@settings(deadline=None)
def test_the_order_of_keys_does_not_change_the_bytes(
    tmp_path_factory: pytest.TempPathFactory, content: dict[str, Any]
) -> None:
    folder = tmp_path_factory.mktemp("json")
    write_json(folder / "a.json", content)
    write_json(folder / "b.json", dict(reversed(content.items())))
    assert (folder / "a.json").read_bytes() == (folder / "b.json").read_bytes()
    assert read_json(folder / "a.json") == rounded(content)
    json.loads((folder / "a.json").read_text(encoding="utf-8"), parse_constant=pytest.fail)


def test_csv_is_rounded_and_quoted(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    write_csv(path, ["label", "loss"], [("a, b", 1 / 3), ('say "naïve"', -0.0), ("c", 3)])
    assert path.read_bytes() == 'label,loss\n"a, b",0.333333\n"say ""naïve""",0.0\nc,3\n'.encode()


def test_a_failure_while_writing_csv_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    write_csv(path, ["a"], [(1,)])
    with pytest.raises(ZeroDivisionError):
        write_csv(path, ["a"], ((1 / n,) for n in (2, 1, 0)))
    assert path.read_text() == "a\n1\n"
    assert listed(tmp_path) == ["a.csv"]


def test_the_order_of_keys_is_kept_if_asked(tmp_path: Path) -> None:
    for sort, expected in ((True, ["a", "b"]), (False, ["b", "a"])):
        write_json(tmp_path / "x.json", {"b": 1, "a": 2}, sort=sort)
        assert list(read_json(tmp_path / "x.json")) == expected
