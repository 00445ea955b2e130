"""The `recurray` command line: finds the job that was named, reads its arguments, turns its end into an exit status.

Only the named job's module is imported, and a job imports what is heavy when it runs, so that `--help` and a user's
mistakes are answered at once.
"""

import argparse
import difflib
import importlib
import os
import sys
from collections.abc import Sequence

from recurray.cluster.errors import ClusterError
from recurray.platform.errors import UserError

COMMANDS = {
    "demo": "from nothing to a scored model: corpus, training, batch job, scores, report",
    "corpus": "make a corpus from packages that people already have",
    "prepare": "train the tokenizer and write the data as training reads it",
    "train": "train a model from a recipe on Ray, or go on with a run",
    "verify": "run a recipe's first updates under many cuts and compare gradients and losses",
    "export": "write a model as programs that run without recurray",
    "average": "average the weights of a run's checkpoints into a model",
    "translate": "translate a file by batch job, or stdin to stdout",
    "summarize": "summarize a file by batch job, or stdin to stdout",
    "serve": "serve a model over HTTP: translations or summaries of the texts that are posted",
    "evaluate": "score translations with sacreBLEU, summaries with ROUGE",
    "report": "write one HTML page about a run",
    "dashboards": "show or make the Weights & Biases workspace",
    "cluster": "start, show and end a local Ray cluster",
    "submit": "run train or translate as a job on a Ray cluster",
    "jobs": "list, follow and stop the jobs of a Ray cluster",
}
"""Each command and what it does; command `NAME` is the module `recurray.jobs.NAME`."""

INTERMIXED = {"demo", "prepare", "train", "verify", "evaluate"}
"""Commands whose options may stand before and between what has no option: a recipe, assignments, a model."""


def usage() -> str:
    """The text of `recurray --help`."""
    width = max(map(len, COMMANDS))
    lines = "\n".join(f"  {name:<{width}}  {what}" for name, what in COMMANDS.items())
    return (
        "usage: recurray COMMAND …\n\n"
        "Train recurrent and hybrid sequence-to-sequence models on Ray, run them over files, watch them in W&B.\n\n"
        f"{lines}\n\n`recurray COMMAND --help` says more.  A first run: recurray demo\n"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return the exit status: 0 done, 2 a user's mistake, 130 interrupted."""
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or words[0] in ("-h", "--help", "help"):
        print(usage(), end="")
        return 0
    command, rest = words[0], words[1:]
    try:
        return _run(command, rest)
    except (UserError, ClusterError) as mistake:
        print(f"recurray {command}: {mistake}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"recurray {command}: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of stdout, `head` say, has all it wants
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _run(command: str, rest: list[str]) -> int:
    if command not in COMMANDS:
        near = difflib.get_close_matches(command, COMMANDS, n=1)
        hint = f"did you mean `{near[0]}`? " if near else ""
        raise UserError(f"there is no such command; {hint}`recurray --help` lists them.")
    job = importlib.import_module(f"recurray.jobs.{command}")
    parser = argparse.ArgumentParser(prog=f"recurray {command}", description=job.__doc__, allow_abbrev=False)
    job.add_arguments(parser)
    parse = parser.parse_intermixed_args if command in INTERMIXED else parser.parse_args
    status: int = job.run(parse(rest))
    return status
