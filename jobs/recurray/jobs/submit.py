"""Run `recurray train`, `translate` or `summarize` as a job on a Ray cluster.

What follows the command is the command's own: its arguments are checked here before anything is sent. The job runs the
code that is installed here. On the cluster of `recurray cluster up` it runs in the current directory, so that relative
paths stay true, with the environment that `cluster up` was given. On another cluster a recipe's file travels with the
job, and data, models and outputs must be paths or URIs that its nodes can reach.
"""

import argparse
import importlib
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from recurray.cluster.connect import Cluster, find_cluster

JOBS = ("train", "translate", "summarize")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `recurray submit`."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "--address", metavar="URL", help="the cluster's Jobs API (default: RAY_ADDRESS, else the local cluster)"
    )
    parser.add_argument("--no-wait", action="store_true", help="print the job's id and leave it, instead of following")
    parser.add_argument("job", choices=JOBS, help="the command to run")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="its arguments")


def run(arguments: argparse.Namespace) -> int:
    """`recurray submit`."""
    recipe = check(arguments.job, arguments.arguments)
    return submit(
        arguments.job, arguments.arguments, recipe=recipe, address=arguments.address, wait=not arguments.no_wait
    )


def submit(
    job: str, arguments: Sequence[str], *, recipe: Path | None = None, address: str | None = None, wait: bool = True
) -> int:
    """Submits `recurray JOB ARGUMENTS`, follows its log, and returns its exit status, or 0 at once if not `wait`.

    `recipe` is the argument that is a file and travels. ClusterError where the cluster cannot be found or reached.
    """
    from recurray.cluster.submission import submit as submit_command
    from recurray.cluster.wheel import build_wheel

    cluster = find_cluster(address)
    command = entrypoint(cluster, job, arguments, recipe)
    with tempfile.TemporaryDirectory() as scratch:
        wheel = build_wheel(Path(scratch))
        identity = submit_command(cluster, command, wheel, [recipe] if recipe else [])
    print(f"job {identity} on {cluster.address}", flush=True)
    return _follow(cluster, identity) if wait else 0


def check(job: str, arguments: Sequence[str]) -> Path | None:
    """Stops at a mistake in the job's arguments; returns the recipe if one is named and is a file, not a shipped one.

    UserError as the job itself raises it; SystemExit for arguments that it does not have, and for --help.
    """
    module = importlib.import_module(f"recurray.jobs.{job}")
    parser = argparse.ArgumentParser(prog=f"recurray {job}", description=module.__doc__, allow_abbrev=False)
    module.add_arguments(parser)
    parsed = parser.parse_intermixed_args(arguments)
    if job != "train":
        return None

    from recurray.jobs.recipes import find_recipe
    from recurray.platform.config.loading import load_config

    load_config(find_recipe(parsed.recipe), parsed.assignments)
    recipe = Path(parsed.recipe)
    return recipe if recipe.is_file() else None


def entrypoint(cluster: Cluster, job: str, arguments: Sequence[str], recipe: Path | None = None) -> list[str]:
    """The command that the job runs; away from this machine's files the recipe is named as its copy in the job is."""
    words = list(arguments)
    if recipe is not None and not cluster.is_local:
        words = [recipe.name if Path(word) == recipe else word for word in words]
    return ["python", "-m", "recurray.jobs", job, *words]


def _follow(cluster: Cluster, job: str) -> int:
    from recurray.cluster.submission import follow

    try:
        return follow(cluster, job)
    except KeyboardInterrupt:
        print(
            f"\njob {job} goes on: `recurray jobs logs {job}` follows it, `recurray jobs stop {job}` stops it.",
            file=sys.stderr,
        )
        return 130
