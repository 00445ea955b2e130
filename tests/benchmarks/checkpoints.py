"""What a checkpoint costs a training: how long it is held, and how long the writing takes beside it.

In one process, with the demo's network and Adam, on one thread, a store in the temporary folder; medians of 9.

    python -m tests.benchmarks.checkpoints
"""

import statistics
import tempfile
import time
from pathlib import Path

import torch
import torch.distributed as dist

from recurray.jobs.recipes import find_recipe
from recurray.platform.config.loading import load_config
from recurray.platform.data.preparing import prepare
from recurray.platform.training.checkpoint_store import CheckpointStore
from recurray.platform.training.checkpoints import Checkpoints
from recurray.platform.training.learner import Learner

TIMES = 9


def main() -> None:
    """Prints sizes and times."""
    torch.set_num_threads(1)
    config = load_config(find_recipe("demo"))
    with tempfile.TemporaryDirectory(prefix="recurray-checkpoints-") as folder:
        dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=0, world_size=1)
        learner = Learner(config, prepare(config), torch.device("cpu"))
        learner.begin(None)
        for update, _ in learner.updates(1):
            learner.learn(update)  # so that there are moments
        store = CheckpointStore(f"{folder}/store")
        store.open()
        checkpoints = Checkpoints(store, config, tell=print)
        held, written = [], []
        for step in range(1, TIMES + 1):
            began = time.perf_counter()
            checkpoints.save(learner.state(), step, score=None)
            held.append(time.perf_counter() - began)
            checkpoints.check(waits=True)
            written.append(time.perf_counter() - began)
        began = time.perf_counter()
        store.newest_whole()
        read = time.perf_counter() - began
        size = (Path(folder) / "store" / f"step-{TIMES:08}" / "state.pt").stat().st_size
        dist.destroy_process_group()
    parameters = sum(parameter.numel() for parameter in learner.network.parameters())
    print(f"{parameters / 1e6:.1f} million parameters, a state of {size / 1e6:.1f} MB")
    print(f"training is held for {1e3 * statistics.median(held):.0f} ms (longest {1e3 * max(held):.0f})")
    print(
        f"it is written and whole after {1e3 * statistics.median(written):.0f} ms, read and checked in {1e3 * read:.0f}"
    )


if __name__ == "__main__":
    main()
