"""One update of the weights: the mathematics of promise 2.

The gradient of an update is the sum over its target pieces, on all workers and in all micro-batches, divided once by
their number. Nothing here knows how the update was cut.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import nn
from torch.optim import Optimizer

from recurray.models import DropoutKey
from recurray.platform.config.training import Precision
from recurray.platform.data.batches import Batch
from recurray.platform.errors import UserError
from recurray.platform.training.gradient import Gradient
from recurray.platform.training.memory import is_out_of_memory
from recurray.platform.training.precision import computing_in

_LOSS, _NLL, _CALLS, _HALVINGS, _MISTAKES = range(5)
"""What the sums beside the gradient are."""


@dataclass(frozen=True)
class Update:
    """What one step of the run is made of."""

    number: int
    """Counted from 1 over the run."""
    tokens: int
    """Target pieces in the whole update, over all workers."""
    micro_batches: Sequence[Batch]
    """This worker's share of its examples; it may be empty."""
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
    calls: int
    """Workers that called all of them together after this step."""
    halvings: int
    """How often a worker ran out of memory and halved its micro-batches."""


class TrainStep:
    """Takes updates with a network, whose parameters' gradients it owns.

    Args:
        network: source and target to loss sums.
        optimizer: of the network's parameters.
        seed: the run's.
        label_smoothing: share of the target's probability that is spread over the vocabulary.
        clip_norm: a longer gradient of an update is scaled down to this norm.
        precision: what forward and backward passes compute in.

    Raises ValueError where the parameters are not of one type.
    """

    def __init__(
        self,
        network: nn.Module,
        optimizer: Optimizer,
        *,
        seed: int,
        label_smoothing: float,
        clip_norm: float,
        precision: Precision = "float32",
    ) -> None:
        self._network, self._optimizer, self._precision = network, optimizer, precision
        self._seed, self._label_smoothing, self._clip_norm = seed, label_smoothing, clip_norm
        self._gradient = Gradient(network)
        self.micro_batch_bound: int | None = None
        """Padded pieces of a micro-batch that memory has room for, once it had no room for more."""

    def __call__(self, update: Update, *, calls: bool = False) -> StepResult:
        """Makes the update's gradient and, where it is finite, lets the optimizer use it.

        All workers take part, those without a share too; where one `calls`, all of them hear it. Raises UserError, on
        all of them, where one has not the memory for an example by itself.
        """
        mistake = self._accumulate(update)
        self._gradient.sums[_CALLS] += float(calls)
        self._gradient.sums[_MISTAKES] += float(mistake is not None)
        self._gradient.all_reduce()
        found = torch.cat((self._gradient.sums, self._gradient.norm()[None])).tolist()  # the step's one wait
        if found[_MISTAKES]:
            raise UserError(_first(mistake))
        loss, nll, grad_norm = (found[place] / update.tokens for place in (_LOSS, _NLL, -1))
        finite = math.isfinite(loss) and math.isfinite(grad_norm)
        if finite:
            self._gradient.scale(min(1.0, self._clip_norm / max(grad_norm, 1e-12)) / update.tokens)
            self._optimizer.step()
        calls_heard, halvings = round(found[_CALLS]), round(found[_HALVINGS])
        return StepResult(loss, nll, grad_norm, skipped=not finite, calls=calls_heard, halvings=halvings)

    def _accumulate(self, update: Update) -> str | None:
        """Adds up this worker's gradient and sums; returns why it could not, if it could not.

        Where memory runs out it begins again with smaller micro-batches, so that nothing is added twice.
        """
        halvings = 0
        self._gradient.zero()
        while (batch := self._first_without_room(update)) is not None:
            self._gradient.zero()
            if len(batch.examples) == 1:
                return _too_large(batch)
            self.micro_batch_bound = batch.padded_tokens // 2
            halvings += 1
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
        self._gradient.sums[_HALVINGS] += halvings
        return None

    def _first_without_room(self, update: Update) -> Batch | None:
        """Adds micro-batches, up to the first that memory had no room for."""
        for batch in update.micro_batches:
            for part in batch.cut(self.micro_batch_bound):
                if not self._add(part, update.number):
                    return part
        return None

    def _add(self, batch: Batch, number: int) -> bool:
        """Adds a micro-batch's gradient and sums; False where memory had no room for it."""
        key = DropoutKey(self._seed, number, batch.examples)
        try:
            with computing_in(self._precision, batch.src.values.device):
                found = self._network(batch.src, batch.tgt, key, self._label_smoothing)
            found.loss.backward()
        except (RuntimeError, MemoryError) as fault:
            if is_out_of_memory(fault):
                return False
            raise
        self._gradient.sums[_LOSS] += found.loss.detach()
        self._gradient.sums[_NLL] += found.nll
        return True


def _too_large(batch: Batch) -> str:
    return (
        f"training example {int(batch.examples[0])}, of {int(batch.src.lengths[0])} source and "
        f"{int(batch.tgt.lengths[0])} target pieces, does not fit into memory even alone; lower "
        "data.max_src_pieces, or set resources.segment_length."
    )


def _first(mistake: str | None) -> str:
    """The first worker's mistake, on every worker."""
    mistakes: list[str | None] = [None] * dist.get_world_size()
    dist.all_gather_object(mistakes, mistake)
    return next(found for found in mistakes if found is not None)
