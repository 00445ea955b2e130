"""Summarize files by batch job on Ray, one record in and one out; without --input, stdin to stdout, without Ray."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from recurray.jobs.text_files import add_arguments_for, check_arguments, run_batch_job, run_over_files

if TYPE_CHECKING:
    from recurray.platform.config.search import SearchConfig
    from recurray.platform.inference.batch_job import JobReport

RESULT = "summary"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `recurray summarize`."""
    add_arguments_for(parser, RESULT)


def run(arguments: argparse.Namespace) -> int:
    """`recurray summarize`."""
    check_arguments(arguments)

    from recurray.platform.inference.summarizer import Summarizer

    return run_over_files(Summarizer, arguments)


def summarize(
    model: str | Path,
    source: str | Path,
    output: str | Path,
    search: "SearchConfig",
    workers: int = 2,
    threads: int = 1,
    *,
    field: str | None = None,
    output_field: str = RESULT,
    on_error: Literal["skip", "stop"] = "skip",
) -> "JobReport":
    """Summarizes files by batch job and prints what was done; UserError for a model or files that will not do."""
    from recurray.platform.inference.batch_job import BatchJob
    from recurray.platform.inference.summarizer import Summarizer

    return run_batch_job(
        BatchJob(
            Summarizer, str(model), str(source), str(output), search, output_field, field, on_error, workers, threads
        )
    )
