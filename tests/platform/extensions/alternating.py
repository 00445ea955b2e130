"""Pairs in one file, each target on the line after its source."""

from collections.abc import Iterator
from pathlib import Path

from recurray.platform.corpora.readers import READERS, Pair
from recurray.platform.corpora.sources import SOURCES, SourceConfig


class AlternatingSource(SourceConfig):
    path: str
    """The file."""


def read_alternating(source: AlternatingSource) -> Iterator[Pair]:
    with Path(source.path).open(encoding="utf-8", errors="surrogateescape", newline="\n") as file:
        for src in file:
            yield Pair(src.rstrip("\n"), next(file, "").rstrip("\n"))


SOURCES["alternating"] = AlternatingSource
READERS[AlternatingSource] = read_alternating
