"""The training loop of one worker: update, log, validate, checkpoint, and nothing else."""

import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import ray
import torch
import torch.distributed as dist
from ray.actor import ActorProxy
from torch import nn

from recurray.models.blocks.block import cut_into_segments
from recurray.models.segments import Segments
from recurray.platform.config.tree import RunConfig
from recurray.platform.data.preparing import Prepared
from recurray.platform.errors import UserError
from recurray.platform.saved_model import SavedConfig, SavedModel, save
from recurray.platform.tracking.run_log import RunLog
from recurray.platform.training.average import MovingAverage
from recurray.platform.training.calls import Calls
from recurray.platform.training.checkpoint import report_checkpoint, restore_checkpoint
from recurray.platform.training.feed import Feed
from recurray.platform.training.initial_weights import read_initial_weights
from recurray.platform.training.model_card import model_card
from recurray.platform.training.optimization import build_optimizer, set_learning_rate
from recurray.platform.training.schedule import after_validation, learning_rate
from recurray.platform.training.spikes import is_spike, with_loss
from recurray.platform.training.step import StepResult, TrainStep, Update
from recurray.platform.training.validation import Validation, Validator


@dataclass(frozen=True)
class Ending:
    """How a training ended."""

    kind: Literal["finished", "given up", "stopped"]
    what: str = ""
    """Why it was given up, or where it was stopped."""


class TrainingLoop:
    """Trains on one worker of a process group, from the run's last checkpoint to its last step.

    Args:
        config: the run's configuration.
        prepared: its data.
        folder: the run's folder.
        run_log: the `RunLog` actor, which rank 0 sends its rows to.
        device: where this worker computes.

    Raises UserError where the network's shape is impossible.
    """

    def __init__(
        self, config: RunConfig, prepared: Prepared, folder: Path, run_log: "ActorProxy[RunLog]", device: torch.device
    ) -> None:
        self._config, self._prepared, self._folder, self._run_log = config, prepared, folder, run_log
        self._network = build_network(config, prepared).to(device)
        read_initial_weights(self._network, folder)
        decay = config.training.ema_decay
        self._average = None if decay is None else MovingAverage(self._network, decay)
        self._optimizer = build_optimizer(self._network.parameters(), config.training.optimizer)
        self._progress = restore_checkpoint(self._network, self._optimizer, self._average, device)
        self._train_step = TrainStep(
            self._network,
            self._optimizer,
            seed=config.seed,
            label_smoothing=config.training.label_smoothing,
            clip_norm=config.training.clip_norm,
        )
        self._feed = Feed(prepared.train, config, rank=dist.get_rank(), workers=dist.get_world_size(), device=device)
        self._validator = Validator(prepared, config.search, device)
        self._calls = Calls(run_log, device)
        self._speed = _Speed()
        self._sent: list[ray.ObjectRef[None]] = []

    def run(self) -> Ending:
        """Trains to the end, or until it is asked to stop, or until it is given up.

        Raises UserError where memory has no room for one example.
        """
        training, progress = self._config.training, self._progress
        for update, waited in self._feed.updates(progress.step + 1, training.steps):
            self._set_learning_rate(update.number)
            result = self._train_step(update, calls=self._calls.due())
            spikes = is_spike(result.loss, progress.recent_losses)
            self._take_in(update, result)
            self._speed.add(update.tokens, waited)
            call = self._calls.look() if result.calls else "go on"
            self._after(update, result, spikes=spikes, saves=call != "go on")
            if progress.skipped_in_a_row >= training.max_skipped:
                skipped = f"{training.max_skipped} updates in a row had a non-finite loss or gradient"
                return Ending("given up", f"{skipped}, the last of them step {update.number}")
            if call == "stop" and update.number < training.steps:
                return Ending("stopped", f"at step {update.number} of {training.steps}")
        return Ending("finished")

    def _take_in(self, update: Update, result: StepResult) -> None:
        """What an update means for the run's progress and its average."""
        progress = self._progress
        progress.step = update.number
        progress.skipped += result.skipped
        progress.skipped_in_a_row = progress.skipped_in_a_row + 1 if result.skipped else 0
        progress.recent_losses = with_loss(result.loss, progress.recent_losses)
        if result.skipped:
            self._log_skipped(update, result)
        elif self._average is not None:
            self._average.update(self._network, progress.step - progress.skipped)

    def _after(self, update: Update, result: StepResult, *, spikes: bool, saves: bool) -> None:
        """What is due after a step: validation, its log row, a checkpoint."""
        training, step = self._config.training, update.number
        last = step == training.steps
        validates = last or step % training.validate_every == 0
        if validates or step % training.log_every == 0:
            row = self._row(update, result) | {"loss_spike": int(spikes)} | self._speed.figures()
            self._log(row, self._validate() if validates else None)
        if saves or last or step % self._config.checkpoints.every == 0:
            ray.get(self._sent)  # so that no checkpoint is ahead of the log
            self._sent.clear()
            report_checkpoint(self._network, self._optimizer, self._average, self._progress, waits=saves)
            self._speed.restart()

    def _validate(self) -> Validation:
        network = self._judged.eval()
        validation = self._validator.validate(network)
        network.train()
        reached, progress = validation.figures[self._prepared.task.best_figure], self._progress
        best = progress.best is None or reached > progress.best
        if best:
            progress.best = reached
            if dist.get_rank() == 0:
                self._save_model(validation)
        progress.stalled, progress.rate_falls = after_validation(
            progress.step, self._config.training.learning_rate, progress.stalled, progress.rate_falls, best=best
        )
        return validation

    @property
    def _judged(self) -> nn.Module:
        """The weights that are validated and saved: the average's, if there is one."""
        return self._network if self._average is None else self._average.network

    def _save_model(self, validation: Validation) -> None:
        prepared = self._prepared
        model = SavedModel(prepared.task, self._judged, prepared.codec, SavedConfig.of(self._config))
        card = model_card(prepared.task, self._config, prepared.counts, self._progress.step, validation.figures)
        save(self._folder / "model", model, card)

    def _row(self, update: Update, result: StepResult) -> dict[str, Any]:
        row = {
            "step": update.number,
            "epoch": self._feed.epoch_of(update.number),
            "loss": _finite(result.loss),
            "learning_rate": self._optimizer.param_groups[0]["lr"],
            "grad_norm": _finite(result.grad_norm),
            "clipped": int(result.grad_norm > self._config.training.clip_norm),
            "tokens": update.tokens,
            "padding_share": round(update.padding_share, 4),
            "workers": dist.get_world_size(),
            "memory_halvings": result.halvings,
            "skipped_steps": self._progress.skipped,
        }
        if self._prepared.task.has_perplexity:
            row["perplexity"] = _finite(math.exp(min(result.nll, 100.0)))
        return row

    def _log(self, row: dict[str, Any], validation: Validation | None) -> None:
        if dist.get_rank() == 0:
            figures, samples = (validation.figures, validation.samples) if validation else ({}, [])
            self._sent.append(self._run_log.log.remote(row | figures, samples))
        self._speed.restart()

    def _log_skipped(self, update: Update, result: StepResult) -> None:
        if dist.get_rank() == 0:
            figures = {"step": update.number, "loss": _finite(result.loss), "grad_norm": _finite(result.grad_norm)}
            examples = self._feed.examples_of(update.number).tolist()
            self._sent.append(self._run_log.log_skipped.remote(figures | {"examples": examples}))

    def _set_learning_rate(self, step: int) -> None:
        training = self._config.training
        rate = learning_rate(step, training.steps, training.learning_rate, self._progress.rate_falls)
        set_learning_rate(self._optimizer, rate)


def build_network(config: RunConfig, prepared: Prepared) -> nn.Module:
    """The run's network with its initial weights, the same on every worker; UserError where its shape is impossible."""
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


class _Speed:
    """Tokens per second and share of waiting for data since the last logged row."""

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        self._began = time.perf_counter()
        self._tokens, self._waited = 0, 0.0

    def add(self, tokens: int, waited: float) -> None:
        self._tokens += tokens
        self._waited += waited

    def figures(self) -> dict[str, float]:
        seconds = time.perf_counter() - self._began
        return {
            "tokens_per_second": round(self._tokens / seconds, 1),
            "data_wait_share": round(self._waited / seconds, 4),
        }


def _finite(value: float) -> float | None:
    """JSON has no word for infinity."""
    return value if math.isfinite(value) else None
