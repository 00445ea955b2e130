"""What a step costs beside its arithmetic, and what plan and dealing would cost with 10^9 pairs and 1,024 workers.

The plan, the dealing and the lengths in shards are the platform's own. The shards' lengths are drawn from the demo
corpus's pairs; SHARDS_DRAWN of them are, and each stands for many, so that nothing but the pairs is simulated. Then the
demo is trained, and its gradient is added up by two processes.

    python -m tests.benchmarks.scale [PAIRS] [WORKERS]
"""

import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from tests.benchmarks.processor_time import processor_seconds

from recurray.jobs.prepare import prepare
from recurray.jobs.recipes import find_recipe
from recurray.platform.config.loading import load_config
from recurray.platform.config.tree import RunConfig
from recurray.platform.data.batches import make_batch
from recurray.platform.data.dealing import deal
from recurray.platform.data.examples import Examples
from recurray.platform.data.plan import BatchPlan
from recurray.platform.data.preparing import Prepared
from recurray.platform.data.store import SHARD_POSITIONS, StoredLengths
from recurray.platform.training.feed import Feed
from recurray.platform.training.gradient import Gradient

SHARDS_DRAWN = 16
LOADS = (384, 4096)
"""Target pieces of an update for each worker: the demo's, and what an update has by default."""
DEALT = 20
TRAINED = 150
REDUCED = 30
NAME = "benchmark-scale"

Row = tuple[str, str]


def main(pairs: int, workers: int) -> None:
    """Prints the tables."""
    config = load_config(find_recipe("demo"), [f"name={NAME}", f"training.steps={TRAINED}"])
    prepared = prepare(config)
    sides = drawn_shards(prepared, pairs)
    for load in LOADS:
        print_table(
            f"{pairs:,} pairs, {workers:,} workers, updates of {load:,} target pieces a worker",
            simulated(sides, config, workers, load * workers),
        )
    print_table("a step of the demo, 2 workers", [*fed(config, prepared), *reduced(workers), *trained(config)])


def drawn_shards(prepared: Prepared, pairs: int) -> tuple[StoredLengths, StoredLengths]:
    """Lengths of the sources and of the targets of so many pairs, in shards as large as the store's."""
    real = np.stack((prepared.train.src.lengths[:], prepared.train.tgt.lengths[:]))
    size = int(SHARD_POSITIONS / real.sum(axis=0).mean())
    drawn = np.random.default_rng(1).integers(0, real.shape[1], (SHARDS_DRAWN, size))
    offsets = [[np.concatenate(([0], np.cumsum(side[shard]))).astype(np.int32) for shard in drawn] for side in real]
    whole, rest = divmod(pairs, size)

    def column(shards: list[NDArray[np.int32]]) -> StoredLengths:
        many = [shards[index % SHARDS_DRAWN] for index in range(whole)]
        return StoredLengths([*many, shards[0][: rest + 1]] if rest else many)

    return column(offsets[0]), column(offsets[1])


def simulated(
    sides: tuple[StoredLengths, StoredLengths], config: RunConfig, workers: int, batch_tokens: int
) -> Iterator[Row]:
    """Times and memory of a plan, and how even the dealt work is."""
    Path("/proc/self/clear_refs").write_text("5")  # the peak of the memory is from here on
    memory = memory_peak()
    with timed() as begun:
        plan = BatchPlan(*sides, seed=1, batch_tokens=batch_tokens, sort_window=config.training.sort_window)
    steps = plan.steps_per_epoch
    groups = plan.group_of(steps - 1) + 1
    yield "updates of an epoch, in groups", f"{steps:,} in {groups:,}"
    yield "a run begun: one pass over the targets' lengths", f"{begun():.2f} s"
    with timed() as begun:
        epoch = plan.epoch(1)
    yield "an epoch begun", f"{begun():.3f} s"
    with timed() as asked:
        epoch.step(steps // 2)
    yield "an update asked for alone", f"{asked():.3f} s"
    walked = plan.group_of(min(DEALT, steps) - 1) + 1
    with timed() as walking:
        updates = [epoch.step(step) for step in range(plan.first_step(walked))]
    seconds = walking() * groups / walked
    yield f"all updates of an epoch, drawn on from so many groups: {walked}", f"{seconds:.0f} s"
    yield "so the plan of an update", f"{1e3 * seconds / steps:.1f} ms"
    yield "examples of an update, on average", f"{statistics.mean(map(len, updates)):,.0f}"
    yield from dealt_out(updates[:DEALT], sides, workers, config.resources.micro_batch_tokens)
    yield "peak memory of the process, before and after", f"{memory:.0f} MiB, {memory_peak():.0f} MiB"


def dealt_out(
    updates: list[Examples], sides: tuple[StoredLengths, StoredLengths], workers: int, micro_batch_tokens: int
) -> Iterator[Row]:
    """How long dealing takes, and how even the work is."""
    times, imbalances, paddings, idle = [], [], [], 0
    for update in updates:
        with timed() as dealing:
            src, tgt = (side[update] for side in sides)
            shares = deal(update, src, tgt, workers=workers, micro_batch_tokens=micro_batch_tokens)
        work = [sum(part.cost for part in share) for share in shares]
        times.append(dealing())
        imbalances.append(max(work) / statistics.mean(work))
        paddings.append(1 - int(src.sum() + tgt.sum()) / sum(work))
        idle = max(idle, work.count(0))
    yield f"an update dealt, median of {len(times)}", f"{1e3 * statistics.median(times):.0f} ms"
    yield "dearest work of a worker / mean: mean, worst", f"{statistics.mean(imbalances):.4f}, {max(imbalances):.4f}"
    yield "workers without work, at most", f"{idle}"
    yield "padding", f"{statistics.mean(paddings):.1%}"


def fed(config: RunConfig, prepared: Prepared) -> Iterator[Row]:
    """Plan, dealing and gathering, each alone."""
    feed = Feed(prepared.train, config, rank=0, workers=2, device=torch.device("cpu"))
    with timed() as planned:
        for number in range(1, feed.updates_per_epoch + 1):
            feed.examples_of(number)
    yield "plan", f"{1e3 * planned() / feed.updates_per_epoch:.3f} ms"
    numbers = range(1, TRAINED + 1)
    with timed() as dealt:
        shares = [feed.deal(number).shares[0] for number in numbers]
    yield "dealing", f"{1e3 * dealt() / TRAINED:.2f} ms"
    with timed() as gathered:
        for share in shares:
            for part in share:
                make_batch(prepared.train, part.examples)
    yield "gathering of a worker's data", f"{1e3 * gathered() / TRAINED:.2f} ms"


def reduced(workers: int) -> Iterator[Row]:
    """What the all-reduce of the demo's gradient takes and sends, over this machine's loopback."""
    with tempfile.TemporaryDirectory(prefix="recurray-scale-") as folder:
        torch.multiprocessing.spawn(reduce_gradients, (folder,), nprocs=2)
        size, seconds, sent = json.loads((Path(folder) / "found.json").read_text())
    yield "gradient", f"{size / 1e6:.1f} MB"
    yield f"all-reduce (gloo), median of {REDUCED}", f"{1e3 * seconds:.0f} ms"
    yield "sent by a worker, measured", f"{sent / 1e6:.1f} MB, {sent / size:.2f} of the gradient"
    yield f"sent by each of {workers:,} in a ring", f"{2 * (workers - 1) / workers * size / 1e6:.1f} MB"


def reduce_gradients(rank: int, folder: str) -> None:
    """One of two processes."""
    torch.set_num_threads(1)
    config = load_config(find_recipe("demo"))
    prepared = prepare(config)
    network = prepared.task.build_network(config.model, prepared.codec)
    gradient, size = Gradient(network), sum(parameter.nbytes for parameter in network.parameters())
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    times, counts = [], [bytes_sent()]
    for _ in range(REDUCED):
        with timed() as took:
            gradient.all_reduce()
        dist.barrier()
        times.append(took())
        counts.append(bytes_sent())
    dist.destroy_process_group()
    if rank == 0:
        sent = statistics.median(after - before for before, after in pairwise(counts)) / 2
        Path(folder, "found.json").write_text(json.dumps([size, statistics.median(times), sent]))


def trained(config: RunConfig) -> Iterator[Row]:
    """Trains the demo for some steps, and sees which of its processes take the processor's time."""
    folder = Path(config.folder)
    shutil.rmtree(folder, ignore_errors=True)
    settings = [f"name={NAME}", f"training.steps={TRAINED}", f"training.validate_every={10**6}"]
    command = [sys.executable, "-m", "recurray.jobs", "train", "demo", *settings, f"checkpoints.every={10**6}"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as training:
        marks = []
        for step in (20, TRAINED - 10):
            while len(logged(folder)) < step:
                if training.poll() is not None:
                    raise SystemExit(f"the training ended with status {training.returncode} before step {step}")
                time.sleep(0.05)
            marks.append((len(logged(folder)), time.perf_counter(), processor_seconds(training.pid)))
    rows = logged(folder)[marks[0][0] : marks[1][0]]
    shutil.rmtree(folder)
    steps, seconds = marks[1][0] - marks[0][0], marks[1][1] - marks[0][1]
    used = marks[1][2] - marks[0][2]
    yield "a whole step in a training", f"{1e3 * seconds / steps:.0f} ms"
    yield "of it waiting for data", f"{statistics.mean(row['data_wait_share'] for row in rows):.1%}"
    for kind, spent in used.most_common():
        yield f"processor time of {kind}", f"{1e3 * spent / steps:.1f} ms a step, {spent / seconds:.1%} of a core"


def logged(folder: Path) -> list[dict[str, float]]:
    """The rows of a training so far."""
    path = folder / "metrics.jsonl"
    written = path.read_text().splitlines(keepends=True) if path.exists() else []
    return [json.loads(line) for line in written if line.endswith("\n")]


def bytes_sent() -> int:
    """By all interfaces of this machine so far."""
    lines = Path("/proc/net/dev").read_text().splitlines()[2:]
    return sum(int(line.partition(":")[2].split()[8]) for line in lines)


def memory_peak() -> float:
    """MiB that this process had at most (VmHWM)."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


@contextmanager
def timed() -> Iterator[Callable[[], float]]:
    """Gives what says, after the block, how many seconds it took."""
    began = time.perf_counter()
    ended: list[float] = []
    yield lambda: ended[0] - began
    ended.append(time.perf_counter())


def print_table(title: str, rows: Iterator[Row] | list[Row]) -> None:
    """A line for each row as soon as it is there."""
    print(f"\n{title}")
    for name, figure in rows:
        print(f"  {name:58}{figure}", flush=True)


if __name__ == "__main__":
    main(*(int(word) for word in (*sys.argv[1:], *("1000000000", "1024")[len(sys.argv) - 1 :])))
