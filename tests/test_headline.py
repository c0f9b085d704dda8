"""Headline: the metrics that DVC lists, in order, and the line that says what they mean."""

import pytest

from stages import STAGES
from stages.lib.files import read_json
from stages.lib.headline import BASELINES, HEADLINE, headline, verdict
from tests.conftest import ROOT


def test_the_shipped_run_has_every_headline_metric_in_order() -> None:
    shipped = read_json(ROOT / "metrics/report.json")
    assert list(shipped) == list(HEADLINE)
    paths = [ROOT / f"metrics/{stage}.json" for stage in STAGES[:-1]]
    if all(path.is_file() for path in paths):  # after a run
        assert headline({path.stem: read_json(path) for path in paths}) == shipped


def test_the_lead_is_that_over_the_best_baseline_and_rounded() -> None:
    facts = {
        "evaluation": {
            "best_baseline": "tfidf",
            "differences": {"tfidf": {"accuracy": 0.123456}, "nbsvm": {"accuracy": 0.5}},
            "intervals": {"differences": {"tfidf": {"accuracy": {"low": -0.1, "high": 0.2}}}},
        }
    }
    assert headline(facts) == {"lead": 0.1235, "lead_low": -0.1, "lead_high": 0.2}


@pytest.mark.parametrize(
    ("low", "high", "chance"),
    [(0.01, 0.2, ", more"), (-0.2, -0.01, ", more"), (-0.1, 0.2, "no more"), (0.0, 0.2, "no more")],
)
def test_a_lead_is_more_than_chance_if_its_interval_is_on_one_side_of_zero(
    low: float, high: float, chance: str
) -> None:
    ends = {"accuracy": 0.8, "acc_low": 0.75, "acc_high": 0.85, "lead": 0.05}
    line = verdict(ends | {"lead_low": low, "lead_high": high}, "naive_bayes", 1204)
    assert line.endswith(f"{chance} than chance")
    assert "1,204 test reviews" in line
    assert BASELINES["naive_bayes"] in line
