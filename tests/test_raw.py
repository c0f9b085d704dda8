"""Raw: assignment of splits, dropped reviews, label numbers, and refused input."""

import csv
import hashlib
import io
import json
import subprocess
import tarfile
import tracemalloc
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from stages import LABELLED, SPLITS, TRAIN, raw
from stages.lib import labels as labels_module
from stages.lib import store as store_module
from stages.lib.command import Refusal
from stages.lib.files import write_json
from stages.lib.labels import label_names
from stages.lib.readers import Review
from stages.lib.store import Store
from stages.raw import (
    SCHEMA,
    Params,
    assign_splits,
    hash_to_unit,
    main,
    split_for,
    to_row,
)
from tests.conftest import ROOT, refused

CHOICES = {"validation": 0.1, "test": 0.2, "salt": "firth", "checksum": None}
CORPORA = ROOT / "data" / "corpora"
COLUMNS = {"text": "text", "label": "label"}
SPLIT_COLUMNS = {**COLUMNS, "split": "split"}
TABLE: list[tuple[object, ...]] = [(f"review {n}", ("bad", "good")[n % 2]) for n in range(60)]

Made = tuple[list[dict[str, Any]], list[str], dict[str, Any]]


@pytest.fixture(autouse=True)
def _no_mirror(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("FIRTH_MIRROR", raising=False)
    monkeypatch.setenv("FIRTH_CACHE", str(tmp_path / "cache"))


def csv_bytes(rows: Iterable[Sequence[object]], header: Sequence[str] = ("text", "label")) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, quoting=csv.QUOTE_ALL).writerows([header, *rows])
    return text.getvalue().encode()


def jsonl_bytes(rows: Iterable[dict[str, object]]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def parquet_bytes(**columns: object) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.table(columns), file)
    return file.getvalue()


def noise(number: int) -> str:
    """About a thousand letters that compress badly."""
    return "".join(hashlib.sha512(f"{number} {n}".encode()).hexdigest() for n in range(8))


def tar_bytes(members: Iterable[tuple[str, str]], compression: str = "gz") -> bytes:
    file = io.BytesIO()
    mode: Any = f"w:{compression}"
    with tarfile.open(fileobj=file, mode=mode) as archive:
        for name, text in members:
            member = tarfile.TarInfo(name)
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))
    return file.getvalue()


def zip_bytes(members: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def corpus(folder: Path, content: bytes, name: str = "reviews.csv", **source: object) -> Path:
    """A corpus of one file; a table's columns are text and label unless given otherwise."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(content)
    given = {"origin": "made up", "licence": "none", "file": name, "columns": COLUMNS, **source}
    whole = {key: value for key, value in given.items() if value is not None}
    (folder / "source.yaml").write_text(yaml.safe_dump(whole, sort_keys=False))
    return folder


def paths(folder: Path, **choices: object) -> list[Path]:
    """Params written beside a corpus, and where its reviews, label names and metrics go."""
    folder.mkdir(exist_ok=True)
    params = folder / "params.yaml"
    params.write_text(yaml.safe_dump({"raw": CHOICES | choices}))
    return [
        params,
        folder / "check.json",
        folder / "made" / "raw.parquet",
        folder / "made" / "labels.json",
        folder / "made" / "raw.json",
    ]


def made(folder: Path, out: Path | None = None, **choices: object) -> Made:
    """The reviews, label names and metrics that the stage makes of the corpus in `folder`."""
    params, check, raw, labels, metrics = paths(out or folder, **choices)
    write_json(check, {"corpus": folder.name})
    main(params, check, folder, raw, labels, metrics)
    names = json.loads(labels.read_text(encoding="utf-8"))["labels"]
    return pq.read_table(raw).to_pylist(), names, json.loads(metrics.read_text(encoding="utf-8"))


def refuses(folder: Path, match: str, **choices: object) -> None:
    with pytest.raises(Refusal, match=match):
        made(folder, **choices)
    assert not list(folder.glob("made/*"))


def split_of(rows: list[dict[str, Any]]) -> dict[str, str]:
    return {row["text"]: row["split"] for row in rows}


def texts_in(rows: Iterable[dict[str, Any]], *splits: str) -> list[str]:
    return sorted(row["text"] for row in rows if row["split"] in splits)


def stored(
    reviews: Iterable[Review], salt: str = "firth", **choices: float
) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """The rows with their splits, and how many were dropped; labels are a and b."""
    store = Store()
    store.add(to_row(review, salt) for review in reviews)
    dropped = assign_splits(store, Params(**{**CHOICES, **choices, "salt": salt}))  # type: ignore[arg-type]
    batches = store.batches({None: None, "a": 0, "b": 1}, SCHEMA)
    return [row for batch in batches for row in batch.to_pylist()], dropped


def official(train: int = 12, **others: Sequence[tuple[object, ...]]) -> list[tuple[object, ...]]:
    """Rows of (text, label, split): some of train, and those given for each other split."""
    rows: list[tuple[object, ...]] = [(f"train {n}", ("bad", "good")[n % 2], "train") for n in range(train)]
    return rows + [(*row, split) for split, given in others.items() for row in given]


HELD_OUT: dict[str, Sequence[tuple[object, ...]]] = {
    "validation": [("v0", "bad"), ("v1", "good")],
    "test": [("t0", "bad"), ("t1", "good"), ("t2", "good")],
}


def test_the_hash_of_a_text_equals_the_value_computed_by_hand() -> None:
    # The first eight bytes of BLAKE2b, which fix the splits of every existing corpus.
    digest = hashlib.blake2b(b"firth\0a fine film", digest_size=8).hexdigest()
    assert digest == "77add2fde134421a"
    assert hash_to_unit("a fine film", "firth") == int(digest, 16) / 2**64


@pytest.mark.parametrize(
    ("number", "split"),
    [
        (0.0, "test"),
        (0.199, "test"),
        (0.2, "validation"),
        (0.299, "validation"),
        (0.301, "train"),
        (1.0, "train"),
    ],
)
def test_split_for_divides_the_unit_interval_by_the_fractions(number: float, split: str) -> None:
    assert split_for(number, {"test": 0.2, "validation": 0.1}) == split


@given(
    st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=20),
    st.dictionaries(st.sampled_from(["test", "validation"]), st.floats(0.01, 0.99)),
)
def test_splits_in_sql_equal_those_of_the_definition(keys: list[float], fractions: dict[str, float]) -> None:
    store = Store()
    store.add((str(n), f"text {n}", "a", TRAIN, None, n, key) for n, key in enumerate(keys))
    store.assign_splits(fractions)
    splits = store.connection.execute("SELECT split FROM review ORDER BY position")
    assert [split for (split,) in splits] == [split_for(key, fractions) for key in keys]
    store.connection.close()


def test_texts_that_occur_once_cost_little_work_of_the_database() -> None:
    store = Store()
    count, calls = 1000, []
    store.add(to_row(Review(str(n), f"text {n}", "a", None), "firth") for n in range(count))
    store.connection.set_progress_handler(lambda: calls.append(1), 10)  # after ten of its instructions
    assign_splits(store, Params(**CHOICES))  # type: ignore[arg-type]
    store.counts()
    store.shared_texts("validation", "test")
    store.repeated_texts()
    store.contradicted_texts()
    assert 10 * len(calls) / count < 100  # 166 if every query looks at every row
    store.connection.close()


def test_a_corpus_with_its_own_splits_gives_the_expected_rows_and_metrics(tmp_path: Path) -> None:
    rows = official(**HELD_OUT, unlabelled=[("who knows", "")])
    reviews, names, metrics = made(
        corpus(tmp_path, csv_bytes(rows, tuple(SPLIT_COLUMNS)), columns=SPLIT_COLUMNS)
    )
    assert names == ["bad", "good"]
    assert reviews == [
        *({"id": str(n + 1), "text": f"train {n}", "label": n % 2, "split": "train"} for n in range(12)),
        {"id": "13", "text": "v0", "label": 0, "split": "validation"},
        {"id": "14", "text": "v1", "label": 1, "split": "validation"},
        {"id": "15", "text": "t0", "label": 0, "split": "test"},
        {"id": "16", "text": "t1", "label": 1, "split": "test"},
        {"id": "17", "text": "t2", "label": 1, "split": "test"},
        {"id": "18", "text": "who knows", "label": None, "split": "unlabelled"},
    ]
    assert metrics == {
        "reviews": {"train": 12, "validation": 2, "test": 3, "unlabelled": 1},
        "labels": {
            "train": {"bad": 6, "good": 6},
            "validation": {"bad": 1, "good": 1},
            "test": {"bad": 1, "good": 2},
        },
        "dropped": {"train": 0, "unlabelled": 0, "unlabelled_test": 0, "empty": 0},
        "warnings": metrics["warnings"],
    }
    assert set(metrics["warnings"]) == {"rare_labels", "small_validation", "small_test"}


@given(
    extra=st.lists(st.tuples(st.text(max_size=20), st.sampled_from(["bad", "good", ""])), max_size=5),
    position=st.integers(0, len(TABLE)),
)
@settings(max_examples=12, deadline=None)
def test_adding_a_row_does_not_change_the_split_of_other_rows(
    tmp_path_factory: pytest.TempPathFactory, extra: list[tuple[str, str]], position: int
) -> None:
    folder = tmp_path_factory.mktemp("corpus")
    before = split_of(made(corpus(folder, csv_bytes(TABLE)))[0])
    grown = csv_bytes([*TABLE[:position], *extra, *TABLE[position:]])
    after = [row for row in made(corpus(folder, grown))[0] if row["label"] is not None]
    assert len(before) == 60
    assert before.items() <= split_of(after).items()


REVIEWS = st.builds(
    Review,
    id=st.just("0"),
    text=st.sampled_from([f"text {n}" for n in range(12)]),
    label=st.sampled_from(["a", "b", None]),
    split=st.sampled_from([*SPLITS, None]),
)


@given(texts=st.lists(st.text(max_size=2), max_size=40))
@settings(deadline=None)
def test_equal_texts_are_in_the_same_split(texts: list[str]) -> None:
    rows, _ = stored(
        [Review(str(n), text, "ab"[n % 2], None) for n, text in enumerate(texts)], test=0.3, validation=0.3
    )
    assert len(rows) == len(texts)
    assert len({(row["text"], row["split"]) for row in rows}) == len({row["text"] for row in rows})


@given(reviews=st.lists(REVIEWS, max_size=40))
@settings(deadline=None)
def test_no_text_is_both_held_out_and_in_train_or_unlabelled(reviews: list[Review]) -> None:
    rows, dropped = stored(reviews, test=0.3, validation=0.3)
    held, training = texts_in(rows, "validation", "test"), texts_in(rows, "train", "unlabelled")
    assert not set(held) & set(training)
    assert len(rows) + sum(dropped.values()) == len(reviews)


@given(reviews=st.lists(REVIEWS.filter(lambda review: review.label is not None), max_size=40))
@settings(deadline=None)
def test_official_validation_and_test_reviews_keep_their_split(reviews: list[Review]) -> None:
    rows, _ = stored(reviews)
    for split in ("validation", "test"):
        expected = Counter(review.text for review in reviews if review.split == split)
        assert not expected - Counter(texts_in(rows, split))
        if expected:
            assert expected == Counter(texts_in(rows, split))


@given(
    texts=st.lists(st.tuples(st.sampled_from("xyz"), st.sampled_from([*"klmn", None])), max_size=40),
    held_out=st.sampled_from([None, "validation", "test"]),
)
@settings(deadline=None)
def test_each_group_and_each_text_is_in_one_split(
    texts: list[tuple[str, str | None]], held_out: str | None
) -> None:
    reviews = [
        Review(f"{lot}{n}", text, "ab"[n % 2], None, split_by=lot) for n, (text, lot) in enumerate(texts)
    ]
    reviews += [Review(f"held{n}", text, "a", held_out) for n, text in enumerate("xw") if held_out]
    rows, dropped = stored(reviews, test=0.3, validation=0.3)
    assert len({(row["text"], row["split"]) for row in rows}) == len({row["text"] for row in rows})
    assert len(rows) + sum(dropped.values()) == len(reviews)
    for lot in "klmn":
        assert len({row["split"] for row in rows if row["id"].startswith(lot)}) <= 1


def test_split_by_assigns_rows_by_the_hash_of_that_column(tmp_path: Path) -> None:
    rows = [(f"review {n}", ("bad", "good")[n % 2], f"film {n // 6}") for n in range(360)]
    columns = {**COLUMNS, "split_by": "film"}
    folder = corpus(tmp_path, csv_bytes(rows, ("text", "label", "film")), columns=columns)
    split = split_of(made(folder)[0])
    for text, _, film in rows:
        share = hash_to_unit(film, "firth")
        assert split[text] == ("test" if share < 0.2 else "validation" if share < 0.2 + 0.1 else "train")
    assert len(set(split.values())) == 3


def test_split_sizes_are_close_to_the_fractions() -> None:
    rows, _ = stored(Review(str(n), f"review {n}", "ab"[n % 2], None) for n in range(5000))
    counts = Counter(row["split"] for row in rows)
    assert counts["test"] / 5000 == pytest.approx(0.2, abs=0.02)
    assert counts["validation"] / 5000 == pytest.approx(0.1, abs=0.015)
    assert counts["train"] / 5000 == pytest.approx(0.7, abs=0.02)


def test_another_salt_gives_other_splits(tmp_path: Path) -> None:
    folder = corpus(tmp_path, csv_bytes(TABLE))
    assert split_of(made(folder, salt="one")[0]) != split_of(made(folder, salt="two")[0])


def test_a_larger_test_share_only_adds_to_test(tmp_path: Path) -> None:
    folder = corpus(tmp_path, csv_bytes(TABLE))
    small, large = (set(texts_in(made(folder, test=share)[0], "test")) for share in (0.2, 0.4))
    assert small < large


def test_split_names_are_mapped_by_source_yaml(tmp_path: Path) -> None:
    other = {"train": "tr", "validation": "dev", "test": "2"}
    rows = [(text, label, other[str(split)]) for text, label, split in official(**HELD_OUT)]
    folder = corpus(
        tmp_path,
        csv_bytes(rows, tuple(SPLIT_COLUMNS)),
        columns=SPLIT_COLUMNS,
        splits={"tr": "train", "dev": "validation", 2: "test"},
    )
    counts = made(folder)[2]["reviews"]
    assert counts == {"train": 12, "validation": 2, "test": 3, "unlabelled": 0}


def test_a_missing_validation_split_is_taken_from_train_only(tmp_path: Path) -> None:
    test = [(f"test {n}", ("bad", "good")[n % 2]) for n in range(30)]
    rows = official(60, test=test)
    folder = corpus(tmp_path, csv_bytes(rows, tuple(SPLIT_COLUMNS)), columns=SPLIT_COLUMNS)
    reviews, _, _ = made(folder, validation=0.3)
    assert texts_in(reviews, "test") == sorted(text for text, _ in test)
    assert texts_in(reviews, "train", "validation") == sorted(f"train {n}" for n in range(60))
    expected = [f"train {n}" for n in range(60) if hash_to_unit(f"train {n}", "firth") < 0.3]
    assert texts_in(reviews, "validation") == sorted(expected)


def test_a_missing_test_split_is_taken_from_train_only(tmp_path: Path) -> None:
    rows = official(60, validation=HELD_OUT["validation"])
    folder = corpus(tmp_path, csv_bytes(rows, tuple(SPLIT_COLUMNS)), columns=SPLIT_COLUMNS)
    reviews, _, _ = made(folder)
    assert texts_in(reviews, "validation") == ["v0", "v1"]
    assert texts_in(reviews, "test") == sorted(
        f"train {n}" for n in range(60) if hash_to_unit(f"train {n}", "firth") < 0.2
    )


def test_held_out_texts_are_dropped_from_train_and_unlabelled_and_counted(tmp_path: Path) -> None:
    rows = official(**HELD_OUT, unlabelled=[("t0", ""), ("v0", ""), ("t1", ""), ("new", "")])
    rows += [("t0", "good", "train"), ("t0", "bad", "train"), ("v1", "good", "train")]
    folder = corpus(tmp_path, csv_bytes(rows, tuple(SPLIT_COLUMNS)), columns=SPLIT_COLUMNS)
    reviews, _, metrics = made(folder)
    assert metrics["dropped"] == {"train": 3, "unlabelled": 3, "unlabelled_test": 0, "empty": 0}
    assert texts_in(reviews, "unlabelled") == ["new"]
    assert metrics["reviews"] == {"train": 12, "validation": 2, "test": 3, "unlabelled": 1}


def test_a_validation_split_taken_from_train_has_no_text_of_test(tmp_path: Path) -> None:
    both = [(f"train {n}", ("bad", "good")[n % 2]) for n in range(30)]
    rows = official(60, test=both)
    folder = corpus(tmp_path, csv_bytes(rows, tuple(SPLIT_COLUMNS)), columns=SPLIT_COLUMNS)
    reviews, _, metrics = made(folder, validation=0.3)
    assert metrics["dropped"]["train"] == 30
    assert texts_in(reviews, "train", "validation") == sorted(f"train {n}" for n in range(30, 60))


def test_texts_that_differ_only_by_a_line_break_tag_are_equal(tmp_path: Path) -> None:
    rows = [*official(**HELD_OUT), ("x<br />y", "good", "train"), ("x y", "good", "test")]
    folder = corpus(tmp_path, csv_bytes(rows, tuple(SPLIT_COLUMNS)), columns=SPLIT_COLUMNS)
    assert made(folder)[2]["dropped"]["train"] == 1


def test_rows_without_a_label_are_unlabelled(tmp_path: Path) -> None:
    folder = corpus(tmp_path, csv_bytes([*TABLE, ("no label", ""), ("blank label", "  ")]))
    reviews, _, metrics = made(folder)
    assert texts_in(reviews, "unlabelled") == ["blank label", "no label"]
    assert all((row["label"] is None) == (row["split"] == "unlabelled") for row in reviews)
    assert metrics["reviews"]["unlabelled"] == 2


def test_unlabelled_rows_of_validation_and_test_are_dropped_and_counted(tmp_path: Path) -> None:
    rows = [*official(**HELD_OUT), ("?", "", "test"), ("??", "", "validation"), ("???", "", "train")]
    folder = corpus(tmp_path, csv_bytes(rows, tuple(SPLIT_COLUMNS)), columns=SPLIT_COLUMNS)
    reviews, _, metrics = made(folder)
    assert metrics["dropped"] == {"train": 0, "unlabelled": 0, "unlabelled_test": 2, "empty": 0}
    assert metrics["reviews"] == {"train": 12, "validation": 2, "test": 3, "unlabelled": 1}
    assert texts_in(reviews, "unlabelled") == ["???"]


def test_a_test_split_without_labels_is_replaced_by_a_part_of_train(tmp_path: Path) -> None:
    rows = [*official(60), ("no label 1", "", "test"), ("no label 2", "", "test")]
    folder = corpus(tmp_path, csv_bytes(rows, tuple(SPLIT_COLUMNS)), columns=SPLIT_COLUMNS)
    metrics = made(folder)[2]
    assert metrics["dropped"]["unlabelled_test"] == 2
    assert metrics["reviews"]["test"] > 0


@pytest.mark.parametrize("label", ["-1", "good"])
def test_labels_of_the_unlabelled_split_are_ignored(tmp_path: Path, label: str) -> None:
    rows = official(**HELD_OUT, unlabelled=[("who knows", label)])
    folder = corpus(tmp_path, csv_bytes(rows, tuple(SPLIT_COLUMNS)), columns=SPLIT_COLUMNS)
    reviews, names, _ = made(folder)
    assert names == ["bad", "good"]
    assert [row["label"] for row in reviews if row["split"] == "unlabelled"] == [None]


TEXTS = st.text(max_size=30).filter(lambda text: text.strip() and "<br" not in text.lower())


@given(texts=st.lists(TEXTS, max_size=8))
@settings(max_examples=15, deadline=None)
def test_other_text_is_unchanged(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
    rows = [
        *TABLE,
        *((text, "good") for text in ["naïve 映画 👍🏽 كتاب", 'two\nlines, "quoted"', *texts]),
    ]
    reviews = made(corpus(tmp_path_factory.mktemp("corpus"), csv_bytes(rows)))[0]
    assert sorted(row["text"] for row in reviews) == sorted(str(text) for text, _ in rows)


def test_empty_texts_are_dropped_and_counted(tmp_path: Path) -> None:
    empty = [(text, "good") for text in (None, "", " \t", "<br />")]
    rows = [{"text": text, "label": label} for text, label in [*TABLE, *empty]]
    reviews, _, metrics = made(corpus(tmp_path, jsonl_bytes(rows), "r.jsonl"))
    assert len(reviews) == len(TABLE)
    assert metrics["dropped"]["empty"] == 4
    assert metrics["warnings"]["empty"] == "4 of 64 texts are empty and were dropped"


@pytest.mark.parametrize(
    ("low", "high", "names"),
    [
        ("neg", "pos", ["neg", "pos"]),
        (0, 1, ["0", "1"]),
        (0.0, 1.0, ["0", "1"]),
        (-1, 0.5, ["-1", "0.5"]),
        (9, 10, ["9", "10"]),
        ("9", "10", ["9", "10"]),
        (False, True, ["False", "True"]),
        ("10", "one", ["10", "one"]),
        ("ja", "nej ✓", ["ja", "nej ✓"]),
    ],
)
def test_labels_of_any_type_are_numbered_in_order(
    tmp_path: Path, low: object, high: object, names: list[str]
) -> None:
    rows = [{"text": text, "label": high if label == "good" else low} for text, label in TABLE]
    reviews, result, metrics = made(corpus(tmp_path, jsonl_bytes(rows), "r.jsonl"))
    assert result == names
    assert {row["label"] for row in reviews if row["text"] in ("review 1", "review 3")} == {1}
    assert set(metrics["labels"]["train"]) == set(names)


def test_a_label_written_in_several_ways_is_one_label(tmp_path: Path) -> None:
    rows = [
        {"text": text, "label": (1, 1.0, "1", " 1 ")[n % 4] if n > 30 else 0}
        for n, (text, _) in enumerate(TABLE)
    ]
    assert made(corpus(tmp_path, jsonl_bytes(rows), "r.jsonl"))[1] == ["0", "1"]


def test_more_than_two_labels_are_numbered_by_value(tmp_path: Path) -> None:
    rows = [(f"review {n}", n % 11) for n in range(300)]
    reviews, names, metrics = made(corpus(tmp_path, csv_bytes(rows)))
    assert names == [str(n) for n in range(11)]
    assert all(row["label"] == int(row["text"].split()[1]) % 11 for row in reviews)
    assert sum(sum(metrics["labels"][split].values()) for split in LABELLED) == 300


def test_the_order_of_labels_in_source_yaml_is_the_order_of_their_numbers(tmp_path: Path) -> None:
    folder = corpus(tmp_path, csv_bytes(TABLE), labels={"good": "warm", "bad": "cold"})
    reviews, names, metrics = made(folder)
    assert names == ["warm", "cold"]
    assert all(row["label"] == 1 - int(row["text"].split()[1]) % 2 for row in reviews)
    assert set(metrics["labels"]["train"]) == {"warm", "cold"}


def test_two_labels_with_the_same_name_are_merged(tmp_path: Path) -> None:
    stars = {1: "negative", 2: "negative", 4: "positive", 5: "positive"}
    rows = [(f"review {n}", (1, 2, 4, 5)[n % 4]) for n in range(100)]
    reviews, names, metrics = made(corpus(tmp_path, csv_bytes(rows), labels=stars))
    assert names == ["negative", "positive"]
    assert all(row["label"] == int(row["text"].split()[1]) % 4 // 2 for row in reviews)
    assert sum(sum(metrics["labels"][split].values()) for split in LABELLED) == 100


@given(
    numbers=st.sets(st.integers() | st.decimals(-99, 99, places=2)), words=st.sets(st.sampled_from("abcxyz"))
)
@settings(deadline=None)
def test_label_numbers_are_sorted_by_value_before_words_alphabetically(
    numbers: set[Any], words: set[str]
) -> None:
    expected = [*map(str, sorted(numbers, key=lambda number: (float(number), str(number)))), *sorted(words)]
    assert list(label_names({*map(str, numbers), *words})) == expected


def test_a_label_that_parses_as_nan_is_a_word() -> None:
    numbers = [str(n) for n in range(100)]
    words = ["+nan", "-nan", "NAN", "NaN", "good", "nan"]
    assert list(label_names({*words, *numbers})) == [*numbers, *words]


def test_ids_are_taken_from_the_id_column(tmp_path: Path) -> None:
    rows = [(text, label, f"tt{n:03}") for n, (text, label) in enumerate(TABLE)]
    folder = corpus(tmp_path, csv_bytes(rows, ("text", "label", "film")), columns={**COLUMNS, "id": "film"})
    assert {row["id"] for row in made(folder)[0]} == {f"tt{n:03}" for n in range(60)}


def test_the_group_column_is_copied_and_may_have_empty_cells(tmp_path: Path) -> None:
    rows = [(text, label, ("north", " 7.0 ", "")[n % 3]) for n, (text, label) in enumerate(TABLE)]
    folder = corpus(
        tmp_path, csv_bytes(rows, ("text", "label", "shop")), columns={**COLUMNS, "group": "shop"}
    )
    result = {row["text"]: row["group"] for row in made(folder)[0]}
    assert result == {text: ("north", "7.0", None)[n % 3] for n, (text, _) in enumerate(TABLE)}
    plain = made(corpus(tmp_path / "plain", csv_bytes(TABLE)))[0]
    assert "group" not in plain[0]
    assert [row["id"] for row in plain] == [row["id"] for row in made(folder)[0]]


def test_a_missing_group_column_is_refused(tmp_path: Path) -> None:
    corpus(tmp_path, csv_bytes(TABLE), columns={**COLUMNS, "group": "lable"})
    refuses(tmp_path, "no column 'lable'; did you mean 'label'")


@pytest.mark.parametrize("name", ["r.csv", "r.tsv", "r.jsonl", "r.parquet"])
def test_all_table_formats_give_the_same_bytes(tmp_path: Path, name: str) -> None:
    texts, labels = zip(*TABLE, strict=True)
    forms = {
        "r.csv": csv_bytes(TABLE),
        "r.tsv": "\n".join(f"{a}\t{b}" for a, b in [("text", "label"), *TABLE]).encode(),
        "r.jsonl": jsonl_bytes({"label": label, "text": text} for text, label in TABLE),
        "r.parquet": parquet_bytes(text=texts, label=labels, other=labels),
    }
    made(corpus(tmp_path / "csv", forms["r.csv"]))
    made(corpus(tmp_path / "form", forms[name], name))
    for file in ("raw.parquet", "labels.json", "raw.json"):
        one, other = ((tmp_path / folder / "made" / file).read_bytes() for folder in ("csv", "form"))
        assert one == other


def test_parquet_labels_may_be_integers_floats_with_gaps_or_categories(tmp_path: Path) -> None:
    texts = [text for text, _ in TABLE]
    numbers = [n % 2 for n in range(60)]
    forms = {
        "integers": pa.array(numbers, pa.int8()),
        "floats": pa.array([float(n) for n in numbers]),
        "categories": pa.array([str(n) for n in numbers]).dictionary_encode(),
    }
    for form, labels in forms.items():
        assert made(corpus(tmp_path / form, parquet_bytes(text=texts, label=labels), "r.parquet"))[1] == [
            "0",
            "1",
        ]
    gaps = pa.array([float("nan"), None, *map(float, numbers[2:])])
    metrics = made(corpus(tmp_path / "gaps", parquet_bytes(text=texts, label=gaps), "r.parquet"))[2]
    assert metrics["reviews"]["unlabelled"] == 2


def test_another_process_gives_the_same_bytes(tmp_path: Path, stage: Callable[..., Any]) -> None:
    rows = [(f"review {n}", f"label {n % 7}") for n in range(200)]
    folder = corpus(tmp_path, csv_bytes(rows))
    made(folder)
    params, check, *first = paths(folder)
    second = [tmp_path / "again" / path.name for path in first]
    stage("raw", params, check, folder, *second, PYTHONHASHSEED="7").check_returncode()
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def imdb_members() -> list[tuple[str, str]]:
    members = [
        (f"aclImdb/{split}/{label}/{n}_{rating}.txt", f"A {label} film,<br />{split} {n}.")
        for split in ("train", "test")
        for label, rating in (("neg", 1), ("pos", 9))
        for n in range(12)
    ]
    members += [(f"aclImdb/train/unsup/{n}_0.txt", f"Who knows, {n}.") for n in range(5)]
    members += [("aclImdb/README", "read me"), ("aclImdb/train/urls_pos.txt", "not a review")]
    return [*members, ("aclImdb/train/pos/notes.feat", "0:1"), ("aclImdb/train/pos/deep/1.txt", "too deep")]


def imdb(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, members: list[tuple[str, str]], as_folder: bool
) -> Made:
    mirror = tmp_path / "mirror"
    mirror.mkdir(exist_ok=True)
    archive = mirror / ("aclImdb_v1.tar.gz" if as_folder else "copy.tar.gz")
    archive.write_bytes(tar_bytes(members))
    monkeypatch.setenv("FIRTH_MIRROR", str(mirror if as_folder else archive))
    checksum = "sha256:" + hashlib.sha256(archive.read_bytes()).hexdigest()
    return made(CORPORA / "imdb", tmp_path / "out", checksum=checksum, validation=0.3)


@pytest.mark.parametrize("as_folder", [True, False])
def test_imdb_folders_give_labels_and_splits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, as_folder: bool
) -> None:
    reviews, names, metrics = imdb(tmp_path, monkeypatch, imdb_members(), as_folder)
    assert names == ["negative", "positive"]
    counts = metrics["reviews"]
    assert (counts["train"] + counts["validation"], counts["test"], counts["unlabelled"]) == (24, 24, 5)
    assert len(reviews) == 53
    result = {row["id"]: row for row in reviews}
    assert result["aclImdb/test/pos/3_9"] == {
        "id": "aclImdb/test/pos/3_9", "text": "A pos film, test 3.", "label": 1, "split": "test",
    }  # fmt: skip
    assert result["aclImdb/train/unsup/4_0"]["label"] is None


def test_the_order_of_files_in_an_archive_does_not_change_the_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    members = sorted(imdb_members())
    out = tmp_path / "out" / "made"
    written = []
    for order in (members, members[::-1], members[1::2] + members[::2]):
        imdb(tmp_path, monkeypatch, order, as_folder=True)
        written.append([(out / name).read_bytes() for name in ("raw.parquet", "labels.json", "raw.json")])
    assert written[0] == written[1] == written[2]


def test_member_names_may_start_with_a_dot_and_a_slash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = imdb(tmp_path, monkeypatch, imdb_members(), as_folder=True)
    dotted = [(f"./{name}", text) for name, text in imdb_members()]
    assert imdb(tmp_path, monkeypatch, dotted, as_folder=True) == plain


def test_sst2_tables_keep_a_single_quotation_mark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train = "sentence\tlabel\n" + "".join(f'a "film {n} \t{n % 2}\n' for n in range(40))
    dev = 'sentence\tlabel\n" lone\t1\ntwo "" marks\t0\n'
    members = {
        "SST-2/test.tsv": b"index\tsentence\n",
        "SST-2/dev.tsv": dev.encode(),
        "SST-2/train.tsv": train.encode(),
    }
    (tmp_path / "SST-2.zip").write_bytes(zip_bytes(members))
    monkeypatch.setenv("FIRTH_MIRROR", str(tmp_path))
    checksum = hashlib.md5((tmp_path / "SST-2.zip").read_bytes()).hexdigest()
    reviews, names, metrics = made(CORPORA / "sst2", tmp_path / "out", checksum=f"md5:{checksum}")
    assert names == ["negative", "positive"]
    assert metrics["reviews"]["train"] + metrics["reviews"]["validation"] == 40
    assert [(row["id"], row["text"], row["label"]) for row in reviews if row["split"] == "test"] == [
        ("test/1", '" lone', 1),
        ("test/2", 'two "" marks', 0),
    ]


def test_the_sample_has_every_label_in_every_split(tmp_path: Path) -> None:
    _, names, metrics = made(CORPORA / "sample", tmp_path)
    assert names == ["negative", "positive"]
    assert all(metrics["labels"][split][name] > 10 for split in LABELLED for name in names)


ONE_LINE: dict[str, tuple[bytes, dict[str, object], tuple[str, ...]]] = {
    "missing column": (
        csv_bytes(TABLE, ("txet", "label")),
        {},
        ("reviews.csv: no column 'text'", "'txet', 'label'"),
    ),
    "not UTF-8": (
        csv_bytes(TABLE) + "na\xefve,good\n".encode("latin-1"),
        {},
        ("reviews.csv, row 62", "UTF-8", "0xef"),
    ),
    "no column to split by": (
        csv_bytes(TABLE),
        {"columns": {**COLUMNS, "split_by": "film"}},
        ("reviews.csv: no column 'film'",),
    ),
    "unknown key": (csv_bytes(TABLE), {"licnce": "none"}, ("source.yaml.licnce", "did you mean licence?")),
}


@pytest.mark.parametrize("case", ONE_LINE)
def test_bad_input_is_refused_in_one_line_and_writes_nothing(
    tmp_path: Path, stage: Callable[..., subprocess.CompletedProcess[str]], case: str
) -> None:
    content, source, message = ONE_LINE[case]
    params, check, *outputs = paths(corpus(tmp_path, content, **source))
    write_json(check, {"corpus": tmp_path.name})
    assert refused(stage("raw", params, check, tmp_path, *outputs), "raw: ", *message)
    assert not list(tmp_path.glob("made/*"))


def test_an_unknown_corpus_is_refused_with_the_available_ones(
    tmp_path: Path, stage: Callable[..., Any]
) -> None:
    params, check, *outputs = paths(tmp_path)
    write_json(check, {"corpus": "sampel"})
    ended = stage("raw", params, check, CORPORA / "sampel", *outputs)
    assert refused(ended, "'sampel'", "did you mean sample?", "imdb, sample, sst2")
    assert not list(tmp_path.glob("made/*"))


MANY = [(f"review {n}", f"label {n}") for n in range(1200)]


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", "the file is empty"),
        (b"\n\n", "the file is empty"),
        (b"text,label\n", "found no row with a text"),
        (
            csv_bytes((text, "good") for text, _ in TABLE),
            r"found the labels \['good'\], expected at least two",
        ),
        (csv_bytes((text, "") for text, _ in TABLE), r"found the labels \[\]"),
        (csv_bytes(TABLE[:9]), "expected at least 10"),
        (csv_bytes([*TABLE, ("a", "b" * 1001)]), r"1,001 characters \('b{20}'\.\.\.\), allowed are 1,000"),
        (csv_bytes(MANY), "1,200 different values, allowed are 1,000"),
        (csv_bytes([*TABLE, ("a", "good", "b")]), "row 62: 3 cells, but the header has 2"),
        (csv_bytes([*TABLE, ("a",)]), "row 62: 1 cells"),
        (csv_bytes(TABLE) + b'"never closed,good\n', "row 62: unexpected end of data"),
        (csv_bytes(TABLE).decode().encode("utf-16"), "row 1: not UTF-8"),
    ],
)
def test_a_table_without_enough_labelled_reviews_is_refused(
    tmp_path: Path, content: bytes, match: str
) -> None:
    refuses(corpus(tmp_path, content), match)


def test_more_labels_than_so_many_rows_allow_are_refused_with_the_number_that_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [(f"review {n}", f"label {n % 20}") for n in range(600)]
    monkeypatch.setattr(labels_module, "MOST_CELLS", 12_000)
    made(corpus(tmp_path / "allowed", csv_bytes(rows)))
    monkeypatch.setattr(labels_module, "MOST_CELLS", 11_999)
    refuses(
        corpus(tmp_path / "more", csv_bytes(rows)),
        "found 20 labels in 600 labelled rows; .* 19 labels are allowed",
    )
    monkeypatch.setattr(labels_module, "SMALL", 20)
    made(corpus(tmp_path / "small", csv_bytes(rows)))


@pytest.mark.parametrize(("labels", "rows"), [(1000, 10_000), (100, 100_000), (14, 630_000), (10, 10**8)])
def test_ordinary_corpora_with_many_labels_are_allowed(labels: int, rows: int) -> None:
    labels_module.check_cells(labels, rows, "rows.csv")


@pytest.mark.parametrize(("labels", "rows", "allowed"), [(1000, 10_001, 999), (300, 100_000, 100)])
def test_more_labels_than_two_minutes_and_gigabytes_allow_are_refused(
    labels: int, rows: int, allowed: int
) -> None:
    match = f"found {labels:,} labels in {rows:,} labelled rows; .* {allowed} labels are allowed; merge"
    with pytest.raises(Refusal, match=match):
        labels_module.check_cells(labels, rows, "rows.csv")


def test_a_label_of_source_yaml_that_no_row_has_is_a_warning(tmp_path: Path) -> None:
    labels = {"bad": "negative", "good": "positive", "so-so": "neutral"}
    _, names, metrics = made(corpus(tmp_path, csv_bytes(TABLE), labels=labels))
    assert names == ["negative", "positive"]
    assert "'so-so'" in metrics["warnings"]["absent_labels"]


def test_labels_that_share_one_name_are_refused_in_one_line(tmp_path: Path) -> None:
    refuses(corpus(tmp_path, csv_bytes(TABLE), labels={"bad": "x", "good": "x"}), r"the labels \['x'\]")


def test_labels_are_dropped_and_merged_by_source_yaml_and_others_keep_their_names(tmp_path: Path) -> None:
    rows = [(f"review {n}", ("bad", "good", "GUT", "N/A")[n % 4]) for n in range(200)]
    labels = {"N/A": None, "GUT": "good"}
    reviews, names, metrics = made(corpus(tmp_path, csv_bytes(rows), labels=labels))
    assert names == ["bad", "good"]
    assert all(row["label"] == (0, 1, 1, None)[int(row["text"].split()[1]) % 4] for row in reviews)
    assert metrics["reviews"]["unlabelled"] == 50
    assert not {"missing_labels", "label_variants"} & set(metrics["warnings"])


def test_labels_that_look_missing_are_unlabelled_unless_they_are_mapped(tmp_path: Path) -> None:
    rows = [(f"review {n}", ("bad", "good", "none", " NaN")[n % 4]) for n in range(200)]
    content = csv_bytes(rows)
    _, names, metrics = made(corpus(tmp_path, content))
    assert (names, metrics["reviews"]["unlabelled"]) == (["bad", "good"], 100)
    assert "100 rows have the label 'NaN', 'none'" in metrics["warnings"]["missing_labels"]
    _, names, metrics = made(corpus(tmp_path, content, labels={"none": "none"}))
    assert (names, metrics["reviews"]["unlabelled"]) == (["none", "bad", "good"], 50)


def test_the_positive_label_is_the_second_and_named_in_labels_json(tmp_path: Path) -> None:
    rows = [(f"review {n}", ("happy", "sad")[n % 2]) for n in range(100)]
    for declared, expected in ((None, ["sad", "happy"]), ("sad", ["happy", "sad"])):
        reviews, names, _ = made(corpus(tmp_path, csv_bytes(rows), positive=declared))
        assert names == expected
        assert all(names[row["label"]] == dict(rows)[row["text"]] for row in reviews)
        labels = json.loads((tmp_path / "made/labels.json").read_text(encoding="utf-8"))
        assert (labels["positive"], labels["order"]) == (expected[1], None)
    refuses_positive = corpus(tmp_path / "c", csv_bytes(rows), positive="hapy")
    refuses(refuses_positive, "positive: found 'hapy' in source.yaml; did you mean happy")


def test_numbers_as_labels_have_an_order_and_source_yaml_may_give_another(tmp_path: Path) -> None:
    rows = [(f"review {n}", n % 5 + 1) for n in range(300)]
    made(corpus(tmp_path, csv_bytes(rows)))
    labels = json.loads((tmp_path / "made/labels.json").read_text(encoding="utf-8"))
    assert labels["order"] == labels["labels"] == ["1", "2", "3", "4", "5"]
    sizes = [(f"review {n}", ("large", "small", "medium")[n % 3]) for n in range(300)]
    made(corpus(tmp_path, csv_bytes(sizes), order=["small", "medium", "large"]))
    labels = json.loads((tmp_path / "made/labels.json").read_text(encoding="utf-8"))
    assert labels["order"] == labels["labels"] == ["small", "medium", "large"]
    refuses(corpus(tmp_path / "c", csv_bytes(sizes), order=["small", "large"]), "not the label 'medium'")


def test_another_corpus_than_the_checked_one_is_refused(tmp_path: Path) -> None:
    params, check, *outputs = paths(corpus(tmp_path, csv_bytes(TABLE)))
    write_json(check, {"corpus": "another"})
    with pytest.raises(Refusal, match="describes the corpus 'another', not"):
        main(params, check, tmp_path, *outputs)


def test_a_label_that_occurs_only_in_test_is_refused(tmp_path: Path) -> None:
    rows = [*official(**HELD_OUT), ("new", "unheard of", "test")]
    folder = corpus(tmp_path, csv_bytes(rows, tuple(SPLIT_COLUMNS)), columns=SPLIT_COLUMNS)
    refuses(folder, "no train review has the label 'unheard of'")


def test_an_unknown_split_is_refused_with_the_nearest_name_and_the_key_to_map_it(tmp_path: Path) -> None:
    rows = [*official(**HELD_OUT), ("new", "good", "tests")]
    folder = corpus(tmp_path, csv_bytes(rows, tuple(SPLIT_COLUMNS)), columns=SPLIT_COLUMNS)
    refuses(folder, "split 'tests'; did you mean test?.*under `splits:` in source.yaml")


def test_fractions_that_leave_no_train_reviews_are_refused(tmp_path: Path) -> None:
    refuses(corpus(tmp_path, csv_bytes(TABLE)), "0 labelled train reviews", test=0.5, validation=0.5)


def test_an_empty_split_is_refused_with_the_parameter_to_raise(tmp_path: Path) -> None:
    refuses(
        corpus(tmp_path, csv_bytes(TABLE)),
        "validation has no reviews; .* raw.validation",
        validation=1e-6,
    )


@pytest.mark.parametrize(
    ("row", "match"),
    [
        ('{"label": "good"}', "review 61.*'text'"),
        ('{"text": "x", "label": ', "row 61: not JSON"),
        ('["x", "good"]', "row 61: found"),
        ("[" * 100_000, "row 61"),
    ],
)
def test_an_invalid_json_line_is_refused_with_its_row(tmp_path: Path, row: str, match: str) -> None:
    rows = jsonl_bytes({"text": text, "label": label} for text, label in TABLE)
    refuses(corpus(tmp_path, rows + row.encode() + b"\n", "r.jsonl"), match)


def test_unencodable_characters_in_labels_and_ids_are_replaced(tmp_path: Path) -> None:
    rows = [{"text": text, "label": f"{label}\ud83d", "id": f"{text}\ud83d"} for text, label in TABLE]
    folder = corpus(tmp_path, jsonl_bytes(rows), "r.jsonl", columns={**COLUMNS, "id": "id"})
    reviews, names, _ = made(folder)
    assert names == ["bad?", "good?"]
    assert {row["id"] for row in reviews} == {f"review {n}?" for n in range(60)}


def test_a_file_that_is_not_parquet_is_refused(tmp_path: Path) -> None:
    refuses(corpus(tmp_path, csv_bytes(TABLE), "r.parquet"), "not a parquet file")


def test_a_missing_archive_member_is_refused(tmp_path: Path) -> None:
    content = zip_bytes({"train.csv": csv_bytes(TABLE)})
    members = {"train": "train.csv", "test": "tset.csv"}
    refuses(corpus(tmp_path, content, "r.zip", members=members), "found no tset.csv")


FOLDERS = {label: {"split": "train", "label": label} for label in ("neg", "pos")}
FILMS = [(f"{('neg', 'pos')[n % 2]}/{n}.txt", noise(n)) for n in range(80)]


@pytest.mark.parametrize("form", ["tar", "tar.gz", "tar.xz", "tar.bz2"])
@pytest.mark.parametrize("share", [0.31, 0.87])
def test_a_truncated_archive_is_refused_even_without_a_checksum(
    tmp_path: Path, form: str, share: float
) -> None:
    content = tar_bytes(FILMS, form.partition(".")[2])
    folder = corpus(tmp_path, content, f"r.{form}", columns=None, folders=FOLDERS)
    assert sum(made(folder)[2]["reviews"].values()) == 80
    cut = content[: int(len(content) * share)]
    broken = corpus(tmp_path / "cut", cut, f"r.{form}", columns=None, folders=FOLDERS)
    refuses(broken, f"(?s)r.{form}: damaged archive.*download it again")


def test_a_damaged_header_inside_an_archive_is_refused(tmp_path: Path) -> None:
    content = bytearray(tar_bytes(FILMS, ""))
    content[content.index(b"neg/40.txt") + 2] ^= 0xFF
    folder = corpus(tmp_path, bytes(content), "r.tar", columns=None, folders=FOLDERS)
    refuses(folder, "(?s)r.tar: damaged archive.*download it again")


def test_a_damaged_zip_is_refused(tmp_path: Path) -> None:
    content = bytearray(
        zip_bytes({"train.csv": csv_bytes((text, n % 2) for n, (_, text) in enumerate(FILMS))})
    )
    content[len(content) // 2] ^= 0xFF
    folder = corpus(tmp_path, bytes(content), "r.zip", members={"train": "train.csv"})
    refuses(folder, "r.zip.*(damaged archive|row)")


def test_a_zip_with_a_password_is_refused(tmp_path: Path) -> None:
    content = bytearray(zip_bytes({"train.csv": csv_bytes(TABLE)}))
    for flags in (6, content.rindex(b"PK\1\2") + 8):
        content[flags] |= 1
    refuses(corpus(tmp_path, bytes(content), "r.zip", members={"train": "train.csv"}), "r.zip")


def test_a_review_that_is_not_utf8_is_refused_with_its_name(tmp_path: Path) -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("pos/1.txt", b"na\xefve")
    folders = {"pos": {"split": "train", "label": "pos"}}
    folder = corpus(tmp_path, file.getvalue(), "r.zip", columns=None, folders=folders)
    refuses(folder, "pos/1.txt is not UTF-8 at byte 2")


def test_a_refused_run_keeps_the_previous_output(tmp_path: Path) -> None:
    made(corpus(tmp_path, csv_bytes(TABLE)))
    before = {path: path.read_bytes() for path in (tmp_path / "made").iterdir()}
    with pytest.raises(Refusal):
        made(corpus(tmp_path, b"text,label\n"))
    assert {path: path.read_bytes() for path in (tmp_path / "made").iterdir()} == before


def test_the_number_of_rows_that_are_read_or_inserted_at_once_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [(text, ("bad", "good", "NaN")[n % 3]) for n, (text, _) in enumerate(TABLE)]
    folder = corpus(tmp_path, csv_bytes([*rows, *rows[:9], ("<br>", "good"), ("a<br> b", "good")]))
    expected = made(folder)
    monkeypatch.setattr(raw, "READ", 7)
    monkeypatch.setattr(store_module, "INSERTED", 3)
    assert made(folder) == expected
    assert expected[2]["dropped"]["empty"] == 1
    assert "23 rows have the label 'NaN'" in expected[2]["warnings"]["missing_labels"]


def test_twice_as_many_rows_take_no_more_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(raw, "READ", raw.READ // 4)
    monkeypatch.setattr(store_module, "BATCH", store_module.BATCH // 16)
    peaks = []
    for rows in (100, 2000, 4000):  # the first run also imports
        folder = corpus(tmp_path, csv_bytes((f"review {n}", "ab"[n % 2]) for n in range(rows)))
        tracemalloc.start()
        params, check, *outputs = paths(folder)
        main(params, check, folder, *outputs)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[2] < 1.1 * peaks[1]


def test_repeated_ids_are_refused(tmp_path: Path) -> None:
    rows = [(*row, "same" if n in (3, 9) else str(n)) for n, row in enumerate(TABLE)]
    corpus(tmp_path, csv_bytes(rows, ("text", "label", "name")), columns={**COLUMNS, "id": "name"})
    refuses(tmp_path, "two reviews have the id 'same'")


def test_a_repeated_column_is_refused(tmp_path: Path) -> None:
    rows = [(*row, row[0]) for row in TABLE]
    corpus(tmp_path, csv_bytes(rows, ("text", "label", "text")))
    refuses(tmp_path, "column 'text' occurs twice")
