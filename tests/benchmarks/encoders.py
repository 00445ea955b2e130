"""Encoders at equal size: the demo's data, decoder and training with one encoder after another.

Every network has as many parameters as the demo's within 5 %, and every run takes the same updates, on one worker of
one thread. Speed is measured apart, before the runs: a few updates of each in turn, round by round, since the speed of
a shared machine drifts.

    python -m tests.benchmarks.encoders [STEPS]        (0: speed alone)
"""

import json
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch
from tests.benchmarks.plain_loop import plain_updates

from recurray.jobs.recipes import find_recipe
from recurray.platform.config.loading import load_config
from recurray.platform.network import build_seq2seq

LSTM = "{kind: lstm, hidden_dim: 128}"
ENCODERS = {
    "BiLSTM": "[{kind: lstm, hidden_dim: 256}]",
    "BiGRU": "[{kind: gru, hidden_dim: 288}]",
    "Transformer": "[{kind: transformer, layers: 2, feed_forward_dim: 896}]",
    "Transformer over BiLSTM": f"[{LSTM}, {{kind: transformer, layers: 2, feed_forward_dim: 512, positions: none}}]",
    "BiLSTM over Transformer": "[{kind: transformer, layers: 1, feed_forward_dim: 512}, {kind: lstm, hidden_dim: 192}]",
    "BiLSTM beside Transformer": (
        f"[{{kind: columns, columns: [[{LSTM}], [{{kind: transformer, layers: 1, feed_forward_dim: 768}}]]}}]"
    ),
}
"""`model.encoder` of each row."""

ROUNDS, UPDATES = 5, 6


def settings(name: str, encoder: str, steps: int) -> list[str]:
    """What the row's run sets beside the demo's recipe."""
    run = f"name=encoders-{name.replace(' ', '-')}"
    return [run, f"model.encoder={encoder}", f"training.steps={steps}", "resources.workers=1"]


def parameters(assignments: list[str]) -> int:
    """The network's size."""
    config = load_config(find_recipe("demo"), assignments)
    return sum(weight.numel() for weight in build_seq2seq(config.model, config.tokenizer.vocab_size).parameters())


def speeds() -> dict[str, float]:
    """Median target pieces a second of each encoder's training updates, in this process on one thread."""
    torch.set_num_threads(1)
    takers = {
        name: plain_updates(load_config(find_recipe("demo"), settings(name, encoder, 1000)), last=1000)
        for name, encoder in ENCODERS.items()
    }
    found: dict[str, list[float]] = {name: [] for name in ENCODERS}
    for turn in range(ROUNDS + 1):
        for name, taker in takers.items():
            began = time.perf_counter()
            tokens = sum(next(taker) for _ in range(UPDATES))
            if turn:  # the first round warms up
                found[name].append(tokens / (time.perf_counter() - began))
    return {name: statistics.median(values) for name, values in found.items()}


def train(assignments: list[str], folder: Path) -> float:
    """Trains and scores; returns the most GiB of memory that the worker had."""
    shutil.rmtree(folder, ignore_errors=True)
    command = [sys.executable, "-m", "recurray.jobs", "demo", "demo", *assignments]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    most = 0.0
    while process.poll() is None:
        most = max([most, *_worker_memory()])
        time.sleep(0.5)  # between looks, not for a condition
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    return most


def _worker_memory() -> list[float]:
    """Resident GiB of each Ray Train worker on this machine."""
    found = []
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            if b"RayTrainWorker" in (status.parent / "cmdline").read_bytes():
                fields = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
                found.append(int(fields["VmRSS"].split()[0]) / 2**20)
        except (FileNotFoundError, ProcessLookupError, KeyError):  # ended while we looked
            continue
    return found


def main(steps: int) -> None:
    """Prints the speeds, then a row for each encoder as its run ends."""
    for name, speed in speeds().items():
        print(f"{name}: {speed:,.0f} target pieces a second", flush=True)
    if not steps:
        return
    print("| encoder | parameters | dev BLEU | test BLEU | test chrF | memory of the worker |")
    print("|---|---|---|---|---|---|")
    for name, encoder in ENCODERS.items():
        assignments = settings(name, encoder, steps)
        folder = Path("runs") / assignments[0].removeprefix("name=")
        memory = train(assignments, folder)
        rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        scores = json.loads((folder / "test" / "scores.json").read_text())
        print(
            f"| {name} | {parameters(assignments):,} | {max(row.get('dev/bleu', 0.0) for row in rows):.1f} "
            f"| {scores['bleu']['score']:.2f} | {scores['chrf']['score']:.2f} | {memory:.2f} GiB |",
            flush=True,
        )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 700)
