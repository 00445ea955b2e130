"""Training speed: the platform against a plain PyTorch loop, and two workers against one.

All train the demo's model on the demo's updates; the plain loop takes each update as one padded batch, without Ray,
logging or checkpoints. What two workers could reach at most on this machine is shown by two plain loops beside each
other, each with one worker's share of every update and nothing to wait for.

A shared machine's speed drifts from one minute to the next. So all are started first, and then take turns of a few
seconds: the processes of all others, Ray's too, are stopped meanwhile.

    python -m tests.benchmarks.training_speed [ROUNDS] [SECONDS of a turn]
"""

import multiprocessing
import os
import shutil
import signal
import statistics
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack, suppress
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path
from typing import TypeVar

import torch
from tests.benchmarks.plain_loop import plain_updates
from tests.benchmarks.processor_time import processor_seconds
from tests.faults.kills import descendants, kill_tree, rows, wait_until

from recurray.jobs.recipes import find_recipe
from recurray.platform.config.loading import load_config
from recurray.platform.config.tree import RunConfig

WARM_UP = 8
"""Updates of each system that come before the first turn."""
STEPS = 10**5
"""More than are taken."""


class System(ABC):
    """Something that trains in processes of its own until it is ended."""

    @abstractmethod
    def pids(self) -> list[int]:
        """All of its processes."""

    @abstractmethod
    def tokens(self) -> int:
        """Target pieces of the updates so far."""

    @abstractmethod
    def end(self) -> None:
        """Ends them."""

    def send(self, number: signal.Signals) -> None:
        """Sends a signal to all of them."""
        for pid in self.pids():
            with suppress(ProcessLookupError):  # one that has ended by itself
                os.kill(pid, number)


Begun = TypeVar("Begun", bound=System)


class PlainLoops(System):
    """Plain loops beside each other, of `threads` each; with several, each takes its share of every update."""

    def __init__(self, config: RunConfig, threads: int, loops: int = 1) -> None:
        context = multiprocessing.get_context("spawn")
        self._tokens = [context.Value("q", 0) for _ in range(loops)]
        self._processes = [
            context.Process(target=take_updates, args=(config, threads, rank, loops, tokens), daemon=True)
            for rank, tokens in enumerate(self._tokens)
        ]
        for process in self._processes:
            process.start()

    def pids(self) -> list[int]:
        """Those of the loops."""
        return [process.pid for process in self._processes if process.pid is not None]

    def tokens(self) -> int:
        """Of the slowest loop."""
        return min(tokens.value for tokens in self._tokens)

    def end(self) -> None:
        """At once."""
        for process in self._processes:
            process.kill()
            process.join()


class Platform(System):
    """`recurray train` of the demo's recipe with workers of one thread, by its own log."""

    def __init__(self, config: RunConfig, workers: int) -> None:
        self.folder = Path(config.folder).with_name(f"{config.name}-{workers}")
        shutil.rmtree(self.folder, ignore_errors=True)
        settings = [f"name={self.folder.name}", f"training.steps={STEPS}", f"resources.workers={workers}"]
        settings += [f"training.validate_every={STEPS}", f"checkpoints.every={STEPS}"]
        command = [sys.executable, "-m", "recurray.jobs", "train", "demo", *settings]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def pids(self) -> list[int]:
        """The command's, Ray's and the workers'."""
        return [self._process.pid, *descendants(self._process.pid)]

    def tokens(self) -> int:
        """By the rows that are logged."""
        if self._process.poll() is not None:
            raise RuntimeError(f"the training ended with status {self._process.returncode}")
        return sum(row["tokens"] for row in rows(self.folder))

    def processor_seconds(self) -> Counter[str]:
        """What its processes have used so far, by what they are."""
        return processor_seconds(self._process.pid)

    def data_wait(self) -> float:
        """The mean share of waiting for data."""
        return statistics.mean(row["data_wait_share"] for row in rows(self.folder)[WARM_UP:])

    def end(self) -> None:
        """At once, with its folder."""
        kill_tree(self._process.pid)
        self._process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


def take_updates(config: RunConfig, threads: int, rank: int, loops: int, taken: "Synchronized[int]") -> None:
    """Trains on and on; `taken` are the target pieces of whole updates, also where it has a share of each."""
    torch.set_num_threads(threads)
    for tokens in plain_updates(config, last=STEPS, rank=rank, loops=loops):
        taken.value += tokens


def start(begin: Callable[[], Begun], config: RunConfig, stack: ExitStack) -> Begun:
    """A system that is warm and stopped; the stack ends it."""
    system = begin()
    stack.callback(system.end)
    wait_until(lambda: system.tokens() > WARM_UP * config.training.batch_tokens)
    system.send(signal.SIGSTOP)
    return system


def turn(system: System, seconds: float) -> float:
    """Lets it run alone for so long; its target pieces a second."""
    before = system.tokens()
    system.send(signal.SIGCONT)
    began = time.perf_counter()
    time.sleep(seconds)  # the length of the turn, and no condition
    ran = time.perf_counter() - began
    system.send(signal.SIGSTOP)
    return (system.tokens() - before) / ran


def main(rounds: int, seconds: float) -> None:
    """Prints the speeds of every round, and the ratios of all rounds together."""
    config = load_config(find_recipe("demo"), ["name=benchmark-training-speed"])
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # or what is stopped stays for ever
    with ExitStack() as stack:
        systems: dict[str, System] = {
            "plain, one thread": start(lambda: PlainLoops(config, 1), config, stack),
            "plain, two threads": start(lambda: PlainLoops(config, 2), config, stack),
            "shares side by side": start(lambda: PlainLoops(config, 1, loops=2), config, stack),
            "one worker": start(lambda: Platform(config, 1), config, stack),
        }
        systems["two workers"] = two_workers = start(lambda: Platform(config, 2), config, stack)
        speeds: dict[str, list[float]] = {name: [] for name in systems}
        before = two_workers.processor_seconds()
        for number in range(1, rounds + 1):
            for name, system in systems.items():
                speeds[name].append(turn(system, seconds))
            found = "  ".join(f"{name} {values[-1]:,.0f}" for name, values in speeds.items())
            print(f"round {number}: tokens/s  {found}", flush=True)
        wait = two_workers.data_wait()
        used = two_workers.processor_seconds() - before
    mean = {name: statistics.mean(values) for name, values in speeds.items()}
    print("all rounds: tokens/s  " + "  ".join(f"{name} {speed:,.0f}" for name, speed in mean.items()))
    plain, plain_two, shares, one, two = mean.values()
    print(f"{two / plain_two:.3f}  two workers to the plain loop's two threads (aim: at least 0.9)")
    print(f"{one / plain:.3f}  one worker to the plain loop's one thread (aim: at least 1 / 1.05)")
    print(f"{two / one:.3f}  two workers to one (aim: at least 1.8)")
    print(f"{shares / plain:.3f}  what the machine allows of that: loops with two workers' shares, to one with all")
    print(f"{two / shares:.3f}  two workers to such loops")
    cores = used["workers"] / (rounds * seconds)
    print(
        f"{cores:.3f}  cores that two workers use; all other processes {used.total() / (rounds * seconds) - cores:.3f}"
    )
    print(f"{wait:.3f}  share of waiting for data (aim: at most 0.02)")


if __name__ == "__main__":
    arguments = [*sys.argv[1:], *("12", "6")[len(sys.argv) - 1 :]]
    main(int(arguments[0]), float(arguments[1]))
