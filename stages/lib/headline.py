"""The few metrics that DVC lists, and the one line that says what they mean.

Every stage writes all that it measures to its own file in metrics/. DVC would print each of those numbers as
a column of `dvc exp show`, hundreds of them. So it lists one file, metrics/report.json, which has these.
"""

from collections.abc import Mapping
from typing import Any

BASELINES = {
    "tfidf": "TF-IDF",
    "nbsvm": "NBSVM",
    "naive_bayes": "Naive Bayes",
    "majority": "majority",
}
DIGITS = 4  # decimal places: what differs by less is no difference, and columns stay narrow
# Name -> stage, and the path in its metrics. The order is that of the columns of `dvc exp show`.
HEADLINE = {
    "accuracy": ("evaluation", "ensemble", "accuracy"),
    "acc_low": ("evaluation", "intervals", "ensemble", "accuracy", "low"),
    "acc_high": ("evaluation", "intervals", "ensemble", "accuracy", "high"),
    "f1": ("evaluation", "ensemble", "f1"),
    "log_loss": ("evaluation", "ensemble", "log_loss"),
    "roc_auc": ("evaluation", "ensemble", "roc_auc"),
    "ece": ("evaluation", "calibration", "after", "ece_equal_mass"),  # expected calibration error
    "lead": ("evaluation", "differences", "BEST", "accuracy"),  # over the best baseline
    "lead_low": ("evaluation", "intervals", "differences", "BEST", "accuracy", "low"),
    "lead_high": ("evaluation", "intervals", "differences", "BEST", "accuracy", "high"),
    "val_acc": ("ensemble", "validation", "accuracy"),
    "words": ("vocabulary", "words"),
    "embed_loss": ("embeddings", "final_loss"),
    "class_loss": ("classifier", "validation", "loss"),
}


def headline(facts: Mapping[str, Any], digits: int = DIGITS) -> dict[str, float]:
    """The headline metrics, from the metrics of each stage. One that is not defined, such as the area under a
    curve of one label, is left out.

    >>> headline({"evaluation": {"best_baseline": "nbsvm", "differences": {"nbsvm": {"accuracy": 0.25}}}})
    {'lead': 0.25}
    """
    best = facts["evaluation"]["best_baseline"]
    metrics = {}
    for name, path in HEADLINE.items():
        value: Any = facts
        for key in path:
            value = value.get(best if key == "BEST" else key, {})
        if value != {}:
            metrics[name] = round(value, digits)
    return metrics


def verdict(metrics: Mapping[str, float], baseline: str, reviews: int) -> str:
    """The headline in words: the accuracy, and whether its lead over a baseline is more than chance.

    >>> metrics = {"accuracy": 0.8, "acc_low": 0.75, "acc_high": 0.85}
    >>> metrics |= {"lead": 0.05, "lead_low": 0.01, "lead_high": 0.09}
    >>> print(verdict(metrics, "nbsvm", 200).replace("; ", "\\n"))
    accuracy 80.0 % (75.0 to 85.0) on 200 test reviews
    lead over the best baseline, NBSVM: +5.0 points (+1.0 to +9.0), more than chance
    """
    accuracy, low, high = (100 * metrics[name] for name in ("accuracy", "acc_low", "acc_high"))
    lead, lead_low, lead_high = (100 * metrics[name] for name in ("lead", "lead_low", "lead_high"))
    chance = "more than chance" if lead_low > 0 or lead_high < 0 else "no more than chance"
    return (
        f"accuracy {accuracy:.1f} % ({low:.1f} to {high:.1f}) on {reviews:,} test reviews; "
        f"lead over the best baseline, {BASELINES[baseline]}: {lead:+.1f} points "
        f"({lead_low:+.1f} to {lead_high:+.1f}), {chance}"
    )


def lead_in_words(metrics: Mapping[str, float], baseline: str) -> str:
    """Whether the lead over the best baseline is more than chance, as sentences for a page.

    >>> print(lead_in_words({"lead": 0.05, "lead_low": 0.01, "lead_high": 0.09}, "nbsvm")[:85])
    Firth is 5.0 points above the best baseline, NBSVM (95 % interval: +1.0 to +9.0). Thi
    >>> print(lead_in_words({"lead": -0.01, "lead_low": -0.04, "lead_high": 0.02}, "nbsvm")[:62])
    Firth is 1.0 points below the best baseline, NBSVM (95 % inter
    """
    lead, low, high = (100 * metrics[name] for name in ("lead", "lead_low", "lead_high"))
    around = f"{low:+.1f} to {high:+.1f}".replace("-", "\N{MINUS SIGN}")
    side = "above" if lead >= 0 else "below"
    if low > 0 or high < 0:
        chance = "This is more than chance."
    else:
        chance = "This is no more than chance: another test split of this kind could turn it around."
    return (
        f"Firth is {abs(lead):.1f} points {side} the best baseline, {BASELINES[baseline]} "
        f"(95 % interval: {around}). {chance}"
    )
