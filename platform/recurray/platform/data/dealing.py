"""How one update is cut into micro-batches and dealt to workers: by cost, and without a trace in the update."""

from dataclasses import dataclass
from heapq import heapreplace

import numpy as np
from numpy.typing import NDArray

from recurray.platform.data.examples import Examples


def row_cost(src_length: int, tgt_length: int) -> int:
    """What a row costs in a micro-batch whose longest source and target these are: its padded pieces."""
    return src_length + tgt_length


@dataclass(frozen=True)
class MicroBatch:
    """Examples that a worker takes at once."""

    examples: Examples
    src_length: int
    """Pieces of the longest source."""
    tgt_length: int
    """Pieces of the longest target."""

    @property
    def cost(self) -> int:
        """Its pieces with padding, source and target together."""
        return len(self.examples) * row_cost(self.src_length, self.tgt_length)


def deal(
    examples: Examples,
    src_lengths: NDArray[np.int64],
    tgt_lengths: NDArray[np.int64],
    *,
    workers: int,
    micro_batch_tokens: int,
) -> list[list[MicroBatch]]:
    """The micro-batches of each worker, the dearest first; a worker's list may be empty.

    Examples, (B,) with the lengths of each, are sorted by length and cut where the dearest micro-batch becomes
    cheapest, into as many as it takes to hold `micro_batch_tokens`, and up to as many more as give each worker the same
    number. An example that costs more than `micro_batch_tokens` is a micro-batch of its own.
    """
    by_length = np.lexsort((src_lengths, tgt_lengths))
    runs = _runs(src_lengths[by_length], tgt_lengths[by_length])
    needed = len(_cut(runs, micro_batch_tokens))
    sizes = _cut(runs, _least_bound(runs, -(-needed // workers) * workers, micro_batch_tokens))
    parts = np.split(examples[by_length], np.cumsum([rows for rows, _, _ in sizes])[:-1])
    micro_batches = [MicroBatch(part, src, tgt) for part, (_, src, tgt) in zip(parts, sizes, strict=True)]
    return _share_out(micro_batches, workers)


_Size = tuple[int, int, int]
"""Rows, source pieces and target pieces of the longest of them."""


def _runs(src: NDArray[np.int64], tgt: NDArray[np.int64]) -> list[_Size]:
    """Neighbours with the same lengths, which are far fewer than the examples of a large update."""
    begins = np.flatnonzero(np.r_[True, (np.diff(src) != 0) | (np.diff(tgt) != 0)])
    rows = np.diff(np.r_[begins, len(src)])
    return list(zip(rows.tolist(), src[begins].tolist(), tgt[begins].tolist(), strict=True))


def _cut(runs: list[_Size], bound: int) -> list[_Size]:
    """The micro-batches if each takes as many rows as cost at most `bound`, or one."""
    cut: list[_Size] = []
    rows = longest_src = longest_tgt = 0
    for left, src, tgt in runs:
        while left:
            src_length, tgt_length = max(longest_src, src), max(longest_tgt, tgt)
            room = bound // row_cost(src_length, tgt_length) - rows
            if room < 1 and rows:
                cut.append((rows, longest_src, longest_tgt))
                rows = longest_src = longest_tgt = 0
            else:
                taken = min(max(room, 1), left)
                rows, left, longest_src, longest_tgt = rows + taken, left - taken, src_length, tgt_length
    return [*cut, (rows, longest_src, longest_tgt)]


def _least_bound(runs: list[_Size], micro_batches: int, high: int) -> int:
    """The least cost, up to `high`, that `micro_batches` of several rows need not exceed."""
    low = 1
    while low < high:
        middle = (low + high) // 2
        if len(_cut(runs, middle)) <= micro_batches:
            high = middle
        else:
            low = middle + 1
    return low


def _share_out(micro_batches: list[MicroBatch], workers: int) -> list[list[MicroBatch]]:
    """Each micro-batch, the dearest first, to the worker with the least work so far (Graham 1969)."""
    work = [(0, worker) for worker in range(workers)]  # a heap, since the first of it is the least
    shares: list[list[MicroBatch]] = [[] for _ in range(workers)]
    for micro_batch in sorted(micro_batches, key=lambda each: -each.cost):
        cost, worker = work[0]
        heapreplace(work, (cost + micro_batch.cost, worker))
        shares[worker].append(micro_batch)
    return shares
