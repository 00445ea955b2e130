"""Networks in pure PyTorch. What is exported is imported when asked for: the registry's names must cost no PyTorch."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recurray.models.dropout import DropoutKey
    from recurray.models.loss import LossSums
    from recurray.models.padded import Padded
    from recurray.models.pieces import BOS, EOS, PAD, UNK
    from recurray.models.search import Hypothesis, beam_search
    from recurray.models.seq2seq import Seq2Seq

__all__ = ["BOS", "EOS", "PAD", "UNK", "DropoutKey", "Hypothesis", "LossSums", "Padded", "Seq2Seq", "beam_search"]

_HOMES = {
    "BOS": "pieces",
    "EOS": "pieces",
    "PAD": "pieces",
    "UNK": "pieces",
    "DropoutKey": "dropout",
    "Hypothesis": "search",
    "LossSums": "loss",
    "Padded": "padded",
    "Seq2Seq": "seq2seq",
    "beam_search": "search",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"recurray.models.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
