"""The benchmarks: their texts and tables are what they say, and the small one runs."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from benchmarks import embeddings, growth, texts
from stages import UNK
from stages.lib.wordsets import Similarity
from tests.conftest import ROOT
from tools import extra


def test_all_programs_get_the_same_documents(tmp_path: Path) -> None:
    groups = [[["a", "b"], []], [["c"]]]
    assert texts.write_text(iter(groups), tmp_path) == (3, 3)
    assert pq.read_table(tmp_path / texts.TOKENS)["tokens"].to_pylist() == [["a", "b"], [], ["c"]]
    assert (tmp_path / texts.LINES).read_text(encoding="utf-8") == "a b\n\nc\n"


def test_a_text_of_words_loses_none(tmp_path: Path) -> None:
    words = [str(n) for n in range(2500)]
    (tmp_path / "text").write_text(" ".join(words), encoding="utf-8")
    documents = [document for group in texts.from_words(tmp_path / "text") for document in group]
    assert [len(document) for document in documents] == [1000, 1000, 500]
    assert [word for document in documents for word in document] == words


def test_rare_pairs_are_judged_by_the_vectors_of_their_unknown_words() -> None:
    unknown = {"c": np.array([1, 0.1], np.float32), "d": np.array([0, 1], np.float32)}
    vectors = np.array([[1, 0], [1, 1]], np.float32)
    run = embeddings.Run(1.0, 1.0, ["a", "b"], vectors, unknown.get)
    pairs = Similarity([("a", "b"), ("a", "c"), ("A", "d"), ("a", "e")], [0.0, 9.0, 1.0, 5.0])
    assert embeddings.rare_agreement(run, {"set": pairs}) == [1.0, 2]


def test_the_drawn_text_has_every_word_common_ones_often_and_topics() -> None:
    text = growth.draw(200_000, 1000)
    counts = np.bincount(text, minlength=1000)
    assert counts.min() >= 1
    assert counts[:10].sum() > 10 * counts[500:510].sum()
    assert (growth.draw(200_000, 1000) == text).all()
    shares = np.stack(
        [np.bincount(part % growth.TOPICS, minlength=growth.TOPICS) for part in np.split(text, 200)]
    )
    assert (shares.max(1) > 400).mean() > 0.95


def test_the_drawn_text_is_written_as_the_stages_would(tmp_path: Path) -> None:
    text = growth.draw(2500, 100)
    growth.write_ids(tmp_path, text, 100)
    table = pq.read_table(tmp_path / "data/vocabulary.parquet")
    assert table["id"].to_pylist() == list(range(102))
    documents = pq.read_table(tmp_path / "data/ids.parquet")["ids"].to_pylist()
    assert [len(document) for document in documents] == [1000, 1000, 500]
    counts = np.bincount(np.concatenate(documents), minlength=102)
    assert counts.tolist() == table["count"].to_pylist()
    assert (np.diff(counts[UNK + 1 :]) <= 0).all()


def test_the_extra_for_benchmarks_is_pinned() -> None:
    assert all(re.fullmatch(r"[\w-]+==[\d.]+", package) for package in extra.packages("bench"))


def test_the_table_of_a_tiny_text(tmp_path: Path) -> None:
    pytest.importorskip("gensim")
    generator = np.random.default_rng(1)
    words = [f"w{n}" for n in generator.geometric(0.05, 5000)]
    (tmp_path / "text").write_text(" ".join(words), encoding="utf-8")
    for name, file in embeddings.WORDSETS.items():
        line = "w1 w2 w3 w4" if name == "analogies" else "w1\tw2\t1\nw1\tw3\t2\nw2\tw3\t3"
        (tmp_path / file).write_text(line + "\n", encoding="utf-8")
    options = ["--parts", "plain", "--programs", "Firth", "gensim", "--objectives", "cbow", "--seeds", "1"]
    command = [sys.executable, "-m", "benchmarks.embeddings", tmp_path, "--text", tmp_path / "text", *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "text: 5 documents, 5,000 words" in done.stdout
    for program in ("Firth", "gensim"):
        assert re.search(rf"\| cbow, {program} +(\| +-?[\d.]+ ){{6}}\|", done.stdout), done.stdout
    assert re.search(r"Firth : gensim = \d", done.stdout)
