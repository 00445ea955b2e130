"""Launching a training: its log and its workers, from the driver's side."""

from pathlib import Path
from typing import Any

import ray
from ray.train.torch import get_device
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from recurray.platform.config.tree import RunConfig
from recurray.platform.data.preparing import Prepared
from recurray.platform.signals import in_a_thread, stops_on_signals
from recurray.platform.tracking.run_log import RunLog
from recurray.platform.training.checkpoint_store import CheckpointStore
from recurray.platform.training.checkpoints import Checkpoints
from recurray.platform.training.loop import Ending, TrainingLoop
from recurray.platform.training.workers import run_workers


def launch(config: RunConfig, prepared: Prepared, folder: Path) -> Ending:
    """Trains to the end or as far as it goes.

    A failed worker group is started again from the last checkpoint, and so is the run when this is called again.
    SIGINT and SIGTERM stop it at a checkpoint; a second one ends this process at once. Raises UserError where the
    network's shape is impossible, memory has no room for one example, checkpoints or the log cannot be written, or none
    of the checkpoints is whole, and ray.train.TrainingFailedError when the run failed more often than
    `resources.max_failures`.
    """
    store = CheckpointStore.of(config, folder)
    store.open()
    run_log = _start_run_log(config, folder)
    with stops_on_signals(lambda: run_log.ask_to_stop.remote(), "stopping at a checkpoint"):
        ending = in_a_thread(lambda: run_workers(_train, config, prepared, folder, (run_log, store.place)))
    ray.get(run_log.close.remote())
    return ending


def _start_run_log(config: RunConfig, folder: Path) -> Any:
    """The run's log, on the driver's node, where the run's folder is; started again with its state if it dies."""
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    actor = ray.remote(RunLog).options(num_cpus=0, max_restarts=-1, max_task_retries=-1, scheduling_strategy=here)
    run_log = actor.remote(folder.absolute(), config)
    ray.get(run_log.last_step.remote())  # so that it is there before the workers are
    return run_log


def _train(config: RunConfig, prepared: Prepared, folder: Path, job: tuple[Any, str]) -> Ending:
    run_log, place = job
    checkpoints = Checkpoints(CheckpointStore(place), config, run_log.tell.remote)
    try:
        return TrainingLoop(config, prepared, folder, run_log, checkpoints, get_device()).run()
    finally:
        checkpoints.close()
