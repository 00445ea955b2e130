"""Subsampling between blocks, for long inputs."""

from torch import nn
from torch.nn.functional import pad

from recurray.models.blocks.block import Block
from recurray.models.dropout import DropoutKey, HashedDropout
from recurray.models.padded import Padded
from recurray.models.precision import widened


class PyramidBlock(Block):
    """Each `factor` neighbouring states become one, as in a pyramid of LSTMs (Chan et al. 2016, section 3.1).

    (B, T, D) → (B, ⌈T / factor⌉, D): neighbours side by side, W on them, then tanh. A sequence's last states are filled
    up with zeros, which is what stands at padding, so that nothing depends on the batch.
    """

    def __init__(self, input_dim: int, *, factor: int, dropout: float, place: str) -> None:
        super().__init__()
        self.output_dim = input_dim
        self.factor = factor
        self.dropout = HashedDropout(dropout, place)
        self.projection = nn.Linear(factor * input_dim, input_dim)
        nn.init.xavier_uniform_(self.projection.weight)
        nn.init.zeros_(self.projection.bias)

    def forward(self, states: Padded, key: DropoutKey | None) -> Padded:
        """The shorter sequences."""
        batch, time, dim = states.values.shape
        filled_btd = pad(self.dropout(states.values, key), (0, 0, 0, -time % self.factor))
        together_bcd = filled_btd.reshape(batch, -1, self.factor * dim)
        lengths = (states.lengths + self.factor - 1) // self.factor
        return Padded(widened(self.projection(together_bcd)).tanh(), lengths).zeroed()
