"""Params: YAML as DVC reads it; a wrong, renamed or missing key is reported in one line."""

import math
import re
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field

from stages import STAGES
from stages.lib.command import Refusal
from stages.lib.params import (
    REMOVED,
    RENAMED,
    Loader,
    Section,
    check,
    nearest,
    read_params,
    read_yaml,
)
from stages.raw import Params as RawParams
from tests.conftest import ROOT, refused


class Inner(Section):
    word: str
    other: int | None = None


class Toy(Section):
    epochs: int = Field(ge=1)
    lr: float = Field(gt=0)
    name: str
    device: Literal["cpu", "cuda"]
    longest: bool
    most: int | None
    inner: Inner | None = None


SOUND: dict[str, Any] = {
    "epochs": 2, "lr": 0.5, "name": "a", "device": "cpu", "longest": True, "most": None,
}  # fmt: skip


def toy(**changed: object) -> Toy:
    return check(Toy, SOUND | changed, "params.yaml: toy")


def written(folder: Path, text: str) -> Path:
    path = folder / "params.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def keys_in(content: object) -> set[object]:
    if isinstance(content, dict):
        return set(content).union(*map(keys_in, content.values()))
    return set().union(*map(keys_in, content)) if isinstance(content, list) else set()


@pytest.mark.parametrize(
    ("scalar", "value"),
    [
        ("1e-5", 1e-5),
        ("1E5", 1e5),
        ("-2.5e+3", -2500.0),
        (".5", 0.5),
        ("1.", 1.0),
        (".inf", math.inf),
        ("-.inf", -math.inf),
        (".Inf", math.inf),
        ("-.INF", -math.inf),
        ("0", 0),
        ("-12", -12),
        ("+12", 12),
        ("0777", 777),
        ("1_000", "1_000"),
        ("1:30", "1:30"),
        ("2001-01-01", "2001-01-01"),
        ("yes", "yes"),
        ("No", "No"),
        ("on", "on"),
        ("off", "off"),
        ("y", "y"),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("'1'", "1"),
        ('"true"', "true"),
        ("nan", "nan"),
        ("=", "="),
        ("naïve 映画", "naïve 映画"),
    ],
)
def test_scalars_follow_yaml_1_2(tmp_path: Path, scalar: str, value: object) -> None:
    result = read_yaml(written(tmp_path, f"a: {scalar}\n"))["a"]
    assert (type(result), result) == (type(value), value)


@pytest.mark.parametrize("scalar", [".nan", ".NaN", ".NAN"])
def test_nan_is_read_in_every_spelling_of_yaml_1_2(scalar: str) -> None:
    result = yaml.load(scalar, Loader)
    assert isinstance(result, float)
    assert math.isnan(result)


@given(number=st.one_of(st.integers(), st.floats(allow_nan=False, allow_infinity=False)))
@settings(deadline=None)
def test_a_number_written_by_python_is_read_back(number: float) -> None:
    result = yaml.load(f"a: {number!r}", Loader)["a"]
    assert (type(result), result) == (type(number), number)


@given(text=st.text(max_size=30))
@settings(deadline=None)
def test_any_text_is_read_as_a_mapping_or_refused(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    path = written(tmp_path_factory.getbasetemp(), text)
    with suppress(Refusal):
        assert isinstance(read_yaml(path), dict)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("a: 1\nb: 2\na: 3\n", "not valid YAML: the key a occurs twice(.|\n)*line 1"),
        ("raw: {test: 0.1, test: 0.2}\n", "not valid YAML: the key test occurs twice"),
        ("a: [1\n", "not valid YAML"),
        ("a: b: c\n", "not valid YAML"),
        ("\ta: 1\n", "not valid YAML"),
        ("a: !!python/object/apply:os.getcwd []\n", "not valid YAML"),
        ("a: 1\n---\nb: 2\n", "not valid YAML"),
        ("? [1]\n: 2\n", "not valid YAML"),
        ("a: !!int x\n", "not valid YAML"),
        ("", "found no `key: value` lines"),
        ("# nothing\n", "found no `key: value` lines"),
        ("- a\n", "found no `key: value` lines"),
        ("just words\n", "found no `key: value` lines"),
    ],
)
def test_broken_yaml_is_refused(tmp_path: Path, text: str, match: str) -> None:
    with pytest.raises(Refusal, match=f"params.yaml: {match}"):
        read_yaml(written(tmp_path, text))


def test_the_same_key_in_two_sections_is_not_a_duplicate(tmp_path: Path) -> None:
    assert read_yaml(written(tmp_path, "a: {lr: 1}\nb: {lr: 2}\n")) == {"a": {"lr": 1}, "b": {"lr": 2}}


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match=r"params\.yaml: no such file"):
        read_yaml(tmp_path / "params.yaml")


def test_a_file_that_is_not_utf8_is_refused_with_the_position_of_the_byte(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_bytes("a: naïve\n".encode("latin-1"))
    with pytest.raises(Refusal, match="not UTF-8 at byte 5"):
        read_yaml(tmp_path / "params.yaml")


def test_a_valid_section_is_read_unchanged() -> None:
    assert toy().model_dump() == {**SOUND, "inner": None}
    assert toy(inner={"word": "w"}).inner == Inner(word="w")


@pytest.mark.parametrize(
    ("changed", "match"),
    [
        ({"epoch": 3}, r"toy\.epoch: unknown parameter; did you mean epochs\? Allowed: epochs, lr, name"),
        ({"zzz": 3}, r"toy\.zzz: unknown parameter; Allowed: epochs, lr, name"),
        ({"epochs": 0}, r"toy\.epochs: found 0; Input should be greater than or equal to 1"),
        ({"epochs": True}, r"toy\.epochs: found True; .*integer"),
        ({"epochs": 2.0}, r"toy\.epochs: found 2\.0; .*integer"),
        ({"epochs": "2"}, r"toy\.epochs: found '2'; .*integer"),
        ({"epochs": None}, r"toy\.epochs: found None; .*integer"),
        ({"lr": True}, r"toy\.lr: found True; .*number"),
        ({"lr": "1e-5"}, r"toy\.lr: found '1e-5'; .*number"),
        ({"lr": -1.0}, r"toy\.lr: found -1\.0; .*greater than 0"),
        ({"lr": math.nan}, r"toy\.lr: found nan"),
        ({"name": 5}, r"toy\.name: found 5; .*string"),
        ({"name": None}, r"toy\.name: found None; .*string"),
        ({"device": "gpu"}, r"toy\.device: found 'gpu'; .*'cpu' or 'cuda'"),
        ({"longest": "yes"}, r"toy\.longest: found 'yes'; .*boolean"),
        ({"longest": 1}, r"toy\.longest: found 1; .*boolean"),
        ({"most": 1.5}, r"toy\.most: found 1\.5; .*integer"),
        ({"inner": {"wrod": "w", "word": "w"}}, r"toy\.inner\.wrod: unknown parameter; did you mean word\?"),
        ({"inner": {"other": 1}}, r"toy\.inner\.word: missing; .*(str|text)"),
    ],
)
def test_a_wrong_key_or_value_is_reported_with_its_path_and_the_allowed_values(
    changed: dict[str, object], match: str
) -> None:
    with pytest.raises(Refusal, match=rf"^params\.yaml: {match}"):
        toy(**changed)


@pytest.mark.parametrize("key", SOUND)
def test_a_missing_key_is_named_and_has_no_default(key: str) -> None:
    with pytest.raises(Refusal, match=rf"^params\.yaml: toy\.{key}: missing; add it"):
        check(Toy, {name: value for name, value in SOUND.items() if name != key}, "params.yaml: toy")


def test_a_misspelt_key_is_reported_before_the_missing_one() -> None:
    with pytest.raises(Refusal, match=r"toy\.epoch: unknown parameter; did you mean epochs\?"):
        check(Toy, {"epoch" if key == "epochs" else key: value for key, value in SOUND.items()}, "toy")


@given(number=st.integers(1, 10**9))
@settings(deadline=None)
def test_an_integer_is_accepted_for_a_float(number: int) -> None:
    assert toy(lr=number).lr == number


@pytest.mark.parametrize("content", [None, 3, [1], "words"])
def test_a_section_without_keys_is_refused_with_the_expected_keys(content: object) -> None:
    with pytest.raises(Refusal, match=r"toy: found .*, expected the keys epochs, lr, name"):
        check(Toy, content, "toy")


def test_a_section_is_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        toy().epochs = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    ("text", "match"),
    [
        (
            "rwa: {}\nraw: {}\n",
            r"unknown section 'rwa'; did you mean raw\? Allowed: corpus, check, raw, tokens",
        ),
        ("7: {}\nraw: {}\n", "unknown section 7; Allowed: corpus, check, raw"),
        ("corpus: sample\n", "section 'raw' is missing; allowed keys: validation, test, salt, checksum"),
        ("raw:\n", "raw: found None, expected the keys validation, test, salt, checksum"),
    ],
)
def test_a_wrong_section_is_reported_with_the_allowed_ones(tmp_path: Path, text: str, match: str) -> None:
    with pytest.raises(Refusal, match=match):
        read_params(written(tmp_path, text), "raw", RawParams)


@pytest.mark.parametrize(
    ("raw", "match"),
    [
        ({"test": 0}, r"raw\.test: found 0; Input should be greater than 0"),
        ({"test": 1.0}, r"raw\.test: found 1\.0; Input should be less than 1"),
        ({"validation": math.nan}, r"raw\.validation: found nan"),
        ({"validation": "0.1"}, r"raw\.validation: found '0\.1'"),
        ({"salt": 1}, r"raw\.salt: found 1"),
        ({"slat": "x"}, r"raw\.slat: unknown parameter; did you mean salt\?"),
    ],
)
def test_the_bounds_of_raw_are_checked(
    write_params: Callable[..., Path], raw: dict[str, object], match: str
) -> None:
    with pytest.raises(Refusal, match=match):
        read_params(write_params(raw=raw), "raw", RawParams)


def test_a_stage_with_a_wrong_parameter_ends_with_one_line(
    tmp_path: Path,
    write_params: Callable[..., Path],
    stage: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    corpus = ROOT / "data" / "corpora" / "sample"
    made = [tmp_path / name for name in ("raw.parquet", "labels.json", "metrics.json")]
    ended = stage("raw", write_params(raw={"tset": 0.3}), tmp_path / "check.json", corpus, *made)
    assert refused(ended, "raw: ", "params.yaml: raw.tset: unknown parameter", "did you mean test?")
    assert not any(path.exists() for path in made)


def test_the_shipped_file_has_a_section_for_each_stage_and_no_other() -> None:
    assert list(read_yaml(ROOT / "params.yaml")) == ["corpus", *STAGES]


def test_no_key_has_a_name_that_the_run_cache_of_dvc_ignores() -> None:
    assert not keys_in(read_yaml(ROOT / "params.yaml")) & {"size", "nfiles"}


def test_the_loader_and_pyyaml_agree_about_the_shipped_file(params: dict[str, Any]) -> None:
    assert read_yaml(ROOT / "params.yaml") == params


def test_the_nearest_name_is_suggested_before_all_names() -> None:
    assert nearest("windw", ["dim", "window"]) == "; did you mean window? Allowed: dim, window"
    assert nearest("zzz", ["dim", "window"]) == "; Allowed: dim, window"
    assert nearest("zzz", []) == ""


@pytest.mark.parametrize("old", [*RENAMED, *REMOVED])
def test_a_parameter_of_an_earlier_version_is_refused_with_its_new_name(
    tmp_path: Path, params: dict[str, Any], old: str
) -> None:
    section, key = old.split(".")
    params[section][key] = None
    path = written(tmp_path, yaml.safe_dump(params, sort_keys=False))
    expected = f"{old} was renamed; use {RENAMED[old]}" if old in RENAMED else f"{old} was removed; delete it"
    with pytest.raises(Refusal, match=re.escape(f"params.yaml: {expected}")):
        read_params(path, "raw", RawParams)


def test_a_file_of_an_earlier_version_is_refused_with_the_first_renamed_parameter(tmp_path: Path) -> None:
    text = "raw: {}\ntokens: {subwords: 1}\nclassifier: {batch: 1, blend: 2}\n"
    with pytest.raises(Refusal, match=r"tokens\.subwords was renamed; use tokens\.bpe_pieces"):
        read_params(written(tmp_path, text), "raw", RawParams)


def test_new_names_of_parameters_exist(params: dict[str, Any]) -> None:
    for new in RENAMED.values():
        section, _, key = new.partition(" ")[0].partition(".")
        assert new.startswith("the section ngrams") or key in params[section]
