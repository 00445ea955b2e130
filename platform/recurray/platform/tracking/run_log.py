"""The run's log: one actor beside the driver that owns `metrics.jsonl`, its like, and the W&B run.

Rank 0 sends it rows without waiting. It survives workers, so that one W&B run sees the whole training, and a row for
a step that is already there is passed over: steps repeated after a kill come out the same, and are logged once.
"""

import json
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import ray

from recurray.platform.config.loading import load_config
from recurray.platform.config.tree import RunConfig
from recurray.platform.errors import UserError
from recurray.platform.storage import patiently
from recurray.platform.tracking.wandb_run import FINISHED_FILE, WandbRun

METRICS_FILE, SAMPLES_FILE, SKIPPED_FILE = "metrics.jsonl", "samples.jsonl", "skipped.jsonl"
NOTICES_FILE = "notices.jsonl"
SCORES_FILE = "test/scores.json"

Row = dict[str, Any]


class RunLog:
    """Appends rows by step; made again after a kill it goes on after the last whole row."""

    def __init__(self, folder: Path, config: RunConfig) -> None:
        self._metrics, self._samples = folder / METRICS_FILE, folder / SAMPLES_FILE
        self._skipped, self._notices = folder / SKIPPED_FILE, folder / NOTICES_FILE
        rows = _keep_whole_rows(self._metrics)
        _keep_whole_rows(self._samples)
        skipped = _keep_whole_rows(self._skipped)
        self._last_step = rows[-1]["step"] if rows else 0
        self._last_skipped = skipped[-1]["step"] if skipped else 0
        self._stop = False
        self._began = time.monotonic() - (rows[-1]["seconds"] if rows else 0.0)
        self._wandb = _open_wandb(folder, config)

    @ray.method
    def log(self, row: Row, samples: list[Row]) -> None:
        """Appends a step's figures and its sample translations; the row has `step`, greater from call to call."""
        if row["step"] <= self._last_step:
            return
        row = row | {"seconds": round(time.monotonic() - self._began, 3)}
        samples = [{"step": row["step"]} | sample for sample in samples]
        _append(self._samples, samples)  # before its row: a step is logged once its row is there
        _append(self._metrics, [row])
        self._last_step = row["step"]
        if self._wandb is not None:
            self._wandb.log(row, samples)

    @ray.method
    def log_skipped(self, update: Row) -> None:
        """Appends an update that was skipped, with its `step` and its examples, unless it is there already."""
        if update["step"] > self._last_skipped:
            _append(self._skipped, [update])
            self._last_skipped = update["step"]

    @ray.method
    def tell(self, notice: str) -> None:
        """Appends a sentence for the user, which the console shows."""
        with suppress(OSError):  # it may be about a full disk
            _append_once(self._notices, [{"seconds": round(time.monotonic() - self._began, 3), "notice": notice}])

    @ray.method
    def last_step(self) -> int:
        """The last step that is logged; 0 before the first."""
        return self._last_step

    @ray.method
    def ask_to_stop(self) -> None:
        """Lets the training know that it should save a checkpoint and end; it asks here now and then."""
        self._stop = True

    @ray.method
    def asked_to_stop(self) -> bool:
        """Whether somebody asked the training to stop."""
        return self._stop

    @ray.method
    def close(self) -> None:
        """Ends the W&B run."""
        if self._wandb is not None:
            self._wandb.finish()


def finish_log(folder: Path, config: RunConfig) -> None:
    """Gives the W&B run of a run that is trained whatever a kill at the end kept from it."""
    if not (folder / FINISHED_FILE).exists():
        _bring_wandb_up(folder, config)


def check_trained(folder: Path) -> RunConfig:
    """The configuration of the finished run in a folder; UserError where it is none, or may still be in training."""
    if not (folder / METRICS_FILE).exists():
        raise UserError(f"{folder} is no run that has logged anything: it has no {METRICS_FILE}.")
    config = load_config(folder / "config.yaml")
    rows = read_rows(folder / METRICS_FILE)
    step = rows[-1]["step"] if rows else 0
    if step < config.training.steps:
        raise UserError(
            f"{folder} stands at step {step:,} of {config.training.steps:,}, and only its training may log to it; "
            "train it to its end first."
        )
    return config


def log_scores(folder: Path, scores: dict[str, Any]) -> None:
    """Gives a finished run the scores of its test set: its `test/scores.json`, and its W&B run, which follows that."""
    config = check_trained(folder)
    path = folder / SCORES_FILE
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(scores, indent=2) + "\n", encoding="utf-8")
    _bring_wandb_up(folder, config)


def _bring_wandb_up(folder: Path, config: RunConfig) -> None:
    """Gives the W&B run of a finished run all that the folder's files hold."""
    if (wandb_run := _open_wandb(folder, config)) is not None:
        wandb_run.finish()


def _open_wandb(folder: Path, config: RunConfig) -> WandbRun | None:
    """The W&B run, with all that the folder's files hold; none where the run is kept from W&B."""
    if config.wandb.mode == "disabled":
        return None
    wandb_run = WandbRun(folder, config)
    samples = read_rows(folder / SAMPLES_FILE)
    for row in read_rows(folder / METRICS_FILE):
        wandb_run.log(row, [sample for sample in samples if sample["step"] == row["step"]])
    if (folder / SCORES_FILE).exists():
        wandb_run.summarize(json.loads((folder / SCORES_FILE).read_text(encoding="utf-8")))
    return wandb_run


def read_rows(path: Path) -> list[Row]:
    """The rows of a log; one torn by a kill, at the end, is left out."""
    if not path.exists():
        return []
    lines = path.read_bytes().split(b"\n")
    return [json.loads(line) for line in lines[:-1]]


def _keep_whole_rows(path: Path) -> list[Row]:
    """Cuts a torn row off the file and returns the others."""
    if path.exists():
        whole = path.read_bytes().rfind(b"\n") + 1
        with path.open("r+b") as file:
            file.truncate(whole)
    return read_rows(path)


def _append(path: Path, rows: list[Row]) -> None:
    """OSError, once a full disk has been waited for in vain, leaves the file as it was."""
    patiently(lambda: _append_once(path, rows), tell=lambda fault: None)


def _append_once(path: Path, rows: list[Row]) -> None:
    size = path.stat().st_size if path.exists() else 0
    try:
        with path.open("ab") as file:
            file.write(b"".join(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in rows))
    except OSError:
        with suppress(OSError):
            os.truncate(path, size)
        raise
