"""Signals of the driver: the first asks what runs to stop in good order, the second ends the process at once."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from types import FrameType
from typing import TypeVar

Found = TypeVar("Found")

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def stops_on_signals(ask: Callable[[], object], saying: str) -> Iterator[None]:
    """While the block runs, the first SIGINT or SIGTERM calls `ask`, and the next one has its usual effect.

    `saying` tells the user what is done now. Only the main thread hears signals, so in another one this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}

    def hear(number: int, frame: FrameType | None) -> None:
        for each in SIGNALS:
            signal.signal(each, _end_at_once)
        print(f"\n{saying}; the same again stops at once", file=sys.stderr, flush=True)
        ask()

    for number in SIGNALS:
        signal.signal(number, hear)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def in_a_thread(work: Callable[[], Found]) -> Found:
    """Runs `work` in a thread of its own, so that this one hears signals meanwhile; it ends with the process."""
    future: Future[Found] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as fault:  # whatever it is, it is raised where the result is asked for
            future.set_exception(fault)

    threading.Thread(target=run, name="training", daemon=True).start()
    return future.result()


def _end_at_once(number: int, frame: FrameType | None) -> None:
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
