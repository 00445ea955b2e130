"""How one update is cut into micro-batches and dealt to workers: by cost, and without a trace in the update."""

import numpy as np
from numpy.typing import NDArray

Examples = NDArray[np.int64]


def deal(
    examples: Examples,
    src_lengths: NDArray[np.int64],
    tgt_lengths: NDArray[np.int64],
    *,
    workers: int,
    micro_batch_tokens: int,
) -> list[list[Examples]]:
    """The micro-batches of each worker, the dearest first; a worker's list may be empty.

    Examples are sorted by length and cut where the dearest micro-batch becomes cheapest, into at least one for each
    worker, and as many as it takes to hold `micro_batch_tokens`. Cost is padded pieces: rows × (longest source +
    longest target). An example longer than `micro_batch_tokens` is a micro-batch of its own.
    """
    ordered = examples[np.lexsort((src_lengths[examples], tgt_lengths[examples]))]
    src, tgt = src_lengths[ordered], tgt_lengths[ordered]
    wanted = max(workers, len(_cut(src, tgt, micro_batch_tokens)))
    bounds = _cut(src, tgt, _least_bound(src, tgt, wanted, micro_batch_tokens))
    micro_batches = [ordered[begin:end] for begin, end in zip(bounds, [*bounds[1:], len(ordered)], strict=True)]
    return _share_out(micro_batches, src_lengths, tgt_lengths, workers)


def padded_tokens(micro_batch: Examples, src_lengths: NDArray[np.int64], tgt_lengths: NDArray[np.int64]) -> int:
    """Pieces of a micro-batch with its padding, source and target together."""
    return len(micro_batch) * int(src_lengths[micro_batch].max() + tgt_lengths[micro_batch].max())


def _cut(src: NDArray[np.int64], tgt: NDArray[np.int64], bound: int) -> list[int]:
    """Where micro-batches begin if each takes as many rows as cost at most `bound`."""
    begins, begin = [0], 0
    while True:
        rows = np.arange(1, len(src) - begin + 1)
        costs = rows * (np.maximum.accumulate(src[begin:]) + np.maximum.accumulate(tgt[begin:]))
        begin += max(1, int(np.searchsorted(costs, bound, side="right")))
        if begin >= len(src):
            return begins
        begins.append(begin)


def _least_bound(src: NDArray[np.int64], tgt: NDArray[np.int64], micro_batches: int, high: int) -> int:
    """The least cost, up to `high`, that `micro_batches` of several rows need not exceed."""
    low = 1
    while low < high:
        middle = (low + high) // 2
        if len(_cut(src, tgt, middle)) <= micro_batches:
            high = middle
        else:
            low = middle + 1
    return low


def _share_out(
    micro_batches: list[Examples], src_lengths: NDArray[np.int64], tgt_lengths: NDArray[np.int64], workers: int
) -> list[list[Examples]]:
    """Each micro-batch, the dearest first, to the worker with the least work so far (Graham 1969)."""
    costs = [padded_tokens(micro_batch, src_lengths, tgt_lengths) for micro_batch in micro_batches]
    work = [0] * workers
    shares: list[list[Examples]] = [[] for _ in range(workers)]
    for index in sorted(range(len(costs)), key=lambda index: -costs[index]):
        worker = work.index(min(work))
        work[worker] += costs[index]
        shares[worker].append(micro_batches[index])
    return shares
