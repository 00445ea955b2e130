"""Variational dropout whose masks are a function of the data, not of the machine.

A mask belongs to one example at one place in the model and is shared over time (Gal & Ghahramani 2016, "A
Theoretically Grounded Application of Dropout in Recurrent Neural Networks"). It is a hash of (run seed, step, example,
place, unit), so that it is the same on any worker, in any micro-batch, on CPU and GPU, and no generator's state needs
to be kept in a checkpoint.
"""

import zlib
from dataclasses import dataclass

import torch
from torch import Tensor, nn

BITS_32 = 0xFFFFFFFF
GOLDEN_RATIO = 0x9E3779B9
"""Of 2^32: multiples of it lie far apart."""


@dataclass(frozen=True)
class DropoutKey:
    """What a batch's dropout masks are made from, beside the place in the model."""

    seed: int
    """The run's seed."""
    step: int
    """The optimizer step, counted over the run."""
    examples: Tensor
    """(B,) int64: the number of each row's example in the prepared data."""


def mix32(bits: Tensor) -> Tensor:
    """A bijection of 32-bit words, held in int64, in which each input bit flips each output bit half of the time.

    It is the `lowbias32` finalizer of C. Wellons' search for integer hashes of low bias (2018).
    """
    bits = bits ^ (bits >> 16)
    bits = (bits * 0x7FEB352D) & BITS_32
    bits = bits ^ (bits >> 15)
    bits = (bits * 0x846CA68B) & BITS_32
    return bits ^ (bits >> 16)


class HashedDropout(nn.Module):
    """Drops whole units of an example for all its time steps: (B, T, D) → (B, T, D), kept values scaled by 1/(1-p).

    `place` names where in the model it stands; two places never share a mask.
    """

    def __init__(self, probability: float, place: str) -> None:
        super().__init__()
        self.probability = probability
        self._place = zlib.crc32(place.encode())

    def forward(self, values_btd: Tensor, key: DropoutKey | None) -> Tensor:
        """Without a key, as in validation and search, values pass unchanged."""
        if key is None or self.probability == 0.0:
            return values_btd
        return values_btd * self.mask(key, values_btd.shape[-1]).to(values_btd.dtype)[:, None, :]

    def mask(self, key: DropoutKey, units: int) -> Tensor:
        """(B, units): 0 with the probability of dropout, else 1/(1-p)."""
        row_b = mix32(key.examples & BITS_32)  # mixed first, or the bits of a step would cancel those of an example
        for word in (key.step, key.seed, self._place):
            row_b = mix32(row_b ^ (word & BITS_32))
        unit_d = torch.arange(units, device=row_b.device) * GOLDEN_RATIO
        bits_bd = mix32((row_b[:, None] + unit_d) & BITS_32)
        kept_bd = bits_bd >= int(self.probability * 2**32)
        return kept_bd.float() / (1.0 - self.probability)
