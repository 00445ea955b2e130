"""Running a model of texts over a file by batch job, or over stdin: what `translate` and `summarize` share."""

import argparse
import os
import sys
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from recurray.platform.errors import UserError

if TYPE_CHECKING:
    from recurray.platform.config.search import SearchConfig
    from recurray.platform.inference.batch_job import JobReport
    from recurray.platform.inference.text_model import TextModel

_FILTER_LINES = 256


def add_file_arguments(parser: argparse.ArgumentParser, result: str) -> None:
    """Arguments of both commands; `result` is what one output is called."""
    parser.add_argument("model", help="a saved model's folder, such as runs/demo/model, or its URI")
    parser.add_argument("--input", type=Path, help="a text file, one record a line")
    parser.add_argument("--output", type=Path, help=f"the file to write, one {result} a line")
    parser.add_argument("--beam", type=int, help="hypotheses kept a line (default: the model's; 1 is greedy)")
    parser.add_argument("--workers", type=int, default=2, help="actors that share the file's shards (default: 2)")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads an actor (default: 1)")


def check_file_arguments(arguments: argparse.Namespace) -> None:
    """UserError where they do not go together."""
    if (arguments.input is None) != (arguments.output is None):
        raise UserError("--input and --output go together; without both, stdin goes to stdout.")
    for option in ("beam", "workers", "threads"):
        if (value := getattr(arguments, option)) is not None and value < 1:
            raise UserError(f"--{option} {value}: expected 1 or more.")


def run_over_files(kind: "type[TextModel]", arguments: argparse.Namespace) -> int:
    """The command: a batch job where files are named, else a filter from stdin to stdout."""
    search = _search(kind, arguments.model, arguments.beam)
    if arguments.input is None:
        return _filter(kind, arguments.model, search)
    run_batch_job(
        kind, arguments.model, arguments.input, arguments.output, search, arguments.workers, arguments.threads
    )
    return 0


def run_batch_job(
    kind: "type[TextModel]",
    model: str | Path,
    source: Path,
    output: Path,
    search: "SearchConfig",
    workers: int,
    threads: int,
) -> "JobReport":
    """Runs a model over a file and prints what was done; UserError for a model or a file that will not do."""
    from rich.console import Console
    from rich.progress import Progress

    from recurray.platform.inference.batch_job import predict_file
    from recurray.platform.ray_session import ray_session

    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # else Ray prints an error about how Ray Data makes actors
    output.parent.mkdir(parents=True, exist_ok=True)
    place = str(model) if "://" in str(model) else str(Path(model).absolute())
    with Progress(console=Console(stderr=True), transient=True) as progress, ray_session(workers * threads):
        task = progress.add_task(f"{kind.task} of {source}", total=None)
        report = predict_file(
            kind,
            place,
            source,
            output,
            search=search,
            workers=workers,
            threads=threads,
            on_progress=lambda done, total: progress.update(task, completed=done, total=total),
        )
    speed = report.records / max(report.seconds, 1e-9)
    print(f"{kind.task} of {report.records:,} records in {report.seconds:.1f} s ({speed:,.0f} a second): {output}")
    for reason, records in report.notes.items():
        shown = ", ".join(map(str, records[:5])) + (", …" if len(records) > 5 else "")
        print(f"  {len(records):,} {reason}: {shown}")
    print(f"  report: {output}.report.json")
    return report


def _search(kind: "type[TextModel]", model: str, beam: int | None) -> "SearchConfig":
    """The model's own search settings, with another beam if one is given."""
    from recurray.platform.saved_model import load_config

    config = load_config(model)
    kind.check(config)
    own = config.search
    return own if beam is None else own.model_copy(update={"beam_size": beam})


def _filter(kind: "type[TextModel]", place: str, search: "SearchConfig") -> int:
    from recurray.platform.inference.lines import predict_lines
    from recurray.platform.inference.records import Notes

    model = kind.from_pretrained(place)
    notes, record = Notes(), 1
    while lines := list(islice(sys.stdin.buffer, _FILTER_LINES)):
        raw = [line.removesuffix(b"\n") for line in lines]
        results = predict_lines(model, raw, record, search, notes)
        sys.stdout.buffer.write("".join(line + "\n" for line in results).encode())
        sys.stdout.buffer.flush()
        record += len(lines)
    for reason, records in notes.records.items():
        print(f"recurray: {len(records):,} {reason}: {records[:5]}", file=sys.stderr)
    return 0
