"""What stays in single precision where autocast computes products in a lower one, such as bfloat16."""

from collections.abc import Callable
from contextlib import nullcontext
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

import torch
from torch import Tensor

_LOW = (torch.bfloat16, torch.float16)

Arguments = ParamSpec("Arguments")
Found = TypeVar("Found")
Owner = TypeVar("Owner")
Method = Callable[Concatenate[Owner, Tensor, Arguments], Found]


def widened(values: Tensor) -> Tensor:
    """In single precision what autocast made of a lower one; all else, and everything without autocast, as it is."""
    return values.float() if values.dtype in _LOW and torch.is_autocast_enabled(values.device.type) else values


def product_dtype(values: Tensor) -> torch.dtype:
    """The type that products of `values` are computed in: autocast's, if it is on, or their own."""
    device = values.device.type
    if values.dtype == torch.float64 or not torch.is_autocast_enabled(device):
        return values.dtype
    return torch.get_autocast_dtype(device)


def without_autocast(values: Tensor) -> torch.autocast:
    """A context in which each operation on `values` computes in the types that it is given."""
    return torch.autocast(values.device.type, enabled=False)


def in_single_precision(
    *devices: str,
) -> Callable[[Method[Owner, Arguments, Found]], Method[Owner, Arguments, Found]]:
    """Under autocast, a method takes and gives single precision, and on these types of devices it computes in it too.

    The method takes a tensor first; what else it takes and what it gives are tensors, or tuples of them, or None.
    Without autocast it is left alone.
    """

    def decorate(method: Method[Owner, Arguments, Found]) -> Method[Owner, Arguments, Found]:
        @wraps(method)
        def run(self: Owner, values: Tensor, /, *args: Arguments.args, **kwargs: Arguments.kwargs) -> Found:
            device = values.device.type
            if not torch.is_autocast_enabled(device):
                return method(self, values, *args, **kwargs)
            given = _widened_all((values, args, kwargs))
            with without_autocast(values) if device in devices else nullcontext():
                found: Found = _widened_all(method(self, given[0], *given[1], **given[2]))
            return found

        return run

    return decorate


def _widened_all(parts: Any) -> Any:
    if isinstance(parts, Tensor):
        return widened(parts)
    if isinstance(parts, tuple):
        return tuple(_widened_all(part) for part in parts)
    return {name: _widened_all(part) for name, part in parts.items()} if isinstance(parts, dict) else parts
