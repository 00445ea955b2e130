"""Score a model or outputs against references: translations by BLEU, chrF and TER, summaries by ROUGE.

A MODEL is run over --src, and what comes out is scored; --hyp names outputs that are there. Of several --hyp, each is
compared with the first by paired bootstrap.
"""

import argparse
import json
import shlex
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from recurray.jobs.summarize import summarize
from recurray.jobs.translate import translate
from recurray.platform.errors import UserError
from recurray.platform.evaluation.lead import lead
from recurray.platform.evaluation.lengths import scores_by_length
from recurray.platform.evaluation.scores import TASK_METRICS, scores_of
from recurray.platform.evaluation.tables import score_lines
from recurray.platform.inference.records import read_lines

BATCH_JOBS = {"translation": ("translate", translate), "summarization": ("summarize", summarize)}
"""The command and the batch job of each task whose models run over files of texts."""

_LEADS = (1, 3)
"""The numbers of sentences of the lead baselines."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `recurray evaluate`."""
    parser.add_argument("model", nargs="?", help="a saved model's folder or URI, which is run over --src")
    parser.add_argument("--hyp", type=Path, action="append", default=[], help="outputs, one a line, instead of a model")
    references = "references, one a line; again for more references of each line"
    parser.add_argument("--ref", type=Path, action="append", required=True, help=references)
    src = "source texts, one a line: what the model reads; of summaries, also what the lead baselines are taken from"
    parser.add_argument("--src", type=Path, help=src)
    tasks = " or ".join(TASK_METRICS)
    parser.add_argument("--task", help=f"{tasks} (default: the model's; translation for --hyp)")
    output = "a JSON file to write the scores to; a model's outputs go beside it, with the suffix .hypotheses.txt"
    parser.add_argument("--output", type=Path, metavar="FILE", help=output)
    log_to = "a finished run's name or folder, whose W&B run and report get the scores"
    parser.add_argument("--log-to", metavar="RUN", help=log_to)


def run(arguments: argparse.Namespace) -> int:
    """`recurray evaluate`."""
    _check(arguments)
    folder = _run_to_log_to(arguments.log_to)
    task = arguments.task or "translation"
    if arguments.model:
        scores = evaluate_model(arguments.model, arguments.src, arguments.ref, arguments.output)
    elif len(arguments.hyp) > 1:
        scores = compare(arguments.hyp, arguments.ref, arguments.output, task=task, src=arguments.src)
    else:
        scores = evaluate(arguments.hyp[0], arguments.ref, arguments.output, task=task, src=arguments.src)
    print("\n".join(score_lines(scores)))
    if folder:
        from recurray.platform.tracking.report import write_report
        from recurray.platform.tracking.run_log import log_scores

        log_scores(folder, scores)
        print(f"logged to {folder}: its test/scores.json, its W&B run and {write_report(folder)}")
    return 0


def evaluate(
    hyp: Path, refs: Sequence[Path], output: Path | None = None, *, task: str = "translation", src: Path | None = None
) -> dict[str, Any]:
    """Scores a file against one or more files of references by a task's metrics, as `scores.json` holds them.

    With `src`, the documents of summaries, the scores of the lead baselines stand under `lead-1` and `lead-3`.
    UserError where there is no such task, files differ in length, or `src` is given for another task.
    """
    references = _read_references(task, refs)
    hypotheses = _read_beside(hyp, refs[0], references[0])
    leads = _lead_scores(src, task, refs[0], references)
    found = _score(task, hypotheses, references) | leads
    found |= {"by_length": scores_by_length(TASK_METRICS[task], hypotheses, references), "lines": len(hypotheses)}
    return _written(output, found | {"command": _command([hyp], refs, task, src)})


def compare(
    hyps: Sequence[Path],
    refs: Sequence[Path],
    output: Path | None = None,
    *,
    task: str = "translation",
    src: Path | None = None,
) -> dict[str, Any]:
    """Scores several files, each beside the first by paired bootstrap; raises what `evaluate` does.

    Their scores stand under `systems`, in their order; UserError also where a file is named twice.
    """
    from recurray.platform.evaluation.paired import paired_bootstrap

    if twice := sorted({str(hyp) for hyp in hyps if hyps.count(hyp) > 1}):
        raise UserError(f"--hyp {twice[0]} is named twice; a system is compared with others than itself.")
    references = _read_references(task, refs)
    systems = {str(hyp): _read_beside(hyp, refs[0], references[0]) for hyp in hyps}
    leads = _lead_scores(src, task, refs[0], references)
    names = TASK_METRICS[task]
    found = [
        {"system": system, **scores, "by_length": scores_by_length(names, systems[system], references)}
        for system, scores in paired_bootstrap(names, systems, references).items()
    ]
    rest = {"lines": len(references[0]), "command": _command(hyps, refs, task, src)}
    return _written(output, {"systems": found} | leads | rest)


def evaluate_model(model: str, src: Path, refs: Sequence[Path], output: Path | None = None) -> dict[str, Any]:
    """Runs a model over its source texts by batch job, as it is searched by default, and scores what comes out.

    The outputs are kept beside `output`. UserError where files differ in length, or the model is of a task that is not
    run over files; and for whatever the batch job raises.
    """
    from recurray.platform.saved_model import load_config

    config = load_config(model)
    if config.task not in BATCH_JOBS:
        raise UserError(f"{model} was trained for {config.task}; models are run for {' and '.join(BATCH_JOBS)} only.")
    references = _read_references(config.task, refs)
    _read_beside(src, refs[0], references[0])
    documents = src if config.task == "summarization" else None
    with _file_beside(output) as hypotheses:
        BATCH_JOBS[config.task][1](model, src, hypotheses, config.search)
        found = evaluate(hypotheses, refs, task=config.task, src=documents)
    command = ["recurray", "evaluate", model, "--src", str(src), *_each("--ref", refs)]
    return _written(output, found | {"command": shlex.join(command)})


def _check(arguments: argparse.Namespace) -> None:
    """UserError where arguments do not go together."""
    if bool(arguments.model) == bool(arguments.hyp):
        raise UserError("name either a MODEL, which is run over --src, or a file of outputs with --hyp.")
    if arguments.model and not arguments.src:
        raise UserError(f"--src is missing: the source texts that {arguments.model} is to read.")
    if arguments.model and arguments.task:
        raise UserError(f"--task {arguments.task} is for --hyp; a model says itself what it was trained for.")
    if arguments.log_to and len(arguments.hyp) > 1:
        raise UserError("--log-to takes the scores of one system; name one --hyp.")


def _run_to_log_to(named: str | None) -> Path | None:
    """The folder of the run, once it is known that scores can be logged to it."""
    if named is None:
        return None
    from recurray.platform.tracking.run_log import check_trained

    folder = Path(named) if Path(named).is_dir() else Path("runs") / named
    check_trained(folder)
    return folder


def _read_references(task: str, refs: Sequence[Path]) -> list[list[str]]:
    if task not in TASK_METRICS:
        raise UserError(f"--task {task} is no task that is scored here; name one of {', '.join(TASK_METRICS)}.")
    first = read_lines(refs[0])
    if not first:
        raise UserError(f"{refs[0]} is empty; there is nothing to score.")
    return [first, *(_read_beside(ref, refs[0], first) for ref in refs[1:])]


def _read_beside(path: Path, ref: Path, references: Sequence[str]) -> list[str]:
    """The lines of a file that must have as many as the references."""
    lines = read_lines(path)
    if len(lines) != len(references):
        raise UserError(f"{path} has {len(lines)} lines but {ref} has {len(references)}; they must be parallel.")
    return lines


@contextmanager
def _file_beside(output: Path | None) -> Iterator[Path]:
    """Where a model's outputs go; without `output` they are gone in the end."""
    if output is not None:
        yield output.with_suffix(".hypotheses.txt")
        return
    with tempfile.TemporaryDirectory(prefix="recurray-evaluate-") as folder:
        yield Path(folder) / "hypotheses.txt"
    print("  (with --output FILE the outputs are kept)")


def _score(task: str, hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> dict[str, Any]:
    return {name: score.to_json() for name, score in scores_of(TASK_METRICS[task], hypotheses, *references).items()}


def _lead_scores(src: Path | None, task: str, ref: Path, references: Sequence[Sequence[str]]) -> dict[str, Any]:
    if src is None:
        return {}
    if task != "summarization":
        raise UserError(
            f"--src {src} is read by a MODEL, or by the baselines of summaries; name one, add --task summarization, or "
            "leave it out."
        )
    documents = _read_beside(src, ref, references[0])
    leads = {count: [lead(document, count) for document in documents] for count in _LEADS}
    return {f"lead-{count}": _score(task, texts, references) for count, texts in leads.items()}


def _written(output: Path | None, found: dict[str, Any]) -> dict[str, Any]:
    if output is not None:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    return found


def _command(hyps: Sequence[Path], refs: Sequence[Path], task: str, src: Path | None) -> str:
    """The command that prints these scores again."""
    words = ["recurray", "evaluate", *_each("--hyp", hyps), *_each("--ref", refs)]
    if task != "translation":
        words += ["--task", task]
    if src:
        words += ["--src", str(src)]
    return shlex.join(words)


def _each(option: str, paths: Sequence[Path]) -> list[str]:
    return [word for path in paths for word in (option, str(path))]
