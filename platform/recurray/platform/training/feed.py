"""The updates of a run as one worker needs them, each built while the one before is computed."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import torch

from recurray.platform.config.tree import RunConfig
from recurray.platform.data.batches import make_batch
from recurray.platform.data.dealing import MicroBatch, deal
from recurray.platform.data.examples import Examples
from recurray.platform.data.plan import BatchPlan, EpochPlan
from recurray.platform.data.store import Store
from recurray.platform.training.step import Update


@dataclass(frozen=True)
class Dealt:
    """An update's examples, dealt out."""

    shares: list[list[MicroBatch]]
    """Micro-batches of each worker."""
    tokens: int
    """Target pieces in all of them."""
    padding_share: float
    """Share of their positions that are padding."""


class Feed:
    """Makes the update of any number from the store and the plan, with the micro-batches of worker `rank`."""

    def __init__(self, store: Store, config: RunConfig, *, rank: int, workers: int, device: torch.device) -> None:
        self._store = store
        self._rank, self._workers, self._device = rank, workers, device
        self._micro_batch_tokens = config.resources.micro_batch_tokens
        self._plan = BatchPlan(
            store.src.lengths,
            store.tgt.lengths,
            seed=config.seed,
            batch_tokens=config.training.batch_tokens,
            sort_window=config.training.sort_window,
        )
        self._epoch: tuple[int, EpochPlan] | None = None

    @property
    def updates_per_epoch(self) -> int:
        """The same for every epoch."""
        return self._plan.steps_per_epoch

    def epoch_of(self, number: int) -> int:
        """The epoch of update `number`; both count from 1."""
        return (number - 1) // self._plan.steps_per_epoch + 1

    def examples_of(self, number: int) -> Examples:
        """The numbers of all examples of an update, over all workers."""
        epoch, index = divmod(number - 1, self._plan.steps_per_epoch)
        planned = self._epoch  # the thread that builds ahead may be an epoch further
        if planned is None or planned[0] != epoch:
            planned = self._epoch = (epoch, self._plan.epoch(epoch))
        return planned[1].step(index)

    def updates(self, first: int, last: int) -> Iterator[tuple[Update, float]]:
        """Updates `first` to `last`, each with the seconds that were waited for it."""
        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="feed") as builder:
            ahead = builder.submit(self._build, first)
            for number in range(first, last + 1):
                asked = time.perf_counter()
                update = ahead.result()
                waited = time.perf_counter() - asked
                if number < last:
                    ahead = builder.submit(self._build, number + 1)
                yield update, waited

    def deal(self, number: int) -> "Dealt":
        """Update `number` as it is dealt out to all workers."""
        examples = self.examples_of(number)
        src, tgt = self._store.src.lengths[examples], self._store.tgt.lengths[examples]
        shares = deal(examples, src, tgt, workers=self._workers, micro_batch_tokens=self._micro_batch_tokens)
        padded = sum(part.cost for share in shares for part in share)
        tokens = int(tgt.sum())
        return Dealt(shares, tokens, padding_share=1.0 - (int(src.sum()) + tokens) / padded)

    def _build(self, number: int) -> Update:
        dealt = self.deal(number)
        return Update(
            number=number,
            tokens=dealt.tokens,
            micro_batches=[
                make_batch(self._store, part.examples).to(self._device) for part in dealt.shares[self._rank]
            ],
            padding_share=dealt.padding_share,
        )
