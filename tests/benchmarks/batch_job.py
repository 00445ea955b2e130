"""The batch job's speed, memory and steadfastness, each by a command of its own.

    python -m tests.benchmarks.batch_job actors MODEL CORPUS [LINES [ROUNDS]]  two actors of one thread against one
    python -m tests.benchmarks.batch_job kills MODEL CORPUS [LINES [int8]]  killed five times, against one process
    python -m tests.benchmarks.batch_job fuzz MODEL [LINES]            fuzzed lines, and what the report says of them
    python -m tests.benchmarks.batch_job filter MODEL                  seconds to the first line of the filter

MODEL is a saved model of translation, or `capitals`, a stand-in that costs nothing, for what lies around the model.
CORPUS is a text file, whose lines are repeated with their numbers in them.
"""

import json
import multiprocessing
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from tests.faults.batch_jobs import (
    GREEDY,
    MODELS,
    Victim,
    assert_same_lines,
    job_with_kills,
    numbered_lines,
    write_in_sequence,
)
from tests.fuzz import fuzzed_lines

from recurray.jobs.text_files import run_batch_job
from recurray.platform.inference.batch_job import BatchJob, run_job
from recurray.platform.inference.progress import JobProgress
from recurray.platform.inference.records import LISTED, Notes, readable
from recurray.platform.ray_session import ray_session

VICTIMS: list[Victim] = ["an actor", "the driver", "an actor", "the driver", "an actor"]


def actors(folder: Path, model: str, corpus: str, lines: str = "30000", rounds: str = "3") -> None:
    """Lines a second from when each actor has done a part to the end, so without what starting costs."""
    source = _numbered(folder, corpus, int(lines))
    ratios = []
    with ray_session(2):
        for turn in range(int(rounds)):
            one, two = (_speed(folder, model, source, workers, f"{turn}-{workers}") for workers in (1, 2))
            ratios.append(two / one)
    print(f"median of the ratios {statistics.median(ratios):.2f}")


def _speed(folder: Path, model: str, source: Path, workers: int, name: str) -> float:
    moments: list[tuple[float, int]] = []

    def note(now: JobProgress) -> None:
        moments.append((time.monotonic(), now.done))

    output = str(folder / f"out-{name}.txt")
    kind, place = _model(folder, model)
    run_job(BatchJob(MODELS[kind], str(place), str(source), output, GREEDY, "translation", workers=workers), note)
    (begin, before), (end, after) = moments[workers], moments[-1]
    speed = (after - before) / (end - begin)
    print(f"{workers} × 1 thread: {speed:,.0f} lines/s", flush=True)
    return speed


def kills(folder: Path, model: str, corpus: str, lines: str = "1000000", weights: str = "float") -> None:
    """A job with two actors, killed five times; its output against one process's beside it, and the memory it took."""
    source, output = _numbered(folder, corpus, int(lines)), folder / "out.txt"
    kind, place = _model(folder, model, weights == "int8")
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        sequential = pool.submit(write_in_sequence, kind, place, source, folder / "sequential.txt")
        began = time.monotonic()
        watch = job_with_kills(kind, place, source, output, int(lines), VICTIMS)
        seconds = time.monotonic() - began
        sequential.result()
    report = json.loads((folder / "out.txt.report.json").read_text())
    print(
        f"{report['records']:,} records in {seconds:.0f} s, killed {len(VICTIMS)} times ({', '.join(VICTIMS)}); "
        f"{report['parts_done_before']:,} of {len(watch.seen):,} parts were done before the last run, none twice; "
        f"peak memory: {', '.join(f'{kind} {peak:,} MB' for kind, peak in watch.peaks.items())}",
        flush=True,
    )
    with (folder / "sequential.txt").open(encoding="utf-8", newline="\n") as wanted:
        assert_same_lines(output, (line.removesuffix("\n") for line in wanted))
    print("equal line by line to one process without Ray")


def fuzz(folder: Path, model: str, lines: str = "100000") -> None:
    """Fuzzed lines through a job with results of four pieces, and its report against what the lines hold."""
    source, output = folder / "in.txt", folder / "out.txt"
    with source.open("wb") as file:
        file.writelines(line + b"\n" for line in fuzzed_lines(int(lines), seed=1))
    kind, place = _model(folder, model)
    search = GREEDY.model_copy(update={"max_length": 4})
    report = run_batch_job(BatchJob(MODELS[kind], str(place), str(source), str(output), search, "translation"))
    with output.open("rb") as file:
        found = sum(len(line.decode().splitlines()) == 1 or line == b"\n" for line in file)
    notes = Notes()
    with source.open("rb") as file:
        for record, line in enumerate(file, 1):
            readable(line.removesuffix(b"\n"), record, notes)
    for reason, records in notes.records.items():
        assert report.notes[reason] == {"count": len(records), "first_records": {"in.txt": records[:LISTED]}}, reason
    assert report.records == found == int(lines)
    print(f"{source.stat().st_size / 1e6:,.0f} MB of {lines} lines gave {found:,} records; the report is right")


def filter_(folder: Path, model: str) -> None:
    """From the command to its end over one line."""
    seconds = []
    for _ in range(5):
        began = time.monotonic()
        command = [sys.executable, "-m", "recurray.jobs", "translate", model]
        subprocess.run(command, input=b"The device is not available.\n", check=True, capture_output=True)
        seconds.append(time.monotonic() - began)
    print(f"one line through the filter: median {statistics.median(seconds):.2f} s, fastest {min(seconds):.2f} s")


def _numbered(folder: Path, corpus: str, lines: int) -> Path:
    source = folder / "in.txt"
    with source.open("w") as file:
        file.writelines(line + "\n" for line in numbered_lines(Path(corpus), lines))
    return source


def _model(folder: Path, model: str, int8: bool = False) -> tuple[str, Path]:
    """The name of a kind of model, and the model's folder."""
    if model != "capitals":
        return ("translator in 8 bits" if int8 else "translator"), Path(model).absolute()
    stand_in = folder / "capitals"
    stand_in.mkdir(exist_ok=True)
    (stand_in / "weights").touch()
    return "capitals", stand_in


COMMANDS = {"actors": actors, "kills": kills, "fuzz": fuzz, "filter": filter_}

if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="recurray-batch-job-") as place:
        COMMANDS[sys.argv[1]](Path(place), *sys.argv[2:])
