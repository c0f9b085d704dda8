"""Averaging: the logits of the mean model are the mean of the logits."""

import pytest
import torch

from stages.classifier import Classifier
from stages.lib.averaging import State, mean_model
from stages.lib.word_model import Pool

V, D = 11, 4
POOLS: list[Pool] = ["mean", "sum", "max", "mean_max", "idf_mean"]


def models(count: int, labels: int, pool: Pool, same_vectors: bool) -> list[Classifier]:
    torch.manual_seed(0)
    vectors, made = torch.randn(V, D), []
    vectors[0] = 0
    idf = torch.rand(V) + 0.1
    for _ in range(count):
        own = vectors if same_vectors else vectors + torch.randn(V, D) * (torch.arange(V) > 0)[:, None]
        model = Classifier(own.clone(), labels, pool)
        if model.idf is not None:
            model.idf = idf
        made.append(model)
    return made


def loaded(state: State, labels: int, pool: Pool) -> Classifier:
    model = Classifier(state["embedding.weight"], labels, pool)
    model.load_state_dict(state)
    return model


@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("labels", [2, 3])
@pytest.mark.parametrize("same_vectors", [False, True])
@pytest.mark.parametrize("count", [1, 2, 4])
def test_the_logits_are_the_mean_of_the_models_logits(
    pool: Pool, labels: int, same_vectors: bool, count: int
) -> None:
    ids = torch.tensor([[2, 3, 2, 0], [9, 10, 1, 5], [0, 0, 0, 0], [4, 0, 0, 0]])
    parts = models(count, labels, pool, same_vectors)
    state = mean_model([part.state_dict() for part in parts], pool, same_vectors)
    with torch.no_grad():
        logits = torch.stack([part(ids) for part in parts])
        assert torch.allclose(loaded(state, labels, pool)(ids), logits.mean(0), atol=1e-6)
        assert count == 1 or not torch.allclose(logits[0], logits.mean(0), atol=1e-2)
    assert state["embedding.weight"].shape == (V, D if same_vectors else count * D)
    assert not state["embedding.weight"][0].any()


def test_the_mean_does_not_change_the_models() -> None:
    parts = models(2, 2, "mean", same_vectors=False)
    states = [part.state_dict() for part in parts]
    before = [{name: value.clone() for name, value in state.items()} for state in states]
    mean_model(states, "mean", same_vectors=False)
    for state, copy in zip(states, before, strict=True):
        assert all(torch.equal(state[name], copy[name]) for name in state)
