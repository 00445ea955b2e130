"""Validation: dev loss, and BLEU and chrF of greedy translations, with the dev set shared out to the workers."""

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray

from recurray.models import Seq2Seq, beam_search
from recurray.platform.config.tree import SearchConfig
from recurray.platform.corpora.readers import Pair
from recurray.platform.data.batches import make_batch
from recurray.platform.data.preparing import Prepared
from recurray.platform.evaluation.scores import bleu, chrf
from recurray.platform.inference.translator import max_lengths

_BATCH_ROWS = 64
SAMPLES = 8
"""Dev lines whose translations are shown at every validation."""


@dataclass(frozen=True)
class Validation:
    """What a validation found, the same on every worker."""

    figures: dict[str, float]
    """`dev/loss` and `dev/perplexity` without label smoothing, `dev/bleu`, `dev/chrf`."""
    samples: list[dict[str, str]]
    """The first dev lines as `src`, `ref`, `hyp`."""


class Validator:
    """Validates a model on this worker's share of the dev set and puts the shares together."""

    def __init__(self, prepared: Prepared, search: SearchConfig, device: torch.device) -> None:
        self._store, self._texts, self._tokenizer = prepared.dev, prepared.dev_texts, prepared.tokenizer
        self._search, self._device = search, device
        by_length = np.argsort(self._store.src.lengths, kind="stable")
        batches = [by_length[begin : begin + _BATCH_ROWS] for begin in range(0, len(by_length), _BATCH_ROWS)]
        self._share = batches[dist.get_rank() :: dist.get_world_size()]

    def validate(self, model: Seq2Seq) -> Validation:
        """All workers take part."""
        with torch.inference_mode():
            parts = [self._run(model, examples) for examples in self._share]
        gathered: list[list[tuple[float, dict[int, str]]]] = [[] for _ in range(dist.get_world_size())]
        dist.all_gather_object(gathered, parts)
        everything = [part for share in gathered for part in share]
        found = {line: text for _, texts in everything for line, text in texts.items()}
        loss = sum(nll for nll, _ in everything) / int(self._store.tgt.lengths.sum())
        return _conclude(loss, [found[line] for line in range(len(self._texts))], self._texts)

    def _run(self, model: Seq2Seq, examples: NDArray[np.int64]) -> tuple[float, dict[int, str]]:
        """The summed negative log-likelihood of some dev examples, and their greedy translations."""
        batch = make_batch(self._store, examples).to(self._device)
        nll = float(model(batch.src, batch.tgt).nll)
        limits = max_lengths(batch.src.lengths, self._search)
        found = beam_search(model, batch.src, beam_size=1, length_penalty=0.0, max_lengths=limits)
        texts = self._tokenizer.decode([hypothesis.pieces for hypothesis in found])
        return nll, dict(zip(examples.tolist(), texts, strict=True))


def _conclude(loss: float, hypotheses: list[str], texts: list[Pair]) -> Validation:
    references = [pair.tgt for pair in texts]
    figures = {
        "dev/loss": loss,
        "dev/perplexity": math.exp(loss),
        "dev/bleu": bleu(hypotheses, references).score,
        "dev/chrf": chrf(hypotheses, references).score,
    }
    shown = zip(texts[:SAMPLES], hypotheses, strict=False)
    return Validation(figures, [{"src": pair.src, "ref": pair.tgt, "hyp": text} for pair, text in shown])
