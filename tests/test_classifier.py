"""Classifier: the simple model as its reference, every pooling, the best epoch, the same bytes."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from stages import classifier
from stages.classifier import (
    Classifier,
    SimpleSentimentModel,
    cross_entropy,
    fit_rounds,
    word_dropout,
)
from stages.lib.batches import Batches
from stages.lib.command import Refusal
from stages.lib.folds import HeldOut, held_out
from stages.lib.model import scores_of
from stages.lib.pooling import mean_pool
from stages.lib.portable import Device
from stages.lib.reviews import inverse_document_frequency, read_split, read_train_and_validation
from stages.lib.word_model import ClassifierConfig, Pool, WordModel, word_arrays
from tests.conftest import DEVICES, ROOT, needs_gpu

V, D = 11, 4
CPU = torch.device("cpu")
REVIEWS = st.lists(st.lists(st.integers(1, V - 1), max_size=9), min_size=1, max_size=6)


def model_of(labels: int = 2, pool: Pool = "mean") -> Classifier:
    torch.manual_seed(0)
    table = torch.randn(V, D)
    table[0] = 0
    return Classifier(table, labels, pool)


def padded(reviews: list[list[int]], width: int) -> Tensor:
    rows = torch.zeros(len(reviews), width, dtype=torch.int32)
    for row, review in zip(rows, reviews, strict=True):
        row[: len(review)] = torch.tensor(review, dtype=torch.int32)
    return rows


@given(reviews=REVIEWS)
@settings(deadline=None)
def test_every_pooling_equals_its_definition(reviews: list[list[int]]) -> None:
    ids = padded(reviews, 9)
    vectors = model_of().embedding(ids).detach()  # (B, T, D)
    lengths = [len(review) for review in reviews]
    mean = mean_pool(vectors, ids != 0)
    largest = torch.stack(
        [v[:n].amax(0) if n else torch.zeros(D) for v, n in zip(vectors, lengths, strict=True)]
    )
    idf = torch.rand(V, generator=torch.Generator().manual_seed(1)) + 0.1
    weights = idf[ids] * (ids != 0)
    expected: dict[Pool, Tensor] = {
        "mean": mean,
        "sum": mean * torch.tensor(lengths)[:, None],
        "max": largest,
        "mean_max": torch.cat([largest, mean], 1),
        "idf_mean": (vectors * weights[:, :, None]).sum(1) / weights.sum(1, keepdim=True).clamp(min=1e-9),
    }
    for pool, vector in expected.items():
        model = model_of(pool=pool)
        if pool == "idf_mean":
            model.idf = idf
        assert torch.allclose(model.pooled(ids), vector, atol=1e-5), pool


@given(reviews=REVIEWS, labels=st.sampled_from([2, 3]))
@settings(deadline=None)
def test_the_logits_equal_those_of_the_simple_model(reviews: list[list[int]], labels: int) -> None:
    model = model_of(labels)
    simple = SimpleSentimentModel(model.embedding.weight.detach(), labels)
    simple.load_state_dict(model.state_dict())
    ids = padded(reviews, 9)
    assert torch.allclose(model(ids), simple(ids), atol=1e-6)


@given(
    reviews=REVIEWS,
    extra=st.integers(1, 20),
    pool=st.sampled_from(["mean", "sum", "max", "mean_max", "idf_mean"]),
)
@settings(deadline=None)
def test_padding_does_not_change_the_logits(reviews: list[list[int]], extra: int, pool: Pool) -> None:
    model = model_of(pool=pool)
    assert torch.allclose(model(padded(reviews, 9)), model(padded(reviews, 9 + extra)), atol=1e-6)


@pytest.mark.parametrize("pool", ["mean", "sum", "max", "mean_max", "idf_mean"])
def test_the_logits_of_a_review_without_words_are_the_bias(pool: Pool) -> None:
    model = model_of(pool=pool)
    assert torch.equal(model(padded([[]], 3)), model.linear.bias[None])


def test_two_labels_have_one_logit_and_more_have_one_each() -> None:
    assert model_of(2).linear.out_features == 1
    assert model_of(3).linear.out_features == 3


def test_one_logit_and_two_have_the_same_loss_and_prediction() -> None:
    logit = torch.tensor([[0.3], [-1.2], [0.0]])
    both = torch.cat([torch.zeros_like(logit), logit], 1)
    labels = torch.tensor([1, 0, 1], dtype=torch.int32)
    assert torch.allclose(cross_entropy(logit, labels), cross_entropy(both, labels))
    for table in (logit, both):
        scores = scores_of(table.double().numpy(), np.array([1, 0, 0]))  # at 0 the second label is predicted
        assert scores["loss"] == pytest.approx(
            cross_entropy(logit, torch.tensor([1, 0, 0])).mean().item(), rel=1e-5
        )


@given(reviews=REVIEWS, labels=st.sampled_from([2, 3]))
@settings(deadline=None)
def test_a_large_batch_has_the_same_maximum(reviews: list[list[int]], labels: int) -> None:
    ids, model = padded(reviews, 9), model_of(labels, "mean_max")
    with pytest.MonkeyPatch.context() as patch:
        small = model(ids)
        patch.setattr(classifier, "SPARSE_CELLS", -1)
        assert torch.equal(model(padded(reviews, 9 + V)), small)


def write_inputs(folder: Path, labels: int = 2, noisy: bool = False) -> list[Path]:
    """Reviews with one word that decides the label, or with random labels if noisy."""
    generator = torch.Generator().manual_seed(3)
    tensors = {}
    for split, count in (("train", 120), ("validation", 40), ("test", 40)):
        ids = torch.randint(2, V, (count, 6), generator=generator, dtype=torch.int32)
        y_true = torch.randint(labels, (count,), generator=generator, dtype=torch.int32)
        if not noisy:
            ids = torch.where(ids < 2 + labels, V - 1, ids)
            ids[:, 0] = y_true + 2
        lengths = torch.full((count,), 6, dtype=torch.int32)
        tensors |= {f"{split}.ids": ids, f"{split}.lengths": lengths, f"{split}.labels": y_true}
        tensors[f"{split}.unknown"] = torch.zeros(0, dtype=torch.uint8)
    save_file(tensors, folder / "tensors.safetensors", {"tensors": '{"max_length": 9, "keep": "both"}'})
    (folder / "vocabulary.parquet").write_bytes(b"words")
    table = torch.randn(V, D, generator=generator)
    table[0] = 0
    save_file({"embeddings": table}, folder / "embeddings.safetensors")
    names = [f"label {n}" for n in range(labels)]
    (folder / "labels.json").write_text(json.dumps({"labels": names}), encoding="utf-8")
    inputs = ("tensors.safetensors", "embeddings.safetensors", "vocabulary.parquet", "labels.json")
    outputs = ("classifier.safetensors", "metrics.json", "curve.csv", "held_out.safetensors")
    return [folder / n for n in (*inputs, *outputs)]


def run_stage(params: Path, paths: list[Path]) -> None:
    *others, metrics, curve, held = paths
    classifier.main(params, *others, held, metrics, curve)


QUICK = {"lr": 0.05, "embedding_lr": 0.05, "epochs": 12, "patience": 12, "batch_size": 16, "folds": 0}
TEXTBOOK = {
    "lr": 0.02, "embedding_lr": 0.01, "epochs": 2, "patience": 2, "batch_size": 16, "threads": 1,
    "word_dropout": 0, "weight_decay": 0, "weight_averaging": False, "pool": "mean", "class_weight": "none",
    "init": "trained", "freeze": False, "folds": 0, "seed": 1,
}  # fmt: skip


def trained(
    folder: Path, write_params: Callable[..., Path], labels: int = 2, noisy: bool = False, **choices: object
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Parameters and metrics after training on the reviews of `write_inputs`."""
    paths = write_inputs(folder, labels, noisy)
    run_stage(write_params(classifier={**TEXTBOOK, **choices}), paths)
    return load_file(paths[4]), json.loads(paths[5].read_text(encoding="utf-8"))


def loaded(path: Path, labels: int = 2) -> Classifier:
    """The classifier in a file."""
    state = load_file(path)
    with safe_open(path, "pt") as file:
        config = ClassifierConfig.model_validate_json(file.metadata()["classifier"])
    model = Classifier(state["embedding.weight"], labels, config.pool)
    model.load_state_dict(state)
    return model


@pytest.mark.parametrize("labels", [2, 3])
@pytest.mark.parametrize("freeze", [False, True])  # frozen vectors are pooled once before training
@pytest.mark.parametrize("device", DEVICES)
def test_training_equals_the_simple_model_with_optimisers_of_torch(
    tmp_path: Path, write_params: Callable[..., Path], labels: int, freeze: bool, device: Device
) -> None:
    state, metrics = trained(tmp_path, write_params, labels, freeze=freeze, device=device)
    assert metrics["best_epoch"] == 2  # otherwise the parameters of the first epoch were kept

    reviews = read_split(tmp_path / "tensors.safetensors", "train")
    train = Batches(reviews, CPU)
    torch.manual_seed(1)
    model = SimpleSentimentModel(load_file(tmp_path / "embeddings.safetensors")["embeddings"], labels)
    model.embedding.sparse = True
    model.embedding.weight.requires_grad_(not freeze)
    optimisers: list[torch.optim.Optimizer] = [torch.optim.Adam(model.linear.parameters(), 0.02)]
    if not freeze:
        optimisers.append(torch.optim.SparseAdam(model.embedding.parameters(), 0.01))
    loss = nn.BCEWithLogitsLoss() if labels == 2 else nn.CrossEntropyLoss()
    generator = torch.Generator().manual_seed(1)
    for _ in range(2):
        for rows in train.shuffled(16, generator):
            logits, y_true = model(train.ids[rows]), train.labels[rows]
            for optimiser in optimisers:
                optimiser.zero_grad()
            (loss(logits[:, 0], y_true.float()) if labels == 2 else loss(logits, y_true.long())).backward()
            for optimiser in optimisers:
                optimiser.step()

    for name, value in model.state_dict().items():
        assert torch.allclose(state[name], value, atol=1e-5), name


A_FEW_STEPS = """
import hashlib
from stages.lib.optim import Adam
from stages.lib.portable import linear
import torch

torch.manual_seed(0)
layer, vectors = torch.nn.Linear(100, 3), torch.randn(64, 100)
optimisers = [Adam(part, 0.01) for part in layer.parameters()]
for _ in range(5):
    layer.zero_grad()
    linear(layer, vectors).sigmoid().sum().backward()
    for optimiser in optimisers:
        optimiser.step()
values = torch.cat([layer.weight.flatten(), linear(layer, vectors).flatten()])
print(hashlib.sha256(values.detach().numpy().tobytes()).hexdigest())
"""


def test_the_linear_layer_has_the_same_bytes_with_all_instruction_sets_of_mkl() -> None:
    hashes = set()
    for kind in ("SSE4_2", "AVX2", "AVX512"):
        done = subprocess.run(
            [sys.executable, "-c", A_FEW_STEPS],
            cwd=ROOT, env=os.environ | {"MKL_ENABLE_INSTRUCTIONS": kind}, capture_output=True, check=True,
        )  # fmt: skip
        hashes.add(done.stdout)
    assert len(hashes) == 1
    assert len(hashes.pop()) == 65


def test_the_textbook_preset_turns_all_additions_off(params: dict[str, Any]) -> None:
    words = (ROOT / "presets/textbook.args").read_text(encoding="utf-8").split()
    prefix = "classifier."
    changed = dict(word.removeprefix(prefix).split("=") for word in words[1::2] if word.startswith(prefix))
    preset = params["classifier"] | {key: yaml.safe_load(value) for key, value in changed.items()}
    free = {"lr", "embedding_lr", "epochs", "patience", "batch_size", "threads"}
    assert {key: preset[key] for key in TEXTBOOK.keys() - free} == {
        key: TEXTBOOK[key] for key in TEXTBOOK.keys() - free
    }


# Without max: a word that is never the maximum has no sparse gradient, and its moments do not decay.
@pytest.mark.parametrize("pool", ["mean", "sum", "mean_max", "idf_mean"])
def test_dense_and_sparse_gradients_give_the_same_training(
    tmp_path: Path, write_params: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, pool: str
) -> None:
    sparse, _ = trained(tmp_path, write_params, 3, noisy=True, pool=pool)
    monkeypatch.setattr(classifier, "SPARSE_CELLS", 0)
    dense, _ = trained(tmp_path, write_params, 3, noisy=True, pool=pool)
    for name, value in sparse.items():
        assert torch.allclose(dense[name], value, atol=1e-5), name


@given(reviews=REVIEWS, share=st.floats(0, 0.99), seed=st.integers(0, 99))
@settings(deadline=None)
def test_word_dropout_replaces_words_by_padding(reviews: list[list[int]], share: float, seed: int) -> None:
    ids = padded(reviews, 9)
    fewer = word_dropout(ids, share, torch.Generator().manual_seed(seed))
    assert (fewer.shape, fewer.dtype) == (ids.shape, ids.dtype)
    assert ((fewer == ids) | (fewer == 0)).all()
    assert share > 0 or torch.equal(fewer, ids)


def test_word_dropout_drops_the_given_share_of_words() -> None:
    ids = torch.randint(1, V, (200, 300), dtype=torch.int32)
    generator = torch.Generator().manual_seed(1)
    first, second = (word_dropout(ids, 0.3, generator) for _ in range(2))
    assert (first == 0).double().mean().item() == pytest.approx(0.3, abs=0.01)
    assert not torch.equal(first, second)


@pytest.mark.parametrize("freeze", [False, True])
def test_word_dropout_changes_the_result_and_is_repeatable(
    tmp_path: Path, write_params: Callable[..., Path], freeze: bool
) -> None:
    plain, once, again = (
        trained(tmp_path, write_params, word_dropout=share, freeze=freeze)[0] for share in (0, 0.5, 0.5)
    )
    assert not torch.equal(plain["linear.weight"], once["linear.weight"])
    assert all(torch.equal(once[name], again[name]) for name in once)


@pytest.mark.parametrize("freeze", [False, True])
def test_weight_averaging_is_the_mean_of_the_parameters_of_all_epochs(
    tmp_path: Path, write_params: Callable[..., Path], freeze: bool
) -> None:
    states = []
    for epochs in (1, 2, 3):
        state, metrics = trained(tmp_path, write_params, epochs=epochs, freeze=freeze)
        assert metrics["best_epoch"] == epochs
        states.append(state)
    averaged, metrics = trained(tmp_path, write_params, epochs=3, freeze=freeze, weight_averaging=True)
    assert metrics["best_epoch"] == 3
    for name, value in averaged.items():
        assert torch.allclose(value, torch.stack([state[name] for state in states]).mean(0), atol=1e-6), name


def test_balanced_labels_raise_the_probability_of_a_rare_label(
    tmp_path: Path, write_params: Callable[..., Path]
) -> None:
    means = {}
    for class_weight in ("none", "balanced"):
        paths = write_inputs(tmp_path, noisy=True)
        rare = {"train.labels": (torch.arange(120) % 8 == 0).int()}
        save_file(load_file(paths[0]) | rare, paths[0], {"tensors": '{"max_length": 9, "keep": "head"}'})
        choices = {**TEXTBOOK, "epochs": 20, "patience": 20, "class_weight": class_weight}
        run_stage(write_params(classifier=choices), paths)
        validation = Batches(read_split(paths[0], "validation"), CPU)
        means[class_weight] = loaded(paths[4])(validation.ids).sigmoid().mean().item()
    assert means["none"] + 0.1 < means["balanced"] == pytest.approx(0.5, abs=0.1)


def test_a_smaller_embedding_lr_keeps_vectors_closer_to_their_initial_values(
    tmp_path: Path, write_params: Callable[..., Path]
) -> None:
    distances, layers = [], []
    for lr in (0.1, 0.01, 0.001):
        state, _ = trained(tmp_path, write_params, embedding_lr=lr)
        start = load_file(tmp_path / "embeddings.safetensors")["embeddings"]
        distances.append((state["embedding.weight"] - start).abs().mean().item())
        layers.append(state["linear.weight"])
    assert distances[0] > 5 * distances[1] > 25 * distances[2] > 0
    assert torch.allclose(layers[1], layers[2], atol=0.02)


def test_weight_decay_applies_to_the_linear_layer_only(
    tmp_path: Path, write_params: Callable[..., Path]
) -> None:
    plain, decayed = (
        trained(tmp_path, write_params, freeze=True, weight_decay=decay, epochs=1)[0] for decay in (0, 5)
    )
    assert decayed["linear.weight"].norm() < 0.7 * plain["linear.weight"].norm()
    assert torch.equal(plain["embedding.weight"], decayed["embedding.weight"])


def test_the_idf_is_that_of_all_reviews_but_test(tmp_path: Path, write_params: Callable[..., Path]) -> None:
    state, _ = trained(tmp_path, write_params, pool="idf_mean")
    reviews, _ = read_train_and_validation(tmp_path / "tensors.safetensors")
    assert torch.equal(state["idf"], torch.from_numpy(inverse_document_frequency(reviews.ids, V)).float())


@pytest.mark.parametrize("pool", ["mean", "sum", "max", "mean_max", "idf_mean"])
@pytest.mark.parametrize("freeze", [False, True])
def test_the_classifier_is_the_mean_of_one_per_round(
    tmp_path: Path, write_params: Callable[..., Path], pool: Pool, freeze: bool
) -> None:
    paths = write_inputs(tmp_path, 3, noisy=True)
    choices = {**TEXTBOOK, "folds": 3, "pool": pool, "freeze": freeze}
    run_stage(write_params(classifier=choices), paths)
    reviews, _ = read_train_and_validation(paths[0])
    held = HeldOut.load(paths[7])
    params = classifier.Params(**choices, device="cpu")  # type: ignore[arg-type]
    vectors = load_file(paths[1])["embeddings"]
    total = np.zeros((160, 3))
    for mask in held_out(reviews.labels, np.zeros(160, np.bool_), 3, {"labels": ["a", "b", "c"]}):
        state, alone, _ = fit_rounds(vectors, reviews, [mask], 3, pool, params)
        model = WordModel(pool, word_arrays(pool, {name: value.numpy() for name, value in state.items()}))
        documents = reviews.documents
        total += model.logits(documents.ids, documents.lengths)
        # The logits of a fold are of the model that was not trained on it.
        assert (alone.there == mask).all()
        assert np.allclose(held.whole[mask], model.logits(reviews.ids[mask].ravel(), reviews.lengths[mask]))
        heads = documents.select(mask).head(np.resize([1, 2, 5, 10, 20], 160)[mask])
        assert np.allclose(held.cut[mask], model.logits(heads.ids, heads.lengths))
    mean, config = WordModel.from_classifier(paths[4])
    assert config.pool == pool
    assert np.allclose(mean.logits(reviews.ids.ravel(), reviews.lengths), total / 3, atol=1e-5)
    metrics = json.loads(paths[5].read_text(encoding="utf-8"))
    assert metrics["rounds"] == 3
    assert metrics["validation"] == pytest.approx(scores_of(held.whole, reviews.labels), abs=1e-6)


def test_held_out_reviews_do_not_change_the_model_of_their_round(tmp_path: Path) -> None:
    paths = write_inputs(tmp_path, noisy=True)
    reviews, is_validation = read_train_and_validation(paths[0])
    vectors = load_file(paths[1])["embeddings"]
    params = classifier.Params(**{**TEXTBOOK, "epochs": 1}, device="cpu")  # type: ignore[arg-type]
    state, _, _ = fit_rounds(vectors, reviews, [is_validation], 2, "mean", params)
    other = reviews._replace(labels=np.where(is_validation, 1 - reviews.labels, reviews.labels))
    same, _, _ = fit_rounds(vectors, other, [is_validation], 2, "mean", params)
    assert all(torch.equal(state[name], same[name]) for name in state)


@pytest.mark.parametrize("labels", [2, 4])
@pytest.mark.parametrize("init", ["trained", "random"])
@pytest.mark.parametrize("device", DEVICES)
def test_training_learns_a_decisive_word_and_is_deterministic(
    tmp_path: Path, write_params: Callable[..., Path], labels: int, init: str, device: Device
) -> None:
    paths = write_inputs(tmp_path, labels)
    choices = {**QUICK, "init": init, "device": device}
    run_stage(write_params(classifier=choices), paths)
    metrics = json.loads(paths[5].read_text(encoding="utf-8"))
    assert metrics["validation"]["accuracy"] == 1.0
    outputs = [path.read_bytes() for path in paths[4:]]
    run_stage(write_params(classifier=choices), paths)
    assert [path.read_bytes() for path in paths[4:]] == outputs


@needs_gpu
@pytest.mark.parametrize("pool", ["mean", "sum", "max", "mean_max", "idf_mean"])
def test_every_pooling_has_the_same_bytes_on_two_runs_on_a_gpu(
    tmp_path: Path, write_params: Callable[..., Path], pool: str
) -> None:
    paths = write_inputs(tmp_path)
    choices = {**QUICK, "pool": pool, "word_dropout": 0.2, "weight_averaging": True, "device": "cuda"}
    outputs = []
    for _ in range(2):
        run_stage(write_params(classifier=choices), paths)
        outputs.append([path.read_bytes() for path in paths[4:]])
    assert outputs[0] == outputs[1]


@pytest.mark.parametrize("pool", ["mean", "sum", "max", "mean_max", "idf_mean"])
def test_frozen_vectors_do_not_change_and_padding_stays_zero(
    tmp_path: Path, write_params: Callable[..., Path], pool: str
) -> None:
    for freeze in (True, False):
        state, _ = trained(tmp_path, write_params, freeze=freeze, pool=pool)
        start = load_file(tmp_path / "embeddings.safetensors")["embeddings"]
        assert torch.equal(state["embedding.weight"], start) == freeze
        assert not state["embedding.weight"][0].any()


def test_the_file_contains_the_configuration_for_scoring(
    tmp_path: Path, write_params: Callable[..., Path]
) -> None:
    trained(tmp_path, write_params, pool="mean_max")
    with safe_open(tmp_path / "classifier.safetensors", "pt") as file:
        assert list(file.metadata()) == ["classifier"]  # the order of several keys is not stable
        config = ClassifierConfig.model_validate_json(file.metadata()["classifier"])
    assert (config.width, config.keep, config.pool) == (9, "both", "mean_max")


def test_the_best_epoch_is_kept_and_patience_ends_training(
    tmp_path: Path, write_params: Callable[..., Path]
) -> None:
    paths = write_inputs(tmp_path, noisy=True)
    run_stage(write_params(classifier={"lr": 0.1, "epochs": 40, "patience": 3, "folds": 0}), paths)
    lines = paths[6].read_text(encoding="utf-8").splitlines()
    assert lines[0] == "epoch,train_loss,validation_loss,validation_accuracy"
    losses = [float(line.split(",")[2]) for line in lines[1:]]
    metrics = json.loads(paths[5].read_text(encoding="utf-8"))
    assert metrics["best_epoch"] == losses.index(min(losses)) + 1
    assert metrics["epochs_run"] == len(losses) == metrics["best_epoch"] + 3 < 40
    assert metrics["validation"]["loss"] == min(losses)
    validation = Batches(read_split(paths[0], "validation"), CPU)
    loss = cross_entropy(loaded(paths[4])(validation.ids), validation.labels).mean().item()
    assert loss == pytest.approx(min(losses), abs=1e-5)


@pytest.mark.filterwarnings("error")
def test_a_diverged_training_is_refused(tmp_path: Path, write_params: Callable[..., Path]) -> None:
    paths = write_inputs(tmp_path)
    table = load_file(paths[1])["embeddings"]
    save_file({"embeddings": table * float("nan")}, paths[1])
    with pytest.raises(Refusal, match=r"diverged in epoch 1.*classifier\.lr"):
        run_stage(write_params(), paths)
    assert not paths[4].exists()
