"""The learning rate as a pure function of the step."""

import math

from recurray.platform.config.training import ScheduleConfig


def learning_rate(step: int, steps: int, config: ScheduleConfig) -> float:
    """The learning rate of update `step`, counted from 1, in a run of `steps` updates."""
    if step <= config.warmup_steps:
        return config.peak * step / config.warmup_steps
    match config.decay:
        case "inverse_sqrt":
            return config.peak * math.sqrt(max(config.warmup_steps, 1) / step)
        case "cosine":
            share = (step - config.warmup_steps) / max(steps - config.warmup_steps, 1)
            return config.peak * 0.5 * (1 + math.cos(math.pi * min(share, 1.0)))
