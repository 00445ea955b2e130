"""A Ray Train group of workers: started again where one fails, from whatever the work finds of itself."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch
from ray.train.v2.api.config import CheckpointConfig, FailureConfig, LoggingConfig, ScalingConfig
from ray.train.v2.api.config import RunConfig as TrainRunConfig
from ray.train.v2.torch.torch_trainer import TorchTrainer

from recurray.platform.config.tree import RunConfig
from recurray.platform.data.preparing import Prepared
from recurray.platform.errors import UserError
from recurray.platform.tasks.registry import TASKS

RESIZE_SECONDS = 10.0
"""Seconds from one look for more or fewer workers to the next, where their number may change."""

Found = TypeVar("Found")
Work = Callable[[RunConfig, Prepared, Path, Any], Found]
"""What each worker runs, given the run's configuration, its data, its folder, and what else the caller passes on."""


def run_workers(work: Work[Found], config: RunConfig, prepared: Prepared, folder: Path, extra: Any) -> Found:
    """Runs `work` on the workers that `config.resources` asks for; returns what rank 0 found.

    Raises UserError if the work does, on all workers alike, and ray.train.TrainingFailedError when workers failed more
    often than `resources.max_failures`.
    """
    resources = config.resources
    trainer = TorchTrainer(
        _run,
        train_loop_config={
            "work": work,
            "config": config.model_dump(mode="json"),
            "prepared": str(prepared.folder.absolute()),
            "folder": str(folder.absolute()),
            "extra": extra,
        },
        scaling_config=ScalingConfig(
            num_workers=resources.workers,
            elastic_resize_monitor_interval_s=RESIZE_SECONDS,
            use_gpu=resources.gpu,
            resources_per_worker={"CPU": resources.threads, **({"GPU": 1} if resources.gpu else {})},
        ),
        run_config=TrainRunConfig(
            name="checkpoints",
            storage_path=str(folder.absolute()),
            checkpoint_config=CheckpointConfig(num_to_keep=config.checkpoints.keep_last),
            failure_config=FailureConfig(max_failures=resources.max_failures),
            logging_config=LoggingConfig(log_level="ERROR"),
        ),
    )
    result: Any = trainer.fit()
    found: Found | UserError = result.return_value
    if isinstance(found, UserError):
        raise found
    return found


def _run(job: dict[str, Any]) -> Any:
    """On each worker; a mistake of the user's is returned, for to start again would not mend it."""
    config = RunConfig.model_validate(job["config"])
    torch.set_num_threads(config.resources.threads)
    prepared = Prepared(Path(job["prepared"]), TASKS[config.task]())
    try:
        return job["work"](config, prepared, Path(job["folder"]), job["extra"])
    except UserError as mistake:  # every worker makes the same one
        return mistake
