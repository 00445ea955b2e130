"""Scores by length: the lines in buckets of the words of their first reference, each bucket scored by itself.

A length is counted in the reference, which is there whether the source is or not. A word is a run of characters without
white space; a Chinese or Japanese character is a word of its own. The longest length of a bucket is twice that of the
one before: 0 to 4 words, 5 to 8, 9 to 16 and so on, so that labels and books are both spread over some buckets.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from recurray.platform.evaluation.scores import scores_of

_IDEOGRAMS = r"\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
_WORD = re.compile(rf"[{_IDEOGRAMS}]|[^\s{_IDEOGRAMS}]+")
_SHORTEST_BUCKET = 4


def scores_by_length(
    names: Iterable[str], hypotheses: Sequence[str], references: Sequence[Sequence[str]]
) -> list[dict[str, Any]]:
    """The buckets that have lines, shortest first, as they stand in `scores.json`.

    Each has its bounds in words, `shortest` and `longest`, both included, its number of `lines`, and under `scores` a
    figure for each metric, whose signature is that of the score of all lines.
    """
    buckets = defaultdict(list)
    for line, reference in enumerate(references[0]):
        buckets[_longest(count_words(reference))].append(line)
    found = []
    for longest, lines in sorted(buckets.items()):
        shortest = 0 if longest == _SHORTEST_BUCKET else longest // 2 + 1
        chosen = [[texts[line] for line in lines] for texts in (hypotheses, *references)]
        scores = {name: score.score for name, score in scores_of(names, *chosen).items()}
        found.append({"shortest": shortest, "longest": longest, "lines": len(lines), "scores": scores})
    return found


def count_words(text: str) -> int:
    """Runs of characters without white space, and Chinese and Japanese characters one by one."""
    return len(_WORD.findall(text))


def _longest(words: int) -> int:
    """The longest length of the bucket that a text belongs to."""
    return max(_SHORTEST_BUCKET, 1 << (words - 1).bit_length()) if words else _SHORTEST_BUCKET
