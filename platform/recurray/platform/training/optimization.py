"""The optimizer of a run, as its configuration says."""

from collections.abc import Iterable

import torch
from torch import nn
from torch.optim import Optimizer

from recurray.platform.config.training import AdafactorConfig, AdamConfig, AdamWConfig, OptimizerConfig


def build_optimizer(parameters: Iterable[nn.Parameter], config: OptimizerConfig) -> Optimizer:
    """An optimizer of the parameters, whose learning rate is 0 until `set_learning_rate`.

    Nobody may call its `zero_grad`, which would take the gradients out of the tensor that `Gradient` holds them in.
    """
    match config:
        case AdamConfig(betas=betas):
            return torch.optim.Adam(parameters, lr=0.0, betas=betas, fused=True)
        case AdamWConfig(betas=betas, weight_decay=weight_decay):
            return torch.optim.AdamW(parameters, lr=0.0, betas=betas, weight_decay=weight_decay, fused=True)
        case AdafactorConfig(weight_decay=weight_decay):
            return torch.optim.Adafactor(parameters, lr=0.0, weight_decay=weight_decay)
    raise ValueError(f"there is no optimizer {config.kind}")


def set_learning_rate(optimizer: Optimizer, rate: float) -> None:
    """Sets the rate of the updates that follow."""
    for group in optimizer.param_groups:
        group["lr"] = rate
