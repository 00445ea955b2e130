"""An encoder block with a key of its own."""

from torch import nn

from recurray.models.blocks.block import Block
from recurray.models.dropout import DropoutKey, HashedDropout
from recurray.models.padded import Padded
from recurray.models.registry import BLOCKS
from recurray.platform.config.model import BLOCK_OPTIONS, BlockConfig
from recurray.platform.config.section import PositiveInt


class ConvolutionConfig(BlockConfig):
    width: PositiveInt = 3
    """Neighbouring states that are seen at once."""


BLOCK_OPTIONS["convolution"] = ConvolutionConfig


@BLOCKS.register("convolution")
class ConvolutionBlock(Block):
    """x_t + relu(W [x_{t-w/2} … x_{t+w/2}]): (B, T, D) → (B, T, D)."""

    def __init__(self, input_dim: int, *, width: int, dropout: float, place: str) -> None:
        super().__init__()
        self.output_dim = input_dim
        self.dropout = HashedDropout(dropout, place)
        self.convolution = nn.Conv1d(input_dim, input_dim, width, padding="same")

    def forward(self, states: Padded, key: DropoutKey | None) -> Padded:
        found_bdt = self.convolution(self.dropout(states.values, key).transpose(1, 2))
        return states.with_values(states.values + found_bdt.transpose(1, 2).relu()).zeroed()
