"""Records of a text file: what is a line, and what is done with a line that no model should see as it is.

Only "\\n" ends a line; a carriage return before it belongs to the line's end. Whatever a line holds, there is one
output for it, and what was done to it is noted under one of the reasons below.
"""

import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count, islice
from pathlib import Path
from typing import BinaryIO

from recurray.platform.errors import UserError

INVALID = "invalid UTF-8, left empty"
EMPTY = "empty or blank, left empty"
CONTROL = "control characters or line separators, read as spaces"
SPLIT = "too long, split at sentence ends and rejoined"

_SENTENCE_END = re.compile(r"(?<=[.!?…。！？])\s+")
_CONTROL_CATEGORIES = {"Cc", "Zl", "Zp"}


@dataclass
class Notes:
    """What was done to which records: record numbers, counted from 1, by reason."""

    records: dict[str, list[int]] = field(default_factory=dict)

    def add(self, reason: str, record: int) -> None:
        """Notes one record."""
        self.records.setdefault(reason, []).append(record)

    def extend(self, other: "Notes") -> None:
        """Notes what another part of the file noted."""
        for reason, records in other.records.items():
            self.records.setdefault(reason, []).extend(records)


def readable(line: bytes, record: int, notes: Notes) -> str:
    """The text of a line, without its end, as a model may see it; empty if there is none."""
    try:
        text = line.decode("utf-8").removesuffix("\r")
    except UnicodeDecodeError:
        notes.add(INVALID, record)
        return ""
    spaced = "".join(" " if unicodedata.category(c) in _CONTROL_CATEGORIES and c != "\t" else c for c in text)
    if spaced != text:
        notes.add(CONTROL, record)
    if not spaced.strip():
        notes.add(EMPTY, record)
        return ""
    return spaced


def split_text(text: str, limit: int, pieces_of: Callable[[Sequence[str]], list[int]]) -> list[str]:
    """Parts of at most `limit` pieces that are the text when rejoined: sentences, else words, else halves of a word.

    `pieces_of` gives the number of pieces of each text.
    """
    if pieces_of([text])[0] <= limit:
        return [text]
    units = _SENTENCE_END.split(text)
    if len(units) == 1:
        units = text.split()
    if len(units) == 1:
        middle = len(text) // 2
        return split_text(text[:middle], limit, pieces_of) + split_text(text[middle:], limit, pieces_of)
    parts = [part for unit in units if unit for part in split_text(unit, limit, pieces_of)]
    return _packed(parts, limit, pieces_of)


def _packed(parts: list[str], limit: int, pieces_of: Callable[[Sequence[str]], list[int]]) -> list[str]:
    """Neighbours put together as long as they have at most `limit` pieces."""
    packed: list[str] = []
    room = 0
    for part, pieces in zip(parts, pieces_of(parts), strict=True):
        if packed and pieces <= room:
            packed[-1] += " " + part
            room -= pieces
        else:
            packed.append(part)
            room = limit - pieces
    return packed


@dataclass(frozen=True)
class Shard:
    """A run of whole lines of a file."""

    index: int
    """Counted from 0."""
    begin: int
    """The first byte."""
    end: int
    """The byte after the last."""
    first_record: int
    """The number of its first line, counted from 1 over the file."""
    records: int
    """Its lines."""


def shards(path: Path, lines: int) -> Iterator[Shard]:
    """A file cut into shards of `lines` lines, reading it once and holding one shard of it."""
    with _open(path) as file:
        begin, first = 0, 1
        for index in count():
            sizes = [len(line) for line in islice(file, lines)]
            if not sizes:
                return
            yield Shard(index, begin, begin + sum(sizes), first, len(sizes))
            begin, first = begin + sum(sizes), first + len(sizes)


def read_shard(path: Path, shard: Shard) -> list[bytes]:
    """The lines of a shard, without their ends."""
    with path.open("rb") as file:
        file.seek(shard.begin)
        return split_lines(file.read(shard.end - shard.begin))


def split_lines(content: bytes) -> list[bytes]:
    """Lines without their ends; only "\\n" ends one, and a last line may lack it."""
    lines = content.split(b"\n")
    return lines[:-1] if not lines[-1] else lines


def read_lines(path: Path) -> list[str]:
    """All lines of a UTF-8 file, without their ends; UserError where there is no such file or it is not UTF-8."""
    try:
        with _open(path) as file:
            return [line.decode("utf-8").removesuffix("\r") for line in split_lines(file.read())]
    except UnicodeDecodeError as fault:
        raise UserError(f"{path} is not UTF-8 at byte {fault.start}; convert it, e.g. with iconv.") from None


def _open(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except FileNotFoundError:
        raise UserError(f"{path} does not exist.") from None
    except IsADirectoryError:
        raise UserError(f"{path} is a folder; name a text file with one record a line.") from None
