"""Scores of summaries: ROUGE (Lin 2004) by Google's rouge-score, each with a signature in the style of sacreBLEU's.

F1 × 100 with Porter's English stemmer, mean over the lines; of several references the one with the best F1 counts, line
by line, as in rouge-score's `score_multi`. rouge-score lower-cases a text and takes its runs of
[a-z0-9] as words: letters with accents split a word, and a text in another script has no words and scores 0.

ROUGE-L is rouge-score's `rougeL`, the longest common subsequence of two whole texts, for abstracts of many sentences
too. `rougeLsum`, the one of ROUGE-1.5.5 on CNN/Daily Mail, compares sentence by sentence; here a record is one line, so
its sentences would have to be guessed, and the score would depend on the guess. The two agree on one sentence; on more
they are different scores, not to be compared.
"""

from collections.abc import Sequence
from functools import partial
from importlib.metadata import version

import numpy as np
from numpy.typing import ArrayLike
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu.metrics.base import Score as SacrebleuScore
from sacrebleu.metrics.base import Signature

from recurray.platform.evaluation.sacrebleu import ResampledMetric


class Rouge:
    """One ROUGE with the methods that sacreBLEU's metrics have, so that its paired test takes it too.

    A line's statistics are its F1 and a 1, which sums to the number of lines.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._scorer = RougeScorer([name], use_stemmer=True)
        self._references = 1

    def corpus_score(self, hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> SacrebleuScore:
        """100 × the mean F1; ValueError where the lists differ in length."""
        return self._aggregate_and_compute(self._extract_corpus_statistics(hypotheses, references))

    def get_signature(self) -> Signature:
        """The settings; with several references also how many, and that each line is compared with its best."""
        several = {"nrefs": self._references, "multi": "best"} if self._references > 1 else {}
        settings = {"name": self._name, "type": "f1", "stemmer": "yes", "split": "no", "agg": "mean"}
        signature = Signature({"num_refs": self._references})
        signature.info = settings | several | {"version": f"rouge-score-{version('rouge-score')}"}
        return signature

    def _extract_corpus_statistics(
        self, hypotheses: Sequence[str], references: Sequence[Sequence[str]]
    ) -> list[list[float]]:
        self._references = len(references)
        lines = zip(hypotheses, *references, strict=True)
        return [[self._scorer.score_multi(targets, found)[self._name].fmeasure, 1.0] for found, *targets in lines]

    def _aggregate_and_compute(self, statistics: list[list[float]]) -> SacrebleuScore:
        return self._compute_score_from_stats(np.sum(statistics, axis=0))

    def _compute_score_from_stats(self, total: ArrayLike) -> SacrebleuScore:
        f1, lines = np.asarray(total, dtype=float)
        return SacrebleuScore(self._name, 100 * float(f1 / lines))


rouge1 = ResampledMetric(partial(Rouge, "rouge1"))
"""F1 of the words that two texts share."""

rouge2 = ResampledMetric(partial(Rouge, "rouge2"))
"""F1 of the pairs of neighbouring words that two texts share; a text of one word has none and scores 0."""

rouge_l = ResampledMetric(partial(Rouge, "rougeL"))
"""F1 of the longest sequence of words that both texts hold in the same order."""
