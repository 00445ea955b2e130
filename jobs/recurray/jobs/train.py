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
    from recurray.platform.training.checkpoint_store import CheckpointStore


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
    from recurray.platform.training.checkpoint_store import CheckpointStore

    TASKS[config.task]().check(config.model)
    folder = Path(config.folder)
    store = CheckpointStore.of(config, folder)
    if fresh:
        _throw_away(folder, config, store)
    _claim(folder, config, store)
    if _last_step(folder) >= config.training.steps and (folder / "model").exists():
        from recurray.platform.tracking.run_log import finish_log

        finish_log(folder, config)
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


def _throw_away(folder: Path, config: "RunConfig", store: "CheckpointStore") -> None:
    """Deletes the run; UserError where its checkpoints' folder holds another run's."""
    from recurray.platform.training.claiming import throw_away

    if config.checkpoints.folder is not None:
        throw_away(store, config.name)
    if folder.exists():
        shutil.rmtree(folder)


def _claim(folder: Path, config: "RunConfig", store: "CheckpointStore") -> None:
    """Writes the run's configuration, or compares it with the one that the run was begun with.

    Where the run's checkpoints lay in another folder so far, the newest one is brought to this one.
    """
    from recurray.platform.config.loading import load_config, to_yaml
    from recurray.platform.training.checkpoint_store import CheckpointStore
    from recurray.platform.training.claiming import begun_with, bring_newest

    path = folder / "config.yaml"
    before = load_config(path) if path.exists() else None
    _compare(str(folder), before, config, "give the run another name, or start over with --fresh")
    _compare(store.shown, begun_with(store), config, "name another checkpoints.folder, or start over with --fresh")
    folder.mkdir(parents=True, exist_ok=True)
    if before is not None:
        for sentence in bring_newest(CheckpointStore.of(before, folder), store):
            print(sentence, file=sys.stderr)
    if before != config:
        aside = path.with_suffix(".writing")
        aside.write_text(to_yaml(config), encoding="utf-8")
        aside.replace(path)


def _compare(place: str, begun: "RunConfig | None", config: "RunConfig", remedy: str) -> None:
    """UserError where what lies in a place, if anything does, was begun with another configuration."""
    from recurray.platform.config.loading import differing_keys

    differing = [] if begun is None else differing_keys(_what_matters(begun), _what_matters(config))
    if differing:
        raise UserError(
            f"{place} was begun with another configuration: {', '.join(differing)} (its value, yours); {remedy}."
        )


def _what_matters(config: "RunConfig") -> "RunConfig":
    """The configuration without what may differ when a run goes on, for it changes no update."""
    from recurray.platform.config.checkpoints import CheckpointsConfig
    from recurray.platform.config.tree import ResourcesConfig, WandbConfig

    free = {"resources": ResourcesConfig(), "wandb": WandbConfig(), "checkpoints": CheckpointsConfig()}
    return config.model_copy(update=free)


def _last_step(folder: Path) -> int:
    from recurray.platform.tracking.run_log import METRICS_FILE, read_rows

    rows = read_rows(folder / METRICS_FILE)
    return int(rows[-1]["step"]) if rows else 0
