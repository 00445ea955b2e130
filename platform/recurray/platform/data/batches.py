"""Examples of the store as the padded tensors that the model takes."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recurray.models import Padded
from recurray.platform.data.store import Column, Store


@dataclass(frozen=True)
class Batch:
    """Padded examples with their numbers."""

    src: Padded
    tgt: Padded
    examples: Tensor
    """(B,) int64."""

    def to(self, device: torch.device) -> "Batch":
        """The same on a device; a copy from pinned memory does not hold the host up."""
        src, tgt = (
            Padded(side.values.to(device, non_blocking=True), side.lengths.to(device, non_blocking=True))
            for side in (self.src, self.tgt)
        )
        return Batch(src, tgt, self.examples.to(device, non_blocking=True))


def make_batch(store: Store, examples: NDArray[np.int64]) -> Batch:
    """Gathers examples from the store."""
    return Batch(_padded(store.src, examples), _padded(store.tgt, examples), torch.from_numpy(examples))


def _padded(column: Column, examples: NDArray[np.int64]) -> Padded:
    return Padded(torch.from_numpy(column.gather(examples)), torch.from_numpy(column.lengths[examples]))
