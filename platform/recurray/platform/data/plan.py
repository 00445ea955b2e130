"""The batch plan: which examples every update holds.

A pure function of (the prepared data's lengths, seed, epoch, `batch_tokens`). It knows nothing of workers,
micro-batches or devices, so that the update belongs to the data and not to the machine.

A corpus of any size is planned by groups of about a million examples, each epoch anew: blocks of consecutive examples
are shuffled, laid end to end and cut into groups; within a group the examples are shuffled and cut into updates. So no
array is larger than a group, or than one number for each block.
"""

from bisect import bisect_right
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recurray.platform.data.examples import Examples, Lengths, block_totals
from recurray.platform.data.hashing import shuffled

GROUP_EXAMPLES = 2**20
"""Examples of a group, on average at most; smaller corpora are one group."""
BLOCK_EXAMPLES = 2**10
"""Consecutive examples that go into a group together."""

_EXAMPLES, _STEPS, _BLOCKS = 1, 2, 3  # the orders of one epoch must not be alike


@dataclass(frozen=True)
class GroupPlan:
    """The updates of one group: `examples[bounds[i]:bounds[i + 1]]` are the examples of its update i."""

    examples: Examples
    bounds: NDArray[np.int64]

    def step(self, index: int) -> Examples:
        """The numbers of the examples of the group's update `index`, counted from 0."""
        return self.examples[self.bounds[index] : self.bounds[index + 1]]


class BatchPlan:
    """The updates of every epoch, each asked for without those before it.

    Every epoch has the same number of updates, none is empty, and every example is in exactly one.

    Args:
        src_lengths: (N,) source pieces of each example.
        tgt_lengths: (N,) target pieces of each example, at least 1.
        seed: the run's seed.
        batch_tokens: target pieces per update, on average; where that is more, the longest example's, or twice as many
            in a corpus of several groups.
        sort_window: updates whose examples are sorted by length together.
    """

    def __init__(
        self, src_lengths: Lengths, tgt_lengths: Lengths, *, seed: int, batch_tokens: int, sort_window: int
    ) -> None:
        self._src_lengths, self._tgt_lengths = src_lengths, tgt_lengths
        self._seed, self._sort_window = seed, sort_window
        self._block_totals, longest = block_totals(tgt_lengths, BLOCK_EXAMPLES)
        self._total = int(self._block_totals.sum())
        # Windows of equal length, none shorter than the longest example: an example begins in each, so none is empty.
        # A group may fall short of its share by less than a block. It can spare that: its share is of four blocks at
        # least and of three windows, and of each window it needs no more than half.
        window = max(batch_tokens, 2 * longest)
        groups = min(
            -(-len(tgt_lengths) // GROUP_EXAMPLES), self._total // (4 * max(window, int(self._block_totals.max())))
        )
        if groups <= 1:
            groups, window = 1, max(batch_tokens, longest)
        self.steps_per_epoch = max(1, self._total // window)
        self._first_steps = [group * self.steps_per_epoch // groups for group in range(groups + 1)]

    def epoch(self, epoch: int) -> "EpochPlan":
        """The plan of an epoch, counted from 0."""
        return EpochPlan(self, epoch)

    def group_of(self, step: int) -> int:
        """The group that an epoch's update is in; both count from 0."""
        return bisect_right(self._first_steps, step) - 1

    def first_step(self, group: int) -> int:
        """The first of the updates of a group."""
        return self._first_steps[group]

    def blocks(self, epoch: int) -> list[NDArray[np.int64]]:
        """The numbers of the blocks of each group, in the order of the corpus."""
        order = shuffled(len(self._block_totals), self._seed, epoch, _BLOCKS)
        totals = self._block_totals[order]
        begins = np.cumsum(totals) - totals
        # In Python's integers, since pieces × updates may need more than 64 bits.
        bounds = [-(-step * self._total // self.steps_per_epoch) for step in self._first_steps[1:-1]]
        return [np.sort(blocks) for blocks in np.split(order, np.searchsorted(begins, bounds))]

    def plan_group(self, epoch: int, group: int, blocks: NDArray[np.int64]) -> GroupPlan:
        """The updates of a group of blocks."""
        steps = self._first_steps[group + 1] - self._first_steps[group]
        members = (blocks[:, None] * BLOCK_EXAMPLES + np.arange(BLOCK_EXAMPLES)).ravel()
        members = members[members < len(self._tgt_lengths)]
        own = (group,) if group else ()  # as it was without groups, so that runs from then go on
        order = shuffled(len(members), self._seed, epoch, _EXAMPLES, *own)
        src, tgt = self._src_lengths[members][order], self._tgt_lengths[members][order]
        by_length = np.lexsort((src, tgt, _windows(tgt, steps) // self._sort_window))
        step_of = np.empty(steps, np.int64)
        step_of[shuffled(steps, self._seed, epoch, _STEPS, *own)] = np.arange(steps)
        step_of_each = step_of[_windows(tgt[by_length], steps)]
        together = np.argsort(step_of_each, kind="stable")
        bounds = np.searchsorted(step_of_each[together], np.arange(steps + 1))
        return GroupPlan(members[order[by_length[together]]], bounds)


class EpochPlan:
    """The updates of one epoch, planned a group at a time."""

    def __init__(self, plan: BatchPlan, epoch: int) -> None:
        self._plan, self._epoch = plan, epoch
        self._blocks = plan.blocks(epoch)
        self._planned: tuple[int, GroupPlan] | None = None

    def step(self, index: int) -> Examples:
        """The numbers of the examples of the epoch's update `index`, counted from 0."""
        group = self._plan.group_of(index)
        planned = self._planned  # another thread may ask for an update of another group
        if planned is None or planned[0] != group:
            planned = self._planned = (group, self._plan.plan_group(self._epoch, group, self._blocks[group]))
        return planned[1].step(index - self._plan.first_step(group))


def _windows(lengths: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """For examples laid end to end by their target pieces, the one of `count` equal windows in which each begins."""
    begins = np.cumsum(lengths) - lengths
    windows: NDArray[np.int64] = begins * count // lengths.sum()
    return windows
