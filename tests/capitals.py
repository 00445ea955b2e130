"""A stand-in for a model, where a test asks only what the batch job does around it: it writes a text in capitals."""

from collections.abc import Sequence
from pathlib import Path
from typing import Self

from recurray.platform.config.search import SearchConfig
from recurray.platform.inference.text_model import TextModel


class Capitals(TextModel):
    """Of a folder with any file in it; a text of more than 400 characters is too long for it."""

    task = "translation"
    splits_long = True

    def __init__(self) -> None:
        pass

    @classmethod
    def from_pretrained(cls, place: str | Path, device: str = "cpu", **options: object) -> Self:
        return cls()

    @property
    def max_pieces(self) -> int:
        return 401

    def count_pieces(self, texts: Sequence[str]) -> list[int]:
        return [len(text) + 1 for text in texts]

    def predict(self, texts: Sequence[str], search: SearchConfig | None = None) -> list[str]:
        assert all(0 < len(text) <= 400 for text in texts)
        return [text.upper() for text in texts]
