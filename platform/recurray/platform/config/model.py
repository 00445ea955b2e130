"""The shape of a network: encoder blocks, attention, decoder, pointer."""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SerializeAsAny

from recurray.models.registry import ATTENTIONS, CELLS
from recurray.platform.config.section import PositiveInt, Section, Share, by_kind, known_name


class BlockConfig(Section):
    """A part of the encoder; its kind says which keys it has."""

    kind: str
    """A cell (lstm, gru, rnn, peephole, lnlstm), transformer, pyramid, columns, or what an extension adds."""


class RecurrentBlockConfig(BlockConfig):
    """Layers of a recurrent cell."""

    hidden_dim: PositiveInt = 256
    """Units of a layer in one direction."""
    layers: PositiveInt = 1
    """Layers on top of each other."""
    bidirectional: bool = True
    """Each layer in both directions, side by side: twice `hidden_dim` units."""
    residual: bool = True
    """A layer's input is added to its output where they are of one size."""


class TransformerBlockConfig(BlockConfig):
    """Pre-norm Transformer layers, as wide as what they read."""

    layers: PositiveInt = 2
    """Layers on top of each other."""
    heads: PositiveInt = 4
    """Heads of the self-attention; must divide its width."""
    feed_forward_dim: PositiveInt = 1024
    """Units between the two products of a feed-forward network."""
    positions: Literal["rotary", "sinusoidal", "none"] = "rotary"
    """How it knows where a state stands; `none` leaves that to the blocks below it."""
    window: PositiveInt | None = None
    """Positions on either side that a state sees; all without it. Time and memory then grow in a line with length."""


class PyramidBlockConfig(BlockConfig):
    """Neighbouring states made into one."""

    factor: Annotated[int, Field(ge=2)] = 2
    """How many states become one."""


class ColumnsBlockConfig(BlockConfig):
    """Lists of blocks that run side by side."""

    columns: Annotated[tuple[Annotated["tuple[Block, ...]", Field(min_length=1)], ...], Field(min_length=2)]
    """The lists, each a cascade of its own over the same input."""
    merge: Literal["concatenate", "gate"] = "concatenate"
    """States side by side, or mixed unit by unit at the first column's size."""


BLOCK_OPTIONS: dict[str, type[BlockConfig]] = {
    "transformer": TransformerBlockConfig,
    "pyramid": PyramidBlockConfig,
    "columns": ColumnsBlockConfig,
}
"""The keys of each kind of block that is no cell; an extension adds its own here and its module to `BLOCKS`."""


def _block_options() -> Mapping[str, type[BlockConfig]]:
    return dict.fromkeys(CELLS.names(), RecurrentBlockConfig) | BLOCK_OPTIONS


Block = Annotated[SerializeAsAny[BlockConfig], BeforeValidator(by_kind("encoder block", _block_options))]
Cell = Annotated[str, AfterValidator(known_name("cell", CELLS.names))]


class AttentionConfig(Section):
    """How the decoder reads the encoder's states."""

    kind: Annotated[str, AfterValidator(known_name("attention", ATTENTIONS.names))] = "multi_head"
    """additive (Bahdanau), dot or general (Luong), multi_head, or what an extension adds."""
    dim: PositiveInt | None = None
    """Units that queries and states are compared in; the decoder's without it. Not for dot and general."""
    heads: PositiveInt = 4
    """Heads of multi_head; must divide `dim`."""
    window: PositiveInt | None = None
    """States on either side of a predicted place that a query mostly sees (Luong's local-p); all without it."""


class DecoderConfig(Section):
    """The decoder; its kind says which keys it has."""

    kind: str
    """recurrent, transformer, or what an extension adds."""


class RecurrentDecoderConfig(DecoderConfig):
    """A residual stack of a recurrent cell."""

    kind: str = "recurrent"
    """This one."""
    cell: Cell = "lstm"
    """The cell of every layer."""
    hidden_dim: PositiveInt = 256
    """Units of a layer."""
    layers: PositiveInt = 2
    """Layers on top of each other."""
    input_feeding: bool = False
    """The context found for a piece also goes into the first layer at the next; training is then much slower."""


class TransformerDecoderConfig(DecoderConfig):
    """Pre-norm Transformer layers, as wide as the embeddings."""

    layers: PositiveInt = 2
    """Layers on top of each other."""
    heads: PositiveInt = 4
    """Heads of the self-attention; must divide the embeddings' width."""
    feed_forward_dim: PositiveInt = 1024
    """Units between the two products of a feed-forward network."""


DECODER_OPTIONS: dict[str, type[DecoderConfig]] = {
    "recurrent": RecurrentDecoderConfig,
    "transformer": TransformerDecoderConfig,
}
"""The keys of each kind of decoder; an extension adds its own here and its module to `DECODERS`."""

AnyDecoder = Annotated[SerializeAsAny[DecoderConfig], BeforeValidator(by_kind("decoder", lambda: DECODER_OPTIONS))]


class PointerConfig(Section):
    """A pointer-generator: pieces may be copied from the source."""

    coverage: bool = True
    """The attention is told what it has seen; needs an additive attention and a recurrent decoder."""
    coverage_weight: Annotated[float, Field(ge=0)] = 1.0
    """What looking twice costs, in nats for each unit of attention."""


class ModelConfig(Section):
    """The network's shape."""

    embedding_dim: PositiveInt = 256
    """Units of a piece's vector."""
    encoder: Annotated[tuple[Block, ...], Field(min_length=1)] = (RecurrentBlockConfig(kind="lstm", layers=2),)
    """Blocks on top of each other."""
    attention: AttentionConfig = AttentionConfig()
    """How the decoder reads the encoder's states."""
    decoder: AnyDecoder = RecurrentDecoderConfig()
    """The decoder."""
    pointer: PointerConfig | None = None
    """Copying from the source, if any."""
    dropout: Share = 0.3
    """Share of units dropped before each layer and before the output."""
    tie_embeddings: bool = True
    """One matrix for source, target and output vectors instead of three."""
