"""The encoder: source vectors to states, through blocks that follow each other and columns that run side by side."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from recurray.models.blocks.block import Block
from recurray.models.dropout import DropoutKey
from recurray.models.padded import Padded
from recurray.models.precision import widened


class Cascade(Block):
    """Blocks on top of each other (Chen et al. 2018, section 5.1): (B, T, input_dim) → (B, T', output_dim).

    Padding holds zeros from the first block on.
    """

    def __init__(self, blocks: Sequence[Block]) -> None:
        super().__init__()
        self.output_dim = blocks[-1].output_dim
        self.factor = math.prod(block.factor for block in blocks)
        self.blocks = nn.ModuleList(blocks)

    def forward(self, states: Padded, key: DropoutKey | None) -> Padded:
        """States of the last block."""
        states = states.zeroed()
        for block in self.blocks:
            states = block(states, key)
        return states


class MultiColumn(Block):
    """Columns over the same input, merged (Chen et al. 2018, section 5.2): (B, T, input_dim) → (B, T', output_dim).

    `concatenate` puts the columns' states side by side, as the paper does. `gate` mixes them unit by unit: states of
    each column, brought to the first one's size, are weighted by a softmax over the columns of W [all columns]. All
    columns must give sequences of the same lengths.
    """

    def __init__(self, columns: Sequence[Block], merge: str) -> None:
        super().__init__()
        factors = [column.factor for column in columns]
        if len(set(factors)) > 1:
            raise ValueError(
                f"columns side by side must shorten alike, and these make one state of {factors} positions"
            )
        self.factor = factors[0]
        self.columns = nn.ModuleList(columns)
        sizes = [column.output_dim for column in columns]
        self.output_dim = sizes[0] if merge == "gate" else sum(sizes)
        self.merge = _Gate(sizes) if merge == "gate" else None

    def forward(self, states: Padded, key: DropoutKey | None) -> Padded:
        """The merged states."""
        found: list[Padded] = [column(states, key) for column in self.columns]
        values = [states.values for states in found]
        merged_btd = torch.cat(values, dim=-1) if self.merge is None else self.merge(values)
        return found[0].with_values(merged_btd).zeroed()


class _Gate(nn.Module):
    def __init__(self, sizes: Sequence[int]) -> None:
        super().__init__()
        self._columns = len(sizes)
        self.resize = nn.ModuleList(nn.Linear(size, sizes[0], bias=False) for size in sizes)
        self.weigh = nn.Linear(sum(sizes), len(sizes) * sizes[0])
        for linear in (*self.resize, self.weigh):
            nn.init.xavier_uniform_(linear.weight)
        nn.init.zeros_(self.weigh.bias)

    def forward(self, columns: Sequence[Tensor]) -> Tensor:
        scores_btd = widened(self.weigh(torch.cat(tuple(columns), dim=-1)))
        shares_btcd = scores_btd.view(*scores_btd.shape[:2], self._columns, -1).softmax(dim=-2)
        resized_btcd = torch.stack(
            [resize(values) for resize, values in zip(self.resize, columns, strict=True)], dim=-2
        )
        mixed_btd: Tensor = (shares_btcd * resized_btcd).sum(dim=-2)
        return mixed_btd
