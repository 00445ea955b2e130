"""A saved model of texts, ready for use."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar, Self

import torch

from recurray.models import PAD, Padded
from recurray.platform.config.tree import SearchConfig
from recurray.platform.errors import UserError
from recurray.platform.saved_model import SavedConfig, SavedModel, load
from recurray.platform.tasks.text import TextTask, tokenizer_of

BATCH_PIECES = 4096
"""Padded source pieces that are searched at once."""


class TextModel:
    """A model that turns each text into another; see `Translator` and `Summarizer`."""

    task: ClassVar[str]
    """The task of the models that it loads."""
    splits_long: ClassVar[bool]
    """Whether a text longer than those trained on is better taken in parts."""

    def __init__(self, model: SavedModel, device: torch.device) -> None:
        self.check(model.config)
        assert isinstance(model.task, TextTask)
        self._task = model.task
        self._network = model.network.to(device)
        self._codec = model.codec
        self._tokenizer = tokenizer_of(model.codec)
        self._device = device
        self._max_src_pieces = model.config.max_src_pieces
        self.search = model.config.search
        """How the model is searched by default."""

    @classmethod
    def from_pretrained(cls, place: str | Path, device: str = "cpu") -> Self:
        """Loads a saved model from a folder or a URI; UserError where it is none, damaged, or of another task."""
        return cls(load(place), torch.device(device))

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
        """One result a text, in order; each is the same whatever texts stand beside it.

        Texts of like length are searched together. `search` replaces the model's own settings.
        """
        search = search or self.search
        sources = self._tokenizer.encode(texts)
        results = [""] * len(sources)
        for rows in _batches([len(source) for source in sources]):
            src = self._padded([sources[row] for row in rows])
            found = self._task.predict(self._network, self._codec, src, search)
            for row, result in zip(rows, found, strict=True):
                results[row] = result
        return results

    def _padded(self, sources: Sequence[list[int]]) -> Padded:
        lengths = torch.tensor([len(source) for source in sources])
        values_bs = torch.full((len(sources), int(lengths.max())), PAD)
        for row, source in enumerate(sources):
            values_bs[row, : len(source)] = torch.tensor(source)
        return Padded(values_bs.to(self._device), lengths.to(self._device))


def _batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Row numbers sorted by length and cut so that a batch has at most BATCH_PIECES padded pieces."""
    batch: list[int] = []
    for row in sorted(range(len(lengths)), key=lambda row: lengths[row]):
        if batch and (len(batch) + 1) * lengths[row] > BATCH_PIECES:
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch
