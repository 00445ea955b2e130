"""A training's checkpoints: copied to host memory, written in the background, restored alike by all workers.

Rank 0 alone reads and writes. What it finds, all workers hear, so that they go on from one step, or end together.
"""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Any

import torch
import torch.distributed as dist

from recurray.platform.config.tree import RunConfig
from recurray.platform.errors import UserError
from recurray.platform.storage import PATIENCE_SECONDS, patiently, reason_of
from recurray.platform.training.checkpoint_store import Checkpoint, CheckpointStore, DamagedError
from recurray.platform.training.manifest import Manifest
from recurray.platform.training.together import from_rank_0


class Checkpoints:
    """What all workers of a training call alike.

    Args:
        store: where the checkpoints lie; it is open.
        config: the run's.
        tell: takes, on rank 0, a sentence for the user.
    """

    def __init__(self, store: CheckpointStore, config: RunConfig, tell: Callable[[str], object]) -> None:
        self._store, self._tell = store, tell
        self._keep_last, self._keep_best = config.checkpoints.keep_last, config.checkpoints.keep_best
        self._config = config.model_dump(mode="json")
        self._writing: Future[None] | None = None
        self._last_whole: int | None = None
        self._hurry = threading.Event()

    def restore(self) -> Checkpoint | None:
        """The newest whole checkpoint, if there is one; the user is told of newer ones that are not.

        Raises UserError where there are some and none is whole, and where they cannot be read for PATIENCE_SECONDS.
        """
        return from_rank_0(self._read)

    def save(self, state: dict[str, Any], step: int, score: float | None, *, waits: bool = False) -> None:
        """Has a checkpoint written, once the one before is; `state` may change when this returns.

        Raises what `check` raises, of the one before and, where it `waits`, of this one too.
        """
        self.check(waits=True)
        if dist.get_rank() == 0:
            self._writing = _in_background(partial(self._write, step, score, on_host(state)))
        if waits:
            self.check(waits=True)

    def check(self, *, waits: bool = False) -> None:
        """Raises UserError where a checkpoint could not be written for PATIENCE_SECONDS."""
        from_rank_0(lambda: self._raise_fault(waits=waits))

    def close(self) -> None:
        """Lets the checkpoint that is being written be written, if it can be now."""
        self._hurry.set()
        if self._writing is not None:
            self._writing.exception()

    def _read(self) -> Checkpoint | None:
        try:
            found, notes = patiently(self._store.newest_whole, self._tell_of_trouble("read"), self._hurry)
        except OSError as fault:
            raise UserError(
                f"the checkpoints in {self._store.shown} could not be read for {PATIENCE_SECONDS:.0f} s "
                f"({reason_of(fault)}); checkpoints.folder must be one that all nodes reach."
            ) from None
        for note in notes:
            self._tell(note)
        if found is not None:
            self._last_whole = found.manifest.step
            self._tell(f"going on from the checkpoint of step {self._last_whole}")
        return found

    def _write(self, step: int, score: float | None, state: dict[str, Any]) -> None:
        """In the background of rank 0."""
        patiently(
            lambda: self._store.write(step, score, self._config, state), self._tell_of_trouble("written"), self._hurry
        )
        self._last_whole = step
        try:
            self._delete_old(step)
        except OSError as fault:
            self._tell(f"old checkpoints in {self._store.shown} could not be deleted ({reason_of(fault)})")

    def _delete_old(self, newest: int) -> None:
        """Deletes what is not to be kept; what lies ahead of the newest was damaged: the run went back before it."""
        steps, found = self._store.steps(), []
        for step in steps:
            if step <= newest:
                try:
                    found.append(self._store.manifest(step))
                except DamagedError:
                    continue
        for step in set(steps) - kept(found, self._keep_last, self._keep_best):
            self._store.remove(step)

    def _raise_fault(self, *, waits: bool) -> None:
        """UserError where, as far as that is known by now, a checkpoint could not be written."""
        if self._writing is None or not (waits or self._writing.done()):
            return
        writing, self._writing = self._writing, None
        try:
            writing.result()
        except OSError as fault:
            before = "there is none before it"
            if self._last_whole is not None:
                before = f"the last good checkpoint is that of step {self._last_whole}, and intact"
            raise UserError(
                f"a checkpoint could not be written to {self._store.shown} for {PATIENCE_SECONDS:.0f} s "
                f"({reason_of(fault)}); {before}; make room, or name another checkpoints.folder, and the same command "
                "goes on."
            ) from None

    def _tell_of_trouble(self, what: str) -> Callable[[OSError], object]:
        return lambda fault: self._tell(
            f"checkpoints in {self._store.shown} cannot be {what} ({reason_of(fault)}); trying again for "
            f"{PATIENCE_SECONDS:.0f} s"
        )


def kept(found: Sequence[Manifest], keep_last: int, keep_best: int) -> set[int]:
    """The steps of the checkpoints to keep: the newest, and those with the highest score, of equal ones the oldest."""
    newest = sorted((manifest.step for manifest in found), reverse=True)[:keep_last]
    scored = sorted((-manifest.score, manifest.step) for manifest in found if manifest.score is not None)
    return {*newest, *(step for _, step in scored[:keep_best])}


def on_host(value: Any) -> Any:
    """A copy of tensors in mappings and lists, in host memory; other values as they are."""
    if isinstance(value, torch.Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, dict):
        return {key: on_host(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(on_host(inner) for inner in value)
    return value


def _in_background(work: Callable[[], object]) -> Future[None]:
    """Runs `work` in a thread that ends with the process."""
    future: Future[None] = Future()

    def run() -> None:
        try:
            work()
            future.set_result(None)
        except BaseException as fault:  # whatever it is, it is raised where the result is asked for
            future.set_exception(fault)

    threading.Thread(target=run, name="checkpoint", daemon=True).start()
    return future
