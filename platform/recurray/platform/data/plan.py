"""The batch plan: which examples every update holds.

A pure function of (the prepared data's lengths, seed, epoch, `batch_tokens`). It knows nothing of workers,
micro-batches or devices, so that the update belongs to the data and not to the machine.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recurray.platform.data.hashing import shuffled

_EXAMPLES, _STEPS = 1, 2  # two orders of one epoch must not be alike


@dataclass(frozen=True)
class EpochPlan:
    """The updates of one epoch: `examples[bounds[i]:bounds[i + 1]]` are the examples of update i."""

    examples: NDArray[np.int64]
    bounds: NDArray[np.int64]

    def step(self, index: int) -> NDArray[np.int64]:
        """The numbers of the examples of the epoch's update `index`, counted from 0."""
        return self.examples[self.bounds[index] : self.bounds[index + 1]]


class BatchPlan:
    """The updates of every epoch, each asked for without those before it.

    Every epoch has the same number of updates, none is empty, and every example is in exactly one.

    Args:
        src_lengths: (N,) source pieces of each example.
        tgt_lengths: (N,) target pieces of each example, at least 1.
        seed: the run's seed.
        batch_tokens: target pieces per update, on average; the longest example's, where that is more.
        sort_window: updates whose examples are sorted by length together.
    """

    def __init__(
        self,
        src_lengths: NDArray[np.int64],
        tgt_lengths: NDArray[np.int64],
        *,
        seed: int,
        batch_tokens: int,
        sort_window: int,
    ) -> None:
        self._src_lengths = src_lengths
        self._tgt_lengths = tgt_lengths
        self._seed = seed
        self._sort_window = sort_window
        self._total = int(tgt_lengths.sum())
        # Windows of equal length, none shorter than the longest example: an example begins in each, so none is empty.
        self.steps_per_epoch = max(1, self._total // max(batch_tokens, int(tgt_lengths.max())))

    def epoch(self, epoch: int) -> EpochPlan:
        """The plan of an epoch, counted from 0."""
        order = shuffled(len(self._tgt_lengths), self._seed, epoch, _EXAMPLES)
        windows = self._steps_of(order) // self._sort_window
        by_length = np.lexsort((self._src_lengths[order], self._tgt_lengths[order], windows))
        order = order[by_length]
        step_of = np.empty(self.steps_per_epoch, np.int64)
        step_of[shuffled(self.steps_per_epoch, self._seed, epoch, _STEPS)] = np.arange(self.steps_per_epoch)
        steps = step_of[self._steps_of(order)]
        together = np.argsort(steps, kind="stable")
        bounds = np.searchsorted(steps[together], np.arange(self.steps_per_epoch + 1))
        return EpochPlan(order[together], bounds)

    def _steps_of(self, order: NDArray[np.int64]) -> NDArray[np.int64]:
        """For examples laid end to end by their target pieces, the equal window in which each begins."""
        lengths = self._tgt_lengths[order]
        begins = np.cumsum(lengths) - lengths
        return begins * self.steps_per_epoch // self._total
