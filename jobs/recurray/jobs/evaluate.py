"""Score translations against references with sacreBLEU: BLEU, chrF and TER, each with its signature."""

import argparse
import json
import shlex
from pathlib import Path
from typing import Any

from recurray.platform.errors import UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `recurray evaluate`."""
    parser.add_argument("--hyp", type=Path, required=True, help="translations, one a line")
    parser.add_argument("--ref", type=Path, required=True, help="references, one a line")
    parser.add_argument("--output", type=Path, help="a JSON file to write the scores to")


def run(arguments: argparse.Namespace) -> int:
    """`recurray evaluate`."""
    scores = evaluate(arguments.hyp, arguments.ref, arguments.output)
    for name in ("bleu", "chrf", "ter"):
        print(f"{name:<5} {scores[name]['score']:6.2f}  {scores[name]['signature']}")
    return 0


def evaluate(hyp: Path, ref: Path, output: Path | None = None) -> dict[str, Any]:
    """Scores two files line by line, as `scores.json` holds them; UserError where they differ in length."""
    from recurray.platform.evaluation.scores import all_scores
    from recurray.platform.inference.records import read_lines

    hypotheses, references = read_lines(hyp), read_lines(ref)
    if len(hypotheses) != len(references):
        raise UserError(f"{hyp} has {len(hypotheses)} lines but {ref} has {len(references)}; they must be parallel.")
    if not references:
        raise UserError(f"{ref} is empty; there is nothing to score.")
    found: dict[str, Any] = {name: score.to_json() for name, score in all_scores(hypotheses, references).items()}
    found["lines"] = len(references)
    found["command"] = shlex.join(["recurray", "evaluate", "--hyp", str(hyp), "--ref", str(ref)])
    if output is not None:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    return found
