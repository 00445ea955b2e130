"""Promise 3: a kill loses nothing. Real SIGKILLs of a real training; what it logs is compared with an unbroken run."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.wandb_file import logged_rows

pytestmark = pytest.mark.slow

STEPS = 80
KILL_AT = 47  # in the middle of an epoch, seven steps after a checkpoint
DEADLINE_SECONDS = 240


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
    output, _ = process.communicate(timeout=DEADLINE_SECONDS)
    assert process.returncode == 0, output
    return output


def rows(run: Path) -> list[dict[str, Any]]:
    path = run / "metrics.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(0.02)


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


def training_worker(driver: int) -> int:
    """A Ray Train worker below the driver."""
    for pid in descendants(driver):
        if b"RayTrainWorker" in Path(f"/proc/{pid}/cmdline").read_bytes():
            return pid
    raise AssertionError("no worker found")


def assert_same_run(broken: Path, unbroken: Path, steps: int = STEPS) -> None:
    """Each step once, in the file and in W&B, and every figure that the data decides as in the unbroken run."""
    assert [row["step"] for row in rows(broken)] == list(range(1, steps + 1))
    assert [row["step"] for row in logged_rows(broken)] == list(range(1, steps + 1))
    pairs = list(zip(rows(broken), rows(unbroken), strict=True))
    difference = max(abs(one["loss"] - other["loss"]) / other["loss"] for one, other in pairs)
    print(f"largest relative difference of the loss over {steps} steps: {difference:.1e}")
    assert difference < 1e-6
    assert [one["tokens"] for one, _ in pairs] == [other["tokens"] for _, other in pairs]
    assert rows(broken)[-1]["dev/bleu"] == pytest.approx(rows(unbroken)[-1]["dev/bleu"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("kills")


@pytest.fixture(scope="module")
def unbroken(tiny_recipe: Path, folder: Path) -> Path:
    finish(start(tiny_recipe, "unbroken", folder))
    return folder / "runs" / "unbroken"


def test_sigkill_of_a_worker_is_mended_by_itself_and_leaves_no_trace(
    tiny_recipe: Path, folder: Path, unbroken: Path
) -> None:
    run = folder / "runs" / "worker"
    process = start(tiny_recipe, "worker", folder)
    wait_until(lambda: len(rows(run)) >= KILL_AT)
    killed_at = time.monotonic()
    last = len(rows(run))
    os.kill(training_worker(process.pid), signal.SIGKILL)
    wait_until(lambda: len(rows(run)) > last + 2)
    print(f"seconds from the kill to the first new step: {time.monotonic() - killed_at:.1f}")
    finish(process)
    assert_same_run(run, unbroken)


def test_sigkill_of_the_whole_process_tree_and_the_same_command_again_leave_no_trace(
    tiny_recipe: Path, folder: Path, unbroken: Path
) -> None:
    run = folder / "runs" / "tree"
    process = start(tiny_recipe, "tree", folder)
    wait_until(lambda: len(rows(run)) >= KILL_AT)
    for pid in [*descendants(process.pid), process.pid]:
        os.kill(pid, signal.SIGKILL)
    process.communicate()
    assert len(rows(run)) < STEPS
    finish(start(tiny_recipe, "tree", folder))
    assert_same_run(run, unbroken)
