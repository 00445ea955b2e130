"""A metric of numbers."""

from collections.abc import Sequence
from statistics import fmean

from recurray.platform.evaluation.scores import METRICS, Score


@METRICS.register("r2")
def r2(hypotheses: Sequence[str], references: Sequence[str]) -> Score:
    """100 R²: 100 where every number is right, 0 for one that is always the references' mean."""
    found, true = [], []
    for hypothesis, reference in zip(hypotheses, references, strict=True):
        true += [float(word) for word in reference.split()]
        found += [float(word) for word in hypothesis.split()][: len(reference.split())]
    mean = fmean(true)
    errors = sum((a - b) ** 2 for a, b in zip(found, true, strict=True))
    return Score(100 * (1 - errors / sum((number - mean) ** 2 for number in true)), "r2|numbers:all|version:1")
