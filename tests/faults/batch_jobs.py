"""Kills of a real batch job, and what is asked of it afterwards: that nothing shows, and nothing is done twice."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import cycle, islice
from pathlib import Path
from typing import Literal

import torch
from tests.capitals import Capitals
from tests.faults.kills import of_process, processes_named, wait_until

from recurray.jobs.text_files import run_batch_job
from recurray.platform.config.search import SearchConfig
from recurray.platform.freed_memory import keep_freed_memory
from recurray.platform.inference.batch_job import BatchJob
from recurray.platform.inference.predicting import predict_records
from recurray.platform.inference.records import Notes
from recurray.platform.inference.shards import SHARD_RECORDS
from recurray.platform.inference.text_model import TextModel
from recurray.platform.inference.translator import Translator

MODELS: dict[str, type[TextModel]] = {
    "capitals": Capitals,
    "translator": Translator,
    "translator in 8 bits": Translator,
}
IN_8_BITS = {"translator in 8 bits"}
GREEDY = SearchConfig(beam_size=1)

_LOOK_SECONDS = 0.2
_DEADLINE_SECONDS = 3_600.0

Victim = Literal["an actor", "the driver"]


@dataclass
class Watch:
    """The parts of a job while it runs, and the memory of its processes."""

    parts: Path
    seen: dict[str, int] = field(default_factory=dict)
    """When each part was written, by its name."""
    peaks: dict[str, int] = field(default_factory=dict)
    """The highest resident memory of any one process of a kind, in MB."""

    def look(self, driver: int) -> int:
        """The parts that were there at any time; AssertionError where one was written a second time."""
        for part in self.parts.glob("part-*.json"):
            try:
                written = part.stat().st_mtime_ns
            except FileNotFoundError:  # joined by now
                continue
            assert self.seen.setdefault(part.name, written) == written, f"{part.name} was done twice"
        for kind, processes in {"driver": [driver], "actor": actors(driver)}.items():
            for process in processes:
                self.peaks[kind] = max(self.peaks.get(kind, 0), _peak_megabytes(process))
        return len(self.seen)


def numbered_lines(corpus: Path, count: int) -> Iterator[str]:
    """So many lines of a corpus that is repeated, each with its number in it."""
    lines = corpus.read_text().split("\n")[:-1]
    return (f"{number}: {line}" for number, line in enumerate(islice(cycle(lines), count), 1))


def start_job(kind: str, model: Path, source: Path, output: Path) -> "subprocess.Popen[bytes]":
    """A job of two actors in a process with an embedded Ray of its own; what it prints is added to OUTPUT.log."""
    environment = {key: value for key, value in os.environ.items() if key != "RAY_ADDRESS"}
    with output.with_name(f"{output.name}.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "tests.faults.batch_jobs", kind, str(model), str(source), str(output)],
            env=environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def job_with_kills(kind: str, model: Path, source: Path, output: Path, records: int, victims: list[Victim]) -> Watch:
    """Runs a job to its end with kills on the way, evenly spread over its parts."""
    watch = Watch(output.with_name(f"{output.name}.parts"))
    process = start_job(kind, model, source, output)
    for number, victim in enumerate(victims, 1):
        until = number * -(-records // SHARD_RECORDS) // (len(victims) + 1)
        wait_until(lambda driver=process, least=until: _is_at(watch, driver, least), _LOOK_SECONDS, _DEADLINE_SECONDS)
        if victim == "an actor":
            os.kill(actors(process.pid)[0], signal.SIGKILL)
        else:
            process.kill()
            process.wait()
            process = start_job(kind, model, source, output)
    wait_until(lambda: watch.look(process.pid) < 0 or process.poll() is not None, _LOOK_SECONDS, _DEADLINE_SECONDS)
    assert process.returncode == 0, output.with_name(f"{output.name}.log").read_text()
    return watch


def _is_at(watch: Watch, process: "subprocess.Popen[bytes]", least: int) -> bool:
    assert process.poll() is None, "the job ended before it was killed"
    return watch.look(process.pid) >= least and bool(actors(process.pid))


def actors(driver: int) -> list[int]:
    """The processes of a job's actors."""
    return processes_named(b"MapWorker", driver)


def _peak_megabytes(pid: int) -> int:
    """The highest resident memory of a process, what it shares with others included."""
    for line in of_process(pid, "status").split(b"\n"):
        if line.startswith(b"VmHWM:"):
            return int(line.split()[1]) // 1024
    return 0


def in_sequence(kind: str, model: Path, source: Path) -> Iterator[str]:
    """The results of a text file's lines by one model in this process, without Ray."""
    loaded = MODELS[kind].from_pretrained(model, int8=kind in IN_8_BITS)
    with source.open("rb") as file:
        while lines := [line.removesuffix(b"\n") for line in islice(file, SHARD_RECORDS)]:
            yield from (result for (result,) in predict_records(loaded, lines, 1, GREEDY, Notes()))


def write_in_sequence(kind: str, model: Path, source: Path, output: Path) -> None:
    """The same in a file, by a process of its own with as many threads as an actor.

    In 8 bits another number of threads may decide a near tie in another way, as another batch may.
    """
    torch.set_num_threads(1)
    keep_freed_memory()
    with output.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(line + "\n" for line in in_sequence(kind, model, source))


def assert_same_lines(output: Path, wanted: Iterator[str]) -> None:
    """That a file holds these lines and no more."""
    with output.open(encoding="utf-8", newline="\n") as file:
        for number, (line, text) in enumerate(zip(file, wanted, strict=True), 1):
            assert line == text + "\n", f"line {number}"


if __name__ == "__main__":
    kind, *places = sys.argv[1:]
    run_batch_job(BatchJob(MODELS[kind], *places, search=GREEDY, output_field="translation", int8=kind in IN_8_BITS))
