"""Promises 2 and 3: workers that come and go leave no trace in the loss curve."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import ray
from ray.cluster_utils import Cluster
from tests.faults.kills import assert_same_run, finish, rows, start, wait_until

pytestmark = pytest.mark.slow

STEPS = 400


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """A cluster of one node with one CPU, to which others may be added."""
    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    yield nodes
    nodes.shutdown()
    ray.shutdown()


def test_two_workers_then_one_then_two_give_the_curve_of_one(
    tiny_recipe: Path, tmp_path: Path, cluster: Cluster
) -> None:
    finish(start(tiny_recipe, "alone", tmp_path, "resources.workers=1", steps=STEPS))
    second = cluster.add_node(num_cpus=1)
    run = tmp_path / "runs" / "elastic"
    process = start(tiny_recipe, "elastic", tmp_path, "resources.workers=[1, 2]", steps=STEPS, address=cluster.address)
    wait_until(lambda: len(rows(run)) > 60)
    cluster.remove_node(second, allow_graceful=False)
    wait_until(lambda: bool(rows(run)) and rows(run)[-1]["workers"] == 1)
    cluster.add_node(num_cpus=1)
    wait_until(lambda: rows(run)[-1]["workers"] == 2)
    finish(process)
    workers = [row["workers"] for row in rows(run)]
    changes = [after for before, after in zip([0, *workers], workers, strict=False) if before != after]
    print(f"workers over the run: {changes}")
    assert changes == [2, 1, 2]
    assert_same_run(run, tmp_path / "runs" / "alone", STEPS)
