"""What reaches a training from outside: a wish to stop, and notice that a node will be taken away."""

import time
from typing import Any, Literal

import ray
import torch
import torch.distributed as dist
from ray.actor import ActorProxy
from ray.train.v2.api.train_fn_utils import get_preemption_info

from recurray.platform.tracking.run_log import RunLog

INTERVAL_SECONDS = 2.0
"""Seconds from one look to the next: what a stop waits for, beside the step that is under way."""

Call = Literal["go on", "save", "stop"]


class Calls:
    """Looks, now and then and on all workers at the same step, for what was asked of the training.

    Rank 0's clock decides when; it says so with the sums of a step, so that looking costs nothing in between.
    """

    def __init__(self, run_log: "ActorProxy[RunLog]", device: torch.device) -> None:
        self._run_log, self._device = run_log, device
        self._next = time.monotonic() + INTERVAL_SECONDS
        self._notice: Any = None

    def due(self) -> bool:
        """Whether this worker wants all of them to look after the step that it is about to take."""
        return dist.get_rank() == 0 and time.monotonic() >= self._next

    def look(self) -> Call:
        """`stop`, `save` if a node is about to go, or `go on`; all workers take part and find the same."""
        stop = torch.zeros((), dtype=torch.int64, device=self._device)
        if dist.get_rank() == 0:
            stop += int(ray.get(self._run_log.asked_to_stop.remote()))
        dist.broadcast(stop, src=0)
        before, self._notice = self._notice, get_preemption_info()
        self._next = time.monotonic() + INTERVAL_SECONDS
        if int(stop):
            return "stop"
        return "save" if self._notice is not None and self._notice != before else "go on"
