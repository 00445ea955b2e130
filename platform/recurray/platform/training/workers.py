"""A Ray Train group of workers: started again where one fails, from whatever the work finds of itself."""

import shutil
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch
from ray.train.v2.api.config import FailureConfig, LoggingConfig, ScalingConfig
from ray.train.v2.api.config import RunConfig as TrainRunConfig
from ray.train.v2.torch.torch_trainer import TorchTrainer

from recurray.platform.config.tree import RunConfig
from recurray.platform.data.preparing import Prepared
from recurray.platform.errors import UserError
from recurray.platform.freed_memory import keep_freed_memory
from recurray.platform.tasks.registry import TASKS

RESIZE_SECONDS = 10.0
"""Seconds from one look for more or fewer workers to the next, where their number may change."""

_RAY_FOLDER = ".ray"
"""Ray Train wants a folder of its own; nothing in it outlives the launch."""

Found = TypeVar("Found")
Work = Callable[[RunConfig, Prepared, Path, Any], Found]
"""What each worker runs, given the run's configuration, its data, its folder, and what else the caller passes on."""


def run_workers(work: Work[Found], config: RunConfig, prepared: Prepared, folder: Path, extra: Any) -> Found:
    """Runs `work` on the workers that `config.resources` asks for; returns what rank 0 found.

    Raises UserError if the work does, on all workers alike, and ray.train.TrainingFailedError when workers failed more
    often than `resources.max_failures`.
    """
    resources, ray_folder = config.resources, folder.absolute() / _RAY_FOLDER
    shutil.rmtree(ray_folder, ignore_errors=True)  # of a launch that was killed
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
            name=uuid.uuid4().hex,  # Ray would go on from what it finds under a name that it had before
            storage_path=str(ray_folder),
            failure_config=FailureConfig(max_failures=resources.max_failures),
            logging_config=LoggingConfig(log_level="ERROR"),
        ),
    )
    try:
        result: Any = trainer.fit()
    finally:
        shutil.rmtree(ray_folder, ignore_errors=True)
    found: Found | UserError = result.return_value
    if isinstance(found, UserError):
        raise found
    return found


def _run(job: dict[str, Any]) -> Any:
    """On each worker; a mistake of the user's is returned, for to start again would not mend it."""
    config = RunConfig.model_validate(job["config"])
    torch.set_num_threads(config.resources.threads)
    keep_freed_memory()
    prepared = Prepared(Path(job["prepared"]), TASKS[config.task]())
    try:
        return job["work"](config, prepared, Path(job["folder"]), job["extra"])
    except UserError as mistake:  # every worker makes the same one
        return mistake
