"""Summarize a file by batch job on Ray, one record in and one out; without --input, stdin to stdout, without Ray."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from recurray.jobs.text_files import add_file_arguments, check_file_arguments, run_batch_job, run_over_files

if TYPE_CHECKING:
    from recurray.platform.config.search import SearchConfig
    from recurray.platform.inference.batch_job import JobReport


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `recurray summarize`."""
    add_file_arguments(parser, "summary")


def run(arguments: argparse.Namespace) -> int:
    """`recurray summarize`."""
    check_file_arguments(arguments)

    from recurray.platform.inference.summarizer import Summarizer

    return run_over_files(Summarizer, arguments)


def summarize(
    model: str | Path, source: Path, output: Path, search: "SearchConfig", workers: int = 2, threads: int = 1
) -> "JobReport":
    """Summarizes a file by batch job and prints what was done; UserError for a model or a file that will not do."""
    from recurray.platform.inference.summarizer import Summarizer

    return run_batch_job(Summarizer, model, source, output, search, workers, threads)
