from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recurray.platform.inference.translator import Translator

__all__ = ["Translator"]


def __getattr__(name: str) -> Any:
    """Imports what is exported when it is asked for: the command line must not wait for torch."""
    if name == "Translator":
        from recurray.platform.inference.translator import Translator

        return Translator
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
