"""Promise 2 as an instrument: the same updates of a run under different cuts, and how far apart they come out.

A cut says how the work is divided: workers, micro-batches, segments of long sources, a kill on the way. Each is run by
Ray Train workers of its own, from the same initial weights, over the same updates.
"""

import json
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from ray.train.torch import get_device
from safetensors.torch import load_file, save_file

from recurray.platform.config.tree import RunConfig
from recurray.platform.data.preparing import Prepared
from recurray.platform.training.checkpoint_store import CheckpointStore
from recurray.platform.training.checkpoints import Checkpoints
from recurray.platform.training.learner import Learner
from recurray.platform.training.workers import run_workers

GRADIENT_TOLERANCE, LOSS_TOLERANCE = 1e-5, 1e-4
"""What single precision leaves: of the first update's gradient, and of the losses of all updates."""

SAMPLED = 2**20
"""Examples, the first ones, that say how long a segment should be."""

_WHOLE = 10**9
_LOSSES, _GRADIENT, _KILLED = "losses.jsonl", "gradient.safetensors", "killed"


@dataclass(frozen=True)
class Cut:
    """One way to divide the work."""

    name: str
    workers: int
    micro_batch_tokens: int
    """Padded positions of a micro-batch."""
    segment_length: int | None = None
    """Source positions of a segment; none is whole."""
    killed_after: int | None = None
    """Updates after which the last worker kills itself, once, three updates after a checkpoint."""


@dataclass(frozen=True)
class Verified:
    """How a cut came out."""

    cut: Cut
    gradient: float
    """The largest relative difference of the first update's gradient: of each parameter, max |a - b| / max |b|."""
    first_loss: float
    """The relative difference of the first update's loss."""
    losses: float
    """The largest relative difference of a loss over all updates."""

    @property
    def holds(self) -> bool:
        """Whether the differences are single precision's."""
        return self.gradient <= GRADIENT_TOLERANCE and self.losses <= LOSS_TOLERANCE


def reference_cut() -> Cut:
    """One worker that takes each update whole."""
    return Cut("1 worker, all at once", workers=1, micro_batch_tokens=_WHOLE)


def cuts_of(config: RunConfig, prepared: Prepared, steps: int) -> list[Cut]:
    """The cuts that a run is verified under, of a size that suits its examples."""
    counts, lengths = prepared.counts, prepared.train.src.lengths[:SAMPLED]
    update = config.training.batch_tokens * (1 + counts.src_pieces / counts.tgt_pieces)
    several, segment = max(int(update / 6), 1), max(int(np.quantile(lengths, 0.9)) // 8, 1)
    divided = [
        Cut(f"{workers} worker{'s' if workers > 1 else ''}, {name}", workers, tokens)
        for workers in (1, 2, 4)
        for name, tokens in (("all at once", _WHOLE), ("some 6 micro-batches", several), ("example by example", 1))
    ]
    in_segments = [
        Cut(f"{workers} workers, segments of {length}", workers, _WHOLE, length)
        for workers, length in ((2, segment), (2, max(segment // 3, 1)), (4, segment))
    ]
    killed = [
        Cut("2 workers, one killed on the way", 2, _WHOLE, killed_after=steps // 2),
        Cut(f"4 workers, segments of {segment}, one killed", 4, several, segment, killed_after=steps // 2),
    ]
    return [*divided[1:], *in_segments, *killed]


def verify(config: RunConfig, prepared: Prepared, cuts: list[Cut], steps: int, folder: Path) -> Iterator[Verified]:
    """Runs the reference and each cut for so many updates, in folders within `folder`; yields how each came out.

    Raises UserError where memory has no room for an example.
    """
    expected = _run(config, prepared, reference_cut(), steps, folder / "reference")
    for index, cut in enumerate(cuts):
        gradient, losses = _run(config, prepared, cut, steps, folder / f"cut-{index}")
        yield Verified(
            cut,
            gradient=max(_difference(gradient[name], expected[0][name]) for name in expected[0]),
            first_loss=_relative(losses[0], expected[1][0]),
            losses=max(_relative(one, other) for one, other in zip(losses, expected[1], strict=True)),
        )


def _run(
    config: RunConfig, prepared: Prepared, cut: Cut, steps: int, folder: Path
) -> tuple[dict[str, torch.Tensor], list[float]]:
    """The first update's gradient, as the optimizer saw it, and the loss of each update."""
    folder.mkdir(parents=True)
    resources = config.resources.model_copy(
        update={
            "workers": cut.workers,
            "micro_batch_tokens": cut.micro_batch_tokens,
            "segment_length": cut.segment_length,
        }
    )
    config = config.model_copy(update={"resources": resources})
    _store(folder).open()
    run_workers(_run_updates, config, prepared, folder, (cut, steps))
    rows = [json.loads(line) for line in (folder / _LOSSES).read_text().splitlines()]
    losses = {row["step"]: row["loss"] for row in rows}  # those after a kill stand for those before
    return load_file(folder / _GRADIENT), [losses[step] for step in range(1, steps + 1)]


def _run_updates(config: RunConfig, prepared: Prepared, folder: Path, job: tuple[Cut, int]) -> None:
    """On each worker."""
    cut, steps = job
    learner = Learner(config, prepared, get_device())
    checkpoints = Checkpoints(_store(folder), config, tell=lambda sentence: None)
    restored = checkpoints.restore()
    learner.begin(None if restored is None else restored.state)
    for update, _ in learner.updates(steps):
        loss = learner.learn(update).result.loss
        if dist.get_rank() == 0:
            _write(folder, learner, loss)
        if cut.killed_after is not None:
            _die_once(cut.killed_after, learner, checkpoints, folder / _KILLED)


def _write(folder: Path, learner: Learner, loss: float) -> None:
    step = learner.progress.step
    with (folder / _LOSSES).open("a") as file:
        file.write(json.dumps({"step": step, "loss": loss}) + "\n")
    if step == 1:
        gradients = {
            name: parameter.grad.cpu().contiguous()
            for name, parameter in learner.network.named_parameters()
            if parameter.grad is not None
        }
        save_file(gradients, folder / _GRADIENT)


def _store(folder: Path) -> CheckpointStore:
    return CheckpointStore(str(folder.absolute() / "checkpoints"))


def _die_once(after: int, learner: Learner, checkpoints: Checkpoints, killed: Path) -> None:
    """Takes a checkpoint three updates before, and kills the last worker after so many, the first time."""
    step = learner.progress.step
    if step == after - 3:
        checkpoints.save(learner.state(), step, score=None, waits=True)
    if step == after and dist.get_rank() == dist.get_world_size() - 1 and not killed.exists():
        killed.touch()
        os.kill(os.getpid(), signal.SIGKILL)


def _difference(one: torch.Tensor, other: torch.Tensor) -> float:
    largest = float(other.abs().max())
    return float((one - other).abs().max()) / largest if largest else float(one.abs().max())


def _relative(one: float, other: float) -> float:
    return abs(one - other) / abs(other)
