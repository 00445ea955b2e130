"""Translating texts with a saved model."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Self

import torch
from torch import Tensor

from recurray.models import PAD, Padded, beam_search
from recurray.platform.config.tree import SearchConfig
from recurray.platform.saved_model import SavedModel, load

BATCH_PIECES = 4096
"""Padded source pieces that are searched at once."""


class Translator:
    """A model ready to translate: `Translator.from_pretrained("runs/demo/model").translate(["Good morning"])`."""

    def __init__(self, model: SavedModel, device: torch.device) -> None:
        self._network = model.network.to(device)
        self._tokenizer = model.tokenizer
        self._device = device
        self._max_pieces = model.config.max_pieces
        self.search = model.config.search
        """How the model is searched by default."""

    @classmethod
    def from_pretrained(cls, folder: str | Path, device: str = "cpu") -> Self:
        """Loads a saved model; UserError where the folder is none or damaged."""
        return cls(load(Path(folder)), torch.device(device))

    @property
    def max_pieces(self) -> int:
        """The most source pieces that the model was trained on."""
        return self._max_pieces

    def count_pieces(self, texts: Sequence[str]) -> list[int]:
        """Source pieces of each text, EOS among them."""
        return [len(pieces) for pieces in self._tokenizer.encode(texts)]

    def translate(self, texts: Sequence[str], search: SearchConfig | None = None) -> list[str]:
        """One translation a text, in order; each is the same whatever texts stand beside it.

        Texts of like length are searched together. `search` replaces the model's own settings.
        """
        search = search or self.search
        sources = self._tokenizer.encode(texts)
        translations = [""] * len(sources)
        for rows in _batches([len(source) for source in sources]):
            src = self._padded([sources[row] for row in rows])
            found = beam_search(
                self._network,
                src,
                beam_size=search.beam_size,
                length_penalty=search.length_penalty,
                max_lengths=max_lengths(src.lengths, search),
            )
            targets = self._tokenizer.decode([hypothesis.pieces for hypothesis in found])
            for row, target in zip(rows, targets, strict=True):
                translations[row] = target
        return translations

    def _padded(self, sources: Sequence[list[int]]) -> Padded:
        lengths = torch.tensor([len(source) for source in sources])
        values_bs = torch.full((len(sources), int(lengths.max())), PAD)
        for row, source in enumerate(sources):
            values_bs[row, : len(source)] = torch.tensor(source)
        return Padded(values_bs.to(self._device), lengths.to(self._device))


def max_lengths(src_lengths: Tensor, search: SearchConfig) -> Tensor:
    """(B,) int64: the most pieces, EOS among them, that each source's hypotheses may have."""
    return (src_lengths * search.max_length_factor).long() + 10


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
