"""From nothing to a scored model: corpus, training, the test set by batch job, scores, report.

Run again, it goes on where it stopped.
"""

import argparse
import json
import shutil
import sys
from pathlib import Path
from typing import Any

from recurray.jobs.evaluate import BATCH_JOBS, evaluate
from recurray.jobs.recipes import find_recipe
from recurray.jobs.report import report
from recurray.jobs.train import train
from recurray.platform.config.loading import load_config
from recurray.platform.config.tree import RunConfig
from recurray.platform.errors import UserError
from recurray.platform.evaluation.tables import figure_lines

_SHOWN = 5
_SHOWN_CHARACTERS = 240


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `recurray demo`."""
    parser.add_argument("recipe", nargs="?", default="demo", help="a recipe with data.test (default: demo)")
    parser.add_argument("assignments", nargs="*", metavar="key.path=value", help="values that replace the recipe's")


def run(arguments: argparse.Namespace) -> int:
    """`recurray demo`."""
    return demo(load_config(find_recipe(arguments.recipe), arguments.assignments))


def demo(config: RunConfig) -> int:
    """Takes a recipe all the way; returns 0, or 1 if the training diverged. UserError where it has no test set."""
    if config.data.test is None:
        raise UserError(f"recipe {config.name} has no key `data.test`, which the demo runs over and scores.")
    if config.task not in BATCH_JOBS:
        raise UserError(f"recipe {config.name} has task {config.task}; the demo knows {', '.join(BATCH_JOBS)}.")
    if status := train(config):
        return status
    folder = Path(config.folder)
    _run_over_test(config, folder)
    test = folder / "test"
    scores = evaluate(
        test / "hypotheses.txt",
        [test / "references.txt"],
        test / "scores.json",
        task=config.task,
        src=test / "source.txt" if config.task == "summarization" else None,
    )
    report(folder)
    _print_screen(folder, BATCH_JOBS[config.task][0], scores)
    return 0


def _run_over_test(config: RunConfig, folder: Path) -> None:
    """Writes the test set beside the run, one record a line, and runs the model over it unless it has done so."""
    from recurray.platform.corpora.readers import read_pairs
    from recurray.platform.saved_model import load_config, model_identity

    assert config.data.test is not None
    test, model = folder / "test", folder / "model"
    done = test / "hypotheses.txt.report.json"
    if done.exists() and json.loads(done.read_text())["model"] == model_identity(model):
        return
    test.mkdir(exist_ok=True)
    pairs = list(read_pairs(config.data.test))
    for name, texts in (("source.txt", [pair.src for pair in pairs]), ("references.txt", [pair.tgt for pair in pairs])):
        lines = (" ".join(text.splitlines()) + "\n" for text in texts)
        (test / name).write_text("".join(lines), encoding="utf-8", errors="replace")
    resources = config.resources
    BATCH_JOBS[config.task][1](
        model,
        test / "source.txt",
        test / "hypotheses.txt",
        load_config(model).search,
        resources.most_workers,
        resources.threads,
    )


def _print_screen(folder: Path, command: str, scores: dict[str, Any]) -> None:
    """The closing screen: scores, some of the results, where everything lies, what to try next."""
    print(f"\nTest set, {scores['lines']} lines, by `{scores['command']}`:")
    for line in figure_lines(scores):
        print(f"  {line}")
    _print_some(folder / "test", scores["lines"])
    offline = sorted((folder / "wandb").glob("offline-run-*"))
    print(f"model         {folder}/model")
    print(f"report        {folder}/report.html")
    print(f"scores        {folder}/test/scores.json")
    if offline:
        print(f"W&B run       {offline[-1]} (offline; `wandb sync {offline[-1]}` sends it)")
    recurray = "recurray" if shutil.which("recurray") else sys.argv[0]  # as it was called, where no shell would find it
    print(
        f"\nTry next:\n"
        f"  head -n 3 {folder}/test/source.txt | {recurray} {command} {folder}/model\n"
        f"  {recurray} train {folder}/config.yaml name=another seed=2\n"
        f"  {recurray} report {folder}"
    )


def _print_some(test: Path, lines: int) -> None:
    names = ("source.txt", "hypotheses.txt", "references.txt")
    files = [(test / name).read_text(encoding="utf-8").split("\n") for name in names]
    every = max(1, lines // _SHOWN)
    print("\nSome of it:")
    for line in range(every // 2, lines, every)[:_SHOWN]:
        for label, texts in zip(("source", "result", "reference"), files, strict=True):
            text = texts[line]
            print(f"  {label:<9}  {text[:_SHOWN_CHARACTERS]}{' …' if len(text) > _SHOWN_CHARACTERS else ''}")
        print()
