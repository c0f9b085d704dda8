"""metrics/report.md: the report in short, for pull requests on GitHub.

Text from outside is escaped by `stages.lib.markdown.cell`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from stages import SPLITS
from stages.lib.headline import BASELINES
from stages.lib.markdown import cell, table
from stages.lib.report.lexicon import Entries
from stages.lib.report.numbers import points
from stages.lib.report.tables import MODELS, Slice

WORDS = 8  # strongest words of each label
LABELS = 8  # that are listed
SLICES = 5  # with the lowest accuracy
NAME = 60  # characters of a name
AGAIN = (
    "`python -m tools.reproduce REV` makes this again and compares it; REV is the commit whose dvc.lock has "
    "the MD5 of report.html."
)


def summary(content: Mapping[str, Any]) -> str:
    """The whole file, from the content of the page."""
    facts, listed, entries = content["facts"], content["listed"], content["lexicon"]
    reviews, evaluation = facts["raw"]["reviews"], facts["evaluation"]
    splits = ", ".join(f"{reviews[split]:,} {split}" for split in SPLITS if reviews[split])
    parts = [
        f"## {name_of(content['corpus'])}: {percent(listed['accuracy'])} accuracy",
        f"**{percent(listed['accuracy'])}** of the {reviews['test']:,} test reviews are classified correctly "
        f"(95 % interval: {percent(listed['acc_low'])} to {percent(listed['acc_high'])}). {content['lead']}",
        metrics_table(evaluation, content["measures"]),
        f"{sum(reviews.values()):,} reviews: {splits}. {len(entries)} labels.",
        *warnings(facts["raw"]["warnings"]),
        "![Words on the first two principal components](projection.png)",
        *strongest(entries),
        *worst_slices(content["every_slice"]),
        AGAIN,
    ]
    return "\n\n".join(parts) + "\n"


def metrics_table(evaluation: Mapping[str, Any], measures: Mapping[str, str]) -> str:
    """The metrics of Firth with their intervals, beside those of the baselines."""
    rows = []
    for key, name in measures.items():
        if key in evaluation["ensemble"]:
            around = evaluation["intervals"]["ensemble"].get(key)
            interval = f"{around['low']:.3f} to {around['high']:.3f}" if around else ""
            values = [f"{evaluation[model][key]:.3f}" for model in MODELS]
            rows.append([name, f"**{values[0]}**", interval, *values[1:]])
    return table(["metric", "Firth", "95 % interval", *BASELINES.values()], rows)


def warnings(sentences: Mapping[str, str]) -> list[str]:
    """What is unusual about the data, as a list."""
    if not sentences:
        return []
    return ["**About the data**\n\n" + "\n".join(f"- {cell(sentence)}" for sentence in sentences.values())]


def strongest(entries: Sequence[tuple[str, Entries]]) -> list[str]:
    """The strongest words of each label."""
    rows = [
        [name_of(label), ", ".join(name_of(word.text) for word in listed.words[:WORDS])]
        for label, listed in entries[:LABELS]
    ]
    more = f"\n\n{len(entries) - LABELS} more labels are in report.html." if len(entries) > LABELS else ""
    return [table(["label", "strongest words"], rows) + more]


def worst_slices(slices: Sequence[Slice]) -> list[str]:
    """The slices with the lowest accuracy."""
    rows = [
        [
            f"{name_of(one.slice)}: {name_of(one.part)}",
            f"{one.reviews:,}",
            f"{percent(one.accuracy)} ({percent(one.low)} to {percent(one.high)})",
            f"**{points(one.difference)}**" if one.is_notable else points(one.difference),
        ]
        for one in sorted(slices, key=lambda one: (one.accuracy, one.slice, one.part))[:SLICES]
    ]
    if not rows:
        return []
    header = ["slice with a low accuracy", "reviews", "accuracy (95 % interval)", "points to all"]
    return [table(header, rows) + "\n\nBold: the interval does not contain the accuracy on all reviews."]


def name_of(text: str) -> str:
    """A name from outside, escaped and not too long."""
    return cell(text if len(text) <= NAME else f"{text[: NAME - 1]}…")


def percent(share: float) -> str:
    """A share as a percentage.

    >>> percent(0.8417)
    '84.2 %'
    """
    return f"{100 * share:.1f} %"
