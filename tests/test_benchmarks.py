"""Benchmarks: their texts, parameters and tables, on tiny inputs."""

import csv
import importlib.util
import re
import subprocess
import sys
import tarfile
from collections import Counter
from io import BytesIO
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import classifier, classifier_peers, embeddings, explorer, features, growth, texts, threads
from benchmarks.stages import preset
from stages import LABELLED, UNK, ensemble, ngrams, tensors
from stages import classifier as classifier_stage
from stages.lib.params import check
from stages.lib.wordsets import Similarity
from stages.tokens import SCHEMA
from tests.browser import executable
from tests.conftest import ROOT
from tools import extra


def test_all_programs_get_the_same_documents(tmp_path: Path) -> None:
    groups = [[["a", "b"], []], [["c"]]]
    assert texts.write_text(iter(groups), tmp_path) == (3, 3)
    assert pq.read_table(tmp_path / texts.TOKENS)["tokens"].to_pylist() == [["a", "b"], [], ["c"]]
    assert (tmp_path / texts.LINES).read_text(encoding="utf-8") == "a b\n\nc\n"


def test_a_text_is_split_into_documents_without_losing_words(tmp_path: Path) -> None:
    words = [str(n) for n in range(2500)]
    (tmp_path / "text").write_text(" ".join(words), encoding="utf-8")
    documents = [document for group in texts.from_words(tmp_path / "text") for document in group]
    assert [len(document) for document in documents] == [1000, 1000, 500]
    assert [word for document in documents for word in document] == words


def test_rare_pairs_are_scored_with_vectors_of_unknown_words() -> None:
    unknown = {"c": np.array([1, 0.1], np.float32), "d": np.array([0, 1], np.float32)}
    vectors = np.array([[1, 0], [1, 1]], np.float32)
    run = embeddings.Run(1.0, 1.0, ["a", "b"], vectors, unknown.get)
    pairs = Similarity([("a", "b"), ("a", "c"), ("A", "d"), ("a", "e")], [0.0, 9.0, 1.0, 5.0])
    assert embeddings.rare_agreement(run, {"set": pairs}) == [1.0, 2]


def test_keep_splits_removes_the_unlabelled_reviews(tmp_path: Path) -> None:
    path, original = tmp_path / "tokens.parquet", tmp_path / "original.parquet"
    splits = ["train", "unlabelled", "test", "validation", "unlabelled"]
    columns = [["a", "b", "c", "d", "e"], [0, None, 1, 1, None], splits, [["x"], ["y"], [], ["z"], ["x"]]]
    pq.write_table(pa.table(columns, schema=SCHEMA), original)
    before = original.read_bytes()
    path.symlink_to(original)
    classifier.keep_splits(path, LABELLED)
    assert pq.read_table(path)["id"].to_pylist() == ["a", "c", "d"]
    assert original.read_bytes() == before


def test_the_random_text_has_every_word_frequent_words_and_topics() -> None:
    text = growth.draw(200_000, 1000)
    counts = np.bincount(text, minlength=1000)
    assert counts.min() >= 1
    assert counts[:10].sum() > 10 * counts[500:510].sum()
    assert (growth.draw(200_000, 1000) == text).all()
    shares = np.stack(
        [np.bincount(part % growth.TOPICS, minlength=growth.TOPICS) for part in np.split(text, 200)]
    )
    assert (shares.max(1) > 400).mean() > 0.95


def test_the_random_text_is_written_in_the_format_of_the_stages(tmp_path: Path) -> None:
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
    assert all(re.fullmatch(r"[\w-]+==[\d.]+", package) for package in extra.extras()["bench"])


def test_the_embeddings_benchmark_prints_its_table(tmp_path: Path) -> None:
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


def test_the_benchmark_of_threads_compares_with_two_and_trains_equal_numbers_of_workers_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    generator = np.random.default_rng(1)
    (tmp_path / "text").write_text(" ".join(f"w{n}" for n in generator.geometric(0.05, 5000)), "utf-8")
    for name, file in embeddings.WORDSETS.items():
        line = "w1 w2 w3 w4" if name == "analogies" else "w1\tw2\t1\nw1\tw3\t2\nw2\tw3\t3"
        (tmp_path / file).write_text(line + "\n", encoding="utf-8")
    calls = []
    trained = threads.trained
    monkeypatch.setattr(threads, "trained", lambda *args: calls.append(args) or trained(*args))
    options = ["--threads", "1", "8", "--objectives", "cbow", "--seeds", "1", "--epochs", "1"]
    monkeypatch.setattr(
        sys,
        "argv",
        ["threads", str(tmp_path), "--text", str(tmp_path / "text"), "--documents", "3", *options],
    )
    threads.main()
    printed = capsys.readouterr().out
    assert "text: 3 documents, 3,000 words" in printed
    rows = re.findall(r"\| cbow, (\d) +\| +(\d) \|([^|]+)\|([^|]+)\|([^|]+)\| +\d+ \|", printed)
    assert [row[:2] for row in rows] == [("1", "1"), ("2", "2"), ("8", "2")], printed
    assert rows[1][2:] == rows[2][2:]
    assert len(calls) == 2


def made(corpus: str, folder: Path) -> classifier.Made:
    return classifier.Made(corpus, folder, preset(corpus))


@pytest.mark.parametrize("corpus", classifier.CORPORA)
def test_every_row_of_the_ablation_has_valid_and_distinct_parameters(corpus: str, tmp_path: Path) -> None:
    corpus_made = made(corpus, tmp_path)
    stages = {"tensors": tensors, "ngrams": ngrams, "classifier": classifier_stage, "ensemble": ensemble}
    for rows in (classifier.textbook_rows(corpus_made), classifier.preset_rows(corpus_made)):
        sections = []
        for row in rows:
            params = classifier.with_changes(corpus_made.params, row.changes)
            for name, stage in stages.items():
                check(stage.Params, params[name], row.name)
            sections.append([params[name] for name in stages])
        assert all(sections.count(params) == 1 for params in sections)
        assert len({row.name for row in rows}) == len(rows)


def test_the_textbook_row_turns_all_additions_off(tmp_path: Path) -> None:
    textbook, *others = classifier.textbook_rows(made("imdb", tmp_path))
    params = classifier.with_changes(preset("imdb"), textbook.changes)
    assert params["ngrams"]["max_n"] == 0
    section = params["classifier"]
    assert (section["pool"], section["word_dropout"], section["weight_averaging"]) == ("mean", 0, False)
    assert {row.name for row in others} >= {"pool=max", "word_dropout=0.3", "plain n-grams"}
    assert not {row.name for row in others} & {"pool=mean", "init=trained", "weight_averaging=false"}


def test_settings_are_chosen_on_validation_and_results_are_medians(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[float] = []

    def trained(program: str, made: classifier.Made, settings: classifier.Settings) -> classifier.Result:
        penalty = settings["C"]
        tried.append(penalty)
        seconds = [0, 4.0, 9.0][tried.count(0.1)] if penalty == 0.1 else 1.0
        validation, test = {0.01: (6, 9), 0.1: (8, 5), 1: (8, 10), 10: (7, 10)}[penalty]
        return classifier.Result(seconds, 100.0, validation, test, {})

    monkeypatch.setattr(classifier, "trained", trained)
    monkeypatch.setattr(classifier.Made, "reviews", lambda self, split: 10)
    lines = classifier.contest(made("imdb", tmp_path), ["NBSVM, bigrams"], 2).splitlines()
    assert tried == [0.01, 0.1, 1, 10, 0.1]
    cells = [cell.strip() for cell in lines[2].split("|")[1:-1]]
    assert cells[:4] == ["NBSVM, bigrams", "C 0.1", "6.5", "100"]
    assert [cell.split()[0] for cell in cells[4:]] == ["80.00", "50.00"]


REVIEWS = [["good", "fine", "film"], ["bad", "film"], [], ["good", "."], ["bad", "bad", "."], ["so", "fine"]]


def write_tokens(folder: Path) -> None:
    splits = ["train", "train", "validation", "test", "test", "unlabelled"]
    labels = [1, 0, 0, 1, 0, None]
    columns = [list("abcdef"), labels, splits, REVIEWS]
    (folder / "data").mkdir()
    pq.write_table(
        pa.table(dict(zip(SCHEMA.names, columns, strict=True)), schema=SCHEMA), folder / "data/tokens.parquet"
    )


def test_peers_read_only_the_words_and_labels_of_each_split(tmp_path: Path) -> None:
    write_tokens(tmp_path)
    classifier_peers.write_lines(tmp_path)
    result = {
        split: sorted(
            zip(*classifier_peers.read_lines(classifier_peers.lines_of(tmp_path, split)), strict=True)
        )
        for split in LABELLED
    }
    assert result == {
        "train": [("__label__0", "bad film"), ("__label__1", "good fine film")],
        "validation": [("__label__0", "")],
        "test": [("__label__0", "bad bad ."), ("__label__1", "good .")],
    }


@pytest.mark.parametrize("program", ["NBSVM", "TF-IDF"])
def test_peers_classify_the_test_reviews(program: str, tmp_path: Path) -> None:
    write_tokens(tmp_path)
    classifier_peers.write_lines(tmp_path)
    train, test = (classifier_peers.lines_of(tmp_path, split) for split in ("train", "test"))
    trained = classifier_peers.PROGRAMS[program](train, {"max_n": 2, "C": 10})
    assert classifier_peers.correct(trained.predict, test) == 2


@given(
    st.lists(st.lists(st.sampled_from(["a", "b", "ab", "."]), max_size=6), min_size=1, max_size=6).filter(
        any
    ),
    st.integers(1, 3),
)
def test_both_methods_count_the_same_ngrams(reviews: list[list[str]], max_n: int) -> None:
    settings = {"max_n": max_n, "min_df": 1}
    counts = features.of_words(pa.array(reviews), settings).toarray()
    expected = features.of_split(reviews, settings).toarray()
    assert Counter(map(tuple, counts.T)) == Counter(map(tuple, expected.T))


def test_the_classifier_benchmark_prints_its_tables(tmp_path: Path) -> None:
    archive = tmp_path / "imdb.tar"
    with (ROOT / "data/corpora/sample/reviews.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))[:150]
    with tarfile.open(archive, "w") as out:
        for number, row in enumerate(rows):
            split, text = "test" if number % 3 == 0 else "train", row["text"].encode()
            member = tarfile.TarInfo(f"aclImdb/{split}/{row['label'][:3]}/{number}.txt")
            member.size = len(text)
            out.addfile(member, BytesIO(text))
    programs, groups = ["Firth, bigrams only", "TF-IDF, bigrams"], ["ablation", "peers", "features"]
    if importlib.util.find_spec("fasttext"):
        programs.append("fastText, words")
        groups.append("scoring")
    options = ["--rows", "... ngrams.max_n=1", "--programs", *programs, "--groups", *groups, "--times", "1"]
    command = [sys.executable, "-m", "benchmarks.classifier", "--archive", archive, *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    share = r"[\d.]+ \([\d.]+ to [\d.]+\)"
    assert re.search(rf"\| \.\.\. ngrams.max_n=1 +\| +[\d.]+ \| +\d+ \| +{share} \| +[\d.]+ \|", done.stdout)
    for program in programs:
        row = rf"\| {program} +\|[ \w]+\| +[\d.]+ \| +\d+ \| +{share} \| +{share} \|"
        assert re.search(row, done.stdout), done.stdout
    grams = dict(
        re.findall(
            r"\| (Firth, from words|CountVectorizer, split).*?\| +([\d,]+ \| +[\d,]+) \|\n", done.stdout
        )
    )
    assert len(grams) == 2
    assert len({" ".join(cells.split()) for cells in grams.values()}) == 1
    if "scoring" in groups:
        for name in ("Firth", "fastText, words"):
            assert re.search(rf"\| {name} +(\| +[\d,.]+ ){{5}}\|", done.stdout), done.stdout


def test_the_words_of_the_explorer_benchmark_are_distinct_and_its_vectors_repeat() -> None:
    assert len({explorer.word(number) for number in range(20_000)}) == 20_000
    vectors = explorer.draw(500)
    np.testing.assert_array_equal(vectors, explorer.draw(500))
    assert vectors.std(0)[0] > 3 * vectors.std(0)[-1]


@pytest.mark.parametrize("chromium", [True, False])
def test_the_explorer_benchmark_prints_its_table(
    chromium: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if chromium:
        executable()
    else:
        monkeypatch.setattr(explorer, "executable", lambda: None)
    explorer.main(["--words", "80", "--dims", "5", "--times", "1", "--frames", "2"])
    printed = capsys.readouterr().out
    number = r" +[\d.]+ \|"
    measured = rf"{number * 5}\n" if chromium else r"( +\|){5}\n"
    assert re.search(rf"\| 80 +\| +5 \|{number * 4}{measured}", printed), printed
    assert ("Chromium" in printed) == chromium
