"""A decoder without a state of its own."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from recurray.models.attention.attention import Attended, Attention
from recurray.models.decoders.decoder import Decoded, Decoder, DecoderState
from recurray.models.dropout import DropoutKey, HashedDropout
from recurray.models.padded import Padded
from recurray.models.registry import DECODERS
from recurray.platform.config.model import DECODER_OPTIONS, DecoderConfig

DECODER_OPTIONS["memoryless"] = DecoderConfig


@DECODERS.register("memoryless")
class MemorylessDecoder(Decoder):
    """r_t = tanh(W [x_t; attention(x_t)]): each piece from the one before it and the source alone."""

    def __init__(
        self, input_dim: int, memory_dim: int, *, attention: Callable[[int], Attention], dropout: float
    ) -> None:
        super().__init__()
        self.attention = attention(input_dim)
        self.output_dim, self.context_dim = input_dim, self.attention.context_dim
        self.readout = nn.Linear(input_dim + self.context_dim, input_dim)
        self.dropout = HashedDropout(dropout, "decoder")

    def start(self, states: Padded) -> DecoderState:
        memory = self.attention.memorize(states)
        return DecoderState((memory,), self.attention.start(memory))

    def forward(self, embedded_bte: Tensor, start: DecoderState, key: DropoutKey | None) -> Decoded:
        return self._read(embedded_bte, self.attention(embedded_bte, start.memories[0]), key)

    def step(self, embedded_bke: Tensor, state: DecoderState) -> tuple[Decoded, DecoderState]:
        attended, rows = self.attention.step(embedded_bke, state.memories[0], state.rows)
        return self._read(embedded_bke, attended, None), DecoderState(state.memories, rows)

    def _read(self, embedded_bte: Tensor, attended: Attended, key: DropoutKey | None) -> Decoded:
        both_btd = self.dropout(torch.cat((embedded_bte, attended.contexts_btd), dim=-1), key)
        readouts_bte = self.readout(both_btd).tanh()
        return Decoded(readouts_bte, readouts_bte, attended)
