"""Compare: the figures of two runs by hand, what is refused, and runs that DVC made."""

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
from hypothesis import given
from hypothesis import strategies as st

from stages.lib.command import Refusal
from stages.lib.intervals import resamples
from tests.conftest import ROOT, refused
from tests.test_reproduce import Copy
from tools import compare, revisions

NAMES = ["bad", "good"]
TRUTH = ["bad", "bad", "bad", "good", "good", "good"]
A = [0.1, 0.4, 0.6, 0.8, 0.9, 0.3]  # of "good": wrong on the third and the last
B = [0.2, 0.6, 0.7, 0.9, 0.9, 0.6]  # wrong on the second and the third
HASHES = [f"hash {n}" for n in range(300)]


def table(chances: Sequence[float], truth: Sequence[str] = TRUTH, hashes: bool = True) -> pa.Table:
    """data/predictions.parquet of two labels."""
    guess = [NAMES[int(p >= 0.5)] for p in chances]
    columns = {
        "id": [f"r{n:03}" for n in range(len(truth))],
        "label": list(truth),
        "predicted": guess,
        "probability": [max(p, 1 - p) for p in chances],
        "probability_bad": [1 - p for p in chances],
        "probability_good": list(chances),
    }
    return pa.table(columns | ({"text_hash": HASHES[: len(truth)]} if hashes else {}))


def run_of(folder: Path, rows: pa.Table) -> compare.Predictions:
    pq.write_table(rows, folder / "predictions.parquet")
    return compare.read(folder / "predictions.parquet", "A")


def revision(name: str, **params: Any) -> revisions.Revision:
    return revisions.Revision(name, "", {"classifier": params}, {}, Path())


@pytest.fixture
def sides(tmp_path: Path) -> Callable[..., compare.Side]:
    """A side of the comparison from the probabilities of its runs, which have the seeds 1, 2..."""

    def make(*runs: Sequence[float], truth: Sequence[str] = TRUTH, **params: Any) -> compare.Side:
        made = [run_of(tmp_path, table(chances, truth)) for chances in runs]
        named = [revision(f"run{n}", seed=n, **params) for n in range(1, len(runs) + 1)]
        return compare.Side(named, made)

    return make


Sides = Callable[..., compare.Side]


def test_two_runs_by_hand(sides: Sides) -> None:
    found = compare.compare(sides(A, lr=0.1), sides(B, lr=0.2), 200, seed=1, shown=10)
    assert found["rows"] == 6
    figures = found["figures"]
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
    wanted = {
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
    for name, pair in wanted.items():
        row = figures[name]
        assert (row["a"], row["b"]) == pytest.approx(pair, abs=1e-6), name
        assert row["difference"] == pytest.approx(pair[1] - pair[0], abs=1e-6)
        assert row["low"] <= row["difference"] <= row["high"]
    # Each alone is right on one row: as likely as not.
    assert found["mcnemar"] == {"only_a_right": 1, "only_b_right": 1, "p": 1.0}
    assert found["parameters"] == {"classifier.lr": {"a": [0.1], "b": [0.2]}}
    flipped = found["flipped"]
    assert (flipped["rows"], flipped["turned_right"], flipped["turned_wrong"]) == (2, 1, 1)
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


def test_so_many_flipped_rows_are_shown_and_all_are_counted(sides: Sides) -> None:
    for shown in (0, 1):
        flipped = compare.flipped(sides(A), sides(B), shown)
        assert (flipped["rows"], len(flipped["shown"])) == (2, shown)


def test_mcnemar_and_its_p_by_hand(sides: Sides) -> None:
    truth = ["good"] * 6
    found = compare.compare(sides([0.1] * 6, truth=truth), sides([0.9] * 6, truth=truth), 10, 1, 0)
    assert found["mcnemar"] == {"only_a_right": 0, "only_b_right": 6, "p": 0.0312}  # 2 / 2 ** 6
    # With one label the areas are undefined, and left out.
    assert "roc_auc" not in found["figures"]
    json.dumps(found, allow_nan=False)


def test_the_interval_is_that_of_paired_draws(sides: Sides) -> None:
    generator = np.random.default_rng(0)
    truth = [NAMES[n] for n in generator.integers(0, 2, 300)]
    a = np.clip(np.array([n == "good" for n in truth]) * 0.4 + generator.random(300) * 0.6, 0.01, 0.99)
    b = np.clip(a + generator.normal(0, 0.05, 300), 0.01, 0.99)
    row = compare.figures(sides(a, truth=truth), sides(b, truth=truth), 500, seed=3)["accuracy"]
    right = [(p >= 0.5) == (np.array(truth) == "good") for p in (a, b)]
    weights = np.concatenate(list(resamples(300, 500, 3)))
    drawn = weights @ (right[1].astype(int) - right[0]) / 300
    assert (row["low"], row["high"]) == pytest.approx(tuple(np.quantile(drawn, [0.025, 0.975])), abs=1e-6)
    apart = np.quantile(weights @ right[1] / 300 - np.roll(weights @ right[0] / 300, 1), [0.025, 0.975])
    assert row["high"] - row["low"] < 0.7 * (apart[1] - apart[0])


def test_a_run_does_not_differ_from_itself(sides: Sides) -> None:
    found = compare.compare(sides(A), sides(A), 100, 1, 10)
    assert all(row["low"] == row["difference"] == row["high"] == 0 for row in found["figures"].values())
    assert found["mcnemar"]["p"] == 1
    assert not found["parameters"]
    assert not found["flipped"]["rows"]


@given(
    st.lists(st.tuples(*[st.floats(0.01, 0.99)] * 2, st.sampled_from(NAMES)), min_size=1, max_size=12),
    st.randoms(use_true_random=False),
)
def test_neither_the_order_of_rows_nor_of_sides_matters(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[float, float, str]], random: Any
) -> None:
    folder = tmp_path_factory.mktemp("rows")
    a, b, truth = zip(*rows, strict=True)
    order = list(range(len(rows)))
    random.shuffle(order)

    def side(chances: Sequence[float], order: Sequence[int]) -> compare.Side:
        rows = table(chances, truth, hashes=False).take(pa.array(order))
        return compare.Side([revision("x")], [run_of(folder, rows)])

    straight = range(len(rows))
    one = compare.compare(side(a, straight), side(b, straight), 20, 1, 5)
    assert compare.compare(side(a, order), side(b, straight), 20, 1, 5) == one
    other = compare.compare(side(b, straight), side(a, order), 20, 1, 5)
    for name, row in one["figures"].items():
        assert other["figures"][name]["difference"] == pytest.approx(-row["difference"], abs=2e-6)
        assert other["figures"][name]["low"] == pytest.approx(-row["high"], abs=2e-6)
    assert other["mcnemar"]["p"] == one["mcnemar"]["p"]
    assert other["flipped"]["turned_wrong"] == one["flipped"]["turned_right"]


def test_three_labels(tmp_path: Path) -> None:
    chances = np.array([[0.6, 0.3, 0.1], [0.2, 0.5, 0.3], [0.1, 0.2, 0.7], [0.5, 0.4, 0.1]])
    names = ["a", "b", "c"]
    columns = {
        "id": list("wxyz"),
        "label": ["a", "b", "c", "b"],
        "predicted": [names[n] for n in chances.argmax(1)],
        **{f"probability_{name}": chances[:, n] for n, name in enumerate(names)},
    }
    run = run_of(tmp_path, pa.table(columns))
    one = compare.Side([revision("x")], [run])
    found = compare.compare(one, one, 50, 1, 1)
    assert found["figures"]["accuracy"]["a"] == 0.75
    assert found["figures"]["recall"]["a"] == pytest.approx((1 + 1 / 2 + 1) / 3, abs=1e-6)


# Several seeds


def test_seeds_are_told_by_their_mean_and_never_by_the_best(sides: Sides) -> None:
    right = [0.1, 0.1, 0.1, 0.9, 0.9, 0.9]
    found = compare.compare(sides(A, B, right), sides(B, B), 100, 1, 10)
    row = found["figures"]["accuracy"]
    assert row["a_runs"] == pytest.approx([4 / 6, 4 / 6, 1], abs=1e-6)
    assert row["a"] == pytest.approx((4 / 6 + 4 / 6 + 1) / 3, abs=1e-6)
    assert row["difference"] == pytest.approx(4 / 6 - row["a"], abs=1e-6)
    assert "mcnemar" not in found
    assert found["parameters"] == {"classifier.seed": {"a": [1, 2, 3], "b": [1, 2]}}
    told = compare.markdown(found)
    assert "| accuracy" in told
    assert "0.6667 to 1.0000" in told
    assert "McNemar" not in told


def test_the_interval_of_seeds_is_that_of_the_mean_difference(sides: Sides) -> None:
    rights = [np.array([p >= 0.5 for p in run]) == [n == "good" for n in TRUTH] for run in (A, B)]
    row = compare.figures(sides(A, B), sides(B, B), 300, seed=2)["accuracy"]
    difference = rights[1] - (rights[0].astype(float) + rights[1]) / 2  # (N,)
    drawn = np.concatenate(list(resamples(6, 300, 2))) @ difference / 6
    assert (row["low"], row["high"]) == pytest.approx(tuple(np.quantile(drawn, [0.025, 0.975])), abs=1e-6)


def test_most_runs_decide_and_the_mean_breaks_a_tie(sides: Sides) -> None:
    assert sides([0.4], [0.45], [0.99], truth=["bad"]).guess().tolist() == [0]
    assert sides([0.4], [0.7], truth=["bad"]).guess().tolist() == [1]
    assert sides([0.3], [0.6], truth=["bad"]).guess().tolist() == [0]
    assert sides([0.3], [0.6], truth=["bad"]).chances()[0].tolist() == pytest.approx([0.55, 0.45])


# What is refused


def change(rows: pa.Table, column: str, values: Sequence[Any]) -> pa.Table:
    return rows.set_column(rows.column_names.index(column), column, pa.array(values))


def checked(folder: Path, *tables: pa.Table) -> None:
    compare.check_rows([(name, run_of(folder, rows)) for name, rows in zip("AB", tables, strict=False)])


def test_the_same_rows_in_another_order_are_the_same(tmp_path: Path) -> None:
    checked(tmp_path, table(A), table(B).take(pa.array([3, 1, 0, 5, 4, 2])))


def test_texts_of_an_older_run_are_not_compared_and_that_is_said(tmp_path: Path) -> None:
    checked(tmp_path, table(A), table(B, hashes=False))
    runs = [run_of(tmp_path, table(A)), run_of(tmp_path, table(B, hashes=False))]
    found = compare.compare(*(compare.Side([revision("x")], [run]) for run in runs), 10, 1, 1)
    assert "texts were not compared" in compare.markdown(found)


@pytest.mark.parametrize(
    ("other", "told"),
    [
        (table(B).slice(0, 4), "2 only in A; 4 have the same id"),
        (change(table(B), "id", ["r000", "r001", "r002", "r003", "x", "y"]), "2 only in A, 2 only in B; 4 "),
        (change(table(B), "label", ["good", *TRUTH[1:]]), "1 with another label; 6 "),
        (change(table(B), "text_hash", ["other", "one", *HASHES[2:6]]), "2 with another text; 6 "),
        (
            table(B).rename_columns([name.replace("bad", "poor") for name in table(B).column_names]),
            "labels",
        ),
    ],
)
def test_other_rows_are_refused_and_counted(tmp_path: Path, other: pa.Table, told: str) -> None:
    if told == "labels":
        other = change(change(other, "label", ["poor"] * 6), "predicted", ["poor"] * 6)
        told = "A bad, good and B poor, good"
    with pytest.raises(Refusal, match=told):
        checked(tmp_path, table(A), other)


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        (table(A).drop_columns(["predicted"]), "no column 'predicted'"),
        (change(table(A), "id", ["r000"] * 6), "an id twice"),
        (table(A).slice(0, 0), "no row"),
        (table(A).drop_columns(["probability_bad"]), "a label without probabilities"),
    ],
)
def test_predictions_that_are_none_are_refused(tmp_path: Path, rows: pa.Table, told: str) -> None:
    with pytest.raises(Refusal, match=f"^A: data/predictions.parquet has .*{told}"):
        run_of(tmp_path, rows)


# What is told


def test_a_cell_is_text_and_nothing_else(sides: Sides) -> None:
    assert compare.cell("a|b\r\n<script>`x`</script>") == r"a\|b  &lt;script&gt;\`x\`&lt;/script&gt;"
    assert compare.cell("**b** [l](u) ~~s~~ \x1b[31m _i_") == r"\*\*b\*\* \[l\](u) \~\~s\~\~  \[31m \_i\_"
    assert compare.cell("classifier.min_count &amp;") == "classifier.min_count &amp;amp;"


def test_no_id_or_label_breaks_the_table(tmp_path: Path) -> None:
    odd = "a|b\n<img src=x>"
    rows = [change(table(p), "id", [f"{odd}{n}" for n in range(6)]) for p in (A, B)]
    sides = [compare.Side([revision(odd)], [run_of(tmp_path, part)]) for part in rows]
    told = compare.markdown(compare.compare(*sides, 10, 1, 10))
    assert "<img" not in told
    lines = [line for line in told.splitlines() if line.startswith("| a")]
    assert len([line for line in lines if line.replace(r"\|", "").count("|") == 7]) == 2


# Revisions that DVC made

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
    chances = [lr * ((n * 7 + seed) % 20) / 20 + (1 - lr) * (n % 2) for n in range(40)]
    json.dump(chances, open("data/classifier.json", "w"))
else:
    chances = json.load(open("data/classifier.json"))
    names = ["bad", "good"]
    pq.write_table(pa.table({
        "id": [str(n) for n in range(40)],
        "label": [names[n % 2] for n in range(40)],
        "predicted": [names[p >= params["evaluation"]["threshold"]] for p in chances],
        "probability_bad": [1 - p for p in chances],
        "probability_good": chances,
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


def told(made: Copy, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tools.compare", *arguments],
        cwd=made.folder,
        env=made.environment | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


def nothing_but_numbers(constant: str) -> NoReturn:
    raise AssertionError(f"{constant} is not JSON")


def test_two_commits_are_compared_without_a_checkout(made: Copy) -> None:
    before = made.run("git", "status", "--porcelain"), (made.folder / compare.PREDICTIONS).read_bytes()
    done = told(made, "one", "main", "--format", "json")
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout, parse_constant=nothing_but_numbers)
    assert found["a"] == [{"name": "one", "commit": made.run("git", "rev-parse", "one^{commit}").strip()}]
    assert found["parameters"] == {
        "classifier.lr": {"a": [0.8], "b": [0.9]},
        "report.words": {"a": [["a"]], "b": [["a", "b"]]},
    }
    assert found["inputs"] == []
    assert found["rows"] == 40
    one = np.array([0.8 * ((n * 7 + 1) % 20) / 20 + 0.2 * (n % 2) for n in range(40)])
    right = (one >= 0.5) == (np.arange(40) % 2 == 1)
    assert found["figures"]["accuracy"]["a"] == pytest.approx(right.mean())
    assert before == (
        made.run("git", "status", "--porcelain"),
        (made.folder / compare.PREDICTIONS).read_bytes(),
    )


def test_experiments_have_names_and_several_seeds_are_one_side(made: Copy) -> None:
    done = told(made, "one", "main,seed-2", "--resamples", "50")
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
        done = told(made, "one", "workspace", "--seed", seed, "--output", str(output), "--rows", "1")
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    first, second, other = (output.read_text(encoding="utf-8") for output in outputs)
    assert first == second
    assert first != other
    assert "- B: workspace\n" in first
    assert "Here 1 of them" in first


def test_a_refusal_is_one_line(made: Copy) -> None:
    assert refused(
        told(made, "one", "mian"), "compare: unknown Git revision 'mian'", "an experiment", "workspace"
    )


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["one", ""], "a revision without a name"),
        (["one,", "main"], "a revision without a name"),
        (["one", "before"], "before: no dvc.lock in commit .{7};"),
        (["one", "stale"], r"stale: params.yaml was changed after .* \(classifier.lr\); run `dvc repro`"),
        (["one,main", "seed-2"], "one,main: these differ in classifier.lr, report.words; wanted"),
        (["main,HEAD", "seed-2"], "main,HEAD: these differ in no seed"),
        (["one", "main", "--resamples", "0"], "--resamples: found 0, wanted 1 or more"),
        (["one", "main", "--rows", "-1"], "--rows: found -1"),
        (["one", "main", "--seed", "-1"], "--seed: found -1"),
    ],
)
def test_what_cannot_be_compared_is_refused(
    made: Copy, monkeypatch: pytest.MonkeyPatch, words: list[str], told: str
) -> None:
    monkeypatch.chdir(made.folder)
    with pytest.raises(Refusal, match=told):
        compare.main(words)


def test_outside_of_a_repository_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Refusal, match="not inside of a DVC repository"):
        compare.main(["one", "two"])


def test_what_the_cache_lacks_or_spoilt_is_said(made: Copy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(made.folder)
    kept = revisions.find(["one"])[0].file(compare.PREDICTIONS)
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


def test_a_workspace_that_no_run_left_is_refused(made: Copy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(made.folder)
    params = Path("params.yaml").read_text(encoding="utf-8")
    predictions = Path(compare.PREDICTIONS)
    whole = predictions.read_bytes()
    try:
        Path("params.yaml").write_text(params.replace("0.9", "0.7"), encoding="utf-8")
        with pytest.raises(Refusal, match=r"^workspace: params.yaml was changed after .*classifier.lr"):
            compare.main(["one", "workspace"])
        # What the predictions do not depend on may be changed.
        Path("params.yaml").write_text(params.replace("words:", "others: [c]\n  words:"), encoding="utf-8")
        predictions.unlink()
        with pytest.raises(
            Refusal, match=r"^workspace: data/predictions.parquet is not there; run `dvc repro`"
        ):
            compare.main(["one", "workspace"])
        predictions.write_bytes(whole + b"x")
        with pytest.raises(Refusal, match=r"is not the one that dvc\.lock tells of"):
            compare.main(["one", "workspace"])
    finally:
        Path("params.yaml").write_text(params, encoding="utf-8")
        predictions.unlink(missing_ok=True)
        predictions.write_bytes(whole)
