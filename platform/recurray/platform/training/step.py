"""One update of the weights: the mathematics of promise 2.

The gradient of an update is the sum over its target pieces, on all workers and in all micro-batches, divided once by
their number. Nothing here knows how the update was cut.
"""

import contextlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor
from torch._C._distributed_c10d import GradBucket
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from recurray.models import DropoutKey
from recurray.platform.data.batches import Batch


@dataclass(frozen=True)
class Update:
    """What one step of the run is made of."""

    number: int
    """Counted from 1 over the run."""
    tokens: int
    """Target pieces in the whole update, over all workers."""
    micro_batches: Sequence[Batch]
    """This worker's share of its examples."""
    stand_in: Batch
    """One of its examples, which a worker without a share runs with weight 0 so that it joins the all-reduce."""
    padding_share: float
    """Share of the positions of all workers' micro-batches that are padding."""


@dataclass(frozen=True)
class StepResult:
    """What a step found, the same on every worker."""

    loss: float
    """Label-smoothed cross-entropy, in nats per target piece."""
    nll: float
    """Negative log-likelihood, in nats per target piece."""
    grad_norm: float
    """Norm of the update's gradient before clipping."""
    skipped: bool
    """The loss or the gradient was not finite, so the weights were left alone."""


def sum_gradients(_: object, bucket: GradBucket) -> torch.futures.Future[Tensor]:
    """DDP communication hook: gradients are summed over the workers, where DDP's own would take their mean."""
    work = dist.all_reduce(bucket.buffer(), async_op=True)
    assert work is not None  # async_op
    summed: torch.futures.Future[Tensor] = work.get_future().then(lambda future: future.value()[0])
    return summed


def train_step(
    model: DistributedDataParallel,
    optimizer: Optimizer,
    update: Update,
    *,
    seed: int,
    label_smoothing: float,
    clip_norm: float,
) -> StepResult:
    """Accumulates the update's gradient and, where it is finite, lets the optimizer use it.

    `model` has `sum_gradients` as its communication hook. All workers take part, those without a share too.
    """
    optimizer.zero_grad(set_to_none=True)
    sums = _accumulate(model, update, seed, label_smoothing)
    dist.all_reduce(sums)
    grads = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    norm = torch.nn.utils.get_total_norm(grads) / update.tokens
    loss, nll, grad_norm = torch.cat((sums / update.tokens, norm[None])).tolist()  # the step's one wait for the device
    finite = math.isfinite(loss) and math.isfinite(grad_norm)
    if finite:
        scale = min(1.0, clip_norm / max(grad_norm, 1e-12)) / update.tokens
        for grad in grads:
            grad.mul_(scale)
        optimizer.step()
    return StepResult(loss, nll, grad_norm, skipped=not finite)


def _accumulate(model: DistributedDataParallel, update: Update, seed: int, label_smoothing: float) -> Tensor:
    """Adds up this worker's gradient, all-reduced with the last micro-batch; returns its sums of loss and nll."""
    shares = [(batch, 1.0) for batch in update.micro_batches] or [(update.stand_in, 0.0)]
    sums = []
    for index, (batch, weight) in enumerate(shares):
        # DDP decides in the forward pass whether the backward pass will all-reduce.
        with contextlib.nullcontext() if index == len(shares) - 1 else model.no_sync():
            key = DropoutKey(seed, update.number, batch.examples)
            found = model(batch.src, batch.tgt, key, label_smoothing)
            (weight * found.loss).backward()
        sums.append(weight * torch.stack((found.loss.detach(), found.nll)))
    return torch.stack(sums).sum(dim=0)
