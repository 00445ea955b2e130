"""What the driver does with a run's checkpoints before a launch: whose they are, where they go on, throwing them away.

All raise UserError where a store cannot be reached.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from pydantic import ValidationError

from recurray.platform.config.tree import RunConfig
from recurray.platform.errors import UserError
from recurray.platform.storage import reason_of
from recurray.platform.training.checkpoint_store import CheckpointStore, DamagedError


def begun_with(store: CheckpointStore) -> RunConfig | None:
    """The configuration of the run whose checkpoints these are; none where there are none."""
    with _reachable(store):
        for step in reversed(store.steps()):
            try:
                return RunConfig.model_validate(store.manifest(step).config)
            except DamagedError:
                continue
            except ValidationError:
                raise UserError(
                    f"{store.shown} holds checkpoints of a run with a configuration that this version does not know; "
                    "name another checkpoints.folder."
                ) from None
    return None


def throw_away(store: CheckpointStore, name: str) -> None:
    """Deletes the checkpoints of the run of this name; UserError where they are another run's."""
    begun = begun_with(store)
    if begun is not None and begun.name != name:
        raise UserError(
            f"{store.shown} holds the checkpoints of run {begun.name}, which --fresh does not delete for {name}; name "
            "another checkpoints.folder."
        )
    with _reachable(store):
        for step in store.steps():
            store.remove(step)


def bring_newest(before: CheckpointStore, store: CheckpointStore) -> list[str]:
    """Copies the newest whole checkpoint of the folder before, unless this one has it or a newer; returns what to tell.

    Raises UserError too where there are some and none is whole.
    """
    with _reachable(before):
        if max(before.steps(), default=0) <= max(store.steps(), default=0):
            return []
        found, told = before.newest_whole()
    if found is None or found.manifest.step <= max(store.steps(), default=0):
        return told
    store.open()
    manifest = found.manifest
    with _reachable(store):
        store.write(manifest.step, manifest.score, manifest.config, found.state)
    return [*told, f"the checkpoint of step {manifest.step} was copied from {before.shown} to {store.shown}"]


@contextmanager
def _reachable(store: CheckpointStore) -> Iterator[None]:
    try:
        yield
    except OSError as fault:
        raise UserError(
            f"checkpoints.folder: {store.shown} cannot be reached ({reason_of(fault)}); check the address and your "
            "access to it."
        ) from None
