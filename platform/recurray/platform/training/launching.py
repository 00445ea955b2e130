"""Launching a training: a Ray Train group of workers around the training loop, from the driver's side."""

from pathlib import Path
from typing import Any

import ray
import torch
from ray.train.torch import get_device
from ray.train.v2.api.config import CheckpointConfig, FailureConfig, LoggingConfig, ScalingConfig
from ray.train.v2.api.config import RunConfig as TrainRunConfig
from ray.train.v2.torch.torch_trainer import TorchTrainer
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from recurray.platform.config.tree import RunConfig
from recurray.platform.data.preparing import Prepared
from recurray.platform.errors import UserError
from recurray.platform.tasks.registry import TASKS
from recurray.platform.tracking.run_log import RunLog
from recurray.platform.training.loop import Ending, TrainingLoop
from recurray.platform.training.signals import in_a_thread, stops_on_signals

CHECKPOINTS = "checkpoints"
RESIZE_SECONDS = 10.0
"""Seconds from one look for more or fewer workers to the next, where their number may change."""


def launch(config: RunConfig, prepared: Prepared, folder: Path) -> Ending:
    """Trains to the end or as far as it goes.

    A failed worker group is started again from the last checkpoint, and so is the run when this is called again.
    SIGINT and SIGTERM stop it at a checkpoint; a second one ends this process at once. Raises UserError where the
    network's shape is impossible or memory has no room for one example, and ray.train.TrainingFailedError when the run
    failed more often than `resources.max_failures`.
    """
    resources = config.resources
    run_log = _start_run_log(config, folder)
    trainer = TorchTrainer(
        _train_worker,
        train_loop_config={
            "config": config.model_dump(mode="json"),
            "prepared": str(prepared.folder.absolute()),
            "folder": str(folder.absolute()),
            "run_log": run_log,
        },
        scaling_config=ScalingConfig(
            num_workers=resources.workers,
            elastic_resize_monitor_interval_s=RESIZE_SECONDS,
            use_gpu=resources.gpu,
            resources_per_worker={"CPU": resources.threads, **({"GPU": 1} if resources.gpu else {})},
        ),
        run_config=TrainRunConfig(
            name=CHECKPOINTS,
            storage_path=str(folder.absolute()),
            checkpoint_config=CheckpointConfig(num_to_keep=config.checkpoints.keep_last),
            failure_config=FailureConfig(max_failures=resources.max_failures),
            logging_config=LoggingConfig(log_level="ERROR"),
        ),
    )
    with stops_on_signals(lambda: run_log.ask_to_stop.remote()):
        result: Any = in_a_thread(trainer.fit)
    ray.get(run_log.close.remote())
    ended: Ending | UserError = result.return_value
    if isinstance(ended, UserError):
        raise ended
    return ended


def _start_run_log(config: RunConfig, folder: Path) -> Any:
    """The run's log, on the driver's node, where the run's folder is; started again with its state if it dies."""
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    actor = ray.remote(RunLog).options(num_cpus=0, max_restarts=-1, max_task_retries=-1, scheduling_strategy=here)
    run_log = actor.remote(folder.absolute(), config)
    ray.get(run_log.last_step.remote())  # so that it is there before the workers are
    return run_log


def _train_worker(job: dict[str, Any]) -> Ending | UserError:
    """What each Ray Train worker runs; a mistake of the user's is returned, for to start again would not mend it."""
    config = RunConfig.model_validate(job["config"])
    torch.set_num_threads(config.resources.threads)
    prepared, folder = Prepared(Path(job["prepared"]), TASKS[config.task]()), Path(job["folder"])
    try:
        return TrainingLoop(config, prepared, folder, job["run_log"], get_device()).run()
    except UserError as mistake:  # every worker makes the same one
        return mistake
