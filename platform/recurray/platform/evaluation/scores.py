"""Scores and metrics: what a score is, the metrics by name, and which of them a task is scored by.

Names must be known before sacreBLEU or rouge-score is imported, so a metric's own module is imported at its first use.
"""

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from recurray.models.registry import Registry
from recurray.platform.errors import UserError


@dataclass(frozen=True)
class Score:
    """One figure about a set of outputs."""

    score: float
    """0 to 100; for TER the lower the better, and it may exceed 100."""
    signature: str
    """How it was computed: the settings and the version of the package that did it."""

    def to_json(self) -> dict[str, float | str]:
        """As it stands in `scores.json`."""
        return asdict(self)


Metric = Callable[..., Score]
"""Hypotheses and one list of references, one to one, to a score: `metric(hypotheses, references)`.

One that can take several references of each line, as all that are shipped, takes more lists behind the first.
"""

METRICS: Registry[Metric] = Registry(
    "metric",
    {
        "bleu": "recurray.platform.evaluation.sacrebleu:bleu",
        "chrf": "recurray.platform.evaluation.sacrebleu:chrf",
        "ter": "recurray.platform.evaluation.sacrebleu:ter",
        "rouge1": "recurray.platform.evaluation.rouge:rouge1",
        "rouge2": "recurray.platform.evaluation.rouge:rouge2",
        "rougeL": "recurray.platform.evaluation.rouge:rouge_l",
    },
)

TASK_METRICS: dict[str, tuple[str, ...]] = {
    "translation": ("bleu", "chrf", "ter"),
    "summarization": ("rouge1", "rouge2", "rougeL"),
}
"""The metrics of each task, in the order they are shown in."""


def scores_of(names: Iterable[str], hypotheses: Sequence[str], *references: Sequence[str]) -> dict[str, Score]:
    """The scores of some metrics by their names, against one or more lists of references.

    KeyError where there is no such metric, UserError where one does not take as many references.
    """
    return {name: _metric(name, len(references))(hypotheses, *references) for name in names}


def _metric(name: str, references: int) -> Metric:
    metric = METRICS[name]
    try:
        inspect.signature(metric).bind(*[()] * (1 + references))
    except TypeError:
        raise UserError(f"metric {name} does not take {references} references of each line; give one --ref.") from None
    return metric


def score_rows(scores: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every score of a `scores.json` with its name; those of a baseline are called `lead-1 rouge1` and so on."""
    for name, found in scores.items():
        if isinstance(found, dict) and "score" in found:
            yield name, found
        elif isinstance(found, dict):
            yield from ((f"{name} {metric}", score) for metric, score in score_rows(found))
