"""The Weights & Biases run of a training: one run, whatever was killed on the way."""

import secrets
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import wandb

from recurray.platform.config.tree import RunConfig, WandbConfig
from recurray.platform.errors import UserError
from recurray.platform.evaluation.scores import score_rows

FINISHED_FILE = "wandb/finished"
"""In a run's folder, once W&B has all that was logged: a kill before may have torn its file."""


class WandbRun:
    """Logs rows by step; rows that the run has already are passed over.

    `metrics.jsonl` is the truth and W&B follows it: whoever opens the run logs all rows again. Online, W&B tells which
    steps it has. Offline, what was written before a kill may be torn, so it is thrown away and written anew.
    """

    def __init__(self, folder: Path, config: RunConfig) -> None:
        mode = wandb_mode(config.wandb)
        run_id = _run_id(folder)
        self._finished = folder / FINISHED_FILE
        self._finished.unlink(missing_ok=True)
        if mode == "offline":
            for before in (folder / "wandb").glob(f"offline-run-*-{run_id}"):
                shutil.rmtree(before)
        try:
            self._run = wandb.init(
                dir=folder,
                id=run_id,
                mode=mode,
                resume="allow" if mode == "online" else None,
                project=config.wandb.project,
                entity=config.wandb.entity,
                name=config.name,
                config=config.model_dump(mode="json"),
                settings=wandb.Settings(silent=True, console="off", x_disable_stats=mode == "offline"),
            )
        except wandb.Error as fault:
            raise UserError(
                f"W&B did not take the run ({fault}); set wandb.mode=offline to go on without it."
            ) from fault
        self._next_step = self._run.step

    def log(self, row: dict[str, Any], samples: list[dict[str, Any]]) -> None:
        """One step's figures, and a table of its sample translations where there are any."""
        if row["step"] < self._next_step:
            return
        figures = {key: value for key, value in row.items() if key != "step" and value is not None}
        if samples:
            rows: list[Iterable[str]] = [[sample["src"], sample["ref"], sample["hyp"]] for sample in samples]
            figures["samples"] = wandb.Table(columns=["src", "ref", "hyp"], data=rows)
        self._run.log(figures, step=row["step"])

    def summarize(self, scores: dict[str, Any]) -> None:
        """The scores of the test set, as `scores.json` holds them, with their signatures, in the run's summary."""
        for name, found in score_rows(scores):
            self._run.summary.update({f"test/{name}": found["score"], f"test/{name} signature": found["signature"]})
        self._run.summary.update({"test/lines": scores["lines"], "test/command": scores["command"]})

    def finish(self) -> None:
        """Sends what is left, ends the run, and waits until W&B's own process has written its file.

        `finish` alone does not wait for the file's last block, which is lost if this process ends too soon.
        """
        self._run.finish()
        wandb.teardown()
        self._finished.touch()


def wandb_mode(config: WandbConfig) -> Literal["online", "offline", "disabled"]:
    """`online`, `offline` or `disabled`: `auto` is online where a key is found."""
    if config.mode != "auto":
        return config.mode
    return "online" if wandb.login(prompt=False, verify=False) else "offline"


def _run_id(folder: Path) -> str:
    path = folder / "wandb" / "run-id"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(secrets.token_hex(4))
    return path.read_text()
