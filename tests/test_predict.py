"""Predict: probabilities of the pipeline, contributions that sum to the logit, and unusual input."""

import csv
import io
import json
import math
import os
import pty
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages import raw, vocabulary
from stages.lib import rows
from stages.lib.command import Refusal
from stages.lib.files import read_json, sha256
from stages.lib.tables import batch_of, table_writer
from stages.predictor import Explanation
from tests.conftest import ROOT, refused
from tests.test_predictor import held_out, run_in
from tests.test_reproduce import Copy
from tests.toys import save_toy_model
from tools import predict, writers

WORDS = ["<pad>", "<unk>", "not", "good", "film"]
GOOD_FILM = 3 * len(WORDS) + 4  # the key of two words in a row


def write_model(folder: Path, names: Sequence[str] = ("bad", "good"), **choices: Any) -> Path:
    """A model of three words and one bigram in folder/data, with weights chosen by hand."""
    data = folder / "data"
    data.mkdir(exist_ok=True)
    (data / "tokeniser.json").write_text('{"lowercase": true, "unit": "words"}', encoding="utf-8")
    with table_writer(data / "vocabulary.parquet", vocabulary.SCHEMA) as writer:
        writer.write_batch(batch_of([range(5), WORDS, [1] * 5], vocabulary.SCHEMA))
    outputs = 1 if len(names) == 2 else len(names)
    vectors = np.array([[0.0, 0.0], [0.5, 0.0], [-4.0, 1.0], [2.0, 1.0], [0.0, 1.0]])
    layer = np.arange(1.0, 2 * outputs + 1).reshape(outputs, 2)
    ngrams = np.arange(1.0, 2 * outputs + 1).reshape(2, outputs)
    save_toy_model(
        data / "ensemble.safetensors",
        (vectors @ layer.T).tolist(),
        [0.25] * outputs,
        names,
        ngrams={3: ngrams[0].tolist(), GOOD_FILM: ngrams[1].tolist()},
        vocabulary=sha256(data / "vocabulary.parquet"),
        temperature=2.0,
        **{"width": 4, "keep": "both", "pool": "mean"} | choices,
    )
    return folder


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a model, as the working directory."""
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
    return next(predict.answers(predict.load_predictor(None), [text], of, True))


def explanation_of(text: str, of: str | None = None) -> Explanation:
    explanation = one(text, of).explanation
    assert explanation is not None
    return explanation


# A text


def test_a_prediction_and_its_explanation_by_hand(project: Path) -> None:
    # Vectors times the layer (1, 2): not -2, good 4, film 2. N-grams: good 1, "good film" 2.
    answer = one("Good FILM")
    assert answer.explanation is not None
    assert answer.explanation.logit == pytest.approx(0.25 + (4 + 2) / 2 + 1 + 2)
    assert answer.probabilities["good"] == pytest.approx(1 / (1 + math.exp(-6.25 / 2)))
    assert answer.label == "good"
    contributions = answer.explanation.contributions
    assert contributions is not None
    assert [(span.text, span.start, span.end) for span in contributions] == [
        ("good", 0, 1),
        ("good film", 0, 2),
        ("film", 1, 2),
    ]
    assert [span.value for span in contributions] == pytest.approx([4 / 2 + 1, 2, 2 / 2])


def test_the_logit_of_the_first_label_is_the_negative(project: Path) -> None:
    second, first = explanation_of("good film"), explanation_of("good film", of="bad")
    assert (first.label, first.logit, first.bias) == ("bad", -second.logit, -second.bias)
    assert first.contributions
    assert [span.value for span in first.contributions] == [
        -span.value for span in second.contributions or []
    ]


def test_a_long_text_is_cut_as_in_the_pipeline(project: Path) -> None:
    why = explanation_of("good one two three four film")
    assert why.tokens == ["good", "one", "four", "film"]
    assert (why.dropped, why.known) == (2, 2)
    assert "2 tokens were cut off" in predict.as_text(one("good one two three four film"), None, False)


@pytest.mark.parametrize("pool", ["mean", "sum"])
@pytest.mark.parametrize("names", [("bad", "good"), ("a", "b", "c")])
@pytest.mark.parametrize("text", ["good film good film", "not a film", "zz", "", "good"])
def test_the_bias_and_the_contributions_sum_to_the_logit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names: Sequence[str], pool: str, text: str
) -> None:
    monkeypatch.chdir(write_model(tmp_path, names, pool=pool))
    logits = predict.load_predictor(None).logits([text])[0].tolist()
    for number, name in enumerate(names):
        why = explanation_of(text, of=name)
        assert why.contributions is not None
        assert why.bias + sum(span.value for span in why.contributions) == pytest.approx(why.logit, abs=1e-5)
        own = logits[number] if len(names) > 2 else logits[0] * (2 * number - 1)
        assert why.logit == pytest.approx(own)


def test_the_logit_of_the_predicted_label_is_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(write_model(tmp_path, ("a", "b", "c")))
    for text in ("good", "not"):
        answer = one(text)
        assert answer.explanation is not None
        assert (
            answer.explanation.label
            == answer.label
            == max(answer.probabilities, key=lambda name: answer.probabilities[name])
        )
    assert one("good").label != one("not").label


def test_a_maximum_has_no_contributions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(write_model(tmp_path, pool="mean_max"))
    answer = one("good film")
    assert answer.explanation is not None
    assert answer.explanation.contributions is None
    assert "no contributions" in predict.as_text(answer, None, False)
    assert "contributions" not in json.loads(predict.as_json("good film", answer, None))


# The sample's test reviews


def test_contributions_are_towards_the_predicted_label(project: Path) -> None:
    answer, other = one("not"), one("not", of="good")
    assert answer.label == "bad"
    assert answer.explanation is not None
    assert other.explanation is not None
    assert (answer.explanation.label, answer.explanation.logit) == ("bad", -other.explanation.logit)
    assert answer.explanation.logit > 0


def test_the_contributions_of_a_trained_model_sum_to_its_logits(
    sample: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(sample)
    predictor, texts = predict.load_predictor(None), held_out(sample / "data")[:30]
    answers = predict.answers(predictor, texts, None, True)
    for logit, answer in zip(predictor.logits(texts), answers, strict=True):
        why = answer.explanation
        assert why is not None
        assert why.contributions is not None
        assert any(span.end - span.start == 2 for span in why.contributions)
        sign = 1 if answer.label == predictor.labels[1] else -1  # the logit is the second label's
        total = why.bias + sum(span.value for span in why.contributions)
        assert sign * total == pytest.approx(float(logit[0]), abs=1e-4)


@pytest.mark.parametrize("kind", writers.FORMATS)
def test_test_reviews_have_the_probabilities_of_the_pipeline(
    sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.chdir(sample)
    expected = pl.read_parquet(sample / "data/predictions.parquet")
    texts = held_out(sample / "data")
    if kind == "tsv":
        texts = [" ".join(text.split()) for text in texts]
    table, output = tmp_path / f"reviews.{kind}", tmp_path / f"scored.{kind}"
    with writers.writer(table) as write:
        write([{"id": name, "review": text} for name, text in zip(expected["id"], texts, strict=True)])
    predict.main(["--file", str(table), "--column", "review", "--output", str(output)])
    with output.open("rb") as file:
        result = list(rows.read(file, output.name, "scored"))
    assert [list(row) for row in result] == [["id", "review", "label", "probability"]] * len(texts)
    assert [row["id"] for row in result] == expected["id"].to_list()
    assert [row["review"] for row in result] == texts
    assert [row["label"] for row in result] == expected["predicted"].to_list()
    printed = [float(str(row["probability"])) for row in result]
    assert printed == pytest.approx(expected["probability"].to_list(), abs=1e-6)


# What is printed


def test_labels_and_tokens_show_what_a_terminal_would_obey(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(write_model(tmp_path, ["bad", "\x1b]0;title\x07\u202egood"]))
    answer = one("good \x1b]0;t\x07 \u202e\x9b film")
    label = r"\x1b]0;title\x07\u202egood"
    for shown in (
        predict.as_line(answer, None),
        predict.as_text(answer, None, False),
        predict.as_text(answer._replace(abstained=True), None, False),
        re.sub("\x1b\\[[0-9;]*m", "", predict.as_text(answer, None, True)),  # without our own colours
    ):
        assert label in shown or "abstained" in shown
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]", shown)
    assert f"logit of {label}" in predict.as_text(answer, None, False)
    assert json.loads(predict.as_json("good", answer, None))["label"] == "\x1b]0;title\x07\u202egood"


def test_a_new_order_of_the_labels_turns_no_answer_round(
    sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(sample / "data", tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    arguments = ["--json", "a wonderful film", "an awful film"]
    predict.main(arguments)
    before = capsys.readouterr().out
    corpus, data = tmp_path / "sample", tmp_path / "data"
    shutil.copytree(ROOT / "data/corpora/sample", corpus)
    source = (corpus / "source.yaml").read_text(encoding="utf-8")
    shipped = "labels: {negative: negative, positive: positive}"
    turned = "labels: {positive: positive, negative: negative}\npositive: negative"
    assert shipped in source
    (corpus / "source.yaml").write_text(source.replace(shipped, turned), encoding="utf-8")
    made = [data / name for name in ("raw.parquet", "labels.json", "raw.json")]
    raw.main(data / "params.yaml", data / "check.json", corpus, *made)
    assert read_json(data / "labels.json")["labels"] == ["positive", "negative"]
    assert read_json(sample / "data/labels.json")["labels"] == ["negative", "positive"]
    predict.main(arguments)
    assert capsys.readouterr().out == before


def test_a_line_of_json_contains_all_results(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    texts = ["good film", 'say "good"\n', "", "\ud83d film", "🙃"]
    predict.main(["--json", *texts])
    printed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["text"] for line in printed] == ["good film", 'say "good"\n', "", "? film", "🙃"]
    for line in printed:
        assert line["probability"] == line["probabilities"][line["label"]]
        total = line["bias"] + sum(share["value"] for share in line["contributions"]) + line["others"]
        assert total == pytest.approx(line["logit"], abs=1e-5)
    assert printed[0]["contributions"][1] == {
        "text": "good film", "start": 0, "end": 2, "value": pytest.approx(2),
    }  # fmt: skip
    assert (printed[2]["tokens"], printed[4]["tokens"], printed[4]["known"]) == (0, 1, 0)


def test_the_number_of_contributions_is_limited_and_the_others_are_summed(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    predict.main(["--json", "--contributions", "1", "good film"])
    printed = json.loads(capsys.readouterr().out)
    assert [share["text"] for share in printed["contributions"]] == ["good"]
    assert printed["others"] == pytest.approx(2 + 1)
    predict.main(["--json", "--contributions", "0", "good film"])
    assert set(json.loads(capsys.readouterr().out)) == {"text", "label", "probability", "probabilities"}
    predict.main(["--contributions", "1", "good film"])
    assert capsys.readouterr().out == "good\t0.9579\t+3.000 good\n"
    predict.main(["--contributions", "0", "good film", "not"])
    assert capsys.readouterr().out == "good\t0.9579\nbad\t0.7058\n"


def test_a_terminal_shows_contributions_in_colours(project: Path) -> None:
    answer = one("not good film")
    printed = predict.as_text(answer, None, colour=True)
    assert f"{predict.RED}not{predict.PLAIN}" in printed
    assert f"{predict.GREEN}{predict.BOLD}good{predict.PLAIN}" in printed
    plain = predict.as_text(answer, None, colour=False)
    assert "\x1b" not in plain
    assert "not good film" not in plain  # omitted if there are no colours
    lines = [line.split() for line in plain.splitlines()]
    assert ["+0.250", "bias"] in lines
    assert ["+0.000", "all", "others"] in lines
    assert ["+4.583", "logit", "of", "good"] in lines
    assert "0 of 1 words known" in predict.as_text(one("zz"), None, False)
    assert predict.as_line(one("zz"), None).endswith("(0 of 1 words known)")


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
def test_no_color_is_respected(project: Path, variable: str, coloured: bool) -> None:
    terminal, other_end = pty.openpty()
    done = subprocess.run(
        [sys.executable, "-m", "tools.predict", "good film"],
        cwd=project,
        env=os.environ | {"PYTHONPATH": str(ROOT), "TERM": "xterm", variable: "1"},
        stdout=other_end,
        check=False,
    )
    os.close(other_end)
    printed = os.read(terminal, 10_000).decode()
    os.close(terminal)
    assert done.returncode == 0
    assert "good 0.9579" in printed
    assert ("\x1b[" in printed) == coloured


# Standard input


def test_each_line_is_predicted_immediately(project: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "tools.predict", "--contributions", "0"],
        cwd=project,
        env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": ""},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    for line, label in ((b"good film\r\n", b"good"), (b"\n", b"good"), (b"not\n", b"bad")):
        process.stdin.write(line)
        process.stdin.flush()
        assert process.stdout.readline().startswith(label)
    assert process.communicate(b"not")[0].startswith(b"bad")
    assert process.returncode == 0


def test_a_line_that_is_not_utf_8_is_refused(project: Path) -> None:
    done = ask("--contributions", "0", folder=project, given=b"\xef\xbb\xbfgood film\n\xff\xfe\n")
    assert refused(done, "predict: standard input, line 2: not UTF-8 (byte 0xff)")


def test_a_closed_pipe_is_not_an_error(project: Path) -> None:
    command = f"yes good | head -20000 | {sys.executable} -m tools.predict --contributions 0 | head -1"
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
    """A stream that returns a few bytes at a time."""

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
def test_lines_are_complete_for_any_chunks(lines: list[str], ended: bool, sizes: list[int]) -> None:
    content = "\n".join(lines) + ("\n" if ended and lines else "")
    result = [line for part in predict.lines_of(Trickle(content.encode(), sizes)) for line in part]
    expected = content.removesuffix("\n").split("\n") if content else []
    assert result == [line.removesuffix("\r") for line in expected]


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
    result = pq.read_table("scored.parquet")
    assert result.select(table.column_names).equals(table)
    assert result.schema.names == ["when", "stars", "text", "tags", "label", "probability"]
    assert result["probability"].type == pa.float64()
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
    printed = [json.loads(line) for line in Path("scored.jsonl").read_text(encoding="utf-8").splitlines()]
    assert (printed[0]["stars"], printed[1]["text"], printed[1]["tags"]) == (5, None, [])


def test_unusual_texts_get_predictions(project: Path) -> None:
    long = "film good " * 50_000
    texts = ["", "🙃", "  ", long, 5, None]
    Path("r.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
    predict.main(["--file", "r.jsonl", "--output", "s.jsonl"])
    printed = [json.loads(line) for line in Path("s.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [line["text"] for line in printed] == texts
    assert all(0.5 <= line["probability"] <= 1 for line in printed)
    assert printed[0]["probability"] == printed[2]["probability"] == printed[5]["probability"]


def test_a_column_of_labels_is_kept_and_scored(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = ["text,label", "good,good", "not,bad", "film,bad", "good film,", "good,5", "not,5"]
    Path("r.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    predict.main(["--file", "r.csv", "--output", "s.csv"])
    header, row, *_ = Path("s.csv").read_text(encoding="utf-8").splitlines()
    assert header == "text,label,predicted_label,predicted_probability"
    assert row.startswith("good,good,good,0.")
    # Of three labels that the model has, "film" is predicted as good.
    assert capsys.readouterr().out.splitlines() == [
        "accuracy 66.7 % (20.8 to 93.9) on 3 rows with a label",
        "not counted: 2 with another label, such as '5'; the model has ['bad', 'good']",
    ]
    with pytest.raises(Refusal, match=r"^s.csv: has a column 'predicted_label' already; with --prefix new_"):
        predict.main(["--file", "s.csv", "--output", "t.csv"])
    predict.main(["--file", "s.csv", "--output", "t.csv", "--prefix", "new_"])
    assert Path("t.csv").read_text(encoding="utf-8").startswith(f"{header},new_label,new_probability\n")


def test_the_labels_may_be_in_a_column_of_another_name(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("r.jsonl").write_text('{"label": "good", "is": "good"}\n', encoding="utf-8")
    predict.main(["--file", "r.jsonl", "--column", "label", "--output", "s.jsonl", "--prefix", "my_"])
    assert capsys.readouterr().out == ""  # the column is the text
    predict.main(["--file", "r.jsonl", "--column", "label", "--label", "is", "--output", "s.jsonl"])
    assert "accuracy 100.0 %" in capsys.readouterr().out
    with pytest.raises(Refusal, match=r"r.jsonl: no column 'iss'.*did you mean 'is'"):
        predict.main(["--file", "r.jsonl", "--column", "label", "--label", "iss", "--output", "s.jsonl"])


HALF = "\ud83d"  # of an emoji, as JSON can hold it
ODD_ROWS = [
    {"text": f"good {HALF} film", HALF: [{HALF: HALF}], "n": 2**70, "label": f"good{HALF}"},
    {"text": 10**30, HALF: None, "n": -1.5, "label": 2**64},
]


@pytest.mark.parametrize("kind", writers.FORMATS)
def test_half_an_emoji_and_long_integers_are_written_or_refused(project: Path, kind: str) -> None:
    lines = [json.dumps(row) for row in ODD_ROWS]
    Path("r.jsonl").write_text("\n".join(lines), encoding="utf-8")
    arguments = ["--file", "r.jsonl", "--output", f"s.{kind}"]
    if kind == "parquet":
        with pytest.raises(Refusal, match=r"s\.parquet: the rows do not fit into one .*; write \.jsonl"):
            predict.main(arguments)
        without = {name: value for name, value in ODD_ROWS[0].items() if name != "n"}
        Path("r.jsonl").write_text(json.dumps(without), encoding="utf-8")
    predict.main(arguments)
    with Path(f"s.{kind}").open("rb") as file:
        first = next(iter(rows.read(file, f"s.{kind}", "x")))
    assert first["text"] == (ODD_ROWS[0]["text"] if kind == "jsonl" else "good ? film")
    assert first["predicted_label"] == "good"


@pytest.mark.parametrize("output", ["PYTHONIOENCODING=ascii", "LC_ALL=C PYTHONUTF8=0 PYTHONCOERCECLOCALE=0"])
def test_an_output_in_ascii_gets_escapes(project: Path, output: str) -> None:
    command = f"env {output} {sys.executable} -m tools.predict --contributions 0 --json < lines.txt"
    Path("lines.txt").write_text("caf\xe9 film \U0001f600", encoding="utf-8")
    done = subprocess.run(
        ["bash", "-c", f"{command} && {command} >&- && {command} | head -0"],
        cwd=project,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.isascii()
    assert json.loads(done.stdout)["text"] == "caf\xe9 film \U0001f600"


def test_texts_below_a_probability_get_no_label(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sure, unsure = one("good film"), one("film")
    lowest = unsure.probabilities["good"] + 0.01
    assert sure.probabilities["good"] > lowest
    options = ["--abstain", str(lowest), "--contributions", "0"]
    predict.main([*options, "good film", "film"])
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("good\t")
    assert second == f"abstained\t{unsure.probabilities['good']:.4f}"
    predict.main([*options, "--json", "film"])
    printed = json.loads(capsys.readouterr().out)
    assert printed["label"] is None
    assert printed["probability"] == unsure.probabilities["good"]
    answer = next(predict.answers(predict.load_predictor(None), ["film"], None, False, lowest))
    assert predict.as_text(answer, None, False).startswith("abstained (good 0.")
    Path("r.csv").write_text("text,label\ngood film,good\nfilm,good\n", encoding="utf-8")
    predict.main(["--file", "r.csv", "--output", "s.csv", *options[:2]])
    rows_written = list(csv.DictReader(Path("s.csv").read_text(encoding="utf-8").splitlines()))
    assert [row["predicted_label"] for row in rows_written] == ["good", ""]
    assert rows_written[1]["predicted_probability"].startswith("0.")
    assert capsys.readouterr().out.splitlines() == [
        "accuracy 100.0 % (20.7 to 100.0) on 1 rows with a label",
        "abstained on 1 of 2 rows with a label",
    ]


def test_a_table_is_read_in_batches() -> None:
    def endless() -> Iterator[rows.Row]:
        while True:
            yield {"text": "good"}

    assert len(next(predict.batches_of(endless(), "text", "x")).texts) == predict.ROWS
    long = ({"text": "x" * (predict.CHARACTERS // 2)} for _ in range(10))
    assert [len(batch.texts) for batch in predict.batches_of(long, "text", "x")] == [3, 3, 3, 1]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("r.csv", "review,stars\nx,1\n", "r.csv: no column 'text'; Allowed: 'review', 'stars'"),
        ("r.csv", "texts,stars\nx,1\n", "did you mean 'texts'"),
        ("r.csv", "text\n", "r.csv: found a header and no reviews"),
        ("r.csv", "", "r.csv: the file is empty"),
        ("r.csv", "text,a\nx\n", "row 2: 1 cells, but the header has 2"),
        ("r.csv", b"text\n\xff\n", "row 2: not UTF-8"),
        ("r.jsonl", '{"text": "a"}\n{"other": 1}\n', "r.jsonl, row 2: no column 'text'"),
        ("r.jsonl", '{"text": ["a"]}\n', r"row 1: 'text' is \['a'\], expected text"),
        (
            "r.jsonl",
            '{"text": "a"}\n{"text": "a", "b": 1}\n',
            "column 'b' is in a later row but not in the first; write .jsonl",
        ),
        ("r.parquet", "text", "r.parquet: not a parquet file"),
    ],
)
def test_invalid_tables_are_refused_and_nothing_is_written(
    project: Path, name: str, content: str | bytes, message: str
) -> None:
    Path(name).write_bytes(content if isinstance(content, bytes) else content.encode())
    Path("s.csv").write_text("as it was", encoding="utf-8")
    with pytest.raises(Refusal, match=message):
        predict.main(["--file", name, "--output", "s.csv"])
    assert Path("s.csv").read_text(encoding="utf-8") == "as it was"
    assert {path.name for path in Path().iterdir()} == {"data", name, "s.csv"}


# Writers


ROWS = [{"a": "x", "b": 'say "y", z'}, {"a": "", "b": "é\u2028"}]


@pytest.mark.parametrize("kind", writers.FORMATS)
def test_written_rows_are_read_back(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"rows.{kind}"
    with writers.writer(path) as write:
        for row in ROWS:
            write([row])
    with path.open("rb") as file:
        assert list(rows.read(file, path.name, "x")) == ROWS


@pytest.mark.parametrize(
    ("kind", "added", "message"),
    [
        ("tsv", {"a": "1\t2"}, "found a tab or a line break in '1.t2'; write .csv"),
        ("tsv", {"a": "1\n2"}, "write .csv"),
        ("tsv", {"a": "1\r2"}, "write .csv"),
        ("csv", {"c": "1"}, "column 'c' is in a later row"),
        ("parquet", {"a": 5, "b": "x"}, "do not fit into one table"),
    ],
)
def test_values_that_a_format_cannot_store_are_refused(
    tmp_path: Path, kind: str, added: rows.Row, message: str
) -> None:
    path = tmp_path / f"rows.{kind}"

    def attempt() -> None:
        with writers.writer(path) as write:
            write(ROWS)
            write([added])

    with pytest.raises(Refusal, match=message):
        attempt()
    assert not list(tmp_path.glob("*rows*"))


# The command


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--of", "fine", "x"], "--of: found 'fine', expected a label: bad, good"),
        (["--contributions", "-1", "x"], "--contributions: found -1"),
        (["--abstain", "90", "x"], "--abstain: found 90, expected a probability from 0 to 1"),
        (["--label", "stars", "x"], "--label: needs --file"),
        (["--output", "s.csv", "x"], "--output: needs --file"),
        (["--column", "a"], "--column: needs --file"),
        (["--file", "r.csv", "x"], "--file: .* with text"),
        (["--file", "r.csv", "--json"], "--file: .* with json"),
        (["--file", "r.csv"], "--output: missing"),
        (
            ["--file", "r.txt", "--output", "s.csv"],
            "--file: found 'r.txt', expected a name ending in .csv, .tsv",
        ),
        (["--file", "r.csv", "--output", "s"], "--output: found 's'"),
        (["--file", "r.csv", "--output", "./r.csv"], "--output: r.csv is the input file"),
        (["--rev", "main", "x"], "a repository of git and DVC"),
    ],
)
def test_contradictory_options_are_refused(project: Path, words: list[str], message: str) -> None:
    with pytest.raises(Refusal, match=message):
        predict.main(words)


def test_a_missing_file_is_reported_in_one_line(project: Path) -> None:
    assert refused(
        ask("--file", "r.csv", "--output", "s.csv", folder=project), "predict: r.csv: No such file"
    )


def test_a_missing_model_is_reported_with_the_command_to_make_one(tmp_path: Path) -> None:
    assert refused(ask("x", folder=tmp_path), "data/tokeniser.json: no such file", "make repro")


def test_a_model_of_another_vocabulary_is_refused(project: Path) -> None:
    with table_writer(project / "data/vocabulary.parquet", vocabulary.SCHEMA) as writer:
        writer.write_batch(batch_of([range(5), [*WORDS[:4], "movie"], [1] * 5], vocabulary.SCHEMA))
    with pytest.raises(Refusal, match="trained with another vocabulary"):
        predict.main(["x"])
    (project / "data/ensemble.safetensors").write_bytes(b"PK\x03\x04 a pickle")
    with pytest.raises(Refusal, match="damaged, or no model"):
        predict.main(["x"])


def test_heavy_libraries_are_not_imported() -> None:
    code = """
import sys
import tools.predict
assert not {"scipy", "polars", "dvc.repo"} & set(sys.modules)
from stages.predictor import Predictor
print({"torch", "sklearn", "pandas", "matplotlib", "dvc.repo"} & set(sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("set()\n", "")


def test_a_revision_is_predicted_with_its_own_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = Copy(write_model(tmp_path))
    dvc = [sys.executable, "-m", "dvc"]
    outs = "".join(f"      - data/{name}\n" for name in predict.FILES)
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
        (tmp_path / "dvc.lock").read_text(encoding="utf-8").replace("tokeniser.json", "names.json"),
        encoding="utf-8",
    )
    made.run("git", "commit", "--quiet", "--all", "--message", "another")
    with pytest.raises(Refusal, match=r"^HEAD: dvc.lock has no data/tokeniser.json"):
        predict.main(["--rev", "HEAD", "x"])
    with pytest.raises(Refusal, match=r"found a revision without a name"):
        predict.main(["--rev", "", "x"])
