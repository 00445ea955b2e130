"""Checkpoints: everything needed to go on exactly, written by rank 0 and kept by Ray Train."""

import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path

import ray.train
import torch
from ray.train import Checkpoint, CheckpointUploadMode
from torch import nn
from torch.optim import Optimizer

from recurray.platform.training.average import MovingAverage

_FILE = "state.pt"


@dataclass
class Progress:
    """How far a run is. With weights and optimizer it is all there is to a run: masks and orders are hashed."""

    step: int = 0
    """Updates done, skipped ones among them."""
    skipped: int = 0
    """Updates skipped for a non-finite loss or gradient."""
    skipped_in_a_row: int = 0
    """Of these, the ones since the last that was not."""
    best: float | None = None
    """The best value so far of the task's `best_figure`; none before the first validation."""
    stalled: int = 0
    """Validations since the last best one, or since a plateau last lowered the learning rate."""
    rate_falls: int = 0
    """How often a plateau has lowered the learning rate."""
    recent_losses: list[float] = field(default_factory=list)
    """Losses of the last updates, in order, with which the next one's is compared."""


def report_checkpoint(
    network: nn.Module, optimizer: Optimizer, average: MovingAverage | None, progress: Progress, *, waits: bool
) -> None:
    """Takes a checkpoint; every worker calls it, rank 0 writes, the upload goes on in the background unless `waits`."""
    checkpoint = None
    if ray.train.get_context().get_world_rank() == 0:
        folder = tempfile.mkdtemp(prefix="recurray-checkpoint-")
        state = {"network": network.state_dict(), "optimizer": optimizer.state_dict(), "progress": asdict(progress)}
        if average is not None:
            state["average"] = average.network.state_dict()
        torch.save(state, Path(folder) / _FILE)
        checkpoint = Checkpoint.from_directory(folder)
    mode = CheckpointUploadMode.SYNC if waits else CheckpointUploadMode.ASYNC
    ray.train.report({"step": progress.step}, checkpoint=checkpoint, checkpoint_upload_mode=mode)


def restore_checkpoint(
    network: nn.Module, optimizer: Optimizer, average: MovingAverage | None, device: torch.device
) -> Progress:
    """Loads the run's last checkpoint into what is given, if there is one, and returns how far it is."""
    checkpoint = ray.train.get_checkpoint()
    if checkpoint is None:
        return Progress()
    with checkpoint.as_directory() as folder:
        state = torch.load(Path(folder) / _FILE, map_location=device, weights_only=True)
    network.load_state_dict(state["network"])
    optimizer.load_state_dict(state["optimizer"])
    if average is not None:
        average.network.load_state_dict(state["average"])
    return Progress(**state["progress"])
