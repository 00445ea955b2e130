import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recurray.platform.inference.summarizer import Summarizer
    from recurray.platform.inference.translator import Translator

__all__ = ["Summarizer", "Translator"]

_HOMES = {"Summarizer": "inference.summarizer", "Translator": "inference.translator"}


def __getattr__(name: str) -> Any:
    """Imports what is exported when it is asked for: the command line must not wait for torch."""
    if name in _HOMES:
        return getattr(importlib.import_module(f"recurray.platform.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
