"""Validation: dev loss and the task's scores of greedy results, with the dev set shared out to the workers."""

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import nn

from recurray.platform.config.search import SearchConfig
from recurray.platform.corpora.readers import Pair
from recurray.platform.data.batches import make_batch
from recurray.platform.data.preparing import Prepared
from recurray.platform.evaluation.scores import scores_of

BATCH_POSITIONS = 8192
"""Padded source and target positions that are validated at once."""
SAMPLES = 8
"""Dev records whose results are shown at every validation."""
SAMPLE_CHARACTERS = 1000
"""How much of each text of theirs is shown."""


@dataclass(frozen=True)
class Validation:
    """What a validation found, the same on every worker."""

    figures: dict[str, float]
    """`dev/loss` without label smoothing, `dev/perplexity` if the task has one, `dev/NAME` for each of its metrics."""
    samples: list[dict[str, str]]
    """The first dev records as `src`, `ref`, `hyp`, long ones cut short with an ellipsis."""


class Validator:
    """Validates a network on this worker's share of the dev set and puts the shares together."""

    def __init__(self, prepared: Prepared, search: SearchConfig, device: torch.device) -> None:
        self._task, self._codec = prepared.task, prepared.codec
        self._store, self._texts = prepared.dev, prepared.dev_texts
        self._search, self._device = search.greedy(), device
        self._share = self._batches()[dist.get_rank() :: dist.get_world_size()]

    def _batches(self) -> list[NDArray[np.int64]]:
        """The dev set by source length, in batches of about BATCH_POSITIONS."""
        lengths = self._store.src.lengths[:] + self._store.tgt.lengths[:]
        by_length = np.argsort(lengths, kind="stable")
        return np.split(by_length, np.flatnonzero(np.diff(np.cumsum(lengths[by_length]) // BATCH_POSITIONS)) + 1)

    def validate(self, network: nn.Module) -> Validation:
        """All workers take part."""
        with torch.inference_mode():
            parts = [self._run(network, examples) for examples in self._share]
        gathered: list[list[tuple[float, dict[int, str]]]] = [[] for _ in range(dist.get_world_size())]
        dist.all_gather_object(gathered, parts)
        everything = [part for share in gathered for part in share]
        found = {record: text for _, texts in everything for record, text in texts.items()}
        loss = sum(nll for nll, _ in everything) / int(self._store.tgt.lengths[:].sum())
        return self._conclude(loss, [found[record] for record in range(len(self._texts))])

    def _run(self, network: nn.Module, examples: NDArray[np.int64]) -> tuple[float, dict[int, str]]:
        """The summed negative log-likelihood of some dev examples, and their greedy results."""
        batch = make_batch(self._store, examples).to(self._device)
        nll = float(network(batch.src, batch.tgt).nll)
        texts = self._task.predict(network, self._codec, batch.src, self._search)
        return nll, dict(zip(examples.tolist(), texts, strict=True))

    def _conclude(self, loss: float, hypotheses: list[str]) -> Validation:
        references = [pair.tgt for pair in self._texts]
        scores = scores_of(self._task.dev_metrics, hypotheses, references)
        figures = {"dev/loss": loss}
        if self._task.has_perplexity:
            figures["dev/perplexity"] = math.exp(min(loss, 100.0))
        figures |= {f"dev/{name}": score.score for name, score in scores.items()}
        shown = zip(self._texts[:SAMPLES], hypotheses, strict=False)
        return Validation(figures, [_sample(pair, text) for pair, text in shown])


def _sample(pair: Pair, hypothesis: str) -> dict[str, str]:
    texts = {"src": pair.src, "ref": pair.tgt, "hyp": hypothesis}
    return {
        side: text if len(text) <= SAMPLE_CHARACTERS else text[:SAMPLE_CHARACTERS] + " …"
        for side, text in texts.items()
    }
