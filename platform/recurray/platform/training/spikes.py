"""Loss spikes: losses that lie far above those before them, by a bound that single spikes cannot move."""

import math
import statistics
from collections.abc import Sequence

RECENT = 64
"""Losses that one is compared with; they belong to a run's progress, so that a run that goes on marks the same."""
FEWEST = 16
"""Losses before the first that is compared."""
_DEVIATIONS = 6.0


def is_spike(loss: float, recent: Sequence[float]) -> bool:
    """Whether a loss lies more than 6 standard deviations above the median of the recent losses.

    The deviation is 1.4826 times the median distance from the median, which is a normal distribution's.
    """
    if len(recent) < FEWEST or not math.isfinite(loss):
        return False
    median = statistics.median(recent)
    deviation = 1.4826 * statistics.median(abs(other - median) for other in recent)
    return loss > median + _DEVIATIONS * deviation


def with_loss(loss: float, recent: Sequence[float]) -> list[float]:
    """The recent losses after one more, which does not count where it is not finite."""
    return [*recent, loss][-RECENT:] if math.isfinite(loss) else list(recent)
