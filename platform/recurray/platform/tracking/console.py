"""The training's progress on the console, read from the run's `metrics.jsonl`: live on a terminal, else plain lines."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from recurray.platform.tracking.figures import dev_scores
from recurray.platform.tracking.run_log import METRICS_FILE, NOTICES_FILE

_REFRESH_SECONDS = 0.5
_PLAIN_SECONDS = 15.0


@contextmanager
def training_progress(folder: Path, steps: int) -> Iterator[None]:
    """Shows the run in `folder` until the block ends."""
    console = Console(stderr=True)
    metrics, notices = _Follower(folder / METRICS_FILE), _Follower(folder / NOTICES_FILE)
    display = _Live(console, steps) if console.is_terminal else _Plain(console, steps)
    ended = threading.Event()

    def show() -> None:
        for row in notices.new_rows():
            display.progress.console.print(row["notice"], highlight=False, soft_wrap=True)
        display.show(metrics.new_rows())

    def follow() -> None:
        with display.progress:
            while not ended.wait(_REFRESH_SECONDS):
                show()
            show()

    thread = threading.Thread(target=follow, name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


class _Follower:
    """Reads the rows that were appended to a file since the last look."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = path.stat().st_size if path.exists() else 0

    def new_rows(self) -> list[dict[str, Any]]:
        if not self._path.exists():
            return []
        with self._path.open("rb") as file:
            file.seek(self._offset)
            whole, newline, _ = file.read().rpartition(b"\n")
        self._offset += len(whole) + len(newline)
        return [json.loads(line) for line in whole.split(b"\n") if line]


def _describe(row: dict[str, Any]) -> str:
    loss = "not finite" if row["loss"] is None else f"{row['loss']:.3f}"
    return f"epoch {row['epoch']}  loss {loss}  {row['tokens_per_second']:,.0f} tokens/s"


def _notices(rows: list[dict[str, Any]]) -> list[str]:
    """What happened in these steps that is out of the ordinary."""
    return [
        f"step {row['step']}: out of memory; micro-batches halved, the update is the same"
        for row in rows
        if row["memory_halvings"]
    ]


def _describe_validation(row: dict[str, Any]) -> str:
    scores = "".join(f"  {name} {row[f'dev/{name}']:.1f}" for name in dev_scores(row))
    return f"dev loss {row['dev/loss']:.3f}{scores}"


class _Live:
    """One line on a terminal that is drawn again."""

    def __init__(self, console: Console, steps: int) -> None:
        self.progress = Progress(
            TextColumn("step"),
            MofNCompleteColumn(),
            BarColumn(),
            TextColumn("{task.description}"),
            TextColumn("ETA"),
            TimeRemainingColumn(),
            console=console,
        )
        self._task = self.progress.add_task("starting the workers", total=steps)
        self._validation = ""

    def show(self, rows: list[dict[str, Any]]) -> None:
        for notice in _notices(rows):
            self.progress.console.print(notice, highlight=False)
        for row in rows:
            if "dev/loss" in row:
                self._validation = "  " + _describe_validation(row)
        if rows:
            text = _describe(rows[-1]) + self._validation
            self.progress.update(self._task, completed=rows[-1]["step"], description=text)


class _Plain:
    """A line now and then, and one for every validation, for a log."""

    def __init__(self, console: Console, steps: int) -> None:
        self.progress = Progress(console=console, disable=True)
        self._console, self._steps = console, steps
        self._first: tuple[int, float] | None = None
        self._next = time.monotonic()

    def show(self, rows: list[dict[str, Any]]) -> None:
        for notice in _notices(rows):
            self._console.print(notice, highlight=False, soft_wrap=True)
        for row in rows:
            if "dev/loss" in row:
                self._print(row, "  " + _describe_validation(row))
        if rows and "dev/loss" not in rows[-1] and time.monotonic() >= self._next:
            self._print(rows[-1], "")

    def _print(self, row: dict[str, Any], validation: str) -> None:
        now = time.monotonic()
        self._first = self._first or (row["step"], now)
        done = row["step"] - self._first[0]
        left = (self._steps - row["step"]) * (now - self._first[1]) / done if done else None
        eta = "" if left is None else f"  ETA {int(left) // 60}:{int(left) % 60:02}"
        line = f"step {row['step']}/{self._steps}  {_describe(row)}{validation}{eta}"
        self._console.print(line, highlight=False, soft_wrap=True)
        self._next = now + _PLAIN_SECONDS
