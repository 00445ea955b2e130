"""The recurrent decoder."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from recurray.models.attention.attention import Attended, Attention, AttentionState
from recurray.models.cells.cell import Cell, State
from recurray.models.decoders.decoder import Decoded, Decoder, DecoderState
from recurray.models.dropout import DropoutKey, HashedDropout
from recurray.models.padded import Padded


class RecurrentDecoder(Decoder):
    """A residual stack of any cell with attention, after GNMT (Wu et al. 2016) in NVIDIA's second version.

    The first layer's outputs query the encoder states; the context found goes into every later layer and into the
    readout. Under teacher forcing the whole target thus passes through each layer in one fused call, and attention is
    one batched product. With `input_feeding` the context also goes into the first layer at the next piece (Luong et al.
    2015, section 3.3), so that the target is gone through piece by piece. The first states are tanh(W mean of the
    encoder states) (Sennrich et al. 2017).
    """

    def __init__(
        self,
        input_dim: int,
        memory_dim: int,
        *,
        attention: Callable[[int], Attention],
        cell: type[Cell],
        hidden_dim: int,
        layers: int,
        input_feeding: bool,
        dropout: float,
    ) -> None:
        super().__init__()
        self.output_dim = hidden_dim
        self.attention = attention(hidden_dim)
        self.context_dim = self.attention.context_dim
        self._input_feeding = input_feeding
        self._state_tensors = cell.state_tensors
        self.bridge = nn.Linear(memory_dim, layers * cell.state_tensors * hidden_dim)
        first_dim = input_dim + self.context_dim * input_feeding
        input_dims = [first_dim] + [hidden_dim + self.context_dim] * (layers - 1)
        self.layers = nn.ModuleList(cell(size, hidden_dim) for size in input_dims)
        self.dropouts = nn.ModuleList(HashedDropout(dropout, f"decoder.{layer}") for layer in range(layers))
        self.readout = nn.Linear(hidden_dim + self.context_dim, input_dim)
        self.readout_dropout = HashedDropout(dropout, "decoder.readout")
        for linear in (self.bridge, self.readout):
            nn.init.xavier_uniform_(linear.weight)
            nn.init.zeros_(linear.bias)

    def start(self, states: Padded) -> DecoderState:
        """Layers' states, then the attention's, then with input feeding the context before the first piece, zeros."""
        memory = self.attention.memorize(states)
        mean_bd = states.mean()
        layers = torch.tanh(self.bridge(mean_bd)).chunk(len(self.layers) * self._state_tensors, dim=-1)
        fed = (mean_bd.new_zeros(mean_bd.shape[0], self.context_dim),) * self._input_feeding
        return DecoderState((memory,), (*(layer.contiguous() for layer in layers), *self.attention.start(memory), *fed))

    def forward(self, embedded_bte: Tensor, start: DecoderState, key: DropoutKey | None) -> Decoded:
        """Each layer over the whole target in one call, or with input feeding piece by piece."""
        if self._input_feeding:
            return self._piece_by_piece(embedded_bte, start, key)
        states = self._layer_states(start)

        def run(layer: int, values_btd: Tensor) -> Tensor:
            outputs_btd: Tensor = self.layers[layer](values_btd, states[layer])[0]
            return outputs_btd

        return self._stack(embedded_bte, run, lambda queries: self.attention(queries, start.memories[0]), key)

    def step(self, embedded_bke: Tensor, state: DecoderState) -> tuple[Decoded, DecoderState]:
        """One step of each cell, in the kernel for one step."""
        return self._advance(embedded_bke, state, None)

    def _piece_by_piece(self, embedded_bte: Tensor, state: DecoderState, key: DropoutKey | None) -> Decoded:
        pieces = []
        for embedded_be in embedded_bte.unbind(dim=1):
            decoded, state = self._advance(embedded_be[:, None], state, key)
            pieces.append(decoded)
        return Decoded(
            torch.cat([piece.readouts_bte for piece in pieces], dim=1),
            torch.cat([piece.outputs_btd for piece in pieces], dim=1),
            Attended.join([piece.attended for piece in pieces]),
        )

    def _advance(
        self, embedded_bke: Tensor, state: DecoderState, key: DropoutKey | None
    ) -> tuple[Decoded, DecoderState]:
        batch, hypotheses = embedded_bke.shape[:2]
        layer_states, memory = self._layer_states(state), state.memories[0]
        advanced: list[Tensor] = []
        attention_state: AttentionState = ()

        def run(layer: int, values_bkd: Tensor) -> Tensor:
            found = self._layer(layer).step(values_bkd.flatten(0, 1), layer_states[layer])
            advanced.extend(found)
            return found[0].view(batch, hypotheses, -1)

        def attend(queries_bkd: Tensor) -> Attended:
            nonlocal attention_state
            attended, attention_state = self.attention.step(queries_bkd, memory, self._attention_state(state))
            return attended

        inputs = embedded_bke
        if self._input_feeding:
            inputs = torch.cat((embedded_bke, state.rows[-1].view(batch, hypotheses, -1)), dim=-1)
        decoded = self._stack(inputs, run, attend, key)
        fed = (decoded.attended.contexts_btd.flatten(0, 1),) * self._input_feeding
        return decoded, DecoderState(state.memories, (*advanced, *attention_state, *fed))

    def _layer(self, index: int) -> Cell:
        layer = self.layers[index]
        assert isinstance(layer, Cell)
        return layer

    def _layer_states(self, state: DecoderState) -> list[State]:
        size = self._state_tensors
        return [state.rows[size * layer : size * (layer + 1)] for layer in range(len(self.layers))]

    def _attention_state(self, state: DecoderState) -> AttentionState:
        rows = state.rows[self._state_tensors * len(self.layers) :]
        return rows[:-1] if self._input_feeding else rows

    def _stack(
        self,
        inputs: Tensor,
        run: Callable[[int, Tensor], Tensor],
        attend: Callable[[Tensor], Attended],
        key: DropoutKey | None,
    ) -> Decoded:
        outputs = run(0, self.dropouts[0](inputs, key))
        attended = attend(outputs)
        for layer in range(1, len(self.layers)):
            both = torch.cat((outputs, attended.contexts_btd), dim=-1)
            outputs = outputs + run(layer, self.dropouts[layer](both, key))
        both = torch.cat((outputs, attended.contexts_btd), dim=-1)
        readouts = self.readout_dropout(torch.tanh(self.readout(both)), key)
        return Decoded(readouts, outputs, attended)
