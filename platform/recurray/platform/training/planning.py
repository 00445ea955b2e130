"""What a training will take, before it begins: updates, padding, time and memory, from a few measured steps.

Time and memory are measured on the run's own workers. Memory is measured on cut-down copies of the dearest micro-batch
and drawn on to its full size, so that a document too long for the machine is known without trying it.
"""

import resource
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from ray.train.torch import get_device

from recurray.models import DropoutKey, Padded
from recurray.platform.config.tree import RunConfig
from recurray.platform.data.batches import Batch, make_batch
from recurray.platform.data.examples import longest_of
from recurray.platform.data.preparing import Prepared
from recurray.platform.ray_session import cluster_resources
from recurray.platform.training.feed import Feed
from recurray.platform.training.learner import Learner
from recurray.platform.training.workers import run_workers

OUTLINED_UPDATES = 1000
"""Updates whose padding and micro-batches are looked at, from the first on."""
TIMED_UPDATES = 6
MEASURED_SHARES = (1 / 16, 1 / 8, 1 / 4)
"""Sizes of the dearest micro-batch that memory is measured at, as shares of its positions."""


@dataclass(frozen=True)
class Outline:
    """What the plan of a run says without computing anything."""

    updates_per_epoch: int
    padding_share: float
    """Share of positions that are padding."""
    micro_batches: float
    """Micro-batches of an update, over all workers, on average."""
    dearest: tuple[int, int, int]
    """Rows, longest source and longest target of the dearest micro-batch."""
    longest: tuple[int, int, int]
    """The example with the longest source: its number, its source pieces and its target pieces."""


@dataclass(frozen=True)
class Measured:
    """What a few steps took."""

    update_seconds: float
    positions: list[int]
    """Padded positions of what memory was measured at."""
    memory: list[int]
    """Bytes of a worker's peak at each, parameters and optimizer included."""
    available: int
    """Bytes that a worker may use."""

    def memory_at(self, positions: int) -> float:
        """Bytes expected at so many positions: the least-squares line through what was measured."""
        slope, base = np.polyfit(self.positions, self.memory, 1)
        return float(base + slope * positions)


def outline(config: RunConfig, prepared: Prepared) -> Outline:
    """Deals out the run's first updates."""
    workers = config.resources.most_workers
    feed = Feed(prepared.train, config, rank=0, workers=workers, device=torch.device("cpu"))
    dealt = [feed.deal(number) for number in range(1, min(config.training.steps, OUTLINED_UPDATES) + 1)]
    parts = [part for update in dealt for share in update.shares for part in share]
    sizes = [(len(part.examples), part.src_length, part.tgt_length) for part in parts]
    src, tgt = prepared.train.src.lengths, prepared.train.tgt.lengths
    longest = longest_of(src)
    example = np.array([longest])
    return Outline(
        updates_per_epoch=feed.updates_per_epoch,
        padding_share=float(np.mean([update.padding_share for update in dealt])),
        micro_batches=len(parts) / len(dealt),
        dearest=max(sizes, key=_positions),
        longest=(longest, int(src[example][0]), int(tgt[example][0])),
    )


def measure(config: RunConfig, prepared: Prepared, folder: Path, dearest: tuple[int, int, int]) -> Measured:
    """Runs some updates on the run's workers, with what Ray Train leaves of them in `folder`."""
    memory = cluster_resources().get("memory", 0.0) / config.resources.most_workers
    return run_workers(_measure, config, prepared, folder, (dearest, int(memory)))


def _measure(config: RunConfig, prepared: Prepared, folder: Path, job: tuple[tuple[int, int, int], int]) -> Measured:
    """On each worker: memory first, from small to large, since a process's peak never falls again."""
    dearest, available = job
    device = get_device()
    learner = Learner(config, prepared, device)
    learner.begin(None)
    positions, memory = [], []
    for share in MEASURED_SHARES:
        batch = _cut_down(prepared, dearest, share).to(device)
        positions.append(batch.padded_tokens)
        memory.append(_peak_of(learner, batch, config.training.label_smoothing))
    if device.type == "cuda":
        available = torch.cuda.mem_get_info(device)[1]
    update_seconds = _time_updates(learner)
    state = _bytes_of(learner.state()["optimizer"])
    return Measured(update_seconds, positions, [peak + state for peak in memory], available)


def _time_updates(learner: Learner) -> float:
    """Seconds of an update, without the first two."""
    began = 0.0
    for update, _ in learner.updates(TIMED_UPDATES + 2):
        if update.number == 3:
            began = time.perf_counter()
        learner.learn(update)
    return (time.perf_counter() - began) / TIMED_UPDATES


def _peak_of(learner: Learner, batch: Batch, label_smoothing: float) -> int:
    """The peak of the worker's memory by now, in bytes, after a forward and a backward pass over a batch."""
    key = DropoutKey(0, 0, batch.examples)
    learner.network(batch.src, batch.tgt, key, label_smoothing).loss.backward()
    if batch.src.values.is_cuda:
        return torch.cuda.max_memory_allocated(batch.src.values.device)
    unit = 1 if sys.platform == "darwin" else 1024  # macOS counts in bytes
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _bytes_of(state: object) -> int:
    """Of all tensors in dicts and lists."""
    if isinstance(state, torch.Tensor):
        return state.nbytes
    inner = state.values() if isinstance(state, dict) else state if isinstance(state, list) else ()
    return sum(_bytes_of(each) for each in inner)


def _cut_down(prepared: Prepared, dearest: tuple[int, int, int], share: float) -> Batch:
    """The dearest micro-batch with so much of its positions: fewer rows first, then a shorter one."""
    rows, src_length, tgt_length = dearest
    kept = max(int(rows * share), 1)
    shorter = min(share * rows / kept, 1.0)
    example = make_batch(prepared.train, np.zeros(1, np.int64))

    def side(padded: Padded, length: int) -> Padded:
        length = max(int(length * shorter), 1)
        values = padded.values[:, :1].expand(kept, length, *padded.values.shape[2:])
        return Padded(values.contiguous(), torch.full((kept,), length))

    return Batch(side(example.src, src_length), side(example.tgt, tgt_length), torch.arange(kept))


def _positions(size: tuple[int, int, int]) -> int:
    rows, src_length, tgt_length = size
    return rows * (src_length + tgt_length)


def describe(config: RunConfig, prepared: Prepared, plan: Outline, measured: Measured) -> list[str]:
    """The plan in lines for people, the last of them a warning where memory will not do."""
    training, number = config.training, plan.longest[0]
    seconds = measured.update_seconds * training.steps
    expected, dearest = measured.memory_at(_positions(plan.dearest)), plan.dearest
    examples = len(prepared.train)
    lines = [
        f"updates        {training.steps:,} in all, {plan.updates_per_epoch:,} an epoch of {examples:,} examples "
        f"({training.steps / plan.updates_per_epoch:.1f} epochs)",
        f"padding        {plan.padding_share:.1%} of all positions",
        f"micro-batches  {plan.micro_batches:.1f} an update on {config.resources.most_workers} workers; the dearest "
        f"{dearest[0]:,} examples of {dearest[1]:,} source and {dearest[2]:,} target pieces",
        f"longest        example {number:,}: {plan.longest[1]:,} source and {plan.longest[2]:,} target pieces",
        f"time           {measured.update_seconds:.2f} s an update, measured over {TIMED_UPDATES}: "
        f"{_clock(seconds)} for the run, validations apart",
        f"memory         {_gib(expected)} a worker at the dearest micro-batch, drawn on from "
        f"{_gib(measured.memory[-1])} at {measured.positions[-1]:,} positions; a worker has {_gib(measured.available)}",
    ]
    alone = measured.memory_at(plan.longest[1] + plan.longest[2])
    if alone > measured.available:
        lines.append(
            f"warning: example {number:,} alone needs about {_gib(alone)}, and a worker has "
            f"{_gib(measured.available)}; set resources.segment_length, use fewer workers, or lower data.max_src_pieces"
        )
    elif expected > measured.available:
        lines.append(
            f"warning: the dearest micro-batch needs about {_gib(expected)}, and a worker has "
            f"{_gib(measured.available)}; lower resources.micro_batch_tokens"
        )
    return lines


def _gib(count: float) -> str:
    return f"{count / 2**30:.2f} GiB"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"
