"""The model card: README.md of a model on the Hugging Face Hub, made from the files of the run.

It has the sections that the Hub asks for: how to use the model, its evaluation, its data, its intended use
and its limits. The YAML block at its top follows https://huggingface.co/docs/hub/model-cards.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import yaml

from stages import LABELLED, SPLITS
from stages.lib.markdown import cell, table
from stages.lib.model import ModelConfig

# Licences that the Hub knows by these names. Any other text is given as `license_name`.
LICENCES = (
    "apache-2.0", "bsd-3-clause", "cc0-1.0", "cc-by-3.0", "cc-by-4.0", "cc-by-nc-4.0", "cc-by-nc-sa-4.0",
    "cc-by-sa-3.0", "cc-by-sa-4.0", "gpl-3.0", "mit", "odbl", "odc-by", "pddl",
)  # fmt: skip

USE = """\
```python
import firth  # the wheel that `make wheel` builds in the repository of Firth

model = firth.load("path/of/this/folder")
model.predict_proba(["a text", "another text"])  # columns in the order of model.classes_
model.explain("a text")  # what each word and n-gram adds to the logit
```

`model` is a scikit-learn classifier, so it can be the last step of a pipeline, or be calibrated again."""


class Facts(NamedTuple):
    """What the card states. Names and texts may come from anywhere; the card escapes them."""

    name: str  # of the model
    corpus: str  # name of its folder
    origin: str | None
    licence: str | None
    reviews: Mapping[str, int]  # texts of each split
    labels: Mapping[str, Mapping[str, int]]  # of each labelled split: texts of each label
    evaluation: Mapping[str, Any]  # metrics/evaluation.json
    config: ModelConfig
    words: int  # in the vocabulary


def card(facts: Facts) -> str:
    """The whole README.md."""
    front = yaml.safe_dump(front_matter(facts), sort_keys=False, allow_unicode=True)
    labels = ", ".join(map(cell, facts.config.labels))
    sections = {
        "Use": USE,
        "Evaluation": evaluation(facts),
        "Training data": data(facts),
        "Intended use": f"""\
Texts of the kind, the language and the labels of the corpus "{cell(facts.corpus)}". The probabilities are
calibrated on such texts. Check the model on some labelled texts of your own before you rely on it.""",
        "Limits": "\n".join(f"- {line}" for line in limits(facts)),
    }
    body = "\n\n".join(f"## {title}\n\n{text}" for title, text in sections.items())
    return f"""\
---
{front}---

# {cell(facts.name)}

A text classifier with {len(facts.config.labels)} labels: {labels}. It is a model of words and n-grams,
trained by Firth, that gives the probability of each label and the contribution of each word.

{body}
"""


def front_matter(facts: Facts) -> dict[str, Any]:
    """The metadata that the Hub reads, with the metrics as its `model-index`."""
    metrics = [
        {"type": name, "value": value, "name": name.replace("_", " ") + interval_text(ends)}
        for name, value, ends in metrics_of(facts.evaluation)
    ]
    results = {
        "task": {"type": "text-classification", "name": "Text classification"},
        "dataset": {"type": facts.corpus, "name": facts.corpus, "split": "test"},
        "metrics": metrics,
    }
    return {
        **licence(facts.licence),
        "library_name": "firth",
        "pipeline_tag": "text-classification",
        "tags": ["firth", "text-classification"],
        "metrics": [metric["type"] for metric in metrics],
        "model-index": [{"name": facts.name, "results": [results]}],
    }


def licence(text: str | None) -> dict[str, str]:
    """The fields of the Hub for the licence of a corpus, which binds a model that is trained on it.

    >>> licence("MIT, as the rest of this repository"), licence("for research")
    ({'license': 'mit'}, {'license': 'other', 'license_name': 'for research'})
    """
    if not text:
        return {}
    name = re.split("[,;]", text)[0].strip().lower()
    return {"license": name} if name in LICENCES else {"license": "other", "license_name": text}


def metrics_of(evaluation: Mapping[str, Any]) -> Iterator[tuple[str, float, Mapping[str, float] | None]]:
    """Name, value and interval (or None) of each metric of the model on the test texts."""
    intervals = evaluation.get("intervals", {}).get("ensemble", {})
    for name, value in evaluation["ensemble"].items():
        if isinstance(value, int | float):
            yield name, value, intervals.get(name)


def interval_text(ends: Mapping[str, float] | None) -> str:
    """An interval after the name of a metric.

    >>> interval_text({"low": 0.75, "high": 0.8517})
    ' (95 % interval 0.750 to 0.852)'
    """
    return f" (95 % interval {ends['low']:.3f} to {ends['high']:.3f})" if ends else ""


def evaluation(facts: Facts) -> str:
    """The metrics with their intervals, and the accuracy beside that of simple models."""
    rows = [
        [name.replace("_", " "), f"{value:.3f}", *(f"{ends[e]:.3f}" if ends else "" for e in ("low", "high"))]
        for name, value, ends in metrics_of(facts.evaluation)
    ]
    accuracies = {
        name: metrics["accuracy"]
        for name, metrics in facts.evaluation.items()
        if isinstance(metrics, dict) and "accuracy" in metrics and name not in ("ensemble", "at_half")
    }
    baselines = ", ".join(
        f"{name.replace('_', ' ')} {value:.3f}"
        for name, value in sorted(accuracies.items(), key=lambda item: -item[1])
    )
    return f"""\
On {facts.reviews["test"]:,} test texts, which were held out before training. The intervals are of 95 %.

{table(["metric", "value", "from", "to"], rows)}

Accuracy of simple models on the same texts: {baselines}."""


def data(facts: Facts) -> str:
    """Where the texts come from, and how many there are of each label."""
    labels = facts.config.labels
    rows = [
        [split, f"{facts.reviews[split]:,}", *(f"{facts.labels[split].get(label, 0):,}" for label in labels)]
        if split in LABELLED
        else [split, f"{facts.reviews[split]:,}", *[""] * len(labels)]
        for split in SPLITS
    ]
    return f"""\
The corpus "{cell(facts.corpus)}".

- Origin: {cell(facts.origin or "not stated")}
- Licence: {cell(facts.licence or "not stated")}

{table(["split", "texts", *map(cell, labels)], rows)}"""


def limits(facts: Facts) -> Iterator[str]:
    """What a user of the model should know before they trust it."""
    ends = facts.evaluation.get("intervals", {}).get("ensemble", {}).get("accuracy")
    if ends:
        yield (
            f"The accuracy is known to {50 * (ends['high'] - ends['low']):.1f} points more or less, on texts "
            "like those of the corpus. On other texts it is not known."
        )
    yield (
        f"The vocabulary has {facts.words:,} words. Of any other word the model knows at most its sequences "
        "of letters."
    )
    yield (
        "What words and short sequences of words contribute is added up. Irony, and the structure of a "
        "sentence, are not seen."
    )
    if facts.config.width is not None:
        part = {"head": "beginning", "tail": "end", "both": "beginning and end"}[facts.config.keep]
        yield f"Of a text of more than {facts.config.width:,} tokens, only the {part} is read."
    yield (
        "Labels are the opinions of those who gave them, and what is one-sided in the corpus is in the "
        "model. It was not tested for fairness between groups of people; do not let it decide about people "
        "by itself."
    )
