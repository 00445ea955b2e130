"""Scores of translations: sacreBLEU on detokenized text, each with sacreBLEU's signature."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF
from sacrebleu.metrics.ter import TER

from recurray.platform.evaluation.scores import Score


@dataclass(frozen=True)
class ResampledMetric:
    """A metric that can be bootstrapped: its score is one of the sum of each line's statistics."""

    make: Callable[[], Any]
    """Makes a metric of sacreBLEU's, or what has the methods that its paired test calls."""

    def __call__(self, hypotheses: Sequence[str], *references: Sequence[str]) -> Score:
        """The score of hypotheses against one or more lists of references."""
        metric = self.make()
        found = metric.corpus_score(list(hypotheses), [list(each) for each in references])
        return Score(found.score, str(metric.get_signature()))


bleu = ResampledMetric(BLEU)
"""Corpus BLEU (Papineni et al. 2002; Post 2018)."""

chrf = ResampledMetric(CHRF)
"""Corpus chrF2 (Popović 2015)."""

ter = ResampledMetric(TER)
"""Translation edit rate (Snover et al. 2006)."""
