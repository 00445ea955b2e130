"""Examples of the store as the padded tensors that the model takes."""

from dataclasses import dataclass

import torch
from torch import Tensor

from recurray.models import Padded
from recurray.platform.data.examples import Examples
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

    @property
    def padded_tokens(self) -> int:
        """Its positions, source and target together."""
        return len(self.examples) * (self.src.values.shape[1] + self.tgt.values.shape[1])

    def cut(self, bound: int | None) -> "list[Batch]":
        """Parts of at most `bound` positions each, or of one example, if there is a bound."""
        rows = len(self.examples)
        if bound is None or rows == 1 or self.padded_tokens <= bound:
            return [self]
        return [part for half in (slice(rows // 2), slice(rows // 2, rows)) for part in self._rows(half).cut(bound)]

    def _rows(self, rows: slice) -> "Batch":
        src, tgt = (_trimmed(side.values[rows], side.lengths[rows]) for side in (self.src, self.tgt))
        return Batch(src, tgt, self.examples[rows])


def make_batch(store: Store, examples: Examples) -> Batch:
    """Gathers examples from the store."""
    return Batch(_padded(store.src, examples), _padded(store.tgt, examples), torch.from_numpy(examples))


def _padded(column: Column, examples: Examples) -> Padded:
    return Padded(torch.from_numpy(column.gather(examples)), torch.from_numpy(column.lengths[examples]))


def _trimmed(values: Tensor, lengths: Tensor) -> Padded:
    """Without the positions that are padding in every row."""
    return Padded(values[:, : int(lengths.max())], lengths)
