"""Translate a file by batch job on Ray, one line in and one line out; without --input, stdin to stdout, without Ray."""

import argparse
import os
import sys
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from recurray.platform.errors import UserError

if TYPE_CHECKING:
    from recurray.platform.config.tree import SearchConfig
    from recurray.platform.inference.batch_job import JobReport

_FILTER_LINES = 256


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `recurray translate`."""
    parser.add_argument("model", type=Path, help="a saved model's folder, such as runs/demo/model")
    parser.add_argument("--input", type=Path, help="a text file, one record a line")
    parser.add_argument("--output", type=Path, help="the file to write, one translation a line")
    parser.add_argument("--beam", type=int, help="hypotheses kept a line (default: the model's; 1 is greedy)")
    parser.add_argument("--workers", type=int, default=2, help="actors that translate shards (default: 2)")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads an actor (default: 1)")


def run(arguments: argparse.Namespace) -> int:
    """`recurray translate`."""
    if (arguments.input is None) != (arguments.output is None):
        raise UserError("--input and --output go together; without both, stdin is translated to stdout.")
    for option in ("beam", "workers", "threads"):
        if (value := getattr(arguments, option)) is not None and value < 1:
            raise UserError(f"--{option} {value}: expected 1 or more.")
    search = _search(arguments.model, arguments.beam)
    if arguments.input is None:
        return _filter(arguments.model, search)
    translate(arguments.model, arguments.input, arguments.output, search, arguments.workers, arguments.threads)
    return 0


def translate(
    model: Path, source: Path, output: Path, search: "SearchConfig", workers: int = 2, threads: int = 1
) -> "JobReport":
    """Translates a file by batch job and prints what was done; UserError for a model or a file that will not do."""
    from rich.console import Console
    from rich.progress import Progress

    from recurray.platform.inference.batch_job import translate_file
    from recurray.platform.ray_session import ray_session

    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # else Ray prints an error about how Ray Data makes actors
    output.parent.mkdir(parents=True, exist_ok=True)
    with Progress(console=Console(stderr=True), transient=True) as progress, ray_session(workers * threads):
        task = progress.add_task("translating", total=None)
        report = translate_file(
            model,
            source,
            output,
            search=search,
            workers=workers,
            threads=threads,
            on_progress=lambda done, total: progress.update(task, completed=done, total=total),
        )
    speed = report.records / max(report.seconds, 1e-9)
    print(f"translated {report.records:,} records in {report.seconds:.1f} s ({speed:,.0f} a second): {output}")
    for reason, records in report.notes.items():
        shown = ", ".join(map(str, records[:5])) + (", …" if len(records) > 5 else "")
        print(f"  {len(records):,} {reason}: {shown}")
    print(f"  report: {output}.report.json")
    return report


def _search(model: Path, beam: int | None) -> "SearchConfig":
    """The model's own search settings, with another beam if one is given."""
    from recurray.platform.saved_model import load_config

    own = load_config(model).search
    return own if beam is None else own.model_copy(update={"beam_size": beam})


def _filter(model: Path, search: "SearchConfig") -> int:
    from recurray.platform.inference.line_translator import translate_lines
    from recurray.platform.inference.records import Notes
    from recurray.platform.inference.translator import Translator

    translator = Translator.from_pretrained(model)
    notes, record = Notes(), 1
    while lines := list(islice(sys.stdin.buffer, _FILTER_LINES)):
        raw = [line.removesuffix(b"\n") for line in lines]
        translations = translate_lines(translator, raw, record, search, notes)
        sys.stdout.buffer.write("".join(line + "\n" for line in translations).encode())
        sys.stdout.buffer.flush()
        record += len(lines)
    for reason, records in notes.records.items():
        print(f"recurray translate: {len(records):,} {reason}: {records[:5]}", file=sys.stderr)
    return 0
