"""The one type in which a padded batch travels: values with their lengths."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad


@dataclass(frozen=True)
class Padded:
    """A batch of right-padded sequences, with the lengths without which it could not be read.

    `values` is (B, T, …), `lengths` is (B,) int64 with 1 ≤ length ≤ T, on the same device. What stands in `values`
    beyond a sequence's length is padding and must change no result.
    """

    values: Tensor
    lengths: Tensor

    @property
    def mask_bt(self) -> Tensor:
        """(B, T) bool: true at a sequence's own positions, false at padding."""
        positions = torch.arange(self.values.shape[1], device=self.lengths.device)
        return positions < self.lengths[:, None]

    @property
    def positions_bt(self) -> Tensor:
        """(B, T) int64: each position."""
        return torch.arange(self.values.shape[1], device=self.lengths.device).expand(self.lengths.shape[0], -1)

    @property
    def mirrored_bt(self) -> Tensor:
        """(B, T) int64: the positions of each sequence reversed by its own length, those of padding where they are."""
        positions_bt = self.positions_bt
        return torch.where(self.mask_bt, self.lengths[:, None] - 1 - positions_bt, positions_bt)

    def with_values(self, values: Tensor) -> "Padded":
        """Other values, (B, T, …), of the same lengths."""
        return Padded(values, self.lengths)

    def zeroed(self) -> "Padded":
        """The same sequences with zeros, and not merely small numbers, at padding; `values` is (B, T, D)."""
        return self.with_values(self.values.masked_fill(~self.mask_bt[:, :, None], 0.0))

    def reversed(self) -> "Padded":
        """Each sequence reversed by its own length, padding left where it is; `values` is (B, T, D)."""
        batch, time = self.values.shape[:2]
        rows = (self.mirrored_bt + time * torch.arange(batch, device=self.lengths.device)[:, None]).flatten()
        flat_nd = self.values.flatten(0, 1)
        flat_nd = _permute_rows(flat_nd, rows) if torch.is_grad_enabled() else flat_nd.index_select(0, rows)
        return self.with_values(flat_nd.view_as(self.values))

    def mean(self) -> Tensor:
        """(B, D): the mean over each sequence's own positions, of `values` (B, T, D) with zeros at padding.

        It is 0 for what is all padding.
        """
        return self.values.sum(dim=1) / self.lengths[:, None].clamp(min=1)

    def select(self, rows: Tensor) -> "Padded":
        """The sequences `rows`, (B',) int64."""
        return Padded(self.values.index_select(0, rows), self.lengths.index_select(0, rows))

    @classmethod
    def join(cls, parts: "Sequence[Padded]") -> "Padded":
        """The sequences of several batches, one batch after the other."""
        return cls(cat_padded([part.values for part in parts]), torch.cat([part.lengths for part in parts]))


def cat_padded(parts: Sequence[Tensor], dim: int = 0, *, front: bool = False) -> Tensor:
    """Tensors one after the other along `dim`, all other dimensions padded with zeros to the longest.

    The zeros stand behind what is there, or with `front` before it.
    """
    longest = [max(sizes) for sizes in zip(*(part.shape for part in parts), strict=True)]
    return torch.cat([_grown(part, longest, dim, front) for part in parts], dim)


def _grown(part: Tensor, sizes: Sequence[int], dim: int, front: bool) -> Tensor:
    missing = [0 if axis == dim else size - part.shape[axis] for axis, size in enumerate(sizes)]
    if not any(missing):
        return part
    return pad(part, [side for size in reversed(missing) for side in ((size, 0) if front else (0, size))])


class _PermuteRows(torch.autograd.Function):
    """Rows in another order, where the order is its own inverse, as mirroring is.

    The gradient is then the same gather again; autograd's own would be a scatter-add, which is slower and, on CUDA,
    not deterministic.
    """

    @staticmethod
    def forward(ctx: Any, values_nd: Tensor, rows: Tensor) -> Tensor:
        ctx.save_for_backward(rows)
        return values_nd.index_select(0, rows)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (rows,) = ctx.saved_tensors
        return grads[0].index_select(0, rows), None


_permute_rows: Callable[[Tensor, Tensor], Tensor] = _PermuteRows.apply
