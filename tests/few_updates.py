"""A few real updates in the test's own process: what a worker of `recurray train` computes, without Ray around it."""

from dataclasses import dataclass

import torch
from torch import nn

from recurray.platform.config.tree import RunConfig
from recurray.platform.data.preparing import prepare
from recurray.platform.training.learner import Learner


@dataclass(frozen=True)
class Trained:
    network: nn.Module
    losses: list[float]
    """Of each update."""


def train_in_process(config: RunConfig, updates: int) -> Trained:
    """Prepares the data and trains on all of it, as the only worker of the `process_group`."""
    learner = Learner(config, prepare(config), torch.device("cpu"))
    learner.begin(None)
    losses = [learner.learn(update).result.loss for update, _ in learner.updates(updates)]
    return Trained(learner.network.eval(), losses)
