"""The training loop of one worker: update, log, validate, checkpoint, and nothing else."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import ray
import torch
import torch.distributed as dist
from ray.actor import ActorProxy

from recurray.platform.config.tree import RunConfig
from recurray.platform.data.preparing import Prepared
from recurray.platform.errors import UserError
from recurray.platform.saved_model import SavedConfig, SavedModel, save
from recurray.platform.storage import patiently, reason_of
from recurray.platform.tracking.run_log import RunLog
from recurray.platform.training.calls import Call, Calls
from recurray.platform.training.checkpoints import Checkpoints
from recurray.platform.training.initial_weights import read_initial_weights
from recurray.platform.training.learner import Learned, Learner
from recurray.platform.training.model_card import model_card
from recurray.platform.training.step import StepResult, Update
from recurray.platform.training.together import from_rank_0
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
        checkpoints: the run's.
        device: where this worker computes.

    Raises UserError where the network's shape is impossible, and where there are checkpoints and none is whole.
    """

    def __init__(
        self,
        config: RunConfig,
        prepared: Prepared,
        folder: Path,
        run_log: "ActorProxy[RunLog]",
        checkpoints: Checkpoints,
        device: torch.device,
    ) -> None:
        self._config, self._prepared, self._folder, self._run_log = config, prepared, folder, run_log
        self._learner = Learner(config, prepared, device)
        read_initial_weights(self._learner.network, folder)
        self._checkpoints = checkpoints
        restored = checkpoints.restore()
        self._learner.begin(None if restored is None else restored.state)
        self._score = None if restored is None else restored.manifest.score
        if restored is None and dist.get_rank() == 0 and (logged := ray.get(run_log.last_step.remote())):
            run_log.tell.remote(f"there is no checkpoint yet: the {logged} steps that are logged are taken again")
        self._validator = Validator(prepared, config.search, device)
        self._calls = Calls(run_log, device)
        self._speed = _Speed()
        self._sent: list[ray.ObjectRef[None]] = []

    def run(self) -> Ending:
        """Trains to the end, or until it is asked to stop, or until it is given up.

        Raises UserError where memory has no room for one example, and where checkpoints or the log cannot be written.
        """
        training, learner = self._config.training, self._learner
        for update, waited in learner.updates(training.steps):
            learned = learner.learn(update, calls=self._calls.due())
            self._speed.add(update.tokens, waited)
            call: Call = "go on"
            if learned.result.calls:
                self._checkpoints.check()
                call = self._calls.look()
            self._after(update, learned, saves=call != "go on")
            if learner.progress.skipped_in_a_row >= training.max_skipped:
                skipped = f"{training.max_skipped} updates in a row had a non-finite loss or gradient"
                return Ending("given up", f"{skipped}, the last of them step {update.number}")
            if call == "stop" and update.number < training.steps:
                return Ending("stopped", f"at step {update.number} of {training.steps}")
        return Ending("finished")

    def _after(self, update: Update, learned: Learned, *, saves: bool) -> None:
        """What is due after a step: validation, its log row, a checkpoint."""
        training, step = self._config.training, update.number
        last = step == training.steps
        validates = last or step % training.validate_every == 0
        if learned.result.skipped:
            self._log_skipped(update, learned.result)
        if validates or step % training.log_every == 0:
            row = self._row(update, learned) | self._speed.figures()
            validation = self._speed.validating(self._validate) if validates else None
            self._log(row | self._speed.validations() if validates else row, validation)
        if saves or last or step % self._config.checkpoints.every == 0:
            from_rank_0(self._wait_for_the_log)  # so that no checkpoint is ahead of it
            self._checkpoints.save(self._learner.state(), step, self._score, waits=saves or last)
            self._speed.restart()

    def _wait_for_the_log(self) -> None:
        with self._needing_room():
            ray.get(self._sent)
        self._sent.clear()

    @contextmanager
    def _needing_room(self) -> Iterator[None]:
        """UserError where the run's folder cannot be written."""
        try:
            yield
        except OSError as fault:
            raise UserError(
                f"{self._folder} cannot be written ({reason_of(fault)}); make room, and the same command goes on from "
                "the last checkpoint."
            ) from None

    def _validate(self) -> Validation:
        network = self._learner.judged.eval()
        validation = self._validator.validate(network)
        network.train()
        reached = validation.figures[self._prepared.task.best_figure]
        self._score = _finite(reached)
        best = self._learner.judge(reached)
        from_rank_0(lambda: self._save_model(validation, best=best))
        return validation

    def _save_model(self, validation: Validation, *, best: bool) -> None:
        """Saves the best model so far, or this one where that was lost with the run's folder."""
        prepared, folder = self._prepared, self._folder / "model"
        if folder.exists() and not best:
            return
        model = SavedModel(prepared.task, self._learner.judged, prepared.codec, SavedConfig.of(self._config))
        card = model_card(prepared.task, self._config, prepared.counts, self._learner.progress.step, validation.figures)
        with self._needing_room():
            patiently(lambda: save(folder, model, card), tell=lambda fault: None)

    def _row(self, update: Update, learned: Learned) -> dict[str, Any]:
        result = learned.result
        row = {
            "step": update.number,
            "epoch": self._learner.feed.epoch_of(update.number),
            "loss": _finite(result.loss),
            "learning_rate": learned.learning_rate,
            "grad_norm": _finite(result.grad_norm),
            "clipped": int(result.grad_norm > self._config.training.clip_norm),
            "tokens": update.tokens,
            "padding_share": round(update.padding_share, 4),
            "workers": dist.get_world_size(),
            "memory_halvings": result.halvings,
            "loss_spike": int(learned.spikes),
            "skipped_steps": self._learner.progress.skipped,
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
            examples = self._learner.feed.examples_of(update.number).tolist()
            self._sent.append(self._run_log.log_skipped.remote(figures | {"examples": examples}))


class _Speed:
    """Tokens per second and share of waiting for data since the last logged row; validations since the launch."""

    def __init__(self) -> None:
        self._launched, self._validated = time.perf_counter(), 0.0
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

    def validating(self, validate: Callable[[], Validation]) -> Validation:
        """What a validation finds, the best model saved."""
        began = time.perf_counter()
        validation = validate()
        self._validated += time.perf_counter() - began
        return validation

    def validations(self) -> dict[str, float]:
        """The share of the time since the launch that they took."""
        return {"validation_share": round(self._validated / (time.perf_counter() - self._launched), 4)}


def _finite(value: float) -> float | None:
    """JSON has no word for infinity."""
    return value if math.isfinite(value) else None
