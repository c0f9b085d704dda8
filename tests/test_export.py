"""Export: the files that other programs read, without loss of information."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from safetensors.numpy import load_file, save_file

from stages.lib.command import Refusal
from stages.lib.tables import batch_of, table_writer
from stages.lib.vectors import read_vectors
from stages.vocabulary import SCHEMA
from tests.conftest import ROOT, refused
from tools import export
from tools.exports import atlas, static, targets, words

TOKENS = ["<pad>", "<unk>", "film", "a b", "tab\t", "new\nline", "back\\slash", "▁", 'quo"te', "é字"]
VECTORS = np.random.default_rng(0).normal(size=(len(TOKENS), 3)).astype(np.float32)
VECTORS[0] = 0
FACTS = '{"lr": 1e-07, "seed": 1}'
FORMATS = pytest.mark.parametrize("form", [form for form in export.FORMATS if form != "hub"])


def write_run(folder: Path, tokens: Sequence[str] = TOKENS, facts: str | None = FACTS) -> None:
    """Writes the files of a run to data/."""
    (folder / "data").mkdir(exist_ok=True)
    save_file({"embeddings": VECTORS, "other": VECTORS[:1]}, folder / targets.EMBEDDINGS)
    with table_writer(folder / targets.VOCABULARY, SCHEMA) as writer:
        writer.write_batch(batch_of([range(len(tokens)), tokens, range(len(tokens))], SCHEMA))
    (folder / static.TOKENISER).write_text('{"lowercase": true, "unit": "words"}')
    schema = pa.schema([("token", pa.string()), ("x", pa.float32()), ("y", pa.float32())])
    with table_writer(folder / atlas.PROJECTION, schema) as writer:
        writer.write_batch(batch_of([TOKENS[2:], VECTORS[2:, 0], VECTORS[2:, 1]], schema))
    if facts is not None:
        (folder / targets.FACTS).write_text(facts)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a run, as the working directory."""
    write_run(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def exported(form: str, name: str = "out") -> Path:
    export.main(["--format", form, name])
    return Path(name)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("form", ["word2vec", "word2vec-binary"])
def test_word2vec_is_written_without_pad_and_read_back(
    project: Path, form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = exported(form)
    assert capsys.readouterr().out == "out: 9 words of 3 dimensions\n"
    assert path.read_bytes().startswith(b"9 3\n<unk> ")
    assert b"<pad>" not in path.read_bytes()
    table = np.zeros_like(VECTORS)
    assert read_vectors(path, {token: row for row, token in enumerate(TOKENS)}, table) == 9
    assert table.tobytes() == VECTORS.tobytes()
    assert Path("out.json").read_text() == FACTS


@pytest.mark.parametrize(("form", "binary"), [("word2vec", False), ("word2vec-binary", True)])
def test_gensim_reads_word2vec(project: Path, form: str, binary: bool) -> None:
    models = pytest.importorskip("gensim.models", reason="gensim, the oracle, is not installed")
    loaded = models.KeyedVectors.load_word2vec_format(str(exported(form)), binary=binary)
    names = ["<unk>", "film", "a▁b", "tab▁", "new▁line", "back\\slash", "▁", 'quo"te', "é字"]
    assert loaded.index_to_key == names
    assert loaded.vectors.tobytes() == VECTORS[1:].tobytes()


def test_the_projector_files_have_one_line_per_word(project: Path) -> None:
    folder = exported("projector")
    assert sorted(contents(folder)) == ["facts.json", "metadata.tsv", "projector_config.json", "vectors.tsv"]
    metadata = (folder / "metadata.tsv").read_bytes().decode().split("\n")
    assert metadata == [
        "token\tcount", "<unk>\t1", "film\t2", "a b\t3", r"tab\t" "\t4", r"new\nline" "\t5",
        r"back\\slash" "\t6", "▁\t7", 'quo"te\t8', "é字\t9", "",
    ]  # fmt: skip
    numbers = [line.split("\t") for line in (folder / "vectors.tsv").read_text().splitlines()]
    assert np.array(numbers, np.float32).tobytes() == VECTORS[1:].tobytes()
    assert json.loads((folder / "projector_config.json").read_text()) == {
        "embeddings": [
            {
                "metadataPath": "metadata.tsv",
                "tensorName": "embeddings",
                "tensorPath": "vectors.tsv",
                "tensorShape": [9, 3],
            }
        ]
    }
    assert (folder / "facts.json").read_text() == FACTS


def test_safetensors_are_written_with_their_words(project: Path) -> None:
    path = exported("safetensors")
    tensors = load_file(path)
    assert list(tensors) == ["embeddings"]
    assert tensors["embeddings"].tobytes() == VECTORS[1:].tobytes()
    words = json.loads(Path("out.words.json").read_text(encoding="utf-8"))
    assert words == {"tokens": TOKENS[1:], "counts": list(range(1, len(TOKENS)))}
    assert Path("out.json").read_text() == FACTS


@FORMATS
def test_a_second_export_writes_the_same_bytes_and_does_not_change_the_run(project: Path, form: str) -> None:
    data = contents(project / "data")
    exported(form)
    once = contents(project)
    exported(form)
    assert contents(project) == once
    assert contents(project / "data") == data


@FORMATS
def test_missing_facts_are_exported_as_an_empty_object(project: Path, form: str) -> None:
    exported(form)
    targets.FACTS.unlink()
    path = exported(form)
    facts = path / "facts.json" if path.is_dir() else Path("out.json")
    assert facts.read_text() == "{}\n"


@pytest.mark.parametrize("form", ["word2vec", "word2vec-binary", "safetensors"])
def test_the_named_file_is_replaced_and_other_files_are_not(project: Path, form: str) -> None:
    Path("out").write_text("old")
    exported(form)
    assert Path("out").read_bytes() != b"old"
    Path("new.json").write_text("mine")
    with pytest.raises(Refusal, match=r"new\.json: not from an earlier export, and would be overwritten"):
        exported(form, "new")
    assert Path("new.json").read_text() == "mine"
    assert not Path("new").exists()


@pytest.mark.parametrize("name", ["vectors.tsv", "metadata.tsv", "facts.json", "projector_config.json"])
def test_files_of_other_origin_in_a_projector_folder_are_kept(project: Path, name: str) -> None:
    folder = project / "out"
    folder.mkdir()
    (folder / "mine.txt").write_text("mine")
    (folder / name).write_text('{"embeddings": [{"tensorPath": "mine.tsv", "metadataPath": "m.tsv"}]}')
    before = contents(project)
    with pytest.raises(Refusal, match=f"{name}: not from an earlier export, and would be overwritten"):
        exported("projector")
    assert contents(project) == before
    (folder / name).unlink()
    exported("projector")
    assert (folder / "mine.txt").read_text() == "mine"


def test_an_interrupted_export_can_be_repeated(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(words, "write_facts", interrupt)
        with pytest.raises(KeyboardInterrupt):
            exported("projector")
    exported("projector")


@pytest.mark.parametrize(
    ("form", "name", "message"),
    [
        ("word2vec", "data/embeddings.safetensors", "this is in a folder of the pipeline"),
        ("safetensors", "data/embeddings.safetensors", "this is in a folder of the pipeline"),
        ("word2vec", "data/../data/embeddings", "data/embeddings: this is in a folder of the pipeline"),
        ("atlas", "data/projection.parquet", "this is in a folder of the pipeline"),
        ("static", "data", "data/config.json: this is in a folder of the pipeline"),
        ("word2vec", "data", "data: found a folder, expected the path of a file"),
        ("projector", "data/vocabulary.parquet", "found a file; this format is a folder"),
    ],
)
def test_files_of_the_pipeline_and_folders_are_not_overwritten(
    project: Path, form: str, name: str, message: str
) -> None:
    before = contents(project)
    with pytest.raises(Refusal, match=message):
        exported(form, name)
    assert contents(project) == before


@FORMATS
@pytest.mark.parametrize("missing", [targets.EMBEDDINGS, targets.VOCABULARY], ids=lambda path: path.stem)
def test_an_export_before_a_run_is_refused(project: Path, form: str, missing: Path) -> None:
    missing.unlink()
    with pytest.raises(Refusal, match=f"{missing}: no such file; run the pipeline first: dvc repro"):
        exported(form)
    assert not Path("out").exists()


def test_vectors_and_words_of_different_runs_are_refused(project: Path) -> None:
    write_run(project, TOKENS[:-1])
    with pytest.raises(Refusal, match=r"safetensors has 10 rows, data/vocabulary\.parquet 9; .* run dvc"):
        exported("word2vec")


@pytest.mark.parametrize("broken", [b"no tensors", None])
def test_a_file_without_vectors_is_refused(project: Path, broken: bytes | None) -> None:
    if broken is None:
        save_file({"other": VECTORS}, targets.EMBEDDINGS)
    else:
        targets.EMBEDDINGS.write_bytes(broken)
    with pytest.raises(Refusal, match=r"data/embeddings\.safetensors: no vectors in it"):
        exported("word2vec")


def ran(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tools.export", *arguments],
        cwd=folder, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_the_command_reports_bad_input_in_one_line(tmp_path: Path) -> None:
    assert refused(
        ran(tmp_path, "--format", "word2vec", "out"), "export: data/embeddings.safetensors: no such"
    )
    unknown = ran(tmp_path, "--format", "glove", "out")
    assert unknown.returncode == 2
    assert "invalid choice: 'glove'" in unknown.stderr
    write_run(tmp_path)
    done = ran(tmp_path, "--format", "word2vec", "made/out.vec")
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "made" / "out.vec.json").read_text() == FACTS
