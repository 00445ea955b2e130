"""The decoder: encoder memory and target pieces to the vectors that the vocabulary is scored with."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from recurray.models.attention import Memory, MultiHeadAttention
from recurray.models.dropout import DropoutKey, HashedDropout
from recurray.models.lstm import LSTMLayer, LSTMState
from recurray.models.padded import Padded


@dataclass(frozen=True)
class DecoderState:
    """What search keeps between steps for B sources with K hypotheses each."""

    memory: Memory
    """B sources; hypotheses of one source share its memory."""
    layers: tuple[LSTMState, ...]
    """One (h, c) a layer, each (B × K, H), the hypotheses of a source beside each other."""

    def select(self, sources: Tensor, hypotheses: Tensor) -> "DecoderState":
        """The sources `sources` (B',) and the rows `hypotheses` (B' × K') of the layers' states."""
        layers = tuple((h.index_select(0, hypotheses), c.index_select(0, hypotheses)) for h, c in self.layers)
        return DecoderState(self.memory.select(sources), layers)


class LSTMDecoder(nn.Module):
    """An LSTM stack with attention but without input feeding, after GNMT (Wu et al. 2016) in NVIDIA's second version.

    The first layer's outputs query the encoder states; the context found goes into every later layer and into the
    readout. Under teacher forcing the whole target thus passes through each layer in one fused call, and attention is
    one batched product. The first states come from the encoder's ends: tanh(W [h→_last; h←_first]).
    """

    def __init__(
        self, input_dim: int, hidden_dim: int, memory_dim: int, layers: int, attention_heads: int, dropout: float
    ) -> None:
        super().__init__()
        self.attention = MultiHeadAttention(hidden_dim, memory_dim, hidden_dim, attention_heads)
        self.bridge = nn.Linear(memory_dim, 2 * layers * hidden_dim)
        nn.init.xavier_uniform_(self.bridge.weight)
        input_dims = [input_dim] + [2 * hidden_dim] * (layers - 1)
        self.layers = nn.ModuleList(LSTMLayer(size, hidden_dim) for size in input_dims)
        self.dropouts = nn.ModuleList(HashedDropout(dropout, f"decoder.{layer}") for layer in range(layers))
        self.readout = nn.Linear(2 * hidden_dim, input_dim)
        nn.init.xavier_uniform_(self.readout.weight)
        self.readout_dropout = HashedDropout(dropout, "decoder.readout")

    def start(self, states: Padded) -> DecoderState:
        """The state before the first target piece, from encoder states (B, S, memory_dim); one hypothesis a source."""
        half = states.values.shape[-1] // 2
        ends_bd = torch.cat((states.last()[:, :half], states.values[:, 0, half:]), dim=-1)
        parts = torch.tanh(self.bridge(ends_bd)).chunk(2 * len(self.layers), dim=-1)
        layers = tuple((h.contiguous(), c.contiguous()) for h, c in zip(parts[::2], parts[1::2], strict=True))
        return DecoderState(self.attention.memorize(states), layers)

    def forward(self, embedded_bte: Tensor, start: DecoderState, key: DropoutKey | None) -> Tensor:
        """Teacher forcing: (B, T, input_dim) embedded target inputs → (B, T, input_dim) readouts."""

        def run(layer: int, values_btd: Tensor) -> Tensor:
            outputs_bth: Tensor = self.layers[layer](values_btd, start.layers[layer])[0]
            return outputs_bth

        return self._stack(embedded_bte, start.memory, run, key)

    def step(self, embedded_bke: Tensor, state: DecoderState) -> tuple[Tensor, DecoderState]:
        """Search: one more piece of each of K hypotheses of B sources, (B, K, input_dim) → readouts, next state."""
        batch, beams = embedded_bke.shape[:2]
        advanced: list[LSTMState] = []

        def run(layer: int, values_bkd: Tensor) -> Tensor:
            advanced.append(self._layer(layer).step(values_bkd.flatten(0, 1), state.layers[layer]))
            return advanced[-1][0].view(batch, beams, -1)

        readouts_bke = self._stack(embedded_bke, state.memory, run, None)
        return readouts_bke, DecoderState(state.memory, tuple(advanced))

    def _layer(self, index: int) -> LSTMLayer:
        layer = self.layers[index]
        assert isinstance(layer, LSTMLayer)
        return layer

    def _stack(
        self, inputs: Tensor, memory: Memory, run: Callable[[int, Tensor], Tensor], key: DropoutKey | None
    ) -> Tensor:
        outputs = run(0, self.dropouts[0](inputs, key))
        context: Tensor = self.attention(outputs, memory)
        for layer in range(1, len(self.layers)):
            both = torch.cat((outputs, context), dim=-1)
            outputs = outputs + run(layer, self.dropouts[layer](both, key))
        both = torch.cat((outputs, context), dim=-1)
        readout: Tensor = self.readout_dropout(torch.tanh(self.readout(both)), key)
        return readout
