"""Recipes to configurations: YAML, then `key.path=value` from the command line, then checks that name the key."""

import difflib
import types
import typing
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from recurray.platform.config.tree import RunConfig
from recurray.platform.errors import UserError

COMMAND_LINE = "the command line"


def load_config(recipe: Path, assignments: Sequence[str] = ()) -> RunConfig:
    """The configuration in `recipe`, with each `key.path=value` of `assignments` put in place.

    Raises UserError that names the file or the command line, the key's path, what was expected and the nearest key.
    """
    tree = read_yaml(recipe)
    assigned = {}
    for assignment in assignments:
        path, equals, value = assignment.partition("=")
        if not equals:
            raise UserError(f"`{assignment}` on the command line is not of the form key.path=value.")
        assigned[path] = yaml.safe_load(value)
        _assign(tree, path, assigned[path])
    try:
        return RunConfig.model_validate(tree)
    except ValidationError as failure:
        raise UserError(_sentence(failure.errors(), recipe, set(assigned))) from None


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file; UserError where there is none."""
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path} does not exist.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as fault:
        raise UserError(f"{path} is not valid YAML: {' '.join(str(fault).split())}.") from None
    if not isinstance(tree, dict):
        raise UserError(f"{path} holds no keys; a recipe is a mapping such as `jobs/recipes/demo.yaml`.")
    return tree


def to_yaml(config: BaseModel) -> str:
    """A configuration as YAML with every default written out; it is itself a recipe."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=120)


def differing_keys(one: BaseModel, other: BaseModel) -> list[str]:
    """Paths of the keys whose values differ, each as `key.path (this, that)`."""
    left, right = dict(_leaves(one.model_dump(mode="json"))), dict(_leaves(other.model_dump(mode="json")))
    return [
        f"{path} ({left.get(path)}, {right.get(path)})" for path in left | right if left.get(path) != right.get(path)
    ]


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _leaves(inner, f"{path}.{key}" if path else key)
    else:
        yield path, value


def _assign(tree: dict[str, Any], path: str, value: Any) -> None:
    """Puts a value in its place; a number in the path is an entry of a list that is there."""
    *sections, key = path.split(".")
    place: Any = tree
    for depth, section in enumerate(sections):
        inner = place.setdefault(section, {}) if isinstance(place, dict) else place[_entry(place, section, path)]
        if not isinstance(inner, dict | list):
            raise UserError(f"`{path}=` on the command line: {'.'.join(sections[: depth + 1])} holds no keys.")
        place = inner
    place[key if isinstance(place, dict) else _entry(place, key, path)] = value


def _entry(entries: list[Any], number: str, path: str) -> int:
    if not number.isdecimal() or int(number) >= len(entries):
        raise UserError(
            f"`{path}=` on the command line: {number} is no entry of a list of {len(entries)} in the recipe; they are "
            "counted from 0."
        )
    return int(number)


def _sentence(errors: Sequence[ErrorDetails], recipe: Path, assigned: set[str]) -> str:
    error = errors[0]
    # A wrong entry also makes pydantic count its tuple as too short.
    errors = [each for each in errors if each is error or each["loc"] != error["loc"][: len(each["loc"])]]
    location = [str(part) for part in error["loc"]]
    path = ".".join(location)
    from_command = any(path == key or key.startswith(path + ".") or path.startswith(key + ".") for key in assigned)
    more = f" ({len(errors) - 1} more after this one)" if len(errors) > 1 else ""
    sentence = f"{COMMAND_LINE if from_command else recipe}: {_complaint(error, location, path)}{more}"
    return sentence if sentence.endswith("?") else sentence + "."


def _complaint(error: ErrorDetails, location: list[str], path: str) -> str:
    if error["type"] == "extra_forbidden":
        siblings = _keys_at(RunConfig, location[:-1])
        near = difflib.get_close_matches(location[-1], siblings, n=1)
        elsewhere = [key for key in _all_paths(RunConfig) if key.split(".")[-1] == location[-1]]
        nearest = elsewhere[0] if elsewhere and not near else ".".join([*location[:-1], *near])
        hint = f"did you mean `{nearest}`?" if near or elsewhere else f"the keys here are {', '.join(siblings)}"
        return f"there is no key `{path}`; {hint}"
    if error["type"] == "missing":
        return f"the key `{path}` is missing and has no default"
    found = (
        ""
        if isinstance(error["input"], dict | list) or error["type"] == "unknown_name"
        else f", found {error['input']!r}"
    )
    message = error["msg"].removeprefix("Value error, ")
    return f"`{path}`: {message[0].lower()}{message[1:]}{found}"


def _keys_at(model: type[BaseModel], location: Sequence[str]) -> list[str]:
    """The keys of the section at a path; parts that are no keys (a list's index, a union's tag) are passed over."""
    models = [model]
    for part in location:
        fields = [m.model_fields[part] for m in models if part in m.model_fields]
        if fields:
            models = [inner for field in fields for inner in _models_in(field.annotation)]
    return list(dict.fromkeys(key for m in models for key in m.model_fields))


def _all_paths(model: type[BaseModel], prefix: str = "", around: tuple[type[BaseModel], ...] = ()) -> Iterator[str]:
    """Paths of all keys; a section within one of its own kind, as columns may stand in columns, is not gone into."""
    for key, field in model.model_fields.items():
        yield prefix + key
        for inner in _models_in(field.annotation):
            if inner not in (model, *around):
                yield from _all_paths(inner, f"{prefix}{key}.", (model, *around))


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    """The sections that may stand at a key; one whose kinds have sections of their own stands for these too."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation, *annotation.__subclasses__()]
    if typing.get_origin(annotation) in (typing.Annotated, typing.Union, types.UnionType, list, tuple):
        return [model for part in typing.get_args(annotation) for model in _models_in(part)]
    return []
