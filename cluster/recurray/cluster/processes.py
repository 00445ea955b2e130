"""Processes known by their pid and start time, so that a pid that was given to another process is never touched."""

import importlib
import os
import signal
import time
from dataclasses import dataclass
from typing import Any

START_TOLERANCE = 2.0
"""Seconds by which two readings of one start time may differ: it is reckoned from the boot time, which clocks shift."""


@dataclass(frozen=True)
class Leader:
    """The first process of a session of its own: its pid, which is the session's id, and its start in Unix seconds."""

    pid: int
    started: float

    @classmethod
    def of(cls, pid: int) -> "Leader":
        """The running process `pid`."""
        return cls(pid, _psutil().Process(pid).create_time())

    def is_alive(self) -> bool:
        """Whether this very process still runs: not ended, not a zombie, not another with its pid."""
        psutil = _psutil()
        try:
            process = psutil.Process(self.pid)
            return abs(process.create_time() - self.started) < START_TOLERANCE and _runs(process)
        except psutil.NoSuchProcess:
            return False


def end_session(leader: Leader, grace: float) -> None:
    """Ends the leader, all of its session and their descendants, and returns when they are gone.

    The leader gets SIGTERM, and its part is to end the others. What still runs `grace` seconds later gets SIGKILL.
    Does nothing if the leader has ended: then the session's id no longer proves whose processes they are.
    """
    if not leader.is_alive():
        return
    session = members(leader)
    os.kill(leader.pid, signal.SIGTERM)
    deadline = time.monotonic() + grace
    while any(map(_runs, session)):
        if time.monotonic() > deadline:
            for process in filter(_runs, session):
                process.kill()
            deadline = float("inf")
        time.sleep(0.05)


def members(leader: Leader) -> set[Any]:
    """The session's processes and their descendants; a Ray job's driver is a descendant in a session of its own."""
    psutil = _psutil()
    found = set()
    for process in psutil.process_iter():
        try:
            if os.getsid(process.pid) == leader.pid:
                found.update([process, *process.children(recursive=True)])
        except (ProcessLookupError, PermissionError, psutil.NoSuchProcess):
            continue  # it ended while we looked, or is another user's
    return found


def _runs(process: Any) -> bool:
    psutil = _psutil()
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _psutil() -> Any:
    """The psutil that Ray carries: importing Ray puts it on the import path."""
    importlib.import_module("ray")
    return importlib.import_module("psutil")
