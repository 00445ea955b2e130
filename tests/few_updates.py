"""A few real updates in the test's own process: what a worker of `recurray train` computes, without Ray around it."""

from dataclasses import dataclass

import torch
from torch import nn

from recurray.platform.config.tree import RunConfig
from recurray.platform.data.preparing import prepare
from recurray.platform.training.feed import Feed
from recurray.platform.training.loop import build_network
from recurray.platform.training.optimization import build_optimizer, set_learning_rate
from recurray.platform.training.schedule import learning_rate
from recurray.platform.training.step import TrainStep


@dataclass(frozen=True)
class Trained:
    network: nn.Module
    losses: list[float]
    """Of each update."""


def train_in_process(config: RunConfig, updates: int) -> Trained:
    """Prepares the data and trains on all of it, as the only worker of the `process_group`."""
    prepared, training = prepare(config), config.training
    network = build_network(config, prepared)
    optimizer = build_optimizer(network.parameters(), training.optimizer)
    train_step = TrainStep(
        network,
        optimizer,
        seed=config.seed,
        label_smoothing=training.label_smoothing,
        clip_norm=training.clip_norm,
    )
    feed = Feed(prepared.train, config, rank=0, workers=1, device=torch.device("cpu"))
    losses = []
    for update, _ in feed.updates(1, updates):
        set_learning_rate(optimizer, learning_rate(update.number, training.steps, training.learning_rate))
        result = train_step(update)
        losses.append(result.loss)
    return Trained(network.eval(), losses)
