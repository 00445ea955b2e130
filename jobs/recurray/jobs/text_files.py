"""Running a model of texts over files by batch job, or over stdin: what `translate` and `summarize` share."""

import argparse
import os
import sys
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from recurray.jobs.search_options import add_search_arguments, search_of
from recurray.platform.errors import UserError

if TYPE_CHECKING:
    from recurray.platform.config.search import SearchConfig
    from recurray.platform.inference.batch_job import BatchJob, JobReport
    from recurray.platform.inference.text_model import TextModel
    from recurray.platform.tasks.shortlist import Shortlist

_FILTER_LINES = 256


def add_arguments_for(parser: argparse.ArgumentParser, result: str) -> None:
    """Arguments of both commands; `result` is what one output is called, and the usual name of its field."""
    parser.add_argument("model", help="a saved model's folder, such as runs/demo/model, or its URI")
    _add_file_arguments(parser.add_argument_group("files"), result)
    _add_filter_arguments(parser.add_argument_group("stdin to stdout, where no --input is given"))
    add_search_arguments(parser)
    _add_worker_arguments(parser.add_argument_group("workers"))


def _add_file_arguments(group: "argparse._ArgumentGroup", result: str) -> None:
    group.add_argument(
        "--input",
        help="a file, a folder, a glob in quotes, or a URI of one: .txt, .jsonl, .csv or .tsv, also .gz or .zst of "
        "these, or .parquet; any other name is text, a record a line",
    )
    group.add_argument(
        "--output",
        help=f"the file to write, of the same format, with the {result} beside what each record holds; a folder where "
        "the input is several files",
    )
    group.add_argument(
        "--field",
        help="the column or key that is read (default: src, source, text or document, or the only one); a number, "
        "counted from 0, for CSV and TSV without a line of names",
    )
    group.add_argument("--output-field", default=result, help=f"the column or key of the {result} (default: {result})")
    group.add_argument(
        "--details",
        action="store_true",
        help="a second field, its name with _details behind it: the n best as JSON, each with its score, its pieces, "
        "their log-probabilities, and with --alignments their places in the source",
    )
    group.add_argument(
        "--on-error",
        choices=("skip", "stop"),
        default="skip",
        help=f"for a record that cannot be read: leave its {result} empty and report it, or stop (default: skip)",
    )


def _add_filter_arguments(group: "argparse._ArgumentGroup") -> None:
    group.add_argument("--interactive", action="store_true", help="answer each line before the next is read")


def _add_worker_arguments(group: "argparse._ArgumentGroup") -> None:
    group.add_argument("--workers", type=int, default=2, help="actors that share the records (default: 2)")
    group.add_argument("--threads", type=int, default=1, help="CPU threads an actor (default: 1)")
    group.add_argument("--int8", action="store_true", help="weights of 8 bits, on CPUs: faster; see docs/search.md")
    group.add_argument("--gpu", action="store_true", help="a GPU for each actor, or for stdin to stdout")
    group.add_argument("--bfloat16", action="store_true", help="products in bfloat16, on GPUs: faster")
    group.add_argument(
        "--shortlist", metavar="TEXT", help="a text file of whose pieces alone results are made: faster; see the same"
    )


def check_arguments(arguments: argparse.Namespace) -> None:
    """UserError where they do not go together."""
    if (arguments.input is None) != (arguments.output is None):
        raise UserError("--input and --output go together; without both, stdin goes to stdout.")
    if arguments.input is None and arguments.field is not None:
        raise UserError("--field goes with --input; stdin is text, a record a line.")
    if arguments.input is None and arguments.details:
        raise UserError("--details goes with --input; stdin to stdout has a line for each result.")
    if (arguments.alignments or (arguments.n_best or 1) > 1) and not arguments.details:
        raise UserError("--n-best and --alignments show in the details alone; add --details.")
    if arguments.input is not None and arguments.interactive:
        raise UserError("--interactive is for stdin to stdout; leave it or --input out.")
    if arguments.int8 and (arguments.gpu or arguments.bfloat16):
        raise UserError("--int8 is for CPUs and in place of --bfloat16; leave it or --gpu and --bfloat16 out.")
    for option in ("workers", "threads"):
        if (value := getattr(arguments, option)) < 1:
            raise UserError(f"--{option} {value}: expected 1 or more.")


def run_over_files(kind: "type[TextModel]", arguments: argparse.Namespace) -> int:
    """The command: a batch job where files are named, else a filter from stdin to stdout."""
    search = _search(kind, arguments)
    shortlist = _shortlist(arguments, search)
    if arguments.input is None:
        return _filter(kind, arguments, search, shortlist)

    from recurray.platform.inference.batch_job import BatchJob

    run_batch_job(
        BatchJob(
            kind=kind,
            model=arguments.model,
            source=arguments.input,
            output=arguments.output,
            search=search,
            field=arguments.field,
            output_field=arguments.output_field,
            on_error=arguments.on_error,
            workers=arguments.workers,
            threads=arguments.threads,
            gpu=arguments.gpu,
            int8=arguments.int8,
            bfloat16=arguments.bfloat16,
            shortlist=shortlist,
            details_field=f"{arguments.output_field}_details" if arguments.details else None,
        )
    )
    return 0


def run_batch_job(job: "BatchJob") -> "JobReport":
    """Runs a model over files and prints what was done; UserError for a model or files that will not do."""
    from recurray.platform.inference.batch_job import run_job
    from recurray.platform.inference.progress import job_progress
    from recurray.platform.ray_session import ray_session

    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # else Ray prints an error about how Ray Data makes actors
    task = job.kind.task
    session = ray_session(job.workers * job.threads, job.workers if job.gpu else 0)
    with job_progress(f"{task} of {job.source}") as on_progress, session:
        report, tally = run_job(job, on_progress)
    before = report.records_done_before
    speed = (report.records - before) / max(report.seconds, 1e-9)
    done = f"{report.records:,} records" + (f", {before:,} of them done before," if before else "")
    print(f"{task} of {done} in {report.seconds:.1f} s ({speed:,.0f} a second): {job.output}")
    for line in tally.lines():
        print(f"  {line}")
    print(f"  report: {job.output.rstrip('/')}.report.json")
    return report


def _search(kind: "type[TextModel]", arguments: argparse.Namespace) -> "SearchConfig":
    """The model's own search settings, with what the command says instead."""
    from recurray.platform.saved_model import load_config

    config = load_config(arguments.model)
    kind.check(config)
    return search_of(arguments, config.search)


def _shortlist(arguments: argparse.Namespace, search: "SearchConfig") -> "Shortlist | None":
    """What results are made of, if not all; UserError for a text without pieces, or a piece that cannot be had."""
    if not (arguments.shortlist or search.forbidden or search.forced):
        return None

    from recurray.platform.inference.records import read_lines
    from recurray.platform.saved_model import load_codec
    from recurray.platform.tasks.shortlist import Shortlist
    from recurray.platform.tasks.text import tokenizer_of

    tokenizer = tokenizer_of(load_codec(arguments.model))
    tokenizer.numbers_of(search.forbidden)
    forced = tokenizer.numbers_of(search.forced)
    if not arguments.shortlist:
        return None
    lines = [line for line in read_lines(Path(arguments.shortlist)) if line.strip()]
    if not lines:
        raise UserError(f"--shortlist {arguments.shortlist} is empty; name a text of the results' language and kind.")
    shortlist = Shortlist.of_texts(lines, tokenizer)
    shortlist.numbers_of(forced, tokenizer)
    return shortlist


def _filter(
    kind: "type[TextModel]", arguments: argparse.Namespace, search: "SearchConfig", shortlist: "Shortlist | None"
) -> int:
    import torch

    from recurray.platform.freed_memory import keep_freed_memory
    from recurray.platform.inference.predicting import predict_records
    from recurray.platform.inference.records import Notes, Tally

    keep_freed_memory()
    if arguments.gpu and not torch.cuda.is_available():
        raise UserError("--gpu: PyTorch finds no GPU on this machine; leave it out, or install a build for its GPU.")
    model = kind.from_pretrained(
        arguments.model,
        "cuda" if arguments.gpu else "cpu",
        int8=arguments.int8,
        bfloat16=arguments.bfloat16,
        shortlist=shortlist,
    )
    tally, record = Tally(), 1
    while lines := list(islice(sys.stdin.buffer, 1 if arguments.interactive else _FILTER_LINES)):
        notes = Notes()
        sources = [line.removesuffix(b"\n") for line in lines]
        results = predict_records(model, sources, record, search, notes)
        failure = notes.first_failure() if arguments.on_error == "stop" else None
        whole = results if failure is None else results[: failure[0] - record]
        sys.stdout.buffer.write("".join(line + "\n" for (line,) in whole).encode())
        sys.stdout.buffer.flush()
        if failure is not None:
            raise UserError(
                f"stdin line {failure[0]:,}: {failure[1].partition(',')[0]}; mend it, or leave such lines empty with "
                "--on-error skip."
            )
        tally.add("stdin", notes)
        record += len(lines)
    for line in tally.lines():
        print(f"recurray: {line}", file=sys.stderr)
    return 0
