"""Reads params.yaml, typed and strict: a wrong key or value is reported in one line, never ignored."""

import difflib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.fields import FieldInfo

from stages import STAGES
from stages.lib.command import Refusal

# Parameters of earlier versions, and what replaced them.
RENAMED = {
    "tokens.subwords": "tokens.bpe_pieces",
    "embeddings.subwords": "embeddings.char_ngrams",
    "embeddings.wordsets": "agreement.wordsets",
    "classifier.start": "classifier.init",
    "classifier.tuning": "classifier.freeze (true or false)",
    "classifier.batch": "classifier.batch_size",
    "classifier.vectors_lr": "classifier.embedding_lr",
    "classifier.averaging": "classifier.weight_averaging",
    "classifier.ngrams": "the section ngrams (classifier.ngrams: null is now ngrams.max_n: 0)",
    "classifier.blend": "ensemble.weights",
    "classifier.calibration": "ensemble.calibration",
    "classifier.threshold": "ensemble.threshold",
    "report.points": "explorer.words",
    "ngrams.longest": "ngrams.max_n",
    "ngrams.least": "ngrams.min_df",
    "ngrams.limit": "ngrams.max_features",
    "ngrams.counts": "ngrams.binary (true or false)",
    "ngrams.decay": "ngrams.l2",
    "ngrams.rarity": "ngrams.df_power",
    "ngrams.ending": "ngrams.ending_boost",
    "ngrams.ratios": "ngrams.nb_ratios (true or false)",
    "report.words": "agreement.words",
    "report.neighbours": "agreement.neighbours",
}
REMOVED = ("classifier.self_training", "evaluation.threads", "robustness.threads")


class Section(BaseModel):
    """A section of a YAML file: all keys are required and known, and no value is converted."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


S = TypeVar("S", bound=Section)


class Loader(yaml.SafeLoader):
    """PyYAML's safe loader with the scalars of YAML 1.2, the version that DVC reads and writes.

    PyYAML itself reads YAML 1.1, where `1e-5` is text and `yes` is true.

    >>> yaml.load("[1e-5, yes, 0777]", Loader)
    [1e-05, 'yes', 777]
    """

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """A mapping. Raises ConstructorError if a key occurs twice."""
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key} occurs twice", node.start_mark
                )
        return super().construct_mapping(node, deep)


for tag, pattern, first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]+", list("-+0123456789")),
    (
        "float",
        r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
):
    Loader.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(f"^(?:{pattern})$"), first)


def _int(loader: Loader, node: yaml.ScalarNode) -> int:
    """A decimal integer. YAML 1.2 has neither octal 0777 nor base 60."""
    return int(loader.construct_scalar(node))


def _float(loader: Loader, node: yaml.ScalarNode) -> float:
    return float(loader.construct_scalar(node).lower().replace(".inf", "inf").replace(".nan", "nan"))


Loader.add_constructor("tag:yaml.org,2002:int", _int)
Loader.add_constructor("tag:yaml.org,2002:float", _float)


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file. Raises Refusal if the file is no mapping, not YAML or not UTF-8."""
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader)  # nosec B506  # a SafeLoader
    except FileNotFoundError:
        raise Refusal(f"{path}: no such file") from None
    except UnicodeDecodeError as error:
        raise Refusal(f"{path}: not UTF-8 at byte {error.start}; save it as UTF-8") from None
    except (yaml.YAMLError, ValueError, KeyError, AttributeError, RecursionError) as error:
        # PyYAML raises the last four on input such as `!!int x` or a thousand brackets.
        raise Refusal(f"{path}: not valid YAML: {error}") from None
    if not isinstance(content, dict):
        raise Refusal(f"{path}: found no `key: value` lines; see README for what belongs there")
    return content


def read_params(path: Path, section: str, model: type[S]) -> S:
    """The section of params.yaml that one stage declares as its `Params`.

    Raises Refusal on an unknown, missing or mistyped key, with the nearest valid one, and on a key of an
    earlier version, with its new name.
    """
    content = read_yaml(path)
    refuse_old_names(path, content)
    known = ["corpus", *STAGES]
    for key in content:
        if key not in known:
            raise Refusal(f"{path}: unknown section {key!r}{nearest(str(key), known)}")
    if section not in content:
        raise Refusal(
            f"{path}: section {section!r} is missing; allowed keys: {', '.join(model.model_fields)}"
        )
    return check(model, content[section], f"{path}: {section}")


def refuse_old_names(path: Path, content: dict[str, Any]) -> None:
    """Raises Refusal on the first parameter that was renamed or removed."""
    for section, keys in content.items():
        for key in keys if isinstance(keys, dict) else ():
            name = f"{section}.{key}"
            if name in RENAMED:
                raise Refusal(f"{path}: {name} was renamed; use {RENAMED[name]}")
            if name in REMOVED:
                raise Refusal(f"{path}: {name} was removed; delete it")


def check(model: type[S], content: Any, where: str) -> S:
    """Validates `content` as a `model`. Raises Refusal with the first error."""
    if not isinstance(content, dict):
        raise Refusal(f"{where}: found {content!r}, expected the keys {', '.join(model.model_fields)}")
    try:
        return model.model_validate(content)
    except ValidationError as invalid:
        raise Refusal(_explain(model, invalid, where)) from None


def _explain(model: type[BaseModel], invalid: ValidationError, where: str) -> str:
    # A misspelt key is both unknown and missing under its right name: report the unknown one.
    error = min(invalid.errors(), key=lambda e: e["type"] != "extra_forbidden")
    loc = error["loc"]
    path = ".".join([where, *map(str, loc)])
    fields = _fields_at(model, loc[:-1])
    if error["type"] == "extra_forbidden":
        return f"{path}: unknown parameter{nearest(str(loc[-1]), list(fields))}"
    if error["type"] == "missing":
        expected = fields[str(loc[-1])].annotation
        return f"{path}: missing; add it, a value of type {getattr(expected, '__name__', expected)}"
    # A value of a union type fails once per member: report all failures under its key.
    ways = [e["msg"].removeprefix("Value error, ") for e in invalid.errors() if e["loc"][:1] == loc[:1]]
    inside = ".".join([where, *map(str, loc[:1] if len(ways) > 1 else loc)])
    return f"{inside}: found {error['input']!r}; {', or '.join(ways)}"


def _fields_at(model: type[BaseModel], loc: tuple[int | str, ...]) -> dict[str, FieldInfo]:
    """The fields of the section at `loc`, through optional sections and mappings of sections."""
    for part in loc:
        field = model.model_fields.get(str(part))
        if field is None:
            continue  # a key of a mapping
        kinds = [field.annotation, *get_args(field.annotation)]
        sections = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)]
        if not sections:
            return {}
        model = sections[0]
    return model.model_fields


def nearest(word: str, allowed: list[str], shown: Callable[[str], str] = str) -> str:
    """The end of an error message: the nearest allowed word, then all of them, each as `shown` writes it.

    >>> nearest("windw", ["dim", "window"])
    '; did you mean window? Allowed: dim, window'
    >>> nearest("tex", ["my text"], shown=repr)
    "; did you mean 'my text'? Allowed: 'my text'"
    """
    if not allowed:
        return ""
    close = difflib.get_close_matches(word, allowed, n=1)
    meant = f"; did you mean {shown(close[0])}?" if close else ";"
    return f"{meant} Allowed: {', '.join(map(shown, allowed))}"
