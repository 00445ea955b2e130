"""Train a model from a recipe on Ray; the same command again goes on where the run stopped."""

import argparse
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from recurray.jobs.prepare import prepare
from recurray.jobs.recipes import find_recipe
from recurray.platform.errors import UserError

if TYPE_CHECKING:
    from recurray.platform.config.tree import RunConfig


STOPPED = 130
"""Exit status of a training that was stopped by a signal, as shells have it."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `recurray train`."""
    parser.add_argument("recipe", help="a recipe's file, a run's config.yaml, or the name of a shipped recipe")
    parser.add_argument("assignments", nargs="*", metavar="key.path=value", help="values that replace the recipe's")
    parser.add_argument("--print-config", action="store_true", help="print the whole configuration and stop")
    parser.add_argument("--plan", action="store_true", help="say what it will take, and stop")
    parser.add_argument("--fresh", action="store_true", help="throw the run of this name away and start over")


def run(arguments: argparse.Namespace) -> int:
    """`recurray train`."""
    from recurray.platform.config.loading import load_config, to_yaml

    config = load_config(find_recipe(arguments.recipe), arguments.assignments)
    if arguments.print_config:
        print(to_yaml(config), end="")
        return 0
    return plan(config) if arguments.plan else train(config, fresh=arguments.fresh)


def train(config: "RunConfig", *, fresh: bool = False) -> int:
    """Trains, or goes on with, the run `config.name`.

    Returns 0, or 1 if the run diverged and was given up, or STOPPED if it was asked to stop. Raises UserError where a
    run of this name was made from another configuration, and for whatever `prepare` raises.
    """
    from recurray.platform.tasks.registry import TASKS

    TASKS[config.task]().check(config.model)
    folder = Path(config.folder)
    if fresh and folder.exists():
        shutil.rmtree(folder)
    _claim(folder, config)
    if _last_step(folder) >= config.training.steps and (folder / "model").exists():
        print(f"run {config.name} is trained; its model lies in {folder / 'model'} (--fresh starts over)")
        return 0
    prepared = prepare(config)

    from recurray.platform.ray_session import ray_session
    from recurray.platform.tracking.console import training_progress
    from recurray.platform.training.initial_weights import write_initial_weights
    from recurray.platform.training.launching import launch

    for line in write_initial_weights(config, prepared, folder):
        print(f"start: {line}")
    resources = config.resources
    with (
        ray_session(resources.fewest_workers * resources.threads, resources.fewest_workers if resources.gpu else 0),
        training_progress(folder, config.training.steps),
    ):
        ending = launch(config, prepared, folder)
    if ending.kind == "given up":
        print(
            f"recurray train: run {config.name} was given up: {ending.what}; lower the learning rate.", file=sys.stderr
        )
        return 1
    if ending.kind == "stopped":
        print(f"run {config.name} was stopped {ending.what}; the same command goes on from there", file=sys.stderr)
        return STOPPED
    print(f"run {config.name} is trained; its best model lies in {folder / 'model'}")
    return 0


def plan(config: "RunConfig") -> int:
    """Prints what a training of this configuration will take; returns 0, or 1 where memory will not do."""
    from recurray.platform.ray_session import ray_session
    from recurray.platform.training.planning import describe, measure, outline

    prepared = prepare(config)
    resources = config.resources
    with (
        tempfile.TemporaryDirectory(prefix="recurray-plan-") as folder,
        ray_session(resources.fewest_workers * resources.threads, resources.fewest_workers if resources.gpu else 0),
    ):
        outlined = outline(config, prepared)
        lines = describe(config, prepared, outlined, measure(config, prepared, Path(folder), outlined.dearest))
    print(f"plan of {config.name}:")
    for line in lines:
        print(f"  {line}")
    return 1 if lines[-1].startswith("warning") else 0


def _claim(folder: Path, config: "RunConfig") -> None:
    """Writes the run's configuration, or compares it with the one that the run was begun with."""
    from recurray.platform.config.loading import differing_keys, load_config, to_yaml

    path = folder / "config.yaml"
    if path.exists():
        differing = differing_keys(_what_matters(load_config(path)), _what_matters(config))
        if differing:
            raise UserError(
                f"{folder} was begun with another configuration: {', '.join(differing)} (its value, yours); give the "
                "run another name, or start over with --fresh."
            )
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(to_yaml(config), encoding="utf-8")


def _what_matters(config: "RunConfig") -> "RunConfig":
    """The configuration without what may differ when a run goes on: resources and W&B change no update."""
    from recurray.platform.config.tree import ResourcesConfig, WandbConfig

    return config.model_copy(update={"resources": ResourcesConfig(), "wandb": WandbConfig()})


def _last_step(folder: Path) -> int:
    from recurray.platform.tracking.run_log import METRICS_FILE, read_rows

    rows = read_rows(folder / METRICS_FILE)
    return int(rows[-1]["step"]) if rows else 0
