"""params.yaml, read in one place, typed: a wrong key or value is one line, never a silent default."""

import difflib
import re
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.fields import FieldInfo

from stages import STAGES
from stages.lib.command import Refusal


class Section(BaseModel):
    """One section of a YAML file: every key named, none unknown, no type bent to fit."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


S = TypeVar("S", bound=Section)


class Loader(yaml.SafeLoader):
    """PyYAML's safe loader with the scalars of YAML 1.2, the version that DVC reads and writes.

    >>> yaml.load("[1e-5, yes, 0777]", Loader)
    [1e-05, 'yes', 777]
    """

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """A mapping, refused where a key stands in it twice."""
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(
                    None, None, f"{key} stands there twice", node.start_mark
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
    """YAML 1.2 has no octal 0777 and no base 60: a row of digits is the number it looks like."""
    return int(loader.construct_scalar(node))


def _float(loader: Loader, node: yaml.ScalarNode) -> float:
    return float(loader.construct_scalar(node).lower().replace(".inf", "inf").replace(".nan", "nan"))


Loader.add_constructor("tag:yaml.org,2002:int", _int)
Loader.add_constructor("tag:yaml.org,2002:float", _float)


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file. Raises Refusal where it is none, or is not YAML, or not UTF-8."""
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader)
    except FileNotFoundError:
        raise Refusal(f"{path}: no such file") from None
    except UnicodeDecodeError as error:
        raise Refusal(f"{path}: not UTF-8 at byte {error.start}; save it as UTF-8") from None
    except (yaml.YAMLError, ValueError, KeyError, AttributeError, RecursionError) as error:
        # The last four are how PyYAML takes `!!int x` and a thousand brackets.
        raise Refusal(f"{path}: not valid YAML: {error}") from None
    if not isinstance(content, dict):
        raise Refusal(f"{path}: found no `key: value` lines; see README for what belongs there")
    return content


def read_params(path: Path, section: str, model: type[S]) -> S:
    """The section of params.yaml that one stage declares as its `Params`.

    Raises Refusal on an unknown, missing or mistyped key, naming the nearest valid one.
    """
    content = read_yaml(path)
    known = ["corpus", *STAGES]
    for key in content:
        if key not in known:
            raise Refusal(f"{path}: unknown section {key!r}{nearest(str(key), known)}")
    if section not in content:
        raise Refusal(
            f"{path}: section {section!r} is missing; allowed keys: {', '.join(model.model_fields)}"
        )
    return check(model, content[section], f"{path}: {section}")


def check(model: type[S], content: Any, where: str) -> S:
    """`content` as a `model`. Raises Refusal with the first thing that is wrong with it."""
    if not isinstance(content, dict):
        raise Refusal(f"{where}: found {content!r}, wanted the keys {', '.join(model.model_fields)}")
    try:
        return model.model_validate(content)
    except ValidationError as invalid:
        raise Refusal(_explain(model, invalid, where)) from None


def _explain(model: type[BaseModel], invalid: ValidationError, where: str) -> str:
    # An unknown key explains a missing one beside it, so it is told first.
    error = min(invalid.errors(), key=lambda e: e["type"] != "extra_forbidden")
    loc = error["loc"]
    place = ".".join([where, *map(str, loc)])
    fields = _fields_at(model, loc[:-1])
    if error["type"] == "extra_forbidden":
        return f"{place}: unknown parameter{nearest(str(loc[-1]), list(fields))}"
    if error["type"] == "missing":
        wanted = fields[str(loc[-1])].annotation
        return f"{place}: missing; add it, a value of type {getattr(wanted, '__name__', wanted)}"
    # A value of several kinds is wrong in several ways; they are told together, under its key.
    ways = [e["msg"].removeprefix("Value error, ") for e in invalid.errors() if e["loc"][:1] == loc[:1]]
    inside = ".".join([where, *map(str, loc[:1] if len(ways) > 1 else loc)])
    return f"{inside}: found {error['input']!r}; {', or '.join(ways)}"


def _fields_at(model: type[BaseModel], loc: tuple[int | str, ...]) -> dict[str, FieldInfo]:
    """The keys of the section that `loc` leads to, through optional sections and mappings of them."""
    for part in loc:
        field = model.model_fields.get(str(part))
        if field is None:
            continue  # the key of a mapping
        kinds = [field.annotation, *get_args(field.annotation)]
        sections = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)]
        if not sections:
            return {}
        model = sections[0]
    return model.model_fields


def nearest(word: str, allowed: list[str]) -> str:
    """The end of a refusal: the nearest allowed word, then all of them.

    >>> nearest("windw", ["dim", "window"])
    '; did you mean window? Allowed: dim, window'
    """
    if not allowed:
        return ""
    guess = difflib.get_close_matches(word, allowed, n=1)
    return (f"; did you mean {guess[0]}?" if guess else ";") + f" Allowed: {', '.join(allowed)}"
