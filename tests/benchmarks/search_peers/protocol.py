"""What every system under `tests.benchmarks.search_speed` speaks, in whatever Python it lives.

Its argument is a job: the JSON file that the fields of `Job` are read from. It loads, warms up, and writes a line with
its number of parameters. Then each line of its input is a batch size, for which it searches all lines and answers with
the seconds that took and the pieces that came out.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Batch:
    """Lines that are searched together, or in the order given where a system makes its batches itself."""

    texts: list[str]
    sources: list[list[int]]
    """The texts' pieces, the longest first, each ending in EOS."""
    length: int
    """Pieces that every hypothesis is made to have."""


@dataclass(frozen=True)
class Job:
    """What to search, and how."""

    model: str
    """Folder of recurray's model; the others make their own, of random weights."""
    vocab: int
    """Pieces in the vocabulary, those below among them."""
    pad: int
    unk: int
    bos: int
    eos: int
    beam: int
    threads: int
    texts: list[str]
    sources: list[list[int]]

    def batches(self, size: int) -> list[Batch]:
        """Lines of like length together, the longest first; the length of a batch is the mean of its sources'."""
        rows = sorted(range(len(self.sources)), key=lambda row: -len(self.sources[row]))
        return [self._batch(rows[begin : begin + size]) for begin in range(0, len(rows), size)]

    def _batch(self, rows: list[int]) -> Batch:
        sources = [self.sources[row] for row in rows]
        return Batch([self.texts[row] for row in rows], sources, round(sum(map(len, sources)) / len(sources)))

    def names(self) -> list[str]:
        """A name for each piece but the special ones, for systems that read words."""
        special = {self.pad, self.unk, self.bos, self.eos}
        return [f"p{number}" for number in range(self.vocab) if number not in special]


Search = Callable[[list[Batch]], int]
"""Searches the batches and gives the number of pieces that came out, ends among them."""


def serve(start: Callable[[Job], tuple[Search, int]]) -> None:
    """Speaks the protocol; `start` gives the search and the number of the model's parameters."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what libraries print must not stand between the answers
    job = Job(**json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
    search, parameters = start(job)
    clock = time.process_time if job.threads == 1 else time.perf_counter
    search(job.batches(32)[-2:])
    print(json.dumps({"parameters": parameters}), file=answers, flush=True)
    for line in sys.stdin:
        batches = job.batches(int(line))
        began = clock()
        pieces = search(batches)
        print(json.dumps({"seconds": clock() - began, "pieces": pieces}), file=answers, flush=True)
