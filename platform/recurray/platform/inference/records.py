"""Records: what is the text of one, and what is done with a text that no model should see as it is.

Only "\\n" ends a line of a file; a carriage return before it belongs to the line's end. Whatever a record holds, there
is one result for it, and what was done to it is noted under one of the reasons below.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from recurray.platform.errors import UserError

INVALID = "invalid UTF-8, left empty"
BROKEN = "no JSON object on the line, left empty"
NO_FIELD = "without the field, left empty"
NO_TEXT = "no text in the field, left empty"
COLUMNS = "more or fewer columns than the header, left empty"
TAKEN = "with a field of the result's name already, left as it was"
EMPTY = "empty or blank, left empty"
CONTROL = "control characters or line separators, read as spaces"
SPLIT = "too long, split at sentence ends and rejoined"
NOTHING = "read, and the model's result is empty"

FAILURES = (INVALID, BROKEN, NO_FIELD, NO_TEXT, COLUMNS, TAKEN)
"""Reasons of records that could not be read: these stop a job that runs with `--on-error stop`."""
LISTED = 1_000
"""Record numbers that a report lists of each reason; it counts all."""

_SENTENCE_END = re.compile(r"(?<=[.!?…。！？])\s+")
_LINE_BREAK = re.compile(r"\r?\n")
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]")
_CONTROL_OR_WHITE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")


@dataclass(frozen=True)
class Unreadable:
    """What stands in a record in place of a text that a model could be given."""

    reason: str
    """One of FAILURES."""


Source = bytes | Unreadable
"""What a record holds to be read: bytes that should be UTF-8, or the reason why there are none."""


@dataclass
class Notes:
    """What was done to which records: record numbers, counted from 1, by reason."""

    records: dict[str, list[int]] = field(default_factory=dict)

    def add(self, reason: str, record: int) -> None:
        """Notes one record."""
        self.records.setdefault(reason, []).append(record)

    def first_failure(self) -> tuple[int, str] | None:
        """The first record that could not be read, and why; none if all could."""
        return min(((self.records[reason][0], reason) for reason in FAILURES if reason in self.records), default=None)

    def failures(self) -> int:
        """Records that could not be read."""
        return sum(len(self.records.get(reason, ())) for reason in FAILURES)


@dataclass
class Tally:
    """What was done to the records of a whole job, in little memory."""

    counts: dict[str, int] = field(default_factory=dict)
    """Records by reason."""
    listed: dict[str, dict[str, list[int]]] = field(default_factory=dict)
    """The numbers of the first LISTED ones of each reason, by file."""

    def add(self, file: str, notes: Notes) -> None:
        """Counts what was noted on records of a file, which come in order."""
        for reason, records in notes.records.items():
            room = max(0, LISTED - self.counts.get(reason, 0))
            self.counts[reason] = self.counts.get(reason, 0) + len(records)
            if room:
                self.listed.setdefault(reason, {}).setdefault(file, []).extend(records[:room])

    def to_json(self) -> dict[str, Any]:
        """As a report holds it."""
        return {reason: {"count": count, "first_records": self.listed[reason]} for reason, count in self.counts.items()}

    def lines(self) -> list[str]:
        """A line on each reason, with the first few of its records."""
        return [
            f"{count:,} {reason}: {_first_few(self.listed[reason], count)}" for reason, count in self.counts.items()
        ]


def _first_few(listed: dict[str, list[int]], count: int, most: int = 5) -> str:
    """Record numbers, with their files if there are several."""
    names = [str(record) if len(listed) == 1 else f"{file}:{record}" for file in listed for record in listed[file]]
    return ", ".join(names[:most]) + (", …" if count > most else "")


def readable(source: Source, record: int, notes: Notes) -> str:
    """The text of a record as a model may see it, on one line; empty if there is none."""
    if isinstance(source, Unreadable):
        notes.add(source.reason, record)
        return ""
    try:
        text = source.decode("utf-8-sig").removesuffix("\r")
    except UnicodeDecodeError:
        notes.add(INVALID, record)
        return ""
    text = _LINE_BREAK.sub(" ", text)  # of a field, which may hold several lines
    if _CONTROL.search(text):
        notes.add(CONTROL, record)
        text = _CONTROL.sub(" ", text)
    if not text.strip():
        notes.add(EMPTY, record)
        return ""
    return text


def on_one_line(result: str) -> str:
    """A result without a character that could end a line or a column."""
    return _CONTROL_OR_WHITE.sub(" ", result)


def split_text(text: str, limit: int, pieces_of: Callable[[Sequence[str]], list[int]]) -> list[str]:
    """Parts of at most `limit` pieces that are the text when rejoined: sentences, else words, else halves of a word.

    `pieces_of` gives the number of pieces of each text. A single character is never split.
    """
    if len(text) < 2 or pieces_of([text])[0] <= limit:
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
