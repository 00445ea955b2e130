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
from contextlib import ExitStack, suppress
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path
from typing import Any

import torch
from tests.faults.kills import descendants, kill_tree, rows, wait_until

from recurray.jobs.prepare import prepare
from recurray.jobs.recipes import find_recipe
from recurray.models import DropoutKey
from recurray.platform.config.loading import load_config
from recurray.platform.config.tree import RunConfig
from recurray.platform.training.feed import Feed

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


class PlainLoops(System):
    """Plain loops beside each other, of `threads` each; with several, each takes its share of every update."""

    def __init__(self, config: RunConfig, threads: int, loops: int = 1) -> None:
        context = multiprocessing.get_context("spawn")
        self._tokens = [context.Value("q", 0) for _ in range(loops)]
        self._processes = [
            context.Process(target=plain_loop, args=(config, threads, rank, loops, tokens), daemon=True)
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

    def data_wait(self) -> float:
        """The mean share of waiting for data."""
        return statistics.mean(row["data_wait_share"] for row in rows(self.folder)[WARM_UP:])

    def end(self) -> None:
        """At once, with its folder."""
        kill_tree(self._process.pid)
        self._process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


def plain_loop(config: RunConfig, threads: int, rank: int, loops: int, taken: "Synchronized[int]") -> None:
    """Trains on and on; `taken` are the target pieces of whole updates, also where it has a share of each."""
    torch.set_num_threads(threads)
    torch.manual_seed(config.seed)
    prepared = prepare(config)
    network = prepared.task.build_network(config.model, prepared.codec)
    optimizer = torch.optim.Adam(network.parameters(), lr=config.training.learning_rate.peak, fused=True)
    whole = config.resources.model_copy(update={"micro_batch_tokens": 10**9})
    feed = Feed(
        prepared.train,
        config.model_copy(update={"resources": whole}),
        rank=rank,
        workers=loops,
        device=torch.device("cpu"),
    )
    for update, _ in feed.updates(1, STEPS):
        optimizer.zero_grad()
        for batch in update.micro_batches:
            key = DropoutKey(config.seed, update.number, batch.examples)
            loss = network(batch.src, batch.tgt, key, config.training.label_smoothing).loss / update.tokens
            loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), config.training.clip_norm)
        optimizer.step()
        taken.value += update.tokens


def start(config: RunConfig, stack: ExitStack) -> dict[str, Any]:
    """Each system by its name, started, warm and stopped; the stack ends them."""
    begins = {
        "plain, one thread": lambda: PlainLoops(config, 1),
        "plain, two threads": lambda: PlainLoops(config, 2),
        "shares side by side": lambda: PlainLoops(config, 1, loops=2),
        "one worker": lambda: Platform(config, 1),
        "two workers": lambda: Platform(config, 2),
    }
    systems: dict[str, Any] = {}
    for name, begin in begins.items():
        systems[name] = begin()
        stack.callback(systems[name].end)
        wait_until(lambda name=name: systems[name].tokens() > WARM_UP * config.training.batch_tokens)
        systems[name].send(signal.SIGSTOP)
    return systems


def turn(system: System, seconds: float) -> float:
    """Lets it run alone for so long; its target pieces a second."""
    before = system.tokens()
    began = time.perf_counter()
    system.send(signal.SIGCONT)
    time.sleep(seconds)  # the length of the turn, and no condition
    system.send(signal.SIGSTOP)
    return (system.tokens() - before) / (time.perf_counter() - began)


def main(rounds: int, seconds: float) -> None:
    """Prints the speeds of every round, and the ratios of all rounds together."""
    config = load_config(find_recipe("demo"), ["name=benchmark-training-speed"])
    speeds: dict[str, list[float]] = {}
    with ExitStack() as stack:
        systems = start(config, stack)
        for number in range(1, rounds + 1):
            found = {name: turn(system, seconds) for name, system in systems.items()}
            for name, speed in found.items():
                speeds.setdefault(name, []).append(speed)
            print(f"round {number}: tokens/s  " + "  ".join(f"{name} {speed:,.0f}" for name, speed in found.items()))
        wait = systems["two workers"].data_wait()
    mean = {name: statistics.mean(values) for name, values in speeds.items()}
    one, two = mean["one worker"], mean["two workers"]
    plain, plain_two, shares = (mean[n] for n in ("plain, one thread", "plain, two threads", "shares side by side"))
    print("all rounds: tokens/s  " + "  ".join(f"{name} {speed:,.0f}" for name, speed in mean.items()))
    print(f"{two / plain_two:.3f}  two workers to the plain loop's two threads (aim: at least 0.9)")
    print(f"{one / plain:.3f}  one worker to the plain loop's one thread (aim: at least 1 / 1.05)")
    print(f"{two / one:.3f}  two workers to one (aim: at least 1.8)")
    print(f"{shares / plain:.3f}  what the machine allows of that: loops with two workers' shares, to one with all")
    print(f"{two / shares:.3f}  two workers to such loops")
    print(f"{wait:.3f}  share of waiting for data (aim: at most 0.02)")


if __name__ == "__main__":
    arguments = [*sys.argv[1:], *("12", "6")[len(sys.argv) - 1 :]]
    main(int(arguments[0]), float(arguments[1]))
