"""Recurrent encoder blocks: layers of any cell, in one direction or in both."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from recurray.models.blocks.block import Block
from recurray.models.cells.cell import Cell, State
from recurray.models.dropout import DropoutKey, HashedDropout
from recurray.models.padded import Padded
from recurray.models.segments import Piece, Segments, run_pieces


class Unidirectional(nn.Module):
    """A layer that reads each sequence from its first position on: (B, T, D) → (B, T, H), zeros at padding.

    `dropout` is that of its input.
    """

    def __init__(self, cell: type[Cell], input_dim: int, hidden_dim: int, dropout: HashedDropout) -> None:
        super().__init__()
        self.dropout = dropout
        self.forwards = cell(input_dim, hidden_dim)

    def forward(self, states: Padded, key: DropoutKey | None = None, segments: Segments | None = None) -> Padded:
        """States of the layer; inputs longer than a segment are run in segments."""
        if segments is not None and segments.cuts(states.values.shape[1]):
            return states.with_values(self._run_segments(states, key, segments))
        return self._run_whole(states.with_values(self.dropout(states.values, key))).zeroed()

    def _run_whole(self, inputs: Padded) -> Padded:
        return inputs.with_values(self.forwards(inputs.values)[0])

    def _directions(self, states: Padded) -> list[tuple[Cell, Tensor]]:
        """Each cell with the positions of the states in the order in which it reads them, (B, T)."""
        return [(self.forwards, states.positions_bt)]

    def _run_segments(self, states: Padded, key: DropoutKey | None, segments: Segments) -> Tensor:
        pieces: list[Piece] = []
        units = 0
        for cell, order_bt in self._directions(states):
            pieces += self._pieces(cell, order_bt, slice(units, units + cell.hidden_dim), states, key, segments)
            units += cell.hidden_dim
        return run_pieces(pieces, states.values, units, list(self.parameters()))

    def _pieces(
        self,
        cell: Cell,
        order_bt: Tensor,
        columns: slice,
        states: Padded,
        key: DropoutKey | None,
        segments: Segments,
    ) -> Iterator[Piece]:
        """One direction's segments."""
        for begin, end, truncated in segments.bounds(order_bt.shape[1]):
            places_bt = order_bt[:, begin:end]
            padding_bt1 = (places_bt >= states.lengths[:, None])[:, :, None]

            def run(inputs_btd: Tensor, state: State, padding_bt1: Tensor = padding_bt1) -> tuple[Tensor, State]:
                outputs_bth, after = cell(self.dropout(inputs_btd, key), state)
                return outputs_bth.masked_fill(padding_bt1, 0.0), after

            start = cell.zeros(states.values) if begin == 0 else None
            yield Piece(places_bt, places_bt, columns, run, start, truncated)


class Bidirectional(Unidirectional):
    """Two layers, one in each direction (Schuster & Paliwal 1997): (B, T, D) → (B, T, 2H), zeros at padding.

    Nothing is packed: the backward direction runs the forward kernel on each sequence reversed by its own length, so
    that neither direction reads padding before it has read the sequence.
    """

    def __init__(self, cell: type[Cell], input_dim: int, hidden_dim: int, dropout: HashedDropout) -> None:
        super().__init__(cell, input_dim, hidden_dim, dropout)
        self.backwards = cell(input_dim, hidden_dim)

    def _run_whole(self, inputs: Padded) -> Padded:
        ahead_bth, _ = self.forwards(inputs.values)
        back_bth, _ = self.backwards(inputs.reversed().values)
        back = inputs.with_values(back_bth).reversed()
        return inputs.with_values(torch.cat((ahead_bth, back.values), dim=-1))

    def _directions(self, states: Padded) -> list[tuple[Cell, Tensor]]:
        return [*super()._directions(states), (self.backwards, states.mirrored_bt)]


class RecurrentBlock(Block):
    """A stack of layers of one cell, with dropout before each and, if `residual`, sums where the sizes agree.

    (B, T, input_dim) → (B, T, hidden_dim), or 2 × hidden_dim if `bidirectional`.
    """

    def __init__(
        self,
        input_dim: int,
        *,
        cell: type[Cell],
        hidden_dim: int,
        layers: int,
        bidirectional: bool,
        residual: bool,
        dropout: float,
        place: str,
    ) -> None:
        super().__init__()
        self.output_dim = 2 * hidden_dim if bidirectional else hidden_dim
        self._residual = residual
        layer = Bidirectional if bidirectional else Unidirectional
        input_dims = [input_dim] + [self.output_dim] * (layers - 1)
        self.layers = nn.ModuleList(
            layer(cell, size, hidden_dim, HashedDropout(dropout, f"{place}.{index}"))
            for index, size in enumerate(input_dims)
        )

    def forward(self, states: Padded, key: DropoutKey | None) -> Padded:
        """States of the last layer."""
        for layer in self.layers:
            outputs: Padded = layer(states, key, self.segments)
            adds = self._residual and outputs.values.shape == states.values.shape
            states = outputs.with_values(outputs.values + states.values) if adds else outputs
        return states
