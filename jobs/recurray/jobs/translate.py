"""Translate a file by batch job on Ray, one record in and one out; without --input, stdin to stdout, without Ray."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from recurray.jobs.text_files import add_file_arguments, check_file_arguments, run_batch_job, run_over_files

if TYPE_CHECKING:
    from recurray.platform.config.search import SearchConfig
    from recurray.platform.inference.batch_job import JobReport


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `recurray translate`."""
    add_file_arguments(parser, "translation")


def run(arguments: argparse.Namespace) -> int:
    """`recurray translate`."""
    check_file_arguments(arguments)

    from recurray.platform.inference.translator import Translator

    return run_over_files(Translator, arguments)


def translate(
    model: str | Path, source: Path, output: Path, search: "SearchConfig", workers: int = 2, threads: int = 1
) -> "JobReport":
    """Translates a file by batch job and prints what was done; UserError for a model or a file that will not do."""
    from recurray.platform.inference.translator import Translator

    return run_batch_job(Translator, model, source, output, search, workers, threads)
