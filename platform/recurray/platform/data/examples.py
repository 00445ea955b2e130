"""Examples by their numbers, and their lengths, which nobody needs to hold all at once."""

from collections.abc import Iterator
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Examples = NDArray[np.int64]
"""(B,) numbers of examples, counted from 0."""

RUN = 2**20
"""Lengths that are held at once where all are passed over; a multiple of any block."""


class Lengths(Protocol):
    """One side's pieces of each example, as an array of (N,) would give them."""

    def __len__(self) -> int: ...

    def __getitem__(self, examples: Examples | slice) -> NDArray[np.int64]:
        """(B,) the lengths of some examples, or of a run of consecutive ones."""


def block_totals(lengths: Lengths, block: int) -> tuple[NDArray[np.int64], int]:
    """(⌈N / block⌉,) the sum over each block of consecutive examples, and the longest example's length."""
    totals, longest = [], 0
    for run in _runs(lengths):
        totals.append(np.add.reduceat(run, np.arange(0, len(run), block)))
        longest = max(longest, int(run.max()))
    return np.concatenate(totals), longest


def longest_of(lengths: Lengths) -> int:
    """The number of the longest example, the first of them where several are."""
    candidates = [index * RUN + int(run.argmax()) for index, run in enumerate(_runs(lengths))]
    return max(candidates, key=lambda example: int(lengths[np.array([example])][0]))


def _runs(lengths: Lengths) -> Iterator[NDArray[np.int64]]:
    return (lengths[begin : begin + RUN] for begin in range(0, len(lengths), RUN))
