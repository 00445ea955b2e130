"""What an encoder block is: states in, states out, padding untouched by anything."""

from abc import abstractmethod

from torch import nn

from recurray.models.dropout import DropoutKey
from recurray.models.padded import Padded
from recurray.models.segments import Segments


class Block(nn.Module):
    """A part of an encoder: (B, T, input_dim) → (B, T', output_dim), with zeros at padding in both.

    It is made as `block(input_dim, dropout=…, place=…, **options)`, where `place` is the prefix of its dropouts' names
    and the options are the keys of its configuration.
    """

    output_dim: int
    """Units of the states that it gives."""
    factor: int = 1
    """Positions that one of its states stands for: T' = ⌈T / factor⌉."""
    segments: Segments | None = None
    """How it cuts long inputs, if it is to and can: to save memory, or to truncate the gradient of a recurrence."""

    @abstractmethod
    def forward(self, states: Padded, key: DropoutKey | None) -> Padded:
        """The block's states; a block that subsamples gives shorter lengths."""


def cut_into_segments(network: nn.Module, segments: Segments | None) -> None:
    """Lets all blocks of a network that can run long inputs in segments, or whole again."""
    for module in network.modules():
        if isinstance(module, Block):
            module.segments = segments
