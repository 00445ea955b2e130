"""Train the tokenizer and write the data as training reads it; done once for the same texts and settings."""

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING

from recurray.jobs.recipes import find_recipe

if TYPE_CHECKING:
    from recurray.platform.config.tree import RunConfig
    from recurray.platform.data.preparing import Prepared


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `recurray prepare`."""
    parser.add_argument("recipe", help="a recipe's file or the name of a shipped one")
    parser.add_argument("assignments", nargs="*", metavar="key.path=value", help="values that replace the recipe's")


def run(arguments: argparse.Namespace) -> int:
    """`recurray prepare`."""
    from recurray.platform.config.loading import load_config

    prepare(load_config(find_recipe(arguments.recipe), arguments.assignments))
    return 0


def prepare(config: "RunConfig") -> "Prepared":
    """Makes the corpus if the recipe names one that is not there, prepares the data, and prints the counts."""
    from recurray.platform.data.preparing import prepare as prepare_data

    made = config.data.corpus
    if made is not None and not Path(made.folder).exists():
        from recurray.jobs.corpus import corpus

        corpus(made.name, Path(made.folder), pair=made.pair)
    began = time.monotonic()
    prepared = prepare_data(config)
    counts = prepared.counts
    print(f"data: {counts.kept:,} of {counts.read:,} pairs, {counts.tgt_pieces:,} target pieces, in {prepared.folder}")
    for reason, count in counts.dropped.items():
        print(f"  left out: {count:,} {reason}")
    if time.monotonic() - began > 1:
        print(f"  prepared in {time.monotonic() - began:.0f} s")
    return prepared
