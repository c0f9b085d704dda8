"""Predict: the pipeline's own probabilities, shares that sum to the logit, and text as it comes."""

import csv
import io
import json
import math
import os
import pty
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from stages import classifier, vocabulary
from stages.classifier import About, Classifier
from stages.lib import rows
from stages.lib.command import Refusal
from stages.lib.files import sha256
from stages.lib.nbsvm import NGrams, Runs
from stages.lib.tables import batch_of, table_writer
from tests.conftest import ROOT, refused
from tests.test_reproduce import Copy
from tests.test_robustness import held_out, run_in
from tools import predict, writers

WORDS = ["<pad>", "<unk>", "not", "good", "film"]
GOOD_FILM = 3 * len(WORDS) + 4  # the key of two words in a row
BIGRAMS = NGrams(
    longest=2,
    least=1,
    limit=9,
    buckets=None,
    counts="unique",
    pool="sum",
    ratios="none",
    ending=0.0,
    rarity=0.0,
    decay=1.0,
)


def write_model(folder: Path, names: Sequence[str] = ("bad", "good"), pool: Any = "mean") -> Path:
    """A model of three words and one bigram in folder/data, all of it chosen."""
    data = folder / "data"
    data.mkdir(exist_ok=True)
    (data / "labels.json").write_text(json.dumps({"labels": list(names)}), encoding="utf-8")
    (data / "tokeniser.json").write_text('{"lowercase": true, "unit": "words"}', encoding="utf-8")
    with table_writer(data / "vocabulary.parquet", vocabulary.SCHEMA) as writer:
        writer.write_batch(batch_of([range(5), WORDS, [1] * 5], vocabulary.SCHEMA))
    told = About(
        vocabulary=sha256(data / "vocabulary.parquet"),
        width=4,
        keep="both",
        pool=pool,
        ngrams=BIGRAMS,
        temperature=2.0,
    )
    vectors = torch.tensor([[0.0, 0.0], [0.5, 0.0], [-4.0, 1.0], [2.0, 1.0], [0.0, 1.0]])
    model = Classifier(vectors, len(names), True, told)
    wide = len(model.bias())
    model.linear.weight.data = torch.arange(1.0, 2 * wide + 1).view(wide, 2)
    if pool == "mean_max":
        model.linear.weight.data = torch.ones(wide, 4)
    model.linear.bias.data = torch.full((wide,), 0.25)
    weight = torch.arange(1.0, 2 * wide + 1).view(2, wide)
    model.ngrams = Runs(weight, torch.tensor([3, GOOD_FILM]), BIGRAMS, len(WORDS))
    classifier.save(data / "classifier.safetensors", model)
    return folder


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a model in it, to work in."""
    monkeypatch.chdir(write_model(tmp_path))
    return tmp_path


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run on the bundled sample in its data/."""
    folder = tmp_path_factory.mktemp("sample")
    (folder / "data").mkdir()
    run_in(folder / "data")
    return folder


def one(text: str, of: str | None = None) -> predict.Answer:
    return next(predict.answers(predict.chain_of(None), [text], of, True))


def reason_of(text: str, of: str | None = None) -> predict.Reason:
    found = one(text, of).reason
    assert found is not None
    return found


# A text


def test_an_answer_and_its_reason_by_hand(project: Path) -> None:
    # Vectors through the line (1, 2): not -2, good 4, film 2. The runs: good 1, "good film" 2.
    answer = one("Good FILM")
    assert answer.reason is not None
    assert answer.reason.logit == pytest.approx(0.25 + (4 + 2) / 2 + 1 + 2)
    assert answer.chances["good"] == pytest.approx(1 / (1 + math.exp(-6.25 / 2)))
    assert answer.label == "good"
    spans = answer.reason.spans
    assert spans is not None
    assert [(span.text, span.start, span.end) for span in spans] == [
        ("good", 0, 1),
        ("good film", 0, 2),
        ("film", 1, 2),
    ]
    assert [span.share for span in spans] == pytest.approx([4 / 2 + 1, 2, 2 / 2])


def test_the_first_label_is_the_other_side_of_the_logit(project: Path) -> None:
    ours, theirs = reason_of("good film"), reason_of("good film", of="bad")
    assert (theirs.of, theirs.logit, theirs.bias) == ("bad", -ours.logit, -ours.bias)
    assert theirs.spans
    assert [span.share for span in theirs.spans] == [-span.share for span in ours.spans or []]


def test_a_long_text_is_read_as_the_pipeline_cuts_it(project: Path) -> None:
    why = reason_of("good one two three four film")
    assert why.tokens == ["good", "one", "four", "film"]
    assert (why.unread, why.known) == (2, 2)
    assert "2 tokens were cut off" in predict.as_text(one("good one two three four film"), None, False)


@pytest.mark.parametrize("pool", ["mean", "sum"])
@pytest.mark.parametrize("names", [("bad", "good"), ("a", "b", "c")])
@pytest.mark.parametrize("text", ["good film good film", "not a film", "zz", "", "good"])
def test_the_bias_and_the_shares_sum_to_the_logit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names: Sequence[str], pool: str, text: str
) -> None:
    monkeypatch.chdir(write_model(tmp_path, names, pool))
    logits = predict.chain_of(None).logits([text])[0].tolist()
    for number, name in enumerate(names):
        why = reason_of(text, of=name)
        assert why.spans is not None
        assert why.bias + sum(span.share for span in why.spans) == pytest.approx(why.logit, abs=1e-5)
        own = logits[number] if len(names) > 2 else logits[0] * (2 * number - 1)
        assert why.logit == pytest.approx(own)


def test_of_several_labels_the_predicted_ones_logit_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(write_model(tmp_path, ("a", "b", "c")))
    for text in ("good", "not"):
        answer = one(text)
        assert answer.reason is not None
        assert answer.reason.of == answer.label == max(answer.chances, key=lambda name: answer.chances[name])
    assert one("good").label != one("not").label


def test_a_maximum_has_no_shares_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(write_model(tmp_path, pool="mean_max"))
    answer = one("good film")
    assert answer.reason is not None
    assert answer.reason.spans is None
    assert "no shares" in predict.as_text(answer, None, False)
    assert "shares" not in json.loads(predict.as_json("good film", answer, None))


# The sample's test reviews


def test_the_shares_of_a_trained_model_sum_to_its_logits(
    sample: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(sample)
    chain, texts = predict.chain_of(None), held_out(sample / "data")[:30]
    for logit, answer in zip(chain.logits(texts), predict.answers(chain, texts, None, True), strict=True):
        why = answer.reason
        assert why is not None
        assert why.spans is not None
        assert any(span.end - span.start == 2 for span in why.spans)
        assert why.bias + sum(span.share for span in why.spans) == pytest.approx(float(logit[0]), abs=1e-4)


@pytest.mark.parametrize("kind", writers.FORMATS)
def test_every_test_review_has_the_probability_that_the_pipeline_gave_it(
    sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.chdir(sample)
    wanted = pl.read_parquet(sample / "data/predictions.parquet")
    texts = held_out(sample / "data")
    if kind == "tsv":
        texts = [" ".join(text.split()) for text in texts]
    table, output = tmp_path / f"reviews.{kind}", tmp_path / f"scored.{kind}"
    with writers.writer(table) as write:
        write([{"id": name, "review": text} for name, text in zip(wanted["id"], texts, strict=True)])
    predict.main(["--file", str(table), "--column", "review", "--output", str(output)])
    with output.open("rb") as file:
        found = list(rows.read(file, output.name, "scored"))
    assert [list(row) for row in found] == [["id", "review", "label", "probability"]] * len(texts)
    assert [row["id"] for row in found] == wanted["id"].to_list()
    assert [row["review"] for row in found] == texts
    assert [row["label"] for row in found] == wanted["predicted"].to_list()
    told = [float(str(row["probability"])) for row in found]
    assert told == pytest.approx(wanted["probability"].to_list(), abs=1e-6)


# What is printed


def test_a_line_of_json_holds_it_all(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    texts = ["good film", 'say "good"\n', "", "\ud83d film", "🙃"]
    predict.main(["--json", *texts])
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["text"] for line in told] == ["good film", 'say "good"\n', "", "? film", "🙃"]
    for line in told:
        assert line["probability"] == line["probabilities"][line["label"]]
        total = line["bias"] + sum(share["share"] for share in line["shares"]) + line["others"]
        assert total == pytest.approx(line["logit"], abs=1e-5)
    assert told[0]["shares"][1] == {"text": "good film", "start": 0, "end": 2, "share": pytest.approx(2)}
    assert (told[2]["tokens"], told[4]["tokens"], told[4]["known"]) == (0, 1, 0)


def test_so_many_shares_are_told_and_the_others_are_summed(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    predict.main(["--json", "--shares", "1", "good film"])
    told = json.loads(capsys.readouterr().out)
    assert [share["text"] for share in told["shares"]] == ["good"]
    assert told["others"] == pytest.approx(2 + 1)
    predict.main(["--json", "--shares", "0", "good film"])
    assert set(json.loads(capsys.readouterr().out)) == {"text", "label", "probability", "probabilities"}
    predict.main(["--shares", "1", "good film"])
    assert capsys.readouterr().out == "good\t0.9579\t+3.000 good\n"
    predict.main(["--shares", "0", "good film", "not"])
    assert capsys.readouterr().out == "good\t0.9579\nbad\t0.7058\n"


def test_a_terminal_shows_the_shares_in_colours(project: Path) -> None:
    answer = one("not good film")
    told = predict.as_text(answer, None, colour=True)
    assert f"{predict.RED}not{predict.PLAIN}" in told
    assert f"{predict.GREEN}{predict.BOLD}good{predict.PLAIN}" in told
    plain = predict.as_text(answer, None, colour=False)
    assert "\x1b" not in plain
    assert "not good film" not in plain  # it would say nothing without colours
    lines = [line.split() for line in plain.splitlines()]
    assert ["+0.250", "bias"] in lines
    assert ["+0.000", "all", "others"] in lines
    assert ["+4.583", "logit", "of", "good"] in lines
    assert "knows no word" in predict.as_text(one("zz"), None, False)


def ask(*arguments: str, folder: Path, given: bytes = b"") -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "tools.predict", *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        input=given,
        capture_output=True,
        check=False,
    )
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())


@pytest.mark.parametrize(("variable", "coloured"), [("FIRTH", True), ("NO_COLOR", False)])
def test_colours_are_for_terminals_that_want_them(project: Path, variable: str, coloured: bool) -> None:
    ours, theirs = pty.openpty()
    done = subprocess.run(
        [sys.executable, "-m", "tools.predict", "good film"],
        cwd=project,
        env=os.environ | {"PYTHONPATH": str(ROOT), "TERM": "xterm", variable: "1"},
        stdout=theirs,
        check=False,
    )
    os.close(theirs)
    told = os.read(ours, 10_000).decode()
    os.close(ours)
    assert done.returncode == 0
    assert "good 0.9579" in told
    assert ("\x1b[" in told) == coloured


# Standard input


def test_each_line_is_answered_at_once(project: Path) -> None:
    asked = subprocess.Popen(
        [sys.executable, "-m", "tools.predict", "--shares", "0"],
        cwd=project,
        env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": ""},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert asked.stdin is not None
    assert asked.stdout is not None
    for line, label in ((b"good film\r\n", b"good"), (b"\n", b"good"), (b"not\n", b"bad")):
        asked.stdin.write(line)
        asked.stdin.flush()
        assert asked.stdout.readline().startswith(label)
    assert asked.communicate(b"not")[0].startswith(b"bad")
    assert asked.returncode == 0


def test_a_line_that_is_not_utf_8_is_refused_after_the_ones_before(project: Path) -> None:
    done = ask("--shares", "0", folder=project, given=b"\xef\xbb\xbfgood film\n\xff\xfe\n")
    assert refused(done, "predict: standard input, line 2: not UTF-8 (byte 0xff)")


def test_who_has_read_enough_may_leave(project: Path) -> None:
    command = f"yes good | head -20000 | {sys.executable} -m tools.predict --shares 0 | head -1"
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command}; echo ${{PIPESTATUS[2]}}"],
        cwd=project,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.splitlines()[1:] == ["0"]
    assert done.stderr == ""


class Trickle(io.BytesIO):
    """A stream of which a few bytes come at a time."""

    def __init__(self, content: bytes, sizes: Sequence[int]) -> None:
        super().__init__(content)
        self.sizes = iter(sizes)

    def read1(self, size: int | None = -1, /) -> bytes:
        return self.read(next(self.sizes, 3))


@given(
    st.lists(st.text(st.sampled_from("aé\r\u2028 "), max_size=5), max_size=6),
    st.booleans(),
    st.lists(st.integers(1, 9), max_size=20),
)
def test_lines_are_whole_however_they_come(lines: list[str], ended: bool, sizes: list[int]) -> None:
    content = "\n".join(lines) + ("\n" if ended and lines else "")
    found = [line for part in predict.lines_of(Trickle(content.encode(), sizes)) for line in part]
    wanted = content.removesuffix("\n").split("\n") if content else []
    assert found == [line.removesuffix("\r") for line in wanted]


# Tables


def test_columns_are_kept_with_their_types(project: Path) -> None:
    table = pa.table(
        {
            "when": [date(2026, 1, 2), None],
            "stars": pa.array([5, 1], pa.int8()),
            "text": ["good", None],
            "tags": [["a"], []],
        }
    )
    pq.write_table(table, "reviews.parquet")
    predict.main(["--file", "reviews.parquet", "--output", "scored.parquet"])
    found = pq.read_table("scored.parquet")
    assert found.select(table.column_names).equals(table)
    assert found.schema.names == ["when", "stars", "text", "tags", "label", "probability"]
    assert found["probability"].type == pa.float64()
    predict.main(["--file", "reviews.parquet", "--output", "scored.csv"])
    with Path("scored.csv").open(encoding="utf-8", newline="") as file:
        first = next(csv.DictReader(file))
    assert (first["when"], first["stars"], first["tags"], first["label"]) == (
        "2026-01-02",
        "5",
        '["a"]',
        "good",
    )
    predict.main(["--file", "reviews.parquet", "--output", "scored.jsonl"])
    told = [json.loads(line) for line in Path("scored.jsonl").read_text(encoding="utf-8").splitlines()]
    assert (told[0]["stars"], told[1]["text"], told[1]["tags"]) == (5, None, [])


def test_texts_that_are_hardly_any_are_answered(project: Path) -> None:
    long = "film good " * 50_000
    texts = ["", "🙃", "  ", long, 5, None]
    Path("r.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
    predict.main(["--file", "r.jsonl", "--output", "s.jsonl"])
    told = [json.loads(line) for line in Path("s.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [line["text"] for line in told] == texts
    assert all(0.5 <= line["probability"] <= 1 for line in told)
    assert told[0]["probability"] == told[2]["probability"] == told[5]["probability"]


def test_an_own_column_of_labels_is_kept_beside_ours(project: Path) -> None:
    Path("r.csv").write_text("text,label\ngood,5\n", encoding="utf-8")
    with pytest.raises(Refusal, match=r"^r.csv: has a column 'label' already; with --prefix"):
        predict.main(["--file", "r.csv", "--output", "s.csv"])
    assert not Path("s.csv").exists()
    predict.main(["--file", "r.csv", "--output", "s.csv", "--prefix", "predicted_"])
    header, row = Path("s.csv").read_text(encoding="utf-8").splitlines()
    assert header == "text,label,predicted_label,predicted_probability"
    assert row.startswith("good,5,good,0.")


def test_a_table_is_never_whole_in_memory() -> None:
    def endless() -> Iterator[rows.Row]:
        while True:
            yield {"text": "good"}

    assert len(next(predict.batches_of(endless(), "text", "x")).texts) == predict.ROWS
    long = ({"text": "x" * (predict.LETTERS // 2)} for _ in range(10))
    assert [len(batch.texts) for batch in predict.batches_of(long, "text", "x")] == [3, 3, 3, 1]


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("r.csv", "review,stars\nx,1\n", "r.csv: no column 'text'; Allowed: review, stars"),
        ("r.csv", "texts,stars\nx,1\n", "did you mean texts"),
        ("r.csv", "text\n", "r.csv: no reviews in it"),
        ("r.csv", "", "r.csv: the file is empty"),
        ("r.csv", "text,a\nx\n", "row 2: 1 cells, but the header has 2"),
        ("r.csv", b"text\n\xff\n", "row 2: not UTF-8"),
        ("r.jsonl", '{"text": "a"}\n{"other": 1}\n', "r.jsonl, row 2: no column 'text'"),
        ("r.jsonl", '{"text": ["a"]}\n', r"row 1: 'text' is \['a'\], wanted text"),
        ("r.jsonl", '{"text": "a"}\n{"text": "a", "b": 1}\n', "no column 'b', a later one has; write .jsonl"),
        ("r.parquet", "text", "r.parquet: not a parquet file"),
    ],
)
def test_unsound_tables_are_refused_and_leave_nothing(
    project: Path, name: str, content: str | bytes, told: str
) -> None:
    Path(name).write_bytes(content if isinstance(content, bytes) else content.encode())
    Path("s.csv").write_text("as it was", encoding="utf-8")
    with pytest.raises(Refusal, match=told):
        predict.main(["--file", name, "--output", "s.csv"])
    assert Path("s.csv").read_text(encoding="utf-8") == "as it was"
    assert {path.name for path in Path().iterdir()} == {"data", name, "s.csv"}


# Writers


ROWS = [{"a": "x", "b": 'say "y", z'}, {"a": "", "b": "é\u2028"}]


@pytest.mark.parametrize("kind", writers.FORMATS)
def test_what_is_written_is_read_again(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"rows.{kind}"
    with writers.writer(path) as write:
        for row in ROWS:
            write([row])
    with path.open("rb") as file:
        assert list(rows.read(file, path.name, "x")) == ROWS


@pytest.mark.parametrize(
    ("kind", "added", "told"),
    [
        ("tsv", {"a": "1\t2"}, "a tab or the end of a line is in '1.t2'; write .csv"),
        ("tsv", {"a": "1\n2"}, "write .csv"),
        ("tsv", {"a": "1\r2"}, "write .csv"),
        ("csv", {"c": "1"}, "no column 'c'"),
        ("parquet", {"a": 5, "b": "x"}, "do not fit into one table"),
    ],
)
def test_what_a_format_cannot_hold_is_refused(tmp_path: Path, kind: str, added: rows.Row, told: str) -> None:
    path = tmp_path / f"rows.{kind}"

    def attempt() -> None:
        with writers.writer(path) as write:
            write(ROWS)
            write([added])

    with pytest.raises(Refusal, match=told):
        attempt()
    assert not list(tmp_path.glob("*rows*"))


# The command


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--of", "fine", "x"], "--of: found 'fine', wanted a label: bad, good"),
        (["--shares", "-1", "x"], "--shares: found -1"),
        (["--output", "s.csv", "x"], "--output: is of a --file"),
        (["--column", "a"], "--column: is of a --file"),
        (["--file", "r.csv", "x"], "--file: .* with text"),
        (["--file", "r.csv", "--json"], "--file: .* with json"),
        (["--file", "r.csv"], "--output: missing"),
        (["--file", "r.txt", "--output", "s.csv"], "--file: found 'r.txt', wanted a file named .csv, .tsv"),
        (["--file", "r.csv", "--output", "s"], "--output: found 's'"),
        (["--file", "r.csv", "--output", "./r.csv"], "--output: r.csv is the file that is read"),
        (["--rev", "main", "x"], "a repository of git and DVC"),
    ],
)
def test_a_command_that_contradicts_itself_is_refused(project: Path, words: list[str], told: str) -> None:
    with pytest.raises(Refusal, match=told):
        predict.main(words)


def test_a_file_that_is_not_there_is_one_line(project: Path) -> None:
    assert refused(
        ask("--file", "r.csv", "--output", "s.csv", folder=project), "predict: r.csv: No such file"
    )


def test_without_a_model_it_says_how_to_make_one(tmp_path: Path) -> None:
    assert refused(ask("x", folder=tmp_path), "data/tokeniser.json: no such file", "make repro")


def test_a_model_of_another_vocabulary_is_refused(project: Path) -> None:
    with table_writer(project / "data/vocabulary.parquet", vocabulary.SCHEMA) as writer:
        writer.write_batch(batch_of([range(5), [*WORDS[:4], "movie"], [1] * 5], vocabulary.SCHEMA))
    with pytest.raises(Refusal, match="learnt with another vocabulary"):
        predict.main(["x"])
    (project / "data/classifier.safetensors").write_bytes(b"PK\x03\x04 a pickle")
    with pytest.raises(Refusal, match="no classifier of this version"):
        predict.main(["x"])


def test_torch_is_imported_late_and_what_is_not_needed_never() -> None:
    code = """
import sys
import tools.predict
assert not {"torch", "dvc.repo"} & set(sys.modules)
from stages.robustness import Chain
print({"sklearn", "pandas", "matplotlib", "dvc.repo"} & set(sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("set()\n", "")


def test_a_revision_has_a_model_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = Copy(write_model(tmp_path))
    dvc = [sys.executable, "-m", "dvc"]
    outs = "".join(f"      - data/{name}\n" for name in predict.ARTEFACTS)
    (tmp_path / "dvc.yaml").write_text(
        f"stages:\n  all:\n    cmd: 'true'\n    outs:\n{outs}", encoding="utf-8"
    )
    (tmp_path / "params.yaml").write_text("corpus: none\n", encoding="utf-8")
    (tmp_path / ".gitignore").write_text("/data/\n", encoding="utf-8")
    made.run("git", "init", "--quiet")
    made.run(*dvc, "init", "--quiet")
    made.run(*dvc, "commit", "--quiet", "--force")
    made.run("git", "add", "--all")
    made.run("git", "commit", "--quiet", "--message", "a model")
    made.run("git", "tag", "kept")
    monkeypatch.chdir(tmp_path)
    predict.main(["good film"])
    here = capsys.readouterr().out
    shutil.rmtree(tmp_path / "data")
    predict.main(["--rev", "kept", "good film"])
    assert capsys.readouterr().out == here
    assert not (tmp_path / "data").exists()
    (tmp_path / "dvc.lock").write_text(
        (tmp_path / "dvc.lock").read_text(encoding="utf-8").replace("labels.json", "names.json"),
        encoding="utf-8",
    )
    made.run("git", "commit", "--quiet", "--all", "--message", "another")
    with pytest.raises(Refusal, match=r"^HEAD: dvc.lock has no data/labels.json there"):
        predict.main(["--rev", "HEAD", "x"])
    with pytest.raises(Refusal, match=r"found a revision without a name"):
        predict.main(["--rev", "", "x"])
