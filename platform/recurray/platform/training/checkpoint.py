"""Checkpoints: everything needed to go on exactly, written by rank 0 and kept by Ray Train."""

import tempfile
from pathlib import Path
from typing import Any

import ray.train
import torch
from ray.train import Checkpoint, CheckpointUploadMode

_FILE = "state.pt"


def report_checkpoint(state: dict[str, Any], step: int, *, waits: bool) -> None:
    """Takes a checkpoint; every worker calls it, rank 0 writes, the upload goes on in the background unless `waits`."""
    checkpoint = None
    if ray.train.get_context().get_world_rank() == 0:
        folder = tempfile.mkdtemp(prefix="recurray-checkpoint-")
        torch.save(state, Path(folder) / _FILE)
        checkpoint = Checkpoint.from_directory(folder)
    mode = CheckpointUploadMode.SYNC if waits else CheckpointUploadMode.ASYNC
    ray.train.report({"step": step}, checkpoint=checkpoint, checkpoint_upload_mode=mode)


def restore_checkpoint(device: torch.device) -> dict[str, Any] | None:
    """The state in the run's last checkpoint, if there is one."""
    checkpoint = ray.train.get_checkpoint()
    if checkpoint is None:
        return None
    with checkpoint.as_directory() as folder:
        state: dict[str, Any] = torch.load(Path(folder) / _FILE, map_location=device, weights_only=True)
    return state
