"""Systems compared by sacreBLEU's paired bootstrap (Koehn 2004): is a difference more than chance?"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sacrebleu.significance import PairedTest

from recurray.platform.errors import UserError
from recurray.platform.evaluation.sacrebleu import ResampledMetric
from recurray.platform.evaluation.scores import METRICS


def paired_bootstrap(
    names: Iterable[str], systems: Mapping[str, Sequence[str]], references: Sequence[Sequence[str]]
) -> dict[str, dict[str, dict[str, Any]]]:
    """The scores of every system by metric, as they stand in `scores.json`; the first system is the baseline.

    `mean` and `ci` say that 95 % of 1,000 resampled test sets score within mean ± ci. `p_value` is the chance of such a
    difference from the baseline, or a greater one, if both were the same system; the baseline has none. The seed is
    12345, or the environment's SACREBLEU_SEED. UserError where a metric cannot be resampled.
    """
    metrics = {name: _resampled(name) for name in names}
    signatures, results = PairedTest(list(systems.items()), metrics, references, test_type="bs")()
    columns = [column for column in results if column != "System"]
    found: dict[str, dict[str, dict[str, Any]]] = {system: {} for system in systems}
    for name, column in zip(metrics, columns, strict=True):
        for system, result in zip(systems, results[column], strict=True):
            found[system][name] = _to_json(result, str(signatures[column]))
    return found


def _resampled(name: str) -> Any:
    metric = METRICS[name]
    if not isinstance(metric, ResampledMetric):
        raise UserError(f"metric {name} cannot be resampled, so systems cannot be compared by it; give one --hyp.")
    return metric.make()


def _to_json(result: Any, signature: str) -> dict[str, Any]:
    figures = {"score": result.score, "mean": result.mean, "ci": result.ci, "p_value": result.p_value}
    return {name: float(figure) for name, figure in figures.items() if figure is not None} | {"signature": signature}
