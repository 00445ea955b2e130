"""What learns: a network with its optimizer and its progress, taken from one update to the next.

It knows no log, no validation and no place for checkpoints, so that whatever trains a network takes the same updates.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from recurray.models.blocks.block import cut_into_segments
from recurray.models.segments import Segments
from recurray.platform.config.tree import RunConfig
from recurray.platform.data.preparing import Prepared
from recurray.platform.errors import UserError
from recurray.platform.training.average import MovingAverage
from recurray.platform.training.feed import Feed
from recurray.platform.training.optimization import build_optimizer, set_learning_rate
from recurray.platform.training.precision import check_precision
from recurray.platform.training.schedule import after_validation, learning_rate
from recurray.platform.training.spikes import is_spike, with_loss
from recurray.platform.training.step import StepResult, TrainStep, Update


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


@dataclass(frozen=True)
class Learned:
    """What an update did."""

    result: StepResult
    learning_rate: float
    """That it was taken with."""
    spikes: bool
    """Its loss lies far above those before it."""


class Learner:
    """A network in training on one worker of a process group, from its initial weights on.

    Args:
        config: the run's configuration.
        prepared: its data.
        device: where this worker computes.

    Raises UserError where the network's shape is impossible, or a worker's device lacks the run's precision.
    """

    def __init__(self, config: RunConfig, prepared: Prepared, device: torch.device) -> None:
        training = config.training
        self._training = training
        check_precision(training.precision, device)
        self.network = _build_network(config, prepared).to(device)
        self._optimizer = build_optimizer(self.network.parameters(), training.optimizer)
        self._average: MovingAverage | None = None
        self._step = TrainStep(
            self.network,
            self._optimizer,
            seed=config.seed,
            label_smoothing=training.label_smoothing,
            clip_norm=training.clip_norm,
            precision=training.precision,
        )
        self.feed = Feed(prepared.train, config, rank=dist.get_rank(), workers=dist.get_world_size(), device=device)
        self.progress = Progress()

    def begin(self, state: dict[str, Any] | None) -> None:
        """Begins with the weights that the network has by now, or goes on from the `state` of another learner."""
        decay = self._training.ema_decay
        self._average = None if decay is None else MovingAverage(self.network, decay)
        if state is None:
            return
        self.network.load_state_dict(state["network"])
        self._optimizer.load_state_dict(state["optimizer"])
        if self._average is not None:
            self._average.network.load_state_dict(state["average"])
        self.progress = Progress(**state["progress"])

    def state(self) -> dict[str, Any]:
        """Everything that it takes to go on exactly; its tensors are the learner's own."""
        state = {
            "network": self.network.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "progress": asdict(self.progress),
        }
        return state if self._average is None else state | {"average": self._average.network.state_dict()}

    @property
    def judged(self) -> nn.Module:
        """The network that is validated and saved: the average's, if there is one."""
        return self.network if self._average is None else self._average.network

    def updates(self, last: int) -> Iterator[tuple[Update, float]]:
        """The updates that are left up to `last`, each with the seconds that were waited for its data."""
        return self.feed.updates(self.progress.step + 1, last)

    def learn(self, update: Update, *, calls: bool = False) -> Learned:
        """Takes an update; all workers take part, and where one `calls`, all of them hear it.

        Raises UserError, on all of them, where one has not the memory for an example by itself.
        """
        training, progress = self._training, self.progress
        rate = learning_rate(update.number, training.steps, training.learning_rate, progress.rate_falls)
        set_learning_rate(self._optimizer, rate)
        result = self._step(update, calls=calls)
        learned = Learned(result, rate, spikes=is_spike(result.loss, progress.recent_losses))
        progress.step = update.number
        progress.skipped += result.skipped
        progress.skipped_in_a_row = progress.skipped_in_a_row + 1 if result.skipped else 0
        progress.recent_losses = with_loss(result.loss, progress.recent_losses)
        if self._average is not None and not result.skipped:
            self._average.update(self.network, progress.step - progress.skipped)
        return learned

    def judge(self, reached: float) -> bool:
        """Takes in what a validation found of the task's `best_figure`; returns whether it is the best so far."""
        progress = self.progress
        best = progress.best is None or reached > progress.best
        if best:
            progress.best = reached
        progress.stalled, progress.rate_falls = after_validation(
            progress.step, self._training.learning_rate, progress.stalled, progress.rate_falls, best=best
        )
        return best


def _build_network(config: RunConfig, prepared: Prepared) -> nn.Module:
    """The run's network with its initial weights, the same on every worker."""
    torch.manual_seed(config.seed)  # nothing else draws from it
    try:
        network = prepared.task.build_network(config.model, prepared.codec)
    except ValueError as misfit:
        raise UserError(f"model: {misfit}.") from None
    truncation = config.training.truncation
    length = config.resources.segment_length or truncation
    if length is not None:
        cut_into_segments(network, Segments(length, truncation))
    return network
