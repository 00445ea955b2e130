"""Recurrent encoder blocks: layers of any cell, in one direction or in both."""

import torch
from torch import nn

from recurray.models.blocks.block import Block
from recurray.models.cells.cell import Cell
from recurray.models.dropout import DropoutKey, HashedDropout
from recurray.models.padded import Padded


class Unidirectional(nn.Module):
    """A layer that reads each sequence from its first position on: (B, T, D) → (B, T, H), zeros at padding."""

    def __init__(self, cell: type[Cell], input_dim: int, hidden_dim: int) -> None:
        super().__init__()
        self.forwards = cell(input_dim, hidden_dim)

    def forward(self, sequences: Padded) -> Padded:
        """States of the layer."""
        return sequences.with_values(self.forwards(sequences.values)[0]).zeroed()


class Bidirectional(nn.Module):
    """Two layers, one in each direction (Schuster & Paliwal 1997): (B, T, D) → (B, T, 2H), zeros at padding.

    Nothing is packed: the backward direction runs the forward kernel on each sequence reversed by its own length, so
    that neither direction reads padding before it has read the sequence.
    """

    def __init__(self, cell: type[Cell], input_dim: int, hidden_dim: int) -> None:
        super().__init__()
        self.forwards = cell(input_dim, hidden_dim)
        self.backwards = cell(input_dim, hidden_dim)

    def forward(self, sequences: Padded) -> Padded:
        """States of both directions side by side."""
        ahead_bth, _ = self.forwards(sequences.values)
        back_bth, _ = self.backwards(sequences.reversed().values)
        back = sequences.with_values(back_bth).reversed()
        return sequences.with_values(torch.cat((ahead_bth, back.values), dim=-1)).zeroed()


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
        self.layers = nn.ModuleList(layer(cell, size, hidden_dim) for size in input_dims)
        self.dropouts = nn.ModuleList(HashedDropout(dropout, f"{place}.{index}") for index in range(layers))

    def forward(self, states: Padded, key: DropoutKey | None) -> Padded:
        """States of the last layer."""
        for layer, dropout in zip(self.layers, self.dropouts, strict=True):
            outputs: Padded = layer(states.with_values(dropout(states.values, key)))
            adds = self._residual and outputs.values.shape == states.values.shape
            states = outputs.with_values(outputs.values + states.values) if adds else outputs
        return states
