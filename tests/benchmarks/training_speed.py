"""Training speed: the platform against a plain PyTorch loop, and two workers against one.

All train the demo's model on the demo's updates; the plain loop takes each update as one padded batch, without Ray,
logging or checkpoints. What two workers could reach at most on this machine is shown by two plain loops beside each
other, each with one worker's share of every update and nothing to wait for. All run in turn and ratios are taken round
by round, since a shared machine's speed drifts.

    python -m tests.benchmarks.training_speed [ROUNDS] [STEPS]
"""

import json
import multiprocessing
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


def plain_loop(config: RunConfig, threads: int, rank: int = 0, workers: int = 1) -> float:
    """Target pieces a second of a loop in this process, those of whole updates also where it has a share of each."""
    torch.set_num_threads(threads)
    torch.manual_seed(config.seed)
    prepared = prepare(config)
    network = prepared.task.build_network(config.model, prepared.codec)
    optimizer = torch.optim.Adam(network.parameters(), lr=config.training.learning_rate.peak, fused=True)
    whole = config.resources.model_copy(update={"micro_batch_tokens": 10**9})
    feed = Feed(
        prepared.train,
        config.model_copy(update={"resources": whole}),
        rank=rank,
        workers=workers,
        device=torch.device("cpu"),
    )
    tokens, began = 0, 0.0
    for update, _ in feed.updates(1, config.training.steps):
        if update.number == WARM_UP + 1:
            tokens, began = 0, time.perf_counter()
        optimizer.zero_grad()
        for batch in update.micro_batches:
            key = DropoutKey(config.seed, update.number, batch.examples)
            loss = network(batch.src, batch.tgt, key, config.training.label_smoothing).loss / update.tokens
            loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), config.training.clip_norm)
        optimizer.step()
        tokens += update.tokens
    return tokens / (time.perf_counter() - began)


def shares_side_by_side(config: RunConfig) -> float:
    """Target pieces a second of the slower of two loops of one thread, each with one of two workers' shares."""
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        return min(pool.starmap(plain_loop, [(config, 1, rank, 2) for rank in range(2)]))


def platform(config: RunConfig, workers: int) -> tuple[float, float]:
    """Target pieces a second of `recurray train` with workers of one thread, by its own log, and its wait for data."""
    folder = Path(config.folder)
    shutil.rmtree(folder, ignore_errors=True)
    settings = [f"name={config.name}", f"training.steps={config.training.steps}"]
    settings += [f"training.validate_every={10**6}", f"checkpoints.every={10**6}"]
    settings += [f"resources.workers={workers}"]
    command = [sys.executable, "-m", "recurray.jobs", "train", "demo", *settings]
    subprocess.run(command, check=True, capture_output=True)
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    shutil.rmtree(folder)
    # The last row's time holds the last validation, so the clock stops at the row before.
    measured = rows[WARM_UP:-1]
    seconds = measured[-1]["seconds"] - rows[WARM_UP - 1]["seconds"]
    waits = statistics.mean(row["data_wait_share"] for row in measured)
    return sum(row["tokens"] for row in measured) / seconds, waits


def main(rounds: int, steps: int) -> None:
    """Prints the speeds of every round, and the median ratios."""
    config = load_config(find_recipe("demo"), [f"name={NAME}", f"training.steps={steps}"])
    ratios: dict[str, list[float]] = {}
    for turn in range(1, rounds + 1):
        plain_one, plain_two = plain_loop(config, 1), plain_loop(config, 2)
        shares = shares_side_by_side(config)
        (one, _), (two, waits) = platform(config, 1), platform(config, 2)
        found = {
            "two workers to the plain loop's two threads (aim: at least 0.9)": two / plain_two,
            "one worker to the plain loop's one thread (aim: at least 1 / 1.05)": one / plain_one,
            "two workers to one (aim: at least 1.8)": two / one,
            "what the machine allows of that: plain loops with two workers' shares, to one with all": shares
            / plain_one,
            "two workers to such loops": two / shares,
            "share of waiting for data (aim: at most 0.02)": waits,
        }
        for name, ratio in found.items():
            ratios.setdefault(name, []).append(ratio)
        print(
            f"round {turn}: tokens/s  plain, one thread {plain_one:,.0f}  two threads {plain_two:,.0f}  shares side "
            f"by side {shares:,.0f}  one worker {one:,.0f}  two workers {two:,.0f}",
            flush=True,
        )
    for name, values in ratios.items():
        print(f"{statistics.median(values):.3f}  {name}")


if __name__ == "__main__":
    main(*(int(word) for word in (*sys.argv[1:], *("3", "150")[len(sys.argv) - 1 :])))
