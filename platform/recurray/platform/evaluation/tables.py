"""Scores as lines of text, for a terminal."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from recurray.platform.evaluation.scores import score_rows

_SIGNIFICANT = 0.05


def score_lines(scores: Mapping[str, Any]) -> Iterator[str]:
    """All of a `scores.json`, of one system or of several that were compared."""
    if "systems" not in scores:
        yield from figure_lines(scores)
        yield from _by_length(scores["by_length"])
        return
    for number, system in enumerate(scores["systems"]):
        yield f"{system['system']}:" if number else f"{system['system']}, the baseline:"
        yield from figure_lines(system)
        yield from _by_length(system["by_length"])
        yield ""
    yield from figure_lines(scores)
    yield "mean ± half the 95 % interval of 1,000 resampled test sets, each system with the baseline on the same ones."
    yield "p: the chance of such a difference between equal systems; * where it is below 0.05."


def figure_lines(scores: Mapping[str, Any]) -> Iterator[str]:
    """A line for each figure: its value, what a bootstrap found of it, and its signature."""
    rows = dict(score_rows(scores))
    width = max(map(len, rows), default=0) + 1
    for name, found in rows.items():
        yield f"{name:<{width}} {found['score']:6.2f}  {_resampled(found)}{found['signature']}"


def _resampled(found: Mapping[str, Any]) -> str:
    """What a bootstrap found, in columns; nothing where there was none."""
    if "mean" not in found:
        return ""
    p = found.get("p_value")
    chance = "" if p is None else f"p = {p:.3f}{' *' if p < _SIGNIFICANT else ''}"
    return f"{found['mean']:6.2f} ± {found['ci']:<5.2f} {chance:<9}  "


def _by_length(buckets: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """A row for each bucket of reference lengths."""
    rows = [("words", "lines", *buckets[0]["scores"])]
    for bucket in buckets:
        words = f"{bucket['shortest']}-{bucket['longest']}"
        rows.append((words, f"{bucket['lines']:,}", *(f"{score:.2f}" for score in bucket["scores"].values())))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    yield "by words of the reference:"
    yield from ("  " + "  ".join(f"{cell:>{width}}" for cell, width in zip(row, widths, strict=True)) for row in rows)
