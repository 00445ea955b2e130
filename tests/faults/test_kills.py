"""Promise 3: a kill loses nothing. Real SIGKILLs of a real training; what it logs is compared with an unbroken run."""

from pathlib import Path

import pytest
from tests.faults.kills import KINDS, Kill, Kind, assert_same_run, finish, killed_training, start

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

STEP = {"a worker": 47, "everything": 47, "while a checkpoint is written": 30, "a node": 33}
"""In the middle of an epoch, some steps after a checkpoint, or before one."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("kills")


@pytest.fixture(scope="module")
def unbroken(tiny_recipe: Path, folder: Path) -> Path:
    finish(start(tiny_recipe, "unbroken", folder))
    return folder / "runs" / "unbroken"


@pytest.mark.parametrize("kind", KINDS)
def test_a_kill_leaves_no_trace_in_losses_scores_log_and_wandb(
    tiny_recipe: Path, folder: Path, unbroken: Path, kind: Kind
) -> None:
    name = kind.replace(" ", "-")
    seconds = killed_training(tiny_recipe, folder, name, Kill(kind, STEP[kind], seed=1))
    print(f"killed: {kind}; longest time without a step after it, in seconds: {seconds:.1f}")
    assert_same_run(folder / "runs" / name, unbroken)
