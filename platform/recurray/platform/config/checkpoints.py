"""When checkpoints are taken, and which are kept."""

from recurray.platform.config.section import PositiveInt, Section


class CheckpointsConfig(Section):
    """Checkpoints: what a run goes on from after a kill."""

    every: PositiveInt = 200
    """Steps from one checkpoint to the next; the last step always makes one."""
    keep_last: PositiveInt = 2
    """The newest so many are kept; older ones are deleted."""
