"""JSON lines: an object a line, to which the result is added as its last key; all else stays as it is, byte for byte.

A line that is no object gives a record that holds it as text: `{"broken_line": "…", "translation": ""}`.
"""

import json
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from pyarrow import NativeFile

from recurray.platform.inference.formats.format import Columns, Found, StoredFile, choose_field
from recurray.platform.inference.records import BROKEN, INVALID, NO_FIELD, NO_TEXT, TAKEN, Source, Unreadable

_SAMPLE = 100
"""Lines whose keys are taken for those that there are."""


class JsonLines:
    """Objects, a line each; `--field a.b` is key b of the object under key a."""

    name = "JSON lines"

    def field(self, file: StoredFile, field: str | None, outputs: Sequence[str]) -> str:
        """Looked for in the first hundred records."""
        with file.lines() as lines:
            records = [record for line in islice(lines, _SAMPLE) if isinstance(record := _parse(line), dict)]
        names = list(dict.fromkeys(name for record in records for name in record))
        if field is not None and any(_value(record, field) is not None for record in records):
            names.append(field)
        return choose_field(file, names, field, outputs)

    def count(self, file: StoredFile, columns: Columns) -> int:
        """Its lines."""
        return file.count_lines()

    def sources(self, file: StoredFile, columns: Columns) -> Iterator[Source]:
        """The text under the field's key."""
        with file.lines() as lines:
            for line in lines:
                yield _source(line, columns)

    def write(self, file: StoredFile, columns: Columns, results: Iterator[Found], sink: NativeFile) -> None:
        """Each line with its outputs."""
        with file.lines() as lines:
            for line, result in zip(lines, results, strict=True):
                sink.write(_with_outputs(line, columns.outputs, result))


def _parse(line: bytes) -> dict[str, Any] | Unreadable:
    """The object on a line; numbers in it stand as 0."""
    try:
        record = json.loads(line.decode("utf-8-sig"), parse_int=_no_number, parse_float=_no_number)
    except UnicodeDecodeError:
        return Unreadable(INVALID)
    except (ValueError, RecursionError):
        return Unreadable(BROKEN)
    return record if isinstance(record, dict) else Unreadable(BROKEN)


def _no_number(digits: str) -> int:
    """No number is needed, and Python refuses to read those of many digits."""
    return 0


def _value(record: dict[str, Any], field: str) -> Any:
    """What stands under a key, or under its parts between dots; None where nothing does."""
    if field in record:
        return record[field]
    head, dot, rest = field.partition(".")
    inner = record.get(head) if dot else None
    return _value(inner, rest) if isinstance(inner, dict) else None


def _source(line: bytes, columns: Columns) -> Source:
    record = _parse(line)
    if isinstance(record, Unreadable):
        return record
    if any(output in record for output in columns.outputs):
        return Unreadable(TAKEN)
    value = _value(record, columns.field)
    if isinstance(value, str):
        return value.encode("utf-8", "surrogatepass")
    return Unreadable(NO_TEXT if value is not None or columns.field in record else NO_FIELD)


def _with_outputs(line: bytes, outputs: Sequence[str], found: Found) -> bytes:
    record = _parse(line)
    body = line.rstrip(b" \t\r\n")
    end = b"\r\n" if line.endswith(b"\r\n") else b"\n"
    values = [json.dumps(found[0], ensure_ascii=False), *found[1:]]
    members = ", ".join(f"{json.dumps(output)}: {value}" for output, value in zip(outputs, values, strict=True))
    if isinstance(record, Unreadable):
        broken = json.dumps({"broken_line": body.decode("utf-8", "backslashreplace")}, ensure_ascii=False)
        return f"{broken[:-1]}, {members}}}".encode() + end
    if any(output in record for output in outputs):
        return body + end
    return body[:-1].rstrip() + (b", " if record else b"") + members.encode() + b"}" + end
