"""Verify that a recipe's updates belong to its data: run them under many cuts, and compare gradients and losses."""

import argparse
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from recurray.jobs.prepare import prepare
from recurray.jobs.recipes import find_recipe

if TYPE_CHECKING:
    from recurray.platform.config.tree import RunConfig
    from recurray.platform.training.verifying import Verified

WORKERS = 4
"""The most that a cut asks for."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `recurray verify`."""
    parser.add_argument("recipe", help="a recipe's file, a run's config.yaml, or the name of a shipped recipe")
    parser.add_argument("assignments", nargs="*", metavar="key.path=value", help="values that replace the recipe's")
    parser.add_argument(
        "--steps", type=int, default=50, metavar="N", help="updates of each cut, at least 8 (%(default)s)"
    )


def run(arguments: argparse.Namespace) -> int:
    """`recurray verify`."""
    from recurray.platform.config.loading import load_config
    from recurray.platform.errors import UserError

    if arguments.steps < 8:
        raise UserError(f"--steps is {arguments.steps}, and a cut with a kill on the way needs at least 8.")
    return verify(load_config(find_recipe(arguments.recipe), arguments.assignments), arguments.steps)


def verify(config: "RunConfig", steps: int) -> int:
    """Prints how each cut came out; returns 0 if all differences are single precision's, or 1."""
    from recurray.platform.ray_session import ray_session
    from recurray.platform.training.verifying import GRADIENT_TOLERANCE, LOSS_TOLERANCE, cuts_of, reference_cut
    from recurray.platform.training.verifying import verify as run_cuts

    prepared = prepare(config)
    cuts = cuts_of(config, prepared, steps)
    threads = config.resources.threads
    found = []
    with tempfile.TemporaryDirectory(prefix="recurray-verify-") as folder, ray_session(WORKERS * threads):
        print(f"{steps} updates of {config.name} under {len(cuts)} cuts, against {reference_cut().name}; the largest")
        print("relative differences:\n")
        print(f"{'cut':44} {'gradient 1':>12} {'loss 1':>12} {'all losses':>12}")
        for verified in run_cuts(config, prepared, cuts, steps, Path(folder)):
            print(_row(verified), flush=True)
            found.append(verified)
    failed = [verified.cut.name for verified in found if not verified.holds]
    bounds = f"{GRADIENT_TOLERANCE:.0e} of the first gradient and {LOSS_TOLERANCE:.0e} of the losses"
    print(f"\n{len(found) - len(failed)} of {len(found)} cuts hold within {bounds}")
    return 1 if failed else 0


def _row(verified: "Verified") -> str:
    figures = f"{verified.gradient:12.1e} {verified.first_loss:12.1e} {verified.losses:12.1e}"
    return f"{verified.cut.name:44} {figures}{'' if verified.holds else '  too far apart'}"
