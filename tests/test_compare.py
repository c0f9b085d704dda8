"""Compare: the metrics of two runs by hand, invalid input, and runs made by DVC."""

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from math import log
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.lib.command import Refusal
from stages.lib.intervals import resamples
from tests.conftest import ROOT, refused
from tests.test_reproduce import Copy
from tools import compare, predictions, revisions

NAMES = ["bad", "good"]
LABELS = ["bad", "bad", "bad", "good", "good", "good"]
A = [0.1, 0.4, 0.6, 0.8, 0.9, 0.3]  # of "good": wrong on the third and the last
B = [0.2, 0.6, 0.7, 0.9, 0.9, 0.6]  # wrong on the second and the third
HASHES = [f"hash {n}" for n in range(300)]


def table(probabilities: Sequence[float], labels: Sequence[str] = LABELS, hashes: bool = True) -> pa.Table:
    """data/predictions.parquet of two labels."""
    predicted = [NAMES[int(p >= 0.5)] for p in probabilities]
    columns = {
        "id": [f"r{n:03}" for n in range(len(labels))],
        "label": list(labels),
        "predicted": predicted,
        "probability": [max(p, 1 - p) for p in probabilities],
        "probability_bad": [1 - p for p in probabilities],
        "probability_good": list(probabilities),
    }
    return pa.table(columns | ({"text_hash": HASHES[: len(labels)]} if hashes else {}))


def run_of(folder: Path, rows: pa.Table) -> predictions.Predictions:
    pq.write_table(rows, folder / "predictions.parquet")
    return predictions.read(folder / "predictions.parquet", "A")


def revision(name: str, **params: Any) -> revisions.Revision:
    return revisions.Revision(name, "", {"classifier": params}, {}, Path())


@pytest.fixture
def sides(tmp_path: Path) -> Callable[..., predictions.Side]:
    """A side of the comparison given the probabilities of its runs, with seeds 1, 2, ..."""

    def make(*runs: Sequence[float], labels: Sequence[str] = LABELS, **params: Any) -> predictions.Side:
        made = [run_of(tmp_path, table(probabilities, labels)) for probabilities in runs]
        named = [revision(f"run{n}", seed=n, **params) for n in range(1, len(runs) + 1)]
        return predictions.Side(named, made)

    return make


Sides = Callable[..., predictions.Side]


def test_two_runs_by_hand(sides: Sides) -> None:
    result = compare.compare(sides(A, lr=0.1), sides(B, lr=0.2), 200, seed=1, shown=10)
    assert result["rows"] == 6
    figures = result["metrics"]
    assert list(figures) == [
        "accuracy",
        "precision",
        "recall",
        "f1",
        "mcc",
        "log_loss",
        "brier",
        "roc_auc",
        "pr_auc",
    ]
    expected = {
        "accuracy": (4 / 6, 4 / 6),
        "precision": (2 / 3, 3 / 5),
        "recall": (2 / 3, 1),
        "f1": (2 / 3, 3 / 4),
        "mcc": (3 / 9, 3 / np.sqrt(5 * 1 * 9)),
        "log_loss": tuple(-sum(map(log, p)) / 6 for p in ([0.9, 0.6, 0.4, *A[3:]], [0.8, 0.4, 0.3, *B[3:]])),
        "brier": tuple(
            sum(p * p for p in off) / 6 for off in ([*A[:3], 0.2, 0.1, 0.7], [*B[:3], 0.1, 0.1, 0.4])
        ),
        "roc_auc": (7 / 9, 7.5 / 9),
    }
    for name, pair in expected.items():
        row = figures[name]
        assert (row["a"], row["b"]) == pytest.approx(pair, abs=1e-6), name
        assert row["difference"] == pytest.approx(pair[1] - pair[0], abs=1e-6)
        assert row["low"] <= row["difference"] <= row["high"]
    # Each is the only one to predict one row correctly.
    assert result["mcnemar"] == {"only_a_right": 1, "only_b_right": 1, "p": 1.0}
    assert result["parameters"] == {"classifier.lr": {"a": [0.1], "b": [0.2]}}
    flipped = result["changed_predictions"]
    assert (flipped["rows"], flipped["became_correct"], flipped["became_wrong"]) == (2, 1, 1)
    assert flipped["shown"] == [
        {
            "id": "r005",
            "label": "good",
            "a": {"predicted": "bad", "probability": 0.7},
            "b": {"predicted": "good", "probability": 0.6},
        },
        {
            "id": "r001",
            "label": "bad",
            "a": {"predicted": "bad", "probability": 0.6},
            "b": {"predicted": "good", "probability": 0.6},
        },
    ]


def test_the_number_of_changed_rows_shown_is_limited_and_all_are_counted(sides: Sides) -> None:
    for shown in (0, 1):
        flipped = compare.changed_predictions(sides(A), sides(B), shown)
        assert (flipped["rows"], len(flipped["shown"])) == (2, shown)


def test_mcnemar_and_its_p_by_hand(sides: Sides) -> None:
    labels = ["good"] * 6
    result = compare.compare(sides([0.1] * 6, labels=labels), sides([0.9] * 6, labels=labels), 10, 1, 0)
    assert result["mcnemar"] == {"only_a_right": 0, "only_b_right": 6, "p": 0.0312}  # 2 / 2 ** 6
    # With one label the areas are undefined and left out.
    assert "roc_auc" not in result["metrics"]
    json.dumps(result, allow_nan=False)


def test_the_interval_is_that_of_paired_resamples(sides: Sides) -> None:
    generator = np.random.default_rng(0)
    labels = [NAMES[n] for n in generator.integers(0, 2, 300)]
    a = np.clip(np.array([n == "good" for n in labels]) * 0.4 + generator.random(300) * 0.6, 0.01, 0.99)
    b = np.clip(a + generator.normal(0, 0.05, 300), 0.01, 0.99)
    row = compare.metrics(sides(a, labels=labels), sides(b, labels=labels), 500, seed=3)["accuracy"]
    right = [(p >= 0.5) == (np.array(labels) == "good") for p in (a, b)]
    weights = np.concatenate(list(resamples(300, 500, 3)))
    drawn = weights @ (right[1].astype(int) - right[0]) / 300
    assert (row["low"], row["high"]) == pytest.approx(tuple(np.quantile(drawn, [0.025, 0.975])), abs=1e-6)
    apart = np.quantile(weights @ right[1] / 300 - np.roll(weights @ right[0] / 300, 1), [0.025, 0.975])
    assert row["high"] - row["low"] < 0.7 * (apart[1] - apart[0])


def test_a_run_does_not_differ_from_itself(sides: Sides) -> None:
    result = compare.compare(sides(A), sides(A), 100, 1, 10)
    assert all(row["low"] == row["difference"] == row["high"] == 0 for row in result["metrics"].values())
    assert result["mcnemar"]["p"] == 1
    assert not result["parameters"]
    assert not result["changed_predictions"]["rows"]


@given(
    st.lists(st.tuples(*[st.floats(0.01, 0.99)] * 2, st.sampled_from(NAMES)), min_size=1, max_size=12),
    st.randoms(use_true_random=False),
)
@settings(deadline=None, max_examples=30)
def test_neither_the_order_of_rows_nor_of_sides_matters(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[float, float, str]], random: Any
) -> None:
    folder = tmp_path_factory.mktemp("rows")
    a, b, labels = zip(*rows, strict=True)
    order = list(range(len(rows)))
    random.shuffle(order)

    def side(probabilities: Sequence[float], order: Sequence[int]) -> predictions.Side:
        rows = table(probabilities, labels, hashes=False).take(pa.array(order))
        return predictions.Side([revision("x")], [run_of(folder, rows)])

    straight = range(len(rows))
    one = compare.compare(side(a, straight), side(b, straight), 20, 1, 5)
    assert compare.compare(side(a, order), side(b, straight), 20, 1, 5) == one
    other = compare.compare(side(b, straight), side(a, order), 20, 1, 5)
    for name, row in one["metrics"].items():
        assert other["metrics"][name]["difference"] == pytest.approx(-row["difference"], abs=2e-6)
        assert other["metrics"][name]["low"] == pytest.approx(-row["high"], abs=2e-6)
    assert other["mcnemar"]["p"] == one["mcnemar"]["p"]
    assert other["changed_predictions"]["became_wrong"] == one["changed_predictions"]["became_correct"]


def test_three_labels(tmp_path: Path) -> None:
    probabilities = np.array([[0.6, 0.3, 0.1], [0.2, 0.5, 0.3], [0.1, 0.2, 0.7], [0.5, 0.4, 0.1]])
    names = ["a", "b", "c"]
    columns = {
        "id": list("wxyz"),
        "label": ["a", "b", "c", "b"],
        "predicted": [names[n] for n in probabilities.argmax(1)],
        **{f"probability_{name}": probabilities[:, n] for n, name in enumerate(names)},
    }
    run = run_of(tmp_path, pa.table(columns))
    one = predictions.Side([revision("x")], [run])
    result = compare.compare(one, one, 50, 1, 1)
    assert result["metrics"]["accuracy"]["a"] == 0.75
    assert result["metrics"]["recall"]["a"] == pytest.approx((1 + 1 / 2 + 1) / 3, abs=1e-6)


# Several seeds


def test_several_seeds_are_reported_by_their_mean(sides: Sides) -> None:
    right = [0.1, 0.1, 0.1, 0.9, 0.9, 0.9]
    result = compare.compare(sides(A, B, right), sides(B, B), 100, 1, 10)
    row = result["metrics"]["accuracy"]
    assert row["a_runs"] == pytest.approx([4 / 6, 4 / 6, 1], abs=1e-6)
    assert row["a"] == pytest.approx((4 / 6 + 4 / 6 + 1) / 3, abs=1e-6)
    assert row["difference"] == pytest.approx(4 / 6 - row["a"], abs=1e-6)
    assert "mcnemar" not in result
    assert result["parameters"] == {"classifier.seed": {"a": [1, 2, 3], "b": [1, 2]}}
    text = compare.markdown(result)
    assert "| accuracy" in text
    assert "0.6667 to 1.0000" in text
    assert "McNemar" not in text


def test_the_interval_of_seeds_is_that_of_the_mean_difference(sides: Sides) -> None:
    rights = [np.array([p >= 0.5 for p in run]) == [n == "good" for n in LABELS] for run in (A, B)]
    row = compare.metrics(sides(A, B), sides(B, B), 300, seed=2)["accuracy"]
    difference = rights[1] - (rights[0].astype(float) + rights[1]) / 2  # (N,)
    drawn = np.concatenate(list(resamples(6, 300, 2))) @ difference / 6
    assert (row["low"], row["high"]) == pytest.approx(tuple(np.quantile(drawn, [0.025, 0.975])), abs=1e-6)


def test_the_majority_of_runs_decides_and_the_mean_probability_breaks_a_tie(sides: Sides) -> None:
    assert sides([0.4], [0.45], [0.99], labels=["bad"]).predicted().tolist() == [0]
    assert sides([0.4], [0.7], labels=["bad"]).predicted().tolist() == [1]
    assert sides([0.3], [0.6], labels=["bad"]).predicted().tolist() == [0]
    assert sides([0.3], [0.6], labels=["bad"]).probabilities()[0].tolist() == pytest.approx([0.55, 0.45])


# Invalid input


def change(rows: pa.Table, column: str, values: Sequence[Any]) -> pa.Table:
    return rows.set_column(rows.column_names.index(column), column, pa.array(values))


def checked(folder: Path, *tables: pa.Table) -> None:
    predictions.check_rows([(name, run_of(folder, rows)) for name, rows in zip("AB", tables, strict=False)])


def test_rows_in_another_order_are_accepted(tmp_path: Path) -> None:
    checked(tmp_path, table(A), table(B).take(pa.array([3, 1, 0, 5, 4, 2])))


def test_a_run_without_hashes_is_compared_without_texts_and_this_is_reported(tmp_path: Path) -> None:
    checked(tmp_path, table(A), table(B, hashes=False))
    a, b = (
        predictions.Side([revision("x")], [run_of(tmp_path, rows)])
        for rows in (table(A), table(B, hashes=False))
    )
    result = compare.compare(a, b, 10, 1, 1)
    assert "texts were not compared" in compare.markdown(result)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (table(B).slice(0, 4), "2 only in A; 4 have the same id"),
        (change(table(B), "id", ["r000", "r001", "r002", "r003", "x", "y"]), "2 only in A, 2 only in B; 4 "),
        (change(table(B), "label", ["good", *LABELS[1:]]), "1 with another label; 6 "),
        (change(table(B), "text_hash", ["other", "one", *HASHES[2:6]]), "2 with another text; 6 "),
        (
            table(B).rename_columns([name.replace("bad", "poor") for name in table(B).column_names]),
            "labels",
        ),
    ],
)
def test_different_rows_are_refused_and_counted(tmp_path: Path, other: pa.Table, message: str) -> None:
    if message == "labels":
        other = change(change(other, "label", ["poor"] * 6), "predicted", ["poor"] * 6)
        message = "A bad, good and B poor, good"
    with pytest.raises(Refusal, match=message):
        checked(tmp_path, table(A), other)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (table(A).drop_columns(["predicted"]), "no column 'predicted'"),
        (change(table(A), "id", ["r000"] * 6), "a repeated id"),
        (table(A).slice(0, 0), "no row"),
        (table(A).drop_columns(["probability_bad"]), "a label without probabilities"),
    ],
)
def test_invalid_predictions_are_refused(tmp_path: Path, rows: pa.Table, message: str) -> None:
    with pytest.raises(Refusal, match=f"^A: data/predictions.parquet has .*{message}"):
        run_of(tmp_path, rows)


# Markdown


def test_no_id_or_label_breaks_the_table(tmp_path: Path) -> None:
    odd = "a|b\n<img src=x>"
    rows = [change(table(p), "id", [f"{odd}{n}" for n in range(6)]) for p in (A, B)]
    a, b = (predictions.Side([revision(odd)], [run_of(tmp_path, part)]) for part in rows)
    text = compare.markdown(compare.compare(a, b, 10, 1, 10))
    assert "<img" not in text
    lines = [line for line in text.splitlines() if line.startswith("| a")]
    assert len([line for line in lines if line.replace(r"\|", "").count("|") == 7]) == 2


# Revisions made by DVC

STAGES_OF_THE_TEST = {
    "classifier": {
        "cmd": "python make.py classifier",
        "deps": ["make.py"],
        "params": ["classifier"],
        "outs": ["data/classifier.json"],
    },
    "evaluation": {
        "cmd": "python make.py evaluation",
        "deps": ["make.py", "data/classifier.json"],
        "params": ["evaluation"],
        "outs": ["data/predictions.parquet"],
    },
    "report": {
        "cmd": "cp data/classifier.json data/report.json",
        "deps": ["data/classifier.json"],
        "params": ["report"],
        "outs": ["data/report.json"],
    },
}
MAKE = """
import json, sys, yaml
import pyarrow as pa, pyarrow.parquet as pq
params = yaml.safe_load(open("params.yaml"))
if sys.argv[1] == "classifier":
    lr, seed = params["classifier"]["lr"], params["classifier"]["seed"]
    probabilities = [lr * ((n * 7 + seed) % 20) / 20 + (1 - lr) * (n % 2) for n in range(40)]
    json.dump(probabilities, open("data/classifier.json", "w"))
else:
    probabilities = json.load(open("data/classifier.json"))
    names = ["bad", "good"]
    pq.write_table(pa.table({
        "id": [str(n) for n in range(40)],
        "label": [names[n % 2] for n in range(40)],
        "predicted": [names[p >= params["evaluation"]["threshold"]] for p in probabilities],
        "probability_bad": [1 - p for p in probabilities],
        "probability_good": probabilities,
    }), "data/predictions.parquet")
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Copy]:
    """A repository with two commits, a tag, a branch and an experiment, and the runs in DVC's cache."""
    folder = tmp_path_factory.mktemp("revisions")
    made = Copy(folder)
    dvc = [sys.executable, "-m", "dvc"]
    params: dict[str, Any] = {
        "classifier": {"lr": 0.8, "seed": 1},
        "evaluation": {"threshold": 0.5},
        "report": {"words": ["a"]},
    }

    def commit(message: str, repro: bool = True) -> None:
        (folder / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
        if repro:
            made.run(*dvc, "repro", "--quiet")
        made.run("git", "add", "--all")
        made.run("git", "commit", "--quiet", "--message", message)

    made.run("git", "init", "--quiet", "--initial-branch=main")
    (folder / "data").mkdir()
    (folder / "make.py").write_text(MAKE, encoding="utf-8")
    (folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": STAGES_OF_THE_TEST}), encoding="utf-8")
    (folder / ".gitignore").write_text("/data/*\n", encoding="utf-8")
    (folder / "params.yaml").write_text("{}", encoding="utf-8")
    made.run("git", "add", "--all")
    made.run("git", "commit", "--quiet", "--message", "before DVC")
    made.run("git", "tag", "before")
    made.run(*dvc, "init", "--quiet")
    commit("one")
    made.run("git", "tag", "--annotate", "one", "--message", "the first")
    params["classifier"]["lr"] = 0.9
    params["report"]["words"] = ["a", "b"]
    commit("two")
    made.run(*dvc, "exp", "run", "--quiet", "--name", "seed-2", "-S", "classifier.seed=2")
    made.run("git", "checkout", "--quiet", ".")
    made.run("git", "checkout", "--quiet", "-b", "stale")
    params["classifier"]["lr"] = 1.0
    commit("changed and not run", repro=False)
    made.run("git", "checkout", "--quiet", "main")
    made.run(*dvc, "checkout", "--quiet")
    yield made
    shutil.rmtree(folder)


def run_compare(made: Copy, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tools.compare", *arguments],
        cwd=made.folder,
        env=made.environment | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


def refuse_constant(constant: str) -> NoReturn:
    raise AssertionError(f"{constant} is not JSON")


def test_two_commits_are_compared_without_a_checkout(made: Copy) -> None:
    before = made.run("git", "status", "--porcelain"), (made.folder / predictions.PREDICTIONS).read_bytes()
    done = run_compare(made, "one", "main", "--format", "json")
    assert (done.returncode, done.stderr) == (0, "")
    result = json.loads(done.stdout, parse_constant=refuse_constant)
    assert result["a"] == [{"name": "one", "commit": made.run("git", "rev-parse", "one^{commit}").strip()}]
    assert result["parameters"] == {
        "classifier.lr": {"a": [0.8], "b": [0.9]},
        "report.words": {"a": [["a"]], "b": [["a", "b"]]},
    }
    assert result["inputs"] == []
    assert result["rows"] == 40
    one = np.array([0.8 * ((n * 7 + 1) % 20) / 20 + 0.2 * (n % 2) for n in range(40)])
    right = (one >= 0.5) == (np.arange(40) % 2 == 1)
    assert result["metrics"]["accuracy"]["a"] == pytest.approx(right.mean())
    assert before == (
        made.run("git", "status", "--porcelain"),
        (made.folder / predictions.PREDICTIONS).read_bytes(),
    )


def test_experiments_are_found_by_name_and_several_seeds_form_one_side(made: Copy) -> None:
    done = run_compare(made, "one", "main,seed-2", "--resamples", "50")
    assert done.returncode == 0, done.stderr
    assert "- B: main (" in done.stdout
    assert "seed-2 (" in done.stdout
    assert "| classifier.seed |" in done.stdout
    assert "1, 2 |" in done.stdout


def test_the_workspace_is_a_revision_and_the_same_seed_gives_the_same_bytes(
    made: Copy, tmp_path: Path
) -> None:
    outputs = [tmp_path / name for name in ("a.md", "b.md", "c.md")]
    for output, seed in zip(outputs, "112", strict=True):
        done = run_compare(made, "one", "workspace", "--seed", seed, "--output", str(output), "--flips", "1")
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    first, second, other = (output.read_text(encoding="utf-8") for output in outputs)
    assert first == second
    assert first != other
    assert "- B: workspace\n" in first
    assert "Shown are the 1" in first


def test_flipped_texts_are_escaped_and_shortened(
    sides: Sides, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    a, b = sides(A), sides(B)
    result = compare.compare(a, b, 10, 1, shown=10)
    compare.add_texts(result, a)  # this run has no texts
    assert "text" not in compare.markdown(result).partition("## Changed predictions")[2]
    (tmp_path / "data").mkdir()
    texts = ["<b>|\x1b[31m\nfine" + " film" * 30] + [f"text {n}" for n in range(5)]
    raw = pa.table({"id": [f"r{n:03}" for n in range(5, -1, -1)], "text": texts})
    pq.write_table(raw, tmp_path / compare.RAW)
    md5 = hashlib.md5((tmp_path / compare.RAW).read_bytes()).hexdigest()
    stages = {"raw": {"outs": [{"path": compare.RAW, "md5": md5}]}}
    compare.add_texts(result, a._replace(revisions=[revisions.Revision("a", "", {}, stages, Path())]))
    shown = [row["text"] for row in result["changed_predictions"]["shown"]]
    assert shown[1] == "text 3"
    assert len(shown[0]) == compare.SHOWN
    printed = compare.markdown(result)
    assert "&lt;b&gt;\\| \\[31m fine film" in printed
    assert "\x1b" not in printed


def test_the_positive_label_and_the_order_of_a_run_are_used(tmp_path: Path) -> None:
    described = {b"labels": json.dumps({"positive": "bad", "order": NAMES}).encode()}
    plain, marked = (run_of(tmp_path, table(A).replace_schema_metadata(m)) for m in (None, described))
    assert (plain.known.positive, marked.known.positive) == (1, 0)
    ones = np.ones((1, 6), np.int32)
    old, new = (predictions.Side([revision("x")], [r]).metrics(areas=False)(ones) for r in (plain, marked))
    assert (old["precision"][0], new["recall"][0]) == pytest.approx((2 / 3, 2 / 3))
    assert new["mean_absolute_error"][0] == pytest.approx(2 / 6)
    assert "mean_absolute_error" not in old


def test_an_error_is_one_line(made: Copy) -> None:
    assert refused(
        run_compare(made, "one", "mian"), "compare: unknown Git revision 'mian'", "an experiment", "workspace"
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["one", ""], "a revision without a name"),
        (["one,", "main"], "a revision without a name"),
        (["one", "before"], "before: no dvc.lock in commit .{7};"),
        (["one", "stale"], r"stale: params.yaml was changed after .* \(classifier.lr\); run `dvc repro`"),
        (
            ["one,main", "seed-2"],
            "one,main: these differ in classifier.lr, report.words; the runs of",
        ),
        (["main,HEAD", "seed-2"], "main,HEAD: these differ in no seed"),
        (["one", "main", "--resamples", "0"], "--resamples: found 0, expected 1 or more"),
        (["one", "main", "--flips", "-1"], "--flips: found -1"),
        (["one", "main", "--seed", "-1"], "--seed: found -1"),
    ],
)
def test_invalid_arguments_are_refused(
    made: Copy, monkeypatch: pytest.MonkeyPatch, words: list[str], message: str
) -> None:
    monkeypatch.chdir(made.folder)
    with pytest.raises(Refusal, match=message):
        compare.main(words)


def test_a_folder_outside_a_repository_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Refusal, match="not inside of a DVC repository"):
        compare.main(["one", "two"])


def test_a_missing_or_damaged_file_in_the_cache_is_refused(
    made: Copy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(made.folder)
    kept = revisions.find(["one"])[0].file(predictions.PREDICTIONS)
    whole = kept.read_bytes()
    kept.unlink()
    try:
        with pytest.raises(
            Refusal, match=r"^one: data/predictions.parquet is not in DVC's cache; `git checkout one`"
        ):
            compare.main(["one", "main"])
        kept.write_bytes(whole[:-1])
        with pytest.raises(Refusal, match=f"^{kept}: damaged; remove it"):
            compare.main(["one", "main"])
    finally:
        kept.unlink(missing_ok=True)
        kept.write_bytes(whole)


def test_a_workspace_with_changed_files_is_refused(made: Copy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(made.folder)
    params = Path("params.yaml").read_text(encoding="utf-8")
    file = Path(predictions.PREDICTIONS)
    whole = file.read_bytes()
    try:
        Path("params.yaml").write_text(params.replace("0.9", "0.7"), encoding="utf-8")
        with pytest.raises(Refusal, match=r"^workspace: params.yaml was changed after .*classifier.lr"):
            compare.main(["one", "workspace"])
        # Parameters that the predictions do not depend on may be changed.
        Path("params.yaml").write_text(params.replace("words:", "others: [c]\n  words:"), encoding="utf-8")
        file.unlink()
        with pytest.raises(
            Refusal, match=r"^workspace: data/predictions.parquet is missing; run `dvc repro`"
        ):
            compare.main(["one", "workspace"])
        file.write_bytes(whole + b"x")
        with pytest.raises(Refusal, match=r"is not the one in dvc\.lock"):
            compare.main(["one", "workspace"])
    finally:
        Path("params.yaml").write_text(params, encoding="utf-8")
        file.unlink(missing_ok=True)
        file.write_bytes(whole)
