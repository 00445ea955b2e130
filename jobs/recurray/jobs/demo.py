"""From nothing to a scored model: corpus, training, translation of the test set by batch job, scores, report.

Run again, it goes on where it stopped.
"""

import argparse
import json
import shutil
import sys
from pathlib import Path
from typing import Any

from recurray.jobs.evaluate import evaluate
from recurray.jobs.recipes import find_recipe
from recurray.jobs.report import report
from recurray.jobs.train import train
from recurray.jobs.translate import translate
from recurray.platform.config.loading import load_config
from recurray.platform.config.tree import RunConfig
from recurray.platform.errors import UserError

_SHOWN = 5


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
        raise UserError(f"recipe {config.name} has no key `data.test`, which the demo translates and scores.")
    if status := train(config):
        return status
    folder = Path(config.folder)
    _translate_test(config, folder)
    scores = evaluate(folder / "test/hypotheses.txt", folder / "test/references.txt", folder / "test/scores.json")
    report(folder)
    _print_screen(folder, scores)
    return 0


def _translate_test(config: RunConfig, folder: Path) -> None:
    """Writes the test set beside the run and translates it, unless this very model has done so already."""
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
        (test / name).write_text("".join(text + "\n" for text in texts), encoding="utf-8", errors="replace")
    resources = config.resources
    translate(
        model,
        test / "source.txt",
        test / "hypotheses.txt",
        load_config(model).search,
        resources.workers,
        resources.threads,
    )


def _print_screen(folder: Path, scores: dict[str, Any]) -> None:
    """The closing screen: scores, some translations, where everything lies, what to try next."""
    names = ("source.txt", "references.txt", "hypotheses.txt")
    sources, references, hypotheses = ((folder / "test" / name).read_text().split("\n") for name in names)
    print(f"\nTest set, {scores['lines']} lines, by `{scores['command']}`:")
    for name in ("bleu", "chrf", "ter"):
        print(f"  {name:<5} {scores[name]['score']:6.2f}  {scores[name]['signature']}")
    every = max(1, scores["lines"] // _SHOWN)
    print("\nSome of it:")
    for line in range(every // 2, every * _SHOWN, every)[:_SHOWN]:
        print(f"  source      {sources[line]}\n  translation {hypotheses[line]}\n  reference   {references[line]}\n")
    offline = sorted((folder / "wandb").glob("offline-run-*"))
    print(f"model         {folder}/model")
    print(f"report        {folder}/report.html")
    print(f"scores        {folder}/test/scores.json")
    if offline:
        print(f"W&B run       {offline[-1]} (offline; `wandb sync {offline[-1]}` sends it)")
    command = "recurray" if shutil.which("recurray") else sys.argv[0]  # as it was called, where no shell would find it
    print(
        f"\nTry next:\n"
        f"  echo 'The device is not available.' | {command} translate {folder}/model\n"
        f"  {command} train demo name=smaller model.hidden_dim=128\n"
        f"  {command} report {folder}"
    )
