"""What keeps two workers from twice the speed of one: the parts of an update, in milliseconds.

One process takes all of each update of the demo's recipe; then two take a share each, of one thread, side by side. They
do what a worker does in a step, without Ray: passes over their micro-batches, a wait for the one with the dearer share,
the all-reduce, and what is done once by each: clipping and the optimizer. One and two take turns, since the speed of a
shared machine drifts. What Ray's processes take beside them says `tests.benchmarks.scale`.

    python -m tests.benchmarks.update_parts [ROUNDS] [key.path=value ...]
"""

import multiprocessing
import statistics
import sys
import time
from collections.abc import Sequence
from itertools import pairwise
from multiprocessing.queues import Queue
from tempfile import TemporaryDirectory
from typing import NamedTuple

import torch
import torch.distributed as dist

from recurray.jobs.prepare import prepare
from recurray.jobs.recipes import find_recipe
from recurray.models import DropoutKey
from recurray.platform.config.loading import load_config
from recurray.platform.config.tree import RunConfig
from recurray.platform.data import preparing
from recurray.platform.freed_memory import keep_freed_memory
from recurray.platform.training.feed import Feed
from recurray.platform.training.gradient import Gradient

WARM_UP, UPDATES = 8, 40


class Parts(NamedTuple):
    """Milliseconds of an update."""

    passes: float
    """Forward and backward passes over this process's micro-batches."""
    waits: float
    """Until the other process is there."""
    all_reduce: float
    once: float
    """The gradient's norm and scale, and the optimizer: as long for a share as for all."""

    @property
    def total(self) -> float:
        """All of it."""
        return sum(self)


def mean(rows: Sequence[Sequence[float]]) -> Parts:
    """Of each part."""
    return Parts(*map(statistics.mean, zip(*rows, strict=True)))


def take_updates(rank: int, workers: int, config: RunConfig, store: str, found: "Queue[Parts]") -> None:
    """A worker's steps, each part timed; puts the means."""
    keep_freed_memory()
    torch.set_num_threads(config.resources.threads)
    torch.manual_seed(config.seed)
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=workers)
    prepared = preparing.prepare(config)
    network = prepared.task.build_network(config.model, prepared.codec)
    optimizer = torch.optim.Adam(network.parameters(), lr=config.training.learning_rate.peak, fused=True)
    gradient = Gradient(network)
    feed = Feed(prepared.train, config, rank=rank, workers=workers, device=torch.device("cpu"))
    rows: list[list[float]] = []
    for update, _ in feed.updates(1, WARM_UP + UPDATES):
        marks = [time.perf_counter()]
        gradient.zero()
        for batch in update.micro_batches:
            key = DropoutKey(config.seed, update.number, batch.examples)
            network(batch.src, batch.tgt, key, config.training.label_smoothing).loss.backward()
        marks.append(time.perf_counter())
        dist.barrier()
        marks.append(time.perf_counter())
        gradient.all_reduce()
        marks.append(time.perf_counter())
        gradient.scale(config.training.clip_norm / max(gradient.norm().item(), 1.0))
        optimizer.step()
        marks.append(time.perf_counter())
        rows.append([1000 * (after - before) for before, after in pairwise(marks)])
    found.put(mean(rows[WARM_UP:]))
    dist.destroy_process_group()


def parts_of(workers: int, config: RunConfig) -> Parts:
    """The parts of an update of so many processes, the mean over them."""
    context = multiprocessing.get_context("spawn")
    found: Queue[Parts] = context.Queue()
    with TemporaryDirectory(prefix="recurray-parts-") as folder:
        processes = [
            context.Process(target=take_updates, args=(rank, workers, config, f"{folder}/group", found), daemon=True)
            for rank in range(workers)
        ]
        for process in processes:
            process.start()
        parts = mean([found.get(timeout=600) for _ in processes])
        for process in processes:
            process.join()
    return parts


def main(rounds: int, assignments: list[str]) -> None:
    """Prints the parts of each round, and what the means say is missing of twice the speed."""
    config = load_config(find_recipe("demo"), assignments)
    prepare(config)
    found: dict[int, list[Parts]] = {1: [], 2: []}
    for turn in range(1, rounds + 1):
        for workers, parts in found.items():
            parts.append(parts_of(workers, config))
            told = "  ".join(f"{name} {value:.0f}" for name, value in parts[-1]._asdict().items())
            print(f"round {turn}, {workers} at once: ms an update  {told}  in all {parts[-1].total:.0f}", flush=True)
    one, two = map(mean, found.values())
    print(f"{one.total / two.total:.2f}  two to one, without Ray. Missing of 2, in ms of an update of {two.total:.0f}:")
    missing = {
        "passes over half the work, the other process beside them, beyond half the time": two.passes - one.passes / 2,
        "waiting for the dearer share": two.waits,
        "all-reduce": two.all_reduce - one.all_reduce / 2,
        "clipping and the optimizer, which both do in full": two.once - one.once / 2,
    }
    for name, milliseconds in missing.items():
        print(f"{milliseconds:6.0f}  {name}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 4, sys.argv[2:])
