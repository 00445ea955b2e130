"""Scores of translations: sacreBLEU on detokenized text, each with the signature that says how it was computed."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from sacrebleu.metrics.base import Metric
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF
from sacrebleu.metrics.ter import TER


@dataclass(frozen=True)
class Score:
    """One figure about a set of translations."""

    score: float
    """0 to 100; for TER the lower the better, and it may exceed 100."""
    signature: str
    """sacreBLEU's signature: references, casing, tokenization, smoothing, version."""

    def to_json(self) -> dict[str, float | str]:
        """As it stands in `scores.json`."""
        return asdict(self)


def bleu(hypotheses: Sequence[str], references: Sequence[str]) -> Score:
    """Corpus BLEU (Papineni et al. 2002; Post 2018)."""
    return _score(BLEU(), hypotheses, references)


def chrf(hypotheses: Sequence[str], references: Sequence[str]) -> Score:
    """Corpus chrF2 (Popović 2015)."""
    return _score(CHRF(), hypotheses, references)


def ter(hypotheses: Sequence[str], references: Sequence[str]) -> Score:
    """Translation edit rate (Snover et al. 2006)."""
    return _score(TER(), hypotheses, references)


def all_scores(hypotheses: Sequence[str], references: Sequence[str]) -> dict[str, Score]:
    """Every score by its name."""
    return {name: metric(hypotheses, references) for name, metric in METRICS.items()}


METRICS = {"bleu": bleu, "chrf": chrf, "ter": ter}


def _score(metric: Metric, hypotheses: Sequence[str], references: Sequence[str]) -> Score:
    found = metric.corpus_score(list(hypotheses), [list(references)])
    return Score(found.score, str(metric.get_signature()))
