"""CSV and TSV: a row a record, to which the result is added as its last column; all else stays as it is, byte by byte.

The first row names the columns, unless the field is given by its number, counted from 0: then there are no names. A CSV
field in quotes may hold line breaks; TSV has no quotes.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

from pyarrow import NativeFile

from recurray.platform.csv_reading import csv_reader
from recurray.platform.errors import UserError
from recurray.platform.inference.formats.format import Columns, Found, StoredFile, choose_field
from recurray.platform.inference.records import COLUMNS, Source, Unreadable

_RETURN = "\udc0d"
"""Stands for a carriage return that ends no line while a row is cut, for the csv module would end a row there."""


@dataclass(frozen=True)
class _Row:
    """A row: its bytes without its end, its end, and its values, in which bytes that are not UTF-8 are surrogates."""

    raw: bytes
    end: bytes
    values: list[str]

    @property
    def names(self) -> list[str]:
        """The values of a first row, without the mark that it may begin with."""
        return [self.values[0].removeprefix("\ufeff"), *self.values[1:]]


@dataclass(frozen=True)
class DelimitedFormat:
    """Rows of columns between separators."""

    name: str
    separator: bytes
    rows: Callable[[Iterable[bytes]], Iterator[_Row]]
    """Cuts lines into rows."""
    cell: Callable[[str], str]
    """A value as it stands in a row."""

    def field(self, file: StoredFile, field: str | None, outputs: Sequence[str]) -> str:
        """Looked for in the first row, or a column's number."""
        with file.lines() as lines:
            first = next(self.rows(lines), None)
        if first is None:
            raise UserError(f"{file.place} is empty; its first line should name its columns.")
        if field is None or not field.isdecimal():
            return choose_field(file, [name for name in first.names if not name.isdecimal()], field, outputs)
        if int(field) >= len(first.values):
            raise UserError(f"{file.place} has no column {field}; its columns are 0 to {len(first.values) - 1}.")
        return field

    def count(self, file: StoredFile, columns: Columns) -> int:
        """Its rows, without that of the names."""
        with file.lines() as lines:
            return sum(1 for _ in _Table(self.rows(lines), columns).rows)

    def sources(self, file: StoredFile, columns: Columns) -> Iterator[Source]:
        """The value in the field's column."""
        with file.lines() as lines:
            table = _Table(self.rows(lines), columns)
            for row in table.rows:
                if len(row.values) == table.width:
                    yield row.values[table.column].replace(_RETURN, "\r").encode("utf-8", "surrogateescape")
                else:
                    yield Unreadable(COLUMNS)

    def write(self, file: StoredFile, columns: Columns, results: Iterator[Found], sink: NativeFile) -> None:
        """Each row with its outputs; columns that a row lacks are added empty."""
        with file.lines() as lines:
            table = _Table(self.rows(lines), columns)
            if table.header is not None:
                sink.write(self._widened(table.header, 0, columns.outputs))
            for row, result in zip(table.rows, results, strict=True):
                sink.write(self._widened(row, max(0, table.width - len(row.values)), result))

    def _widened(self, row: _Row, missing: int, values: Sequence[str]) -> bytes:
        cells = b"".join(self.separator + self.cell(value).encode() for value in values)
        return row.raw + self.separator * missing + cells + (row.end or b"\n")


class _Table:
    """Rows with what their first one says of them."""

    def __init__(self, rows: Iterator[_Row], columns: Columns) -> None:
        first = next(rows)
        self.width = len(first.values)
        self.header: _Row | None
        self.rows: Iterator[_Row]
        if columns.field.isdecimal():
            self.header, self.column, self.rows = None, int(columns.field), chain([first], rows)
        else:
            self.header, self.column, self.rows = first, first.names.index(columns.field), rows


def _csv_rows(lines: Iterable[bytes]) -> Iterator[_Row]:
    taken: list[bytes] = []
    for values in csv_reader(_taken(lines, taken)):
        yield _row(b"".join(taken), values or [""])
        taken.clear()


def _taken(lines: Iterable[bytes], taken: list[bytes]) -> Iterator[str]:
    """The lines as the csv module may read them; those that it has read gather in `taken`."""
    for line in lines:
        taken.append(line)
        body, end = _cut(line)
        yield body.decode("utf-8", "surrogateescape").replace("\r", _RETURN) + end.decode()


def _csv_cell(value: str) -> str:
    return '"' + value.replace('"', '""') + '"' if "," in value or '"' in value else value


def _tsv_rows(lines: Iterable[bytes]) -> Iterator[_Row]:
    for line in lines:
        yield _row(line, _cut(line)[0].decode("utf-8", "surrogateescape").split("\t"))


def _row(raw: bytes, values: list[str]) -> _Row:
    return _Row(*_cut(raw), values)


def _cut(line: bytes) -> tuple[bytes, bytes]:
    """A line and its end."""
    size = 2 if line.endswith(b"\r\n") else int(line.endswith(b"\n"))
    return line[: len(line) - size], line[len(line) - size :]


CSV = DelimitedFormat("CSV", b",", _csv_rows, _csv_cell)
TSV = DelimitedFormat("TSV", b"\t", _tsv_rows, str)
