"""Training speed: the platform with two workers of one thread against a plain PyTorch loop with two threads.

Both train the demo's model on the demo's updates; the plain loop takes each update as one padded batch. They run in
turn and the ratio is taken round by round, since the speed of a shared machine drifts.

    python -m tests.benchmarks.training_speed [ROUNDS] [STEPS]
"""

import json
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch

from recurray.jobs.prepare import prepare
from recurray.jobs.recipes import find_recipe
from recurray.models import DropoutKey
from recurray.platform.config.loading import load_config
from recurray.platform.config.tree import RunConfig
from recurray.platform.training.feed import Feed

WARM_UP = 20
NAME = "benchmark-training-speed"


def plain_loop(config: RunConfig) -> float:
    """Target pieces a second of a loop without Ray, DDP, logging or checkpoints, on two threads."""
    torch.set_num_threads(2)
    torch.manual_seed(config.seed)
    prepared = prepare(config)
    network = prepared.task.build_network(config.model, prepared.codec)
    optimizer = torch.optim.Adam(network.parameters(), lr=config.training.learning_rate.peak, fused=True)
    whole = config.resources.model_copy(update={"micro_batch_tokens": 10**9})
    feed = Feed(
        prepared.train, config.model_copy(update={"resources": whole}), rank=0, workers=1, device=torch.device("cpu")
    )
    tokens, began = 0, 0.0
    for update, _ in feed.updates(1, config.training.steps):
        if update.number == WARM_UP + 1:
            tokens, began = 0, time.perf_counter()
        (batch,) = update.micro_batches
        key = DropoutKey(config.seed, update.number, batch.examples)
        optimizer.zero_grad()
        loss = network(batch.src, batch.tgt, key, config.training.label_smoothing).loss / update.tokens
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), config.training.clip_norm)
        optimizer.step()
        tokens += update.tokens
    return tokens / (time.perf_counter() - began)


def platform(config: RunConfig) -> float:
    """Target pieces a second of `recurray train`, from its own log."""
    folder = Path(config.folder)
    shutil.rmtree(folder, ignore_errors=True)
    settings = [f"name={config.name}", f"training.steps={config.training.steps}"]
    settings += [f"training.validate_every={10**6}", f"checkpoints.every={10**6}"]
    command = [sys.executable, "-m", "recurray.jobs", "train", "demo", *settings]
    subprocess.run(command, check=True, capture_output=True)
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    shutil.rmtree(folder)
    # The last row's time holds the last validation, so the clock stops at the row before.
    measured = rows[WARM_UP:-1]
    return sum(row["tokens"] for row in measured) / (measured[-1]["seconds"] - rows[WARM_UP - 1]["seconds"])


def main(rounds: int, steps: int) -> None:
    """Prints both speeds and their ratio for every round, and the median ratio."""
    config = load_config(find_recipe("demo"), [f"name={NAME}", f"training.steps={steps}"])
    ratios = []
    for turn in range(1, rounds + 1):
        plain, ours = plain_loop(config), platform(config)
        ratios.append(ours / plain)
        print(f"round {turn}: plain {plain:,.0f}  platform {ours:,.0f} tokens/s  ratio {ratios[-1]:.3f}", flush=True)
    print(f"median ratio {statistics.median(ratios):.3f} (aim: at least 0.9)")


if __name__ == "__main__":
    main(*(int(word) for word in (*sys.argv[1:], *("3", "150")[len(sys.argv) - 1 :])))
