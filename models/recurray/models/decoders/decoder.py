"""What a decoder is: the whole target at once under teacher forcing, or one piece of each hypothesis in search."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from recurray.models.attention.attention import Attended, Memory
from recurray.models.dropout import DropoutKey
from recurray.models.padded import Padded, cat_padded


@dataclass(frozen=True)
class DecoderState:
    """What search keeps between steps for B sources with K hypotheses each."""

    memories: tuple[Memory, ...]
    """B sources each; hypotheses of one source share its memory."""
    rows: tuple[Tensor, ...]
    """(B × K, …) each, the hypotheses of a source beside each other."""

    def select(self, sources: Tensor | None, hypotheses: Tensor) -> "DecoderState":
        """The sources `sources` (B',), or all as they are, and the hypotheses `hypotheses` (B' × K')."""
        memories = self.memories if sources is None else tuple(memory.select(sources) for memory in self.memories)
        return DecoderState(memories, tuple(row.index_select(0, hypotheses) for row in self.rows))


def join_states(states: Sequence[DecoderState], *, front: bool = False) -> DecoderState:
    """One state of several, their rows padded with zeros behind what is there, or with `front` before it."""
    memories = zip(*(state.memories for state in states), strict=True)
    rows = zip(*(state.rows for state in states), strict=True)
    return DecoderState(
        tuple(Memory.join(parts) for parts in memories), tuple(cat_padded(parts, front=front) for parts in rows)
    )


@dataclass(frozen=True)
class Decoded:
    """What a decoder gives for T target inputs, or for K hypotheses of one step."""

    readouts_bte: Tensor
    """(B, T, input_dim) the vectors that the vocabulary is scored with."""
    outputs_btd: Tensor
    """(B, T, output_dim) the decoder's own last states."""
    attended: Attended
    """What its last attention found."""


class Decoder(nn.Module):
    """Target vectors and encoder states to readouts.

    It is made as `decoder(input_dim, memory_dim, attention=…, dropout=…, **options)`, where `attention` makes an
    attention for queries of a size and the options are the keys of its configuration.
    """

    output_dim: int
    """Units of its own states."""
    context_dim: int
    """Units of what its last attention finds."""

    @abstractmethod
    def start(self, states: Padded) -> DecoderState:
        """The state before the first target piece, from encoder states (B, S, memory_dim); one hypothesis a source."""

    def join(self, states: Sequence[DecoderState]) -> DecoderState:
        """The sources of several searches, one search after the other; rows are padded with zeros at their ends."""
        return join_states(states)

    @abstractmethod
    def forward(self, embedded_bte: Tensor, start: DecoderState, key: DropoutKey | None) -> Decoded:
        """Teacher forcing: (B, T, input_dim) target inputs, the first of them that of BOS."""

    @abstractmethod
    def step(self, embedded_bke: Tensor, state: DecoderState) -> tuple[Decoded, DecoderState]:
        """Search: one more piece of each of K hypotheses of B sources, (B, K, input_dim)."""
