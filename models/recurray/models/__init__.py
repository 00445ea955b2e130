"""Networks in pure PyTorch. What is exported is imported when asked for: the registry's names must cost no PyTorch."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recurray.models.dropout import DropoutKey
    from recurray.models.loss import LossSums
    from recurray.models.padded import Padded
    from recurray.models.pieces import BOS, EOS, PAD, UNK
    from recurray.models.search.options import Hypothesis, Room, Sampling, SearchOptions, Source
    from recurray.models.search.search import search_targets
    from recurray.models.seq2seq import Seq2Seq

__all__ = [
    "BOS",
    "EOS",
    "PAD",
    "UNK",
    "DropoutKey",
    "Hypothesis",
    "LossSums",
    "Padded",
    "Room",
    "Sampling",
    "SearchOptions",
    "Seq2Seq",
    "Source",
    "search_targets",
]

_HOMES = {
    "BOS": "pieces",
    "EOS": "pieces",
    "PAD": "pieces",
    "UNK": "pieces",
    "DropoutKey": "dropout",
    "Hypothesis": "search.options",
    "LossSums": "loss",
    "Padded": "padded",
    "Seq2Seq": "seq2seq",
    "Room": "search.options",
    "Sampling": "search.options",
    "SearchOptions": "search.options",
    "Source": "search.options",
    "search_targets": "search.search",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"recurray.models.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
