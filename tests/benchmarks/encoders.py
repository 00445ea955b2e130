"""Encoders at equal size: the demo's data, decoder and training with one encoder after another.

Every network has as many parameters as the demo's within 5 %, and every run takes the same updates, on one worker of
one thread.

    python -m tests.benchmarks.encoders [STEPS]
"""

import json
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

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

WARM_UP = 20


def settings(name: str, encoder: str, steps: int) -> list[str]:
    """What the row's run sets beside the demo's recipe."""
    run = f"name=encoders-{name.replace(' ', '-')}"
    return [run, f"model.encoder={encoder}", f"training.steps={steps}", "resources.workers=1"]


def parameters(assignments: list[str]) -> int:
    """The network's size."""
    config = load_config(find_recipe("demo"), assignments)
    return sum(weight.numel() for weight in build_seq2seq(config.model, config.tokenizer.vocab_size).parameters())


def train(assignments: list[str], folder: Path) -> tuple[float, float]:
    """Trains and scores; median target pieces a second of the steps without validation, and the workers' memory."""
    shutil.rmtree(folder, ignore_errors=True)
    command = [sys.executable, "-m", "recurray.jobs", "demo", "demo", *assignments]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    most = 0.0
    while process.poll() is None:
        most = max([most, *_worker_memory()])
        time.sleep(0.5)  # between looks, not for a condition
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return statistics.median(row["tokens_per_second"] for row in rows[WARM_UP:-1] if "dev/loss" not in row), most


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
    """Prints a row for each encoder as its run ends."""
    print("| encoder | parameters | dev BLEU | test BLEU | test chrF | tokens/s | memory of the worker |")
    print("|---|---|---|---|---|---|---|")
    for name, encoder in ENCODERS.items():
        assignments = settings(name, encoder, steps)
        folder = Path("runs") / assignments[0].removeprefix("name=")
        speed, memory = train(assignments, folder)
        rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        scores = json.loads((folder / "test" / "scores.json").read_text())
        print(
            f"| {name} | {parameters(assignments):,} | {max(row.get('dev/bleu', 0.0) for row in rows):.1f} "
            f"| {scores['bleu']['score']:.2f} | {scores['chrf']['score']:.2f} | {speed:,.0f} | {memory:.2f} GiB |",
            flush=True,
        )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 700)
