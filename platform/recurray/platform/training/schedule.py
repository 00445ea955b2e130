"""The learning rate as a pure function of the step and, for a plateau, of what past validations gave."""

import math

from recurray.platform.config.training import PlateauScheduleConfig, ScheduleConfig


def learning_rate(step: int, steps: int, config: ScheduleConfig, falls: int = 0) -> float:
    """The learning rate of update `step`, counted from 1, in a run of `steps` updates, after `falls` on a plateau."""
    if step <= config.warmup_steps:
        return config.peak * step / config.warmup_steps
    match config.decay:
        case "inverse_sqrt":
            return config.peak * math.sqrt(max(config.warmup_steps, 1) / step)
        case "cosine":
            share = (step - config.warmup_steps) / max(steps - config.warmup_steps, 1)
            return config.peak * 0.5 * (1 + math.cos(math.pi * min(share, 1.0)))
        case "constant":
            return config.peak
        case "plateau":
            assert isinstance(config, PlateauScheduleConfig)
            return config.peak * config.factor**falls


def after_validation(step: int, config: ScheduleConfig, stalled: int, falls: int, *, best: bool) -> tuple[int, int]:
    """How many validations have stalled, and how often the rate has fallen, once update `step` is validated.

    Args:
        step: the update that was validated.
        config: the schedule.
        stalled: validations since the last best one or the last fall, before this one.
        falls: of the rate, before this validation.
        best: whether this one is the best so far.
    """
    if not isinstance(config, PlateauScheduleConfig) or step <= config.warmup_steps or best:
        return 0, falls
    return (0, falls + 1) if stalled + 1 == config.patience else (stalled + 1, falls)
