"""A plain PyTorch loop over a run's updates, each one padded batch: no Ray, no log, no checkpoints."""

from collections.abc import Iterator

import torch

from recurray.jobs.prepare import prepare
from recurray.models import DropoutKey
from recurray.platform.config.tree import RunConfig
from recurray.platform.training.feed import Feed


def plain_updates(config: RunConfig, *, last: int, rank: int = 0, loops: int = 1) -> Iterator[int]:
    """Takes updates 1 to `last`, or its share of each where it is one of several loops.

    Gives the target pieces of each whole update, once it is taken.
    """
    torch.manual_seed(config.seed)
    prepared = prepare(config)
    network = prepared.task.build_network(config.model, prepared.codec)
    optimizer = torch.optim.Adam(network.parameters(), lr=config.training.learning_rate.peak, fused=True)
    whole = config.resources.model_copy(update={"micro_batch_tokens": 10**9})
    feed = Feed(
        prepared.train,
        config.model_copy(update={"resources": whole}),
        rank=rank,
        workers=loops,
        device=torch.device("cpu"),
    )
    for update, _ in feed.updates(1, last):
        optimizer.zero_grad()
        for batch in update.micro_batches:
            key = DropoutKey(config.seed, update.number, batch.examples)
            loss = network(batch.src, batch.tgt, key, config.training.label_smoothing).loss / update.tokens
            loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), config.training.clip_norm)
        optimizer.step()
        yield update.tokens
