"""What the parts of a configuration have in common."""

import difflib
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

PositiveInt = Annotated[int, Field(gt=0)]
Share = Annotated[float, Field(ge=0, lt=1)]


class Section(BaseModel):
    """A part of the tree: unknown keys are refused, and nothing changes once it is read."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


def known_name(subject: str, names: Callable[[], Iterable[str]]) -> Callable[[str], str]:
    """A validator that lets through what `names` gives, and else names the nearest."""

    def check(name: str) -> str:
        known = list(names())
        if name not in known:
            raise unknown_name(subject, name, known)
        return name

    return check


def by_kind(
    subject: str, options: Callable[[], Mapping[str, type[Section]]], *, key: str = "kind", default: str | None = None
) -> Callable[[Any], Any]:
    """A validator that reads a mapping as the section that its kind, the value of `key`, stands for.

    `options` gives the section of each kind; it is asked when a configuration is read, so kinds may be added before.
    A mapping without a kind is of the `default` one, if there is one.
    """

    def read(value: Any) -> Any:
        if not isinstance(value, Mapping) or (default is None and key not in value):
            return value  # the field's own type says what is wrong with it
        known = options()
        kind = str(value.get(key, default))
        if kind not in known:
            raise unknown_name(subject, kind, known)
        for name in value:
            if name not in known[kind].model_fields:
                raise unknown_name("key", str(name), known[kind].model_fields, f" in the {subject} {kind}")
        return known[kind].model_validate(value)

    return read


def unknown_name(subject: str, name: str, known: Iterable[str], where: str = "") -> PydanticCustomError:
    """The complaint about a name that nothing has, with the nearest that something has."""
    names = list(known)
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean `{near[0]}`?" if near else f"there are {', '.join(names)}"
    return PydanticCustomError("unknown_name", "there is no {what}", {"what": f"{subject} `{name}`{where}; {hint}"})
