"""A batch job's progress on the console: live on a terminal, else a plain line now and then."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

_PLAIN_SECONDS = 15.0


@dataclass(frozen=True)
class JobProgress:
    """How far a job is."""

    total: int
    """Records that there are."""
    done: int = 0
    """Records whose results are written."""
    failures: int = 0
    """Those among them that could not be read."""

    def plus(self, records: int, failures: int) -> "JobProgress":
        """After so many more."""
        return replace(self, done=self.done + records, failures=self.failures + failures)


@contextmanager
def job_progress(title: str) -> Iterator[Callable[[JobProgress], None]]:
    """What is given how far the job is, and shows it on stderr until the block ends."""
    console = Console(stderr=True)
    display = _Live(console, title) if console.is_terminal else _Plain(console, title)
    with display.progress:
        yield display.show


class _Speed:
    """Records a second since the first ones of this run were done."""

    def __init__(self) -> None:
        self._first: tuple[int, float] | None = None
        self._begun = False

    def describe(self, now: JobProgress) -> str:
        """Speed, time left and failures, as far as they are known."""
        if not self._begun:  # what an earlier run has done says nothing
            self._begun = True
            return "starting the actors"
        self._first = self._first or (now.done, time.monotonic())
        records, seconds = now.done - self._first[0], time.monotonic() - self._first[1]
        text = f"{now.failures:,} failures"
        if not records:
            return text
        left = int((now.total - now.done) * seconds / records)
        eta = f"{left // 3600}:{left // 60 % 60:02}:{left % 60:02}"
        return f"{records / max(seconds, 1e-9):,.0f} lines/s  ETA {eta}  {text}"


class _Live:
    """One line on a terminal that is drawn again."""

    def __init__(self, console: Console, title: str) -> None:
        columns = (TextColumn(title), MofNCompleteColumn(), BarColumn(), TextColumn("{task.description}"))
        self.progress = Progress(*columns, console=console, transient=True)
        self._task = self.progress.add_task("reading", total=None)
        self._speed = _Speed()

    def show(self, now: JobProgress) -> None:
        description = self._speed.describe(now)
        self.progress.update(self._task, completed=now.done, total=now.total, description=description)


class _Plain:
    """A line every 15 seconds, for a log."""

    def __init__(self, console: Console, title: str) -> None:
        self.progress = Progress(console=console, disable=True)
        self._console, self._title = console, title
        self._speed = _Speed()
        self._next = time.monotonic()

    def show(self, now: JobProgress) -> None:
        description = self._speed.describe(now)
        if time.monotonic() >= self._next:
            line = f"{self._title}  {now.done:,}/{now.total:,} records  {description}"
            self._console.print(line, highlight=False, soft_wrap=True)
            self._next = time.monotonic() + _PLAIN_SECONDS
