"""Score outputs against references: translations by BLEU, chrF and TER, summaries by ROUGE, each with its signature."""

import argparse
import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from recurray.platform.errors import UserError
from recurray.platform.evaluation.lead import lead
from recurray.platform.evaluation.scores import TASK_METRICS, score_rows, scores_of
from recurray.platform.inference.records import read_lines

_LEADS = (1, 3)
"""The numbers of sentences of the lead baselines."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `recurray evaluate`."""
    parser.add_argument("--hyp", type=Path, required=True, help="translations or summaries, one a line")
    parser.add_argument("--ref", type=Path, required=True, help="references, one a line")
    parser.add_argument("--output", type=Path, help="a JSON file to write the scores to")
    tasks = " or ".join(TASK_METRICS)
    parser.add_argument("--task", default="translation", help=f"{tasks} (default: translation)")
    src = "the documents that were summarized, one a line: scores their first sentences beside the summaries"
    parser.add_argument("--src", type=Path, help=src)


def run(arguments: argparse.Namespace) -> int:
    """`recurray evaluate`."""
    scores = evaluate(arguments.hyp, arguments.ref, arguments.output, task=arguments.task, src=arguments.src)
    rows = dict(score_rows(scores))
    width = max(map(len, rows)) + 1
    for name, found in rows.items():
        print(f"{name:<{width}} {found['score']:6.2f}  {found['signature']}")
    return 0


def evaluate(
    hyp: Path, ref: Path, output: Path | None = None, *, task: str = "translation", src: Path | None = None
) -> dict[str, Any]:
    """Scores two files line by line by a task's metrics, as `scores.json` holds them.

    With `src`, the documents of summaries, the scores of the lead baselines stand under `lead-1` and `lead-3`.
    UserError where there is no such task, files differ in length, or `src` is given for another task.
    """
    _check_task(task, src)
    references = read_lines(ref)
    hypotheses = _read_beside(hyp, ref, references)
    documents = _read_beside(src, ref, references) if src else []
    if not references:
        raise UserError(f"{ref} is empty; there is nothing to score.")
    found: dict[str, Any] = _score(task, hypotheses, references)
    if src:
        for sentences in _LEADS:
            leads = [lead(document, sentences) for document in documents]
            found[f"lead-{sentences}"] = _score(task, leads, references)
    found["lines"] = len(references)
    found["command"] = _command(hyp, ref, task, src)
    if output is not None:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    return found


def _check_task(task: str, src: Path | None) -> None:
    if task not in TASK_METRICS:
        raise UserError(f"--task {task} is no task that is scored here; name one of {', '.join(TASK_METRICS)}.")
    if src and task != "summarization":
        raise UserError(f"--src {src} is for the baselines of summaries; add --task summarization or leave it out.")


def _read_beside(path: Path, ref: Path, references: Sequence[str]) -> list[str]:
    """The lines of a file that must have as many as the references."""
    lines = read_lines(path)
    if len(lines) != len(references):
        raise UserError(f"{path} has {len(lines)} lines but {ref} has {len(references)}; they must be parallel.")
    return lines


def _score(task: str, hypotheses: Sequence[str], references: Sequence[str]) -> dict[str, Any]:
    return {name: score.to_json() for name, score in scores_of(TASK_METRICS[task], hypotheses, references).items()}


def _command(hyp: Path, ref: Path, task: str, src: Path | None) -> str:
    """The command that prints these scores again."""
    words = ["recurray", "evaluate", "--hyp", str(hyp), "--ref", str(ref)]
    if task != "translation":
        words += ["--task", task]
    if src:
        words += ["--src", str(src)]
    return shlex.join(words)
