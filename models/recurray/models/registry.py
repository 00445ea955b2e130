"""What a configuration may name: cells, encoder blocks, attentions, decoders.

Names must be known before PyTorch is imported, so what ships with recurray is listed by the place it lies in and is
imported when it is first asked for. What is registered from outside is found in the same way.
"""

import importlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from recurray.models.attention.attention import Attention
    from recurray.models.blocks.block import Block
    from recurray.models.cells.cell import Cell
    from recurray.models.decoders.decoder import Decoder

T = TypeVar("T")


class Registry(Generic[T]):
    """Names with what they stand for."""

    def __init__(self, subject: str, shipped: Mapping[str, str]) -> None:
        """`subject` is what an entry is called; `shipped` gives `module:attribute` of those that come with recurray."""
        self.subject = subject
        self._shipped = dict(shipped)
        self._registered: dict[str, T] = {}

    def register(self, name: str) -> Callable[[T], T]:
        """A decorator that adds what it decorates under `name`; ValueError where the name is taken."""
        if name in self:
            raise ValueError(f"there is a {self.subject} `{name}` already")

        def add(entry: T) -> T:
            self._registered[name] = entry
            return entry

        return add

    def __contains__(self, name: object) -> bool:
        return name in self._shipped or name in self._registered

    def __getitem__(self, name: str) -> T:
        if name in self._shipped and name not in self._registered:
            module, _, attribute = self._shipped[name].partition(":")
            self._registered[name] = getattr(importlib.import_module(module), attribute)
        return self._registered[name]

    def names(self) -> list[str]:
        """All names."""
        return list(dict.fromkeys([*self._shipped, *self._registered]))


CELLS: "Registry[type[Cell]]" = Registry(
    "cell",
    {
        "lstm": "recurray.models.cells.lstm:LSTM",
        "gru": "recurray.models.cells.gru:GRU",
        "rnn": "recurray.models.cells.rnn:RNN",
        "peephole": "recurray.models.cells.peephole:PeepholeLSTM",
        "lnlstm": "recurray.models.cells.lnlstm:LayerNormLSTM",
    },
)
"""Recurrent layers in one direction, by name."""

BLOCKS: "Registry[Callable[..., Block]]" = Registry(
    "encoder block",
    {
        "transformer": "recurray.models.blocks.transformer:TransformerBlock",
        "pyramid": "recurray.models.blocks.pyramid:PyramidBlock",
    },
)
"""Encoder blocks by name, beside one for each cell."""

ATTENTIONS: "Registry[Callable[..., Attention]]" = Registry(
    "attention",
    {
        "additive": "recurray.models.attention.additive:AdditiveAttention",
        "dot": "recurray.models.attention.dot:DotAttention",
        "general": "recurray.models.attention.dot:GeneralAttention",
        "multi_head": "recurray.models.attention.multi_head:MultiHeadAttention",
    },
)
"""How a decoder reads encoder states, by name."""

DECODERS: "Registry[Callable[..., Decoder]]" = Registry(
    "decoder",
    {
        "recurrent": "recurray.models.decoders.recurrent:RecurrentDecoder",
        "transformer": "recurray.models.decoders.transformer:TransformerDecoder",
    },
)
"""Decoders by name."""
