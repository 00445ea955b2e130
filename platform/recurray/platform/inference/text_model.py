"""A saved model of texts, ready for use."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar, Self

import torch

from recurray.models import Hypothesis, Room, Seq2Seq
from recurray.models.products.int8 import Int8Linear
from recurray.models.products.packed import PackedLinear, has_kernels
from recurray.models.products.replacing import replace_products
from recurray.platform.config.search import SearchConfig
from recurray.platform.errors import UserError
from recurray.platform.saved_model import SavedConfig, SavedModel, load
from recurray.platform.tasks.shortlist import Shortlist
from recurray.platform.tasks.text import TextTask, tokenizer_of

STREAM_TEXTS = 256
"""Texts of a stream that are searched together."""


@dataclass(frozen=True)
class Result:
    """One result of a text."""

    text: str
    score: float
    """Log-probability / length penalty, with the coverage penalty if there is one; -inf where there is no result."""
    pieces: list[str]
    """What the text is made of, as the vocabulary spells it."""
    log_probs: list[float]
    """Log-probability of each piece, and last of the end."""
    places: list[int] | None
    """For each piece, and last for the end, the source piece that it attends to most, if asked for."""

    @classmethod
    def joined(cls, parts: "Sequence[Sequence[Result]]") -> "list[Result]":
        """Those of a text from those of its parts, the k-th from each part's k-th; of no parts there are none."""
        if len(parts) < 2:
            return list(parts[0]) if parts else []
        chosen = [[part[min(k, len(part) - 1)] for part in parts] for k in range(max(map(len, parts)))]
        return [
            cls(
                text=" ".join(each.text for each in results),
                score=sum(each.score for each in results),
                pieces=[piece for each in results for piece in each.pieces],
                log_probs=[log_prob for each in results for log_prob in each.log_probs],
                places=None,
            )
            for results in chosen
        ]

    def to_json(self) -> dict[str, Any]:
        """As a record holds it; a score of -inf, where there is no result, is null."""
        finite = {
            "score": self.score if math.isfinite(self.score) else None,
            "log_probs": [round(each, 5) for each in self.log_probs if math.isfinite(each)],
        }
        return asdict(self) | finite


class TextModel:
    """A model that turns each text into another; see `Translator` and `Summarizer`. Threads may share one."""

    task: ClassVar[str]
    """The task of the models that it loads."""
    splits_long: ClassVar[bool]
    """Whether a text longer than those trained on is better taken in parts."""

    def __init__(
        self,
        model: SavedModel,
        device: torch.device,
        *,
        int8: bool = False,
        bfloat16: bool = False,
        shortlist: Shortlist | None = None,
    ) -> None:
        self.check(model.config)
        assert isinstance(model.task, TextTask)
        assert isinstance(model.network, Seq2Seq)
        self._task = model.task
        if shortlist:
            shortlist.cut(model.network)
        self._shortlist = shortlist
        self._network = model.network.to(device)
        self._bfloat16 = bfloat16
        if device.type == "cpu" and (int8 or (has_kernels() and not bfloat16)):
            replace_products(self._network, Int8Linear if int8 else PackedLinear)
        self._codec = model.codec
        self._tokenizer = tokenizer_of(model.codec)
        self._device = device
        self._max_src_pieces = model.config.max_src_pieces
        self.search = model.config.search
        """How the model is searched by default."""

    @classmethod
    def from_pretrained(
        cls,
        place: str | Path,
        device: str = "cpu",
        *,
        int8: bool = False,
        bfloat16: bool = False,
        shortlist: Shortlist | None = None,
    ) -> Self:
        """Loads a saved model from a folder or a URI; with `int8`, its weights are rounded to 8 bits, for a CPU.

        With `bfloat16` products are computed in it, which is for GPUs that do so; not with `int8`. With a `shortlist`
        results are made of its pieces alone. Raises UserError where there is no such model, or it is
        damaged, of another task, or cannot be cut.
        """
        return cls(load(place), torch.device(device), int8=int8, bfloat16=bfloat16, shortlist=shortlist)

    @classmethod
    def check(cls, config: SavedConfig) -> None:
        """UserError where a saved model is of another task."""
        if config.task != cls.task:
            raise UserError(
                f"the model was trained for {config.task}, not for {cls.task}; use the command or the class for that."
            )

    @property
    def max_pieces(self) -> int | None:
        """The most source pieces that are read at once; none where a text is always taken whole."""
        return self._max_src_pieces if self.splits_long else None

    def count_pieces(self, texts: Sequence[str]) -> list[int]:
        """Source pieces of each text, EOS among them."""
        return [len(pieces) for pieces in self._tokenizer.encode(texts)]

    def predict(self, texts: Sequence[str], search: SearchConfig | None = None) -> list[str]:
        """The best result of each text, in order; each is the same whatever texts stand beside it.

        `search` replaces the model's own settings.
        """
        return [results[0].text for results in self.find(texts, search)]

    def stream(self, texts: Iterable[str], search: SearchConfig | None = None) -> Iterator[str]:
        """The same for any number of texts, in order, of which `STREAM_TEXTS` are read ahead."""
        coming = iter(texts)
        while together := list(islice(coming, STREAM_TEXTS)):
            yield from self.predict(together, search)

    def find(
        self, texts: Sequence[str], search: SearchConfig | None = None, prefixes: Sequence[str] | None = None
    ) -> list[list[Result]]:
        """The results of each text, at most `search.n_best`, the best first.

        `prefixes` are what the results begin with, a text each. Texts of like length are searched together.
        """
        search = search or self.search
        sources = self._tokenizer.encode(texts)
        order = sorted(range(len(sources)), key=lambda row: len(sources[row]))
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._bfloat16):
            found = self._task.find(
                self._network,
                self._codec,
                [sources[row] for row in order],
                search,
                room=Room(),
                device=self._device,
                prefixes=prefixes and [prefixes[row] for row in order],
                shortlist=self._shortlist,
            )
        texts_found = iter(self._tokenizer.decode([one.pieces for hypotheses in found for one in hypotheses]))
        results: list[list[Result]] = [[] for _ in sources]
        for row, hypotheses in zip(order, found, strict=True):
            results[row] = [self._result(next(texts_found), one) for one in hypotheses]
        return results

    def _result(self, text: str, found: Hypothesis) -> Result:
        return Result(text, found.score, self._tokenizer.spelled(found.pieces), found.log_probs, found.places)
