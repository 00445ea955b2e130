"""Kills of a real training, and what is asked of it afterwards: that nothing shows."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from ray.cluster_utils import Cluster
from tests.wandb_file import logged_rows

STEPS = 80
DEADLINE_SECONDS = 240

Kind = Literal["a worker", "everything", "while a checkpoint is written", "a node"]
KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True)
class Kill:
    """What is killed, and once how many steps are logged."""

    kind: Kind
    step: int
    seed: int
    """Chooses between the workers."""


def seeded_kills(count: int, seed: int) -> list[Kill]:
    """So many kills, all kinds in turn, at random steps."""
    numbers = random.Random(seed)
    return [Kill(KINDS[index % len(KINDS)], numbers.randint(3, STEPS - 8), index) for index in range(count)]


def start(
    recipe: Path, name: str, folder: Path, *settings: str, steps: int = STEPS, address: str | None = None
) -> "subprocess.Popen[str]":
    """The training as a process group of its own, on the cluster at an address or with its own embedded Ray."""
    environment = {key: value for key, value in os.environ.items() if key != "RAY_ADDRESS"}
    environment |= {"RAY_ADDRESS": address} if address else {}
    rhythm = [f"training.steps={steps}", "checkpoints.every=20", "training.validate_every=40"]
    return subprocess.Popen(
        [sys.executable, "-m", "recurray.jobs", "train", str(recipe), f"name={name}", *rhythm, *settings],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def finish(process: "subprocess.Popen[str]") -> str:
    """Waits for the end of a training that must succeed; what it printed."""
    output, _ = process.communicate(timeout=DEADLINE_SECONDS)
    assert process.returncode == 0, output
    return output


def interrupt(process: "subprocess.Popen[str]") -> None:
    """Stops a training that has steps left, as SIGTERM does: with a checkpoint."""
    assert process.poll() is None, process.communicate()[0]
    process.terminate()
    output, _ = process.communicate(timeout=DEADLINE_SECONDS)
    assert process.returncode == 130, output


def rows(run: Path) -> list[dict[str, Any]]:
    """What is logged so far; a row that is being written is left out."""
    path = run / "metrics.jsonl"
    return [json.loads(line) for line in path.read_text().split("\n")[:-1]] if path.exists() else []


def wait_until(condition: Callable[[], bool], seconds: float = 0.02, at_most: float = DEADLINE_SECONDS) -> None:
    """Looks so often whether the condition is true by now."""
    deadline = time.monotonic() + at_most
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(seconds)


def descendants(pid: int) -> Iterator[int]:
    """Processes below `pid`, those included that made a session of their own."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):  # ended while we looked
            continue
        parents[int(stat.parent.name)] = int(fields[1])
    found = [pid]
    while found:
        parent = found.pop()
        children = [child for child, its_parent in parents.items() if its_parent == parent]
        yield from children
        found += children


def training_workers(above: int) -> list[int]:
    """The Ray Train workers below a process."""
    return processes_named(b"RayTrainWorker", above)


def processes_named(name: bytes, above: int) -> list[int]:
    """The processes below one whose command has a name in it."""
    return [pid for pid in descendants(above) if name in of_process(pid, "cmdline")]


def of_process(pid: int, file: str) -> bytes:
    """What the system tells of a process in one of its files; nothing where it has ended."""
    try:
        return Path(f"/proc/{pid}/{file}").read_bytes()
    except (FileNotFoundError, ProcessLookupError):  # ended while we looked
        return b""


def kill_tree(pid: int) -> None:
    """SIGKILL of a process and of everything below it."""
    for each in [*descendants(pid), pid]:
        try:
            os.kill(each, signal.SIGKILL)
        except ProcessLookupError:  # it went with its parent
            continue


def killed_training(recipe: Path, folder: Path, name: str, kill: Kill) -> float:
    """Trains to the end with a kill on the way; returns the longest time after it in which no step was logged."""
    run = folder / "runs" / name
    if kill.kind == "a node":
        return _with_a_node_killed(recipe, folder, name, kill)
    process = start(recipe, name, folder)
    wait_until(lambda: len(rows(run)) >= kill.step)
    if kill.kind == "while a checkpoint is written":
        wait_until(lambda: _is_written(run), seconds=0.0)
    began = time.monotonic()
    if kill.kind == "everything":
        kill_tree(process.pid)
        process.communicate()
        process = start(recipe, name, folder)
    else:
        workers = training_workers(process.pid)
        for pid in workers if kill.kind == "while a checkpoint is written" else [workers[kill.seed % len(workers)]]:
            os.kill(pid, signal.SIGKILL)
    silence = _longest_silence(run, process, began)
    finish(process)
    return silence


def _longest_silence(run: Path, process: "subprocess.Popen[str]", since: float) -> float:
    """Seconds, from `since` on, until the training ends."""
    seen, longest = len(rows(run)), 0.0
    while process.poll() is None and seen < STEPS:
        if (count := len(rows(run))) > seen:
            longest = max(longest, time.monotonic() - since)
            seen, since = count, time.monotonic()
        time.sleep(0.02)
    return longest


def _is_written(run: Path) -> bool:
    """Whether a checkpoint is being written at this moment."""
    folder = run / "checkpoints"
    return folder.exists() and any(entry.name.startswith(".writing-") for entry in os.scandir(folder))


def _with_a_node_killed(recipe: Path, folder: Path, name: str, kill: Kill) -> float:
    """Two nodes of one CPU, of which the second is killed; the run goes on with what is left."""
    run = folder / "runs" / name
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    try:
        node = cluster.add_node(num_cpus=1)
        process = start(recipe, name, folder, "resources.workers=[1, 2]", address=cluster.address)
        wait_until(lambda: len(rows(run)) >= kill.step)
        began = time.monotonic()
        cluster.remove_node(node, allow_graceful=False)
        silence = _longest_silence(run, process, began)
        finish(process)
    finally:
        cluster.shutdown()
    return silence


def largest_difference(broken: Path, unbroken: Path, steps: int = STEPS) -> float:
    """The largest relative difference of a loss, where each step is there once, in the file and in W&B."""
    assert [row["step"] for row in rows(broken)] == list(range(1, steps + 1))
    assert [row["step"] for row in logged_rows(broken)] == list(range(1, steps + 1))
    pairs = list(zip(rows(broken), rows(unbroken)[:steps], strict=True))
    assert [one["tokens"] for one, _ in pairs] == [other["tokens"] for _, other in pairs]
    return max(abs(one["loss"] - other["loss"]) / other["loss"] for one, other in pairs)


def assert_same_run(broken: Path, unbroken: Path, steps: int = STEPS) -> None:
    """Each step once, in the file and in W&B, and every figure that the data decides as in the unbroken run."""
    difference = largest_difference(broken, unbroken, steps)
    print(f"largest relative difference of the loss over {steps} steps: {difference:.1e}")
    assert difference < 1e-5
    scores = [row["dev/bleu"] for row in rows(broken) if "dev/bleu" in row]
    assert scores
    unbroken_scores = [row["dev/bleu"] for row in rows(unbroken) if "dev/bleu" in row]
    assert all(abs(one - other) < 0.1 for one, other in zip(scores, unbroken_scores, strict=False))
