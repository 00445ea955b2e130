"""JSON lines: an object a line, to which the result is added as its last key; all else stays as it is, byte for byte.

A line that is no object gives a record that holds it as text: `{"broken_line": "…", "translation": ""}`.
"""

import json
from collections.abc import Iterator
from itertools import islice
from typing import Any

from pyarrow import NativeFile

from recurray.platform.inference.formats.format import Columns, StoredFile, choose_field
from recurray.platform.inference.records import BROKEN, INVALID, NO_FIELD, NO_TEXT, TAKEN, Source, Unreadable

_SAMPLE = 100
"""Lines whose keys are taken for those that there are."""


class JsonLines:
    """Objects, a line each; `--field a.b` is key b of the object under key a."""

    name = "JSON lines"

    def field(self, file: StoredFile, field: str | None, output_field: str) -> str:
        """Looked for in the first hundred records."""
        with file.lines() as lines:
            records = [record for line in islice(lines, _SAMPLE) if isinstance(record := _parse(line), dict)]
        names = list(dict.fromkeys(name for record in records for name in record))
        if field is not None and any(_value(record, field) is not None for record in records):
            names.append(field)
        return choose_field(file, names, field, output_field)

    def count(self, file: StoredFile, columns: Columns) -> int:
        """Its lines."""
        with file.lines() as lines:
            return sum(1 for _ in lines)

    def sources(self, file: StoredFile, columns: Columns) -> Iterator[Source]:
        """The text under the field's key."""
        with file.lines() as lines:
            for line in lines:
                yield _source(line, columns)

    def write(self, file: StoredFile, columns: Columns, results: Iterator[str], sink: NativeFile) -> None:
        """Each line with its result."""
        with file.lines() as lines:
            for line, result in zip(lines, results, strict=True):
                sink.write(_with_result(line, columns.output_field, result))


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
    if columns.output_field in record:
        return Unreadable(TAKEN)
    value = _value(record, columns.field)
    if isinstance(value, str):
        return value.encode("utf-8", "surrogatepass")
    return Unreadable(NO_TEXT if value is not None or columns.field in record else NO_FIELD)


def _with_result(line: bytes, output_field: str, result: str) -> bytes:
    record = _parse(line)
    body = line.rstrip(b" \t\r\n")
    end = b"\r\n" if line.endswith(b"\r\n") else b"\n"
    if isinstance(record, Unreadable):
        broken = {"broken_line": body.decode("utf-8", "backslashreplace"), output_field: result}
        return json.dumps(broken, ensure_ascii=False).encode() + end
    if output_field in record:
        return body + end
    member = f"{json.dumps(output_field)}: {json.dumps(result, ensure_ascii=False)}"
    return body[:-1].rstrip() + (b", " if record else b"") + member.encode() + b"}" + end
