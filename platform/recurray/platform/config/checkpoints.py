"""When checkpoints are taken, where they lie, and which are kept."""

from typing import Annotated

from pydantic import Field

from recurray.platform.config.section import PositiveInt, Section


class CheckpointsConfig(Section):
    """Checkpoints: what a run goes on from after a kill. All of it may differ when a run goes on."""

    every: PositiveInt = 200
    """Steps from one checkpoint to the next; the last step always makes one."""
    folder: str | None = None
    """Where they lie, a folder or a URI such as `s3://bucket/demo` that all nodes reach and no other run uses; by
    default `checkpoints` in the run's folder."""
    keep_last: PositiveInt = 2
    """The newest so many are kept; older ones are deleted."""
    keep_best: Annotated[int, Field(ge=0)] = 0
    """Besides these, so many are kept before which a validation found the highest of the task's best figure."""
