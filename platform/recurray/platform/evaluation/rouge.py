"""Scores of summaries: ROUGE (Lin 2004) by Google's rouge-score, each with a signature in the style of sacreBLEU's.

F1 × 100 with Porter's English stemmer, mean over the lines. rouge-score lower-cases a text and takes its runs of
[a-z0-9] as words: letters with accents split a word, and a text in another script has no words and scores 0.

ROUGE-L is rouge-score's `rougeL`, the longest common subsequence of two whole texts, for abstracts of many sentences
too. `rougeLsum`, the one of ROUGE-1.5.5 on CNN/Daily Mail, compares sentence by sentence; here a record is one line, so
its sentences would have to be guessed, and the score would depend on the guess. The two agree on one sentence; on more
they are different scores, not to be compared.
"""

from collections.abc import Sequence
from importlib.metadata import version
from statistics import fmean

from rouge_score.rouge_scorer import RougeScorer

from recurray.platform.evaluation.scores import Score


def rouge1(hypotheses: Sequence[str], references: Sequence[str]) -> Score:
    """F1 of the words that two texts share."""
    return _mean_f1("rouge1", hypotheses, references)


def rouge2(hypotheses: Sequence[str], references: Sequence[str]) -> Score:
    """F1 of the pairs of neighbouring words that two texts share; a text of one word has none and scores 0."""
    return _mean_f1("rouge2", hypotheses, references)


def rouge_l(hypotheses: Sequence[str], references: Sequence[str]) -> Score:
    """F1 of the longest sequence of words that both texts hold in the same order."""
    return _mean_f1("rougeL", hypotheses, references)


def _mean_f1(name: str, hypotheses: Sequence[str], references: Sequence[str]) -> Score:
    scorer = RougeScorer([name], use_stemmer=True)
    pairs = zip(hypotheses, references, strict=True)
    mean = fmean(scorer.score(reference, hypothesis)[name].fmeasure for hypothesis, reference in pairs)
    settings = f"name:{name}|type:f1|stemmer:yes|split:no|agg:mean"
    return Score(100 * mean, f"{settings}|version:rouge-score-{version('rouge-score')}")
