"""Embeddings: the reference by hand and against one-hot products, both engines, and the stage's files."""

import csv
import os
import re
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from stages import embeddings
from stages.embeddings import Word2Vec, cbow, context, negative_sampling, one_hot_product, skipgram, softmax
from stages.lib.char_ngrams import CharNgrams, vector_of
from stages.lib.command import Refusal
from stages.lib.files import read_json
from stages.lib.word2vec.settings import settings_for
from stages.lib.word2vec.tables import initial_table
from tests.conftest import DEVICES, ROOT
from tests.tiny_corpus import Run, assert_kinds_are_separate, engine_params, fruit_and_tools

V, D = 13, 5
documents = st.lists(st.integers(2, V - 1), max_size=12)


@pytest.fixture
def fruit(tmp_path: Path) -> Run:
    return Run(tmp_path, fruit_and_tools(400))


def test_a_lookup_equals_the_one_hot_product_bit_for_bit() -> None:
    table = nn.Embedding(V, D, padding_idx=0)
    rows = torch.randint(V, (28,))
    assert torch.equal(table(rows), one_hot_product(rows, table.weight))


@given(document=documents, reach=st.integers(1, 5))
def test_skipgram_and_cbow_predict_within_the_reach(document: list[int], reach: int) -> None:
    for position in range(len(document)):
        pairs = [n for n in range(len(document)) if 0 < abs(n - position) <= reach]
        assert context(document, position, reach) == [document[n] for n in pairs]
    reaches = [reach] * len(document)
    pairs = [(words[0], target) for words, target in skipgram(document, reaches)]
    mirrored = [(target, word) for words, target in cbow(document, reaches) for word in words]
    assert pairs == mirrored
    assert Counter(pairs) == Counter((b, a) for a, b in pairs)


def test_the_hidden_vector_is_the_mean_of_the_words_without_padding() -> None:
    model = Word2Vec(torch.randn(V, D))
    rows = model.input.weight
    hidden = model.hidden(torch.tensor([[3, 4, 0], [5, 0, 0]]))
    assert torch.allclose(hidden, torch.stack([(rows[3] + rows[4]) / 2, rows[5]]))
    assert not model.output.weight.any()


def test_negative_sampling_by_hand() -> None:
    output = nn.Embedding.from_pretrained(torch.tensor([[0.0], [1.0], [2.0], [-1.0]]))
    losses = negative_sampling(torch.tensor([[1.0]]), torch.tensor([2]), torch.tensor([[1, 3]]), output)
    sigmoid = lambda x: 1 / (1 + np.exp(-x))  # noqa: E731
    expected = -np.log(sigmoid(2)) - np.log(sigmoid(-1)) - np.log(sigmoid(1))
    assert losses.tolist() == pytest.approx([expected])


def test_softmax_by_hand_excludes_padding() -> None:
    output = nn.Embedding.from_pretrained(torch.tensor([[9.0], [1.0], [2.0], [-1.0]]))
    losses = softmax(torch.tensor([[1.0]]), torch.tensor([2]), torch.zeros(1, 0), output)
    scores = np.exp([1.0, 2.0, -1.0])
    assert losses.tolist() == pytest.approx([-np.log(scores[1] / scores.sum())])


def test_a_step_moves_against_the_gradient() -> None:
    model = nn.Linear(2, 1)
    before = [weight.detach().clone() for weight in model.parameters()]
    embeddings.sgd_step(model, model(torch.tensor([3.0, 4.0])).sum(), 0.1)
    moved = [weight - old for weight, old in zip(model.parameters(), before, strict=True)]
    assert moved[0].flatten().tolist() == pytest.approx([-0.3, -0.4], abs=1e-6)
    assert moved[1].tolist() == pytest.approx([-0.1], abs=1e-6)


@pytest.mark.parametrize("objective", ["skipgram", "cbow"])
@pytest.mark.parametrize("loss", ["negative_sampling", "softmax"])
@pytest.mark.parametrize("char_ngrams", [None, {"min": 3, "max": 4, "buckets": 50}])
@pytest.mark.parametrize("device", DEVICES)
def test_words_that_occur_together_become_similar(
    fruit: Run, objective: str, loss: str, char_ngrams: dict[str, int] | None, device: str
) -> None:
    choices = {"objective": objective, "loss": loss, "char_ngrams": char_ngrams, "subsample": 0, "lr": 0.025}
    choices |= {"device": device, "epochs": {"cpu": 4, "cuda": 30}[device]}  # a GPU takes larger steps
    table = fruit(**choices)["embeddings"]
    first = fruit.bytes()
    assert table.dtype == torch.float32
    assert table.shape == (10, 8)
    assert not table[0].any()
    assert_kinds_are_separate(fruit, table)
    fruit(**choices)
    assert fruit.bytes() == first


@pytest.mark.parametrize("objective", ["skipgram", "cbow"])
@pytest.mark.parametrize("loss", ["negative_sampling", "softmax"])
def test_the_textbook_engine_separates_the_kinds_and_is_deterministic(
    tmp_path: Path, objective: str, loss: str
) -> None:
    fruit = Run(tmp_path, fruit_and_tools(60))
    choices = {"engine": "textbook", "objective": objective, "loss": loss, "subsample": 0, "epochs": 6}
    table = fruit(**choices)["embeddings"]
    first = fruit.bytes()
    assert table.shape == (10, 8)
    assert not table[0].any()
    assert_kinds_are_separate(fruit, table)
    assert sorted(fruit.metrics()) == ["final_loss", "mean_norm", "words_per_epoch"]
    fruit(**choices)
    assert fruit.bytes() == first
    assert not torch.equal(fruit(**choices, seed=2)["embeddings"], table)


@pytest.mark.parametrize("choices", [{"char_ngrams": {"min": 3, "max": 3, "buckets": 9}}, {"device": "cuda"}])
def test_unsupported_parameters_of_the_textbook_engine_are_refused(
    fruit: Run, choices: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embeddings, "prepare", lambda *_: torch.device("cpu"))
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (10**12, 10**12))
    with pytest.raises(
        Refusal, match=r"^embeddings\.engine: found textbook, .*char_ngrams: null and device: cpu"
    ):
        fruit(engine="textbook", **choices)


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Some of the bundled reviews, without the words that occur only once in them."""
    with (ROOT / "data/corpora/sample/reviews.csv").open(encoding="utf-8", newline="") as file:
        texts = [re.findall(r"\w+", row["text"].lower()) for row in csv.DictReader(file)][:400]
    counts = Counter(word for words in texts for word in words)
    kept = [" ".join(word for word in words if counts[word] > 1) for words in texts]
    return Run(tmp_path_factory.mktemp("sample"), kept)


@pytest.mark.parametrize("objective", ["skipgram", "cbow"])
def test_both_engines_reach_the_same_loss(sample: Run, objective: str) -> None:
    """Within the range of five seeds of the fast engine, extended by its width on both sides."""
    choices = {"objective": objective, "epochs": 4, "dim": 16}
    fast = [sample.engine(**choices, seed=seed)[1].rows[-1][1] for seed in range(1, 6)]
    params = engine_params(**choices)
    table = initial_table(sample.tokens, params, settings_for(params.objective, "cpu"))
    curve = embeddings.textbook(sample.paths[0], sample.counts, table.vectors(), params)
    spread = max(fast) - min(fast)
    assert min(fast) - spread < curve.rows[-1][1] < max(fast) + spread
    assert curve.rows[0][1] - curve.rows[-1][1] > 5 * spread
    assert curve.rows[-1][0] == 4 * int(sample.counts.sum())


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_every_run_gives_the_same_bytes(fruit: Run, threads: int) -> None:
    fruit(threads=threads, epochs=10)
    first = fruit.bytes()
    fruit(threads=threads, epochs=10)
    assert fruit.bytes() == first


@pytest.mark.parametrize("threads", [2, 3, 32])
def test_a_short_text_is_trained_by_two_workers_and_a_line_says_so(
    fruit: Run, threads: int, capsys: pytest.CaptureFixture[str]
) -> None:
    two = fruit(threads=2)["embeddings"]
    capsys.readouterr()
    assert torch.equal(fruit(threads=threads)["embeddings"], two)
    lines = [line for line in capsys.readouterr().err.splitlines() if "embeddings.threads" in line]
    assert lines == (
        []
        if threads == 2
        else [
            f"embeddings.threads: found {threads}; 2 are used, since the train texts have 4,800 words in "
            "total, and more threads would give worse vectors"
        ]
    )
    assert read_json(fruit.outputs[1])["workers"] == 2


RUN_SEVERAL = """
import sys, pathlib
from stages import embeddings
for params in sys.argv[2].split(","):
    embeddings.main(*map(pathlib.Path, [params, *sys.argv[3:]]))
    for path in sys.argv[-4:]:
        pathlib.Path(path).rename(f"{params}-{pathlib.Path(path).name}-{sys.argv[1]}")
"""


def test_different_vector_instructions_give_the_same_bytes(fruit: Run) -> None:
    params = [
        fruit.params(objective=objective, engine=engine).rename(fruit.folder / f"{engine}-{objective}")
        for objective in ("skipgram", "cbow")
        for engine in ("blocks", "textbook")
    ]
    for capability in ("default", "avx2", "avx512"):
        words = [capability, ",".join(map(str, params)), *map(str, fruit.paths)]
        environment = os.environ | {"ATEN_CPU_CAPABILITY": capability}
        subprocess.run([sys.executable, "-c", RUN_SEVERAL, *words], cwd=ROOT, env=environment, check=True)
    for path in params:
        for output in fruit.outputs:
            made = {one.read_bytes() for one in fruit.folder.glob(f"{path.name}-{output.name}-*")}
            assert len(made) == 1, (path.name, output.name)


def test_another_seed_gives_other_vectors(fruit: Run) -> None:
    assert not torch.equal(fruit(seed=1)["embeddings"], fruit(seed=2)["embeddings"])


@pytest.mark.parametrize("engine", ["blocks", "textbook"])
def test_auto_is_the_learning_rate_of_the_objective(fruit: Run, engine: str) -> None:
    auto = {"blocks": settings_for("skipgram", "cpu").lr, "textbook": embeddings.TEXTBOOK_LR["skipgram"]}[
        engine
    ]
    tables = {lr: fruit(lr=lr, engine=engine)["embeddings"] for lr in ("auto", auto, 0.01)}
    assert torch.equal(tables["auto"], tables[auto])
    assert not torch.equal(tables["auto"], tables[0.01])


RUN_WITH_MANY_CHECKPOINTS = """
import sys, pathlib
from stages import embeddings
from stages.lib import checkpoint
checkpoint.INTERVAL = checkpoint.COST_FACTOR = 0
embeddings.main(*map(pathlib.Path, sys.argv[1:]))
"""


@pytest.mark.parametrize("device", DEVICES)
def test_a_killed_run_resumes_to_the_same_bytes(fruit: Run, work_folder: Path, device: str) -> None:
    """tests/test_resumed.py has the other objective and more options."""
    params = fruit.params(epochs={"cpu": 50, "cuda": 100}[device], device=device)
    embeddings.main(params, *fruit.paths)
    whole = fruit.bytes()
    for path in fruit.outputs:
        path.unlink()
    command = [sys.executable, "-c", RUN_WITH_MANY_CHECKPOINTS, str(params), *map(str, fruit.paths)]
    saved = set()
    for _ in range(2):
        process = subprocess.Popen(command, cwd=ROOT)
        before = len(saved)
        while process.poll() is None and len(saved) < before + 4:  # checkpoints seen since its start
            saved |= {path.stat().st_mtime_ns for path in work_folder.glob("*/*/state.safetensors")}
            time.sleep(0.005)
        assert process.poll() is None, "the run ended before it could be killed"
        process.kill()
        process.wait()
        assert not any(path.exists() for path in fruit.outputs)
    subprocess.run(command, cwd=ROOT, check=True)
    assert fruit.bytes() == whole
    assert not list(work_folder.rglob("state.safetensors"))


def test_char_ngrams_give_vectors_to_unknown_words(fruit: Run) -> None:
    choices = {"epochs": 6, "subsample": 0}
    assert set(fruit(**choices)) == {"embeddings"}
    tensors = fruit(**choices, char_ngrams={"min": 3, "max": 5, "buckets": 1000})
    assert tensors["char_ngrams"].shape == (1000, 8)
    vector = vector_of("apples", tensors["char_ngrams"].numpy(), CharNgrams(min=3, max=5, buckets=1000))
    assert vector is not None
    apples = torch.from_numpy(vector)
    similar, other = (torch.cosine_similarity(apples, fruit.vector(w), 0) for w in ("apple", "hammer"))
    assert similar > 0.5 > other


@pytest.mark.parametrize(
    "choices", [{}, {"char_ngrams": {"min": 3, "max": 3, "buckets": 20}}, {"engine": "textbook"}]
)
def test_training_starts_from_pretrained_vectors(fruit: Run, choices: dict[str, object]) -> None:
    lines = ["apple 1 2 3 4 5 6 7 8", "elsewhere 0 0 0 0 0 0 0 1", "saw 8 7 6 5 4 3 2 1"]
    (fruit.folder / "pretrained" / "glove.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    fruit(pretrained="glove.txt", lr=1e-9, **choices)
    assert torch.allclose(fruit.vector("apple"), torch.arange(1.0, 9.0), atol=1e-4)
    assert torch.allclose(fruit.vector("saw"), torch.arange(8.0, 0.0, -1), atol=1e-4)
    assert fruit.vector("pear").abs().max() < 0.1
    assert fruit.metrics()["pretrained_coverage"] == 2 / 8


def test_the_vector_of_unk_is_the_mean_of_the_rarest_words(tmp_path: Path) -> None:
    run = Run(tmp_path, [*fruit_and_tools(50), "quince apple", "adze saw"])
    table = run()["embeddings"]
    assert torch.allclose(table[1], (run.vector("quince") + run.vector("adze")) / 2)


def test_parameters_and_counts_are_written_beside_the_vectors(fruit: Run) -> None:
    fruit(window=3)
    facts = read_json(fruit.outputs[1])
    assert facts["parameters"]["window"] == 3
    assert facts["parameters"]["engine"] == "blocks"
    assert facts["tokens"] == sum(facts["counts"]) == fruit.metrics()["words_per_epoch"] == 400 * 12
    assert len(facts["counts"]) == 10


@pytest.mark.parametrize("engine", ["blocks", "textbook"])
def test_validation_and_test_texts_are_not_trained_on(fruit: Run, engine: str) -> None:
    table = pq.read_table(fruit.paths[0])
    vectors = fruit(engine=engine)["embeddings"]
    held_out = table.set_column(2, "split", pa.array(["validation", "test"] * 200))
    pq.write_table(pa.concat_tables([table, held_out]), fruit.paths[0])
    assert torch.equal(fruit(engine=engine)["embeddings"], vectors)


@pytest.mark.parametrize("engine", ["blocks", "textbook"])
@pytest.mark.parametrize(
    ("texts", "choices", "message"),
    [
        (["alone", "solo"], {"window": 1}, "adjacent.*min_count"),
        (["a b c"], {}, "embeddings.window: found 5, but the train texts have 3 words"),
        ([], {}, "<pad> and <unk> only; lower vocabulary.min_count"),
        (
            ["a b c d e f g"],
            {"dim": 10_000, "char_ngrams": {"min": 3, "max": 3, "buckets": 2**31 - 1}},
            "needs .* GB",
        ),
        (["a b c d e f g"], {"pretrained": "none.vec"}, "embeddings.pretrained: no file 'none.vec'"),
    ],
)
def test_invalid_parameters_and_texts_are_refused(
    tmp_path: Path, engine: str, texts: list[str], choices: dict[str, object], message: str
) -> None:
    run = Run(tmp_path, texts)
    with pytest.raises(Refusal, match=message):
        run(engine=engine, **choices)
    assert not any(path.exists() for path in run.outputs)


def test_a_pretrained_file_of_another_dimension_is_refused(fruit: Run) -> None:
    (fruit.folder / "pretrained" / "small.vec").write_text("1 3\napple 1 2 3\n", encoding="utf-8")
    with pytest.raises(Refusal, match=r"small\.vec.*3.*8.*embeddings\.dim"):
        fruit(pretrained="small.vec")


@pytest.mark.parametrize("choices", [{"loss": "softmax", "dim": 4}, {"loss": "negative_sampling"}])
def test_a_diverged_training_is_refused(fruit: Run, choices: dict[str, object]) -> None:
    with pytest.raises(
        Refusal, match=r"diverged by step .* words\) at a learning rate of .*lower embeddings\.lr"
    ):
        fruit(**choices, subsample=0, lr=10.0, epochs=400)
    assert not any(path.exists() for path in fruit.outputs)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_cuda_without_a_gpu_is_refused(fruit: Run) -> None:
    with pytest.raises(Refusal, match="found cuda"):
        fruit(device="cuda")
