"""Promises 2 and 3: workers that come and go, with notice or without, leave no trace in the loss curve."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from ray.cluster_utils import Cluster
from tests.faults.kills import assert_same_run, interrupt, rows, start, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

STEPS = 20_000
"""More than any machine does in the time: a run is stopped when it has shown what it is for."""


@contextmanager
def cluster_of_one() -> Iterator[Cluster]:
    """A cluster of one node with one CPU, to which others may be added."""
    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    try:
        yield nodes
    finally:
        nodes.shutdown()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("elastic")


def assert_same_as_alone(run: Path, recipe: Path) -> None:
    """The run's figures are those of one worker that nothing happened to."""
    steps = len(rows(run))
    name, folder = f"{run.name}-alone", run.parent.parent
    process = start(recipe, name, folder, "resources.workers=1", steps=STEPS)
    wait_until(lambda: len(rows(run.with_name(name))) >= steps)
    interrupt(process)
    assert_same_run(run, run.with_name(name), steps)


def test_two_workers_then_one_then_two_give_the_curve_of_one(tiny_recipe: Path, folder: Path) -> None:
    run = folder / "runs" / "elastic"
    with cluster_of_one() as cluster:
        second = cluster.add_node(num_cpus=1)
        settings = ["resources.workers=[1, 2]"]
        process = start(tiny_recipe, "elastic", folder, *settings, steps=STEPS, address=cluster.address)
        wait_until(lambda: len(rows(run)) > 60)
        cluster.remove_node(second, allow_graceful=False)
        wait_until(lambda: rows(run)[-1]["workers"] == 1)
        cluster.add_node(num_cpus=1)
        wait_until(lambda: rows(run)[-1]["workers"] == 2)
        interrupt(process)
    workers = [row["workers"] for row in rows(run)]
    changes = [after for before, after in zip([0, *workers], workers, strict=False) if before != after]
    print(f"workers over the run: {changes}")
    assert changes == [2, 1, 2]
    assert_same_as_alone(run, tiny_recipe)


def test_notice_of_a_nodes_end_makes_the_workers_take_a_checkpoint_at_once(tiny_recipe: Path, folder: Path) -> None:
    run = folder / "runs" / "noticed"
    with cluster_of_one() as cluster:
        second = cluster.add_node(num_cpus=1)
        settings = ["resources.workers=[1, 2]", f"checkpoints.every={STEPS}"]
        process = start(tiny_recipe, "noticed", folder, *settings, steps=STEPS, address=cluster.address)
        wait_until(lambda: len(rows(run)) > 40)
        ray = Path(sys.executable).with_name("ray")
        drain = [str(ray), "drain-node", "--address", cluster.address, "--node-id", second.node_id]
        drain += [
            "--reason",
            "DRAIN_NODE_REASON_PREEMPTION",
            "--reason-message",
            "spot",
            "--deadline-remaining-seconds",
        ]
        subprocess.run([*drain, "60"], check=True)
        wait_until(lambda: any((run / "checkpoints").glob("step-*/manifest.json")))
        noticed = len(rows(run))
        cluster.remove_node(second, allow_graceful=False)
        wait_until(lambda: rows(run)[-1]["workers"] == 1)
        interrupt(process)
    print(f"checkpoint of the notice: by step {noticed}")
    assert_same_as_alone(run, tiny_recipe)
