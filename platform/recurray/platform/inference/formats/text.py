"""Text: a record a line, and its result on the same line of the output."""

from collections.abc import Iterator, Sequence

from pyarrow import NativeFile

from recurray.platform.errors import UserError
from recurray.platform.inference.formats.format import Columns, Found, StoredFile
from recurray.platform.inference.records import Source


class TextFormat:
    """Lines, which are all that a record has."""

    name = "text"

    def field(self, file: StoredFile, field: str | None, outputs: Sequence[str]) -> str:
        """None; UserError where one is named, or where more than a line's result is wanted."""
        if len(outputs) > 1:
            raise UserError(f"{file.place} is text, which has no room for --details; give the records as JSON lines.")
        if field is not None:
            raise UserError(f"{file.place} is text, a record a line, and has no field {field}; leave --field out.")
        return ""

    def count(self, file: StoredFile, columns: Columns) -> int:
        """Its lines."""
        return file.count_lines()

    def sources(self, file: StoredFile, columns: Columns) -> Iterator[Source]:
        """Each line without its end."""
        with file.lines() as lines:
            for line in lines:
                yield line.removesuffix(b"\n")

    def write(self, file: StoredFile, columns: Columns, results: Iterator[Found], sink: NativeFile) -> None:
        """The results, one a line."""
        with file.lines() as lines:
            for _, (result,) in zip(lines, results, strict=True):
                sink.write(f"{result}\n".encode())
