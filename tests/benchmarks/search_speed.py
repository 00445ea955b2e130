"""Speed of beam search: the demo's model by `Translator.translate` against other systems with models of equal size.

The demo's test lines are translated with a beam of 5 by recurray and by each peer that has a Python in PEERS/NAME/bin;
`docs/search-speed.md` says how these are made. Each runs in a process of its own (`search_peers/`), which loads first.

How long outputs are decides what a search costs, and a model that was not trained does not end. So every system is
made to give as many pieces, in real lines of the same pieces: lines of like length stand in a batch, and all
hypotheses of a batch get the mean length of its sources. recurray's model is the trained one, the others have random
weights; none can end earlier, and no line leaves its batch before the others. recurray's speed on lines that end by
themselves is printed below the table.

Systems run in turn, each at the batch size that suits it best, and ratios are taken round by round, since the speed of
a shared machine drifts. One thread is timed by CPU time, more by the clock.

    python -m tests.benchmarks.search_speed PEERS [THREADS] [ROUNDS] [EVERY]      (EVERY 3: a third of the lines)
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from recurray.models import BOS, EOS, PAD, UNK
from recurray.platform import Translator
from recurray.platform.data.tokenizer import Tokenizer
from recurray.platform.freed_memory import KEPT_BYTES
from recurray.platform.inference.records import read_lines

MODEL, TEST = Path("runs/demo/model"), Path("data/homeassistant-en-de/test.en")
SHORTLIST = TEST.with_name("train.de")
BEAM = 5
SIZES = (16, 32, 64, 128)
SCRIPTS = Path(__file__).parent / "search_peers"
FREED_MEMORY_KEPT = {f"MALLOC_{name}_": str(size) for name, size in KEPT_BYTES.items()}
"""For every system alike, by the environment, what recurray's jobs ask for by `keep_freed_memory`."""
SYSTEMS = {
    "recurray": ("recurray", []),
    "recurray, weights of 8 bits": ("recurray", ["int8"]),
    "recurray, 8 bits and a shortlist": ("recurray", ["int8", str(SHORTLIST)]),
    "Hugging Face Marian, Transformer": ("huggingface", []),
    "Marian, Transformer": ("marian", []),
    "Marian, LSTM": ("marian", ["rnn"]),
    "JoeyNMT, LSTM": ("joeynmt", []),
    "eole, LSTM": ("eole", []),
    "OpenNMT-py, LSTM": ("opennmt", []),
}
"""The script of each, and its arguments beside the job."""


@dataclass
class System:
    """One system in its process, and the pieces a second of each of its rounds."""

    name: str
    process: subprocess.Popen[str]
    log: Path
    """What it writes beside its answers."""
    parameters: int = 0
    size: int = 0
    """The batch size that suits it best."""
    speeds: list[float] = field(default_factory=list)

    def answer(self) -> dict[str, Any]:
        """The process's next line."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.name} ended with {self.process.wait()}:\n{self.log.read_text()[-2000:]}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def speed(self, size: int) -> float:
        """Pieces a second at a batch size."""
        assert self.process.stdin is not None
        print(size, file=self.process.stdin, flush=True)
        answer = self.answer()
        speed = float(answer["pieces"] / answer["seconds"])
        print(f"{self.name}, {size} lines in a batch: {speed:,.0f} pieces/s", file=sys.stderr, flush=True)
        return speed

    def find_size(self) -> None:
        """Tries each batch size twice."""
        best = {size: max(self.speed(size), self.speed(size)) for size in SIZES}
        self.size = max(SIZES, key=best.__getitem__)


def begin(peers: Path, job: Path, threads: int) -> list[System]:
    """Starts every system that is there, one after the other, and waits until it is ready."""
    systems = []
    for name, (script, arguments) in SYSTEMS.items():
        python = Path(sys.executable) if script == "recurray" else peers / script / "bin" / "python"
        if not python.exists():
            print(f"{name}: not measured, there is no {python}")
            continue
        with (job.parent / f"{script}.log").open("w") as log:
            process = subprocess.Popen(
                [python, SCRIPTS / f"with_{script}.py", job, *arguments],
                env={
                    **os.environ,
                    **FREED_MEMORY_KEPT,
                    **dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(threads)),
                },
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        system = System(name, process, Path(log.name))
        systems.append(system)
        system.parameters = system.answer()["parameters"]
    return systems


def write_job(path: Path, texts: list[str], threads: int) -> int:
    """What `search_peers.protocol.Job` reads; returns the pieces of all sources."""
    tokenizer = Tokenizer.load(MODEL)
    sources = tokenizer.encode(texts)
    special = {"pad": PAD, "unk": UNK, "bos": BOS, "eos": EOS}
    job = {"model": str(MODEL), "vocab": tokenizer.vocab_size, **special, "beam": BEAM, "threads": threads}
    path.write_text(json.dumps({**job, "texts": texts, "sources": sources}), encoding="utf-8")
    return sum(map(len, sources))


def lines_a_second(translator: Translator, texts: list[str], threads: int) -> float:
    """Of recurray, when its translations end by themselves."""
    clock = time.process_time if threads == 1 else time.perf_counter
    began = clock()
    translator.translate(texts, translator.search.model_copy(update={"beam_size": BEAM}))
    return len(texts) / (clock() - began)


def main(peers: Path, threads: int, rounds: int, every: int) -> None:
    """Prints a table of the medians."""
    torch.set_num_threads(threads)
    texts = read_lines(TEST)[::every]
    translator = Translator.from_pretrained(MODEL)
    with tempfile.TemporaryDirectory(prefix="recurray-search-speed-") as folder:
        job = Path(folder) / "job.json"
        pieces = write_job(job, texts, threads)
        systems = begin(peers, job, threads)
        for system in systems:
            system.find_size()
        free = []
        for turn in range(rounds):
            for system in systems[:: -1 if turn % 2 else 1]:
                system.speeds.append(system.speed(system.size))
            free.append(lines_a_second(translator, texts, threads))
        for system in systems:
            system.process.communicate()  # ends its input, and so the process
    print(f"{len(texts)} lines, {pieces:,} pieces, {threads} threads, medians of {rounds} rounds\n")
    print_table(systems, len(texts) / pieces)
    print(f"\nrecurray, when translations end by themselves: {statistics.median(free):.0f} lines/s")


def print_table(systems: list[System], lines_a_piece: float) -> None:
    """Medians of all rounds; a ratio is the median of each round's."""
    ours = systems[0].speeds
    print("| system | parameters | lines in a batch | pieces/s | lines/s | recurray is so many times as fast |")
    print("|---|---|---|---|---|---|")
    for system in systems:
        speed = statistics.median(system.speeds)
        ratio = statistics.median(a / b for a, b in zip(ours, system.speeds, strict=True))
        print(
            f"| {system.name} | {system.parameters / 1e6:.2f} M | {system.size} | {speed:,.0f} "
            f"| {speed * lines_a_piece:.0f} | {ratio:.2f} |"
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]), *(int(word) for word in (*sys.argv[2:], *("1", "3", "1")[len(sys.argv) - 2 :])))
