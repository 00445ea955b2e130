"""What a batch job asks of a format of files, and how a file's bytes are reached."""

import csv
import hashlib
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from pyarrow import ArrowException, NativeFile
from pyarrow.fs import FileSystem

from recurray.platform.errors import UserError
from recurray.platform.inference.records import Source

USUAL_FIELDS = ("src", "source", "text", "document")
"""The names that the field to read is looked for under, unless it is named."""

DAMAGES = (OSError, ArrowException, csv.Error)
"""What is raised where a file cannot be read, or not as what it is named."""

_COMPRESSIONS = {".gz": "gzip", ".zst": "zstd"}


@dataclass(frozen=True)
class StoredFile:
    """A file on a disk or elsewhere."""

    place: str
    """Its path or address, as messages name it."""
    files: FileSystem
    path: str
    """Within the file system."""

    @property
    def ending(self) -> str:
        """Of its name in lower case, that of a compression left out: `.csv` of `a.csv.gz`."""
        name = self.path.rpartition("/")[2].lower()
        name = name if self.compression is None else name.rpartition(".")[0]
        stem, dot, ending = name.rpartition(".")
        return dot + ending if stem else ""

    @property
    def compression(self) -> str | None:
        """The codec by its name, as its name's ending tells it."""
        return next((codec for ending, codec in _COMPRESSIONS.items() if self.path.lower().endswith(ending)), None)

    def open(self) -> NativeFile:
        """Its bytes, from any place in it."""
        return self.files.open_input_file(self.path)

    def lines(self) -> io.BufferedReader:
        """Its content without compression; iterated, its lines with their ends, of which "\\n" is the only one."""
        return io.BufferedReader(self.files.open_input_stream(self.path, compression=self.compression), 1 << 20)

    def count_lines(self) -> int:
        """Its lines; only "\\n" ends one."""
        with self.lines() as lines:
            return sum(1 for _ in lines)

    def digest(self) -> str:
        """An identity of its content."""
        with io.BufferedReader(self.files.open_input_stream(self.path, compression=None)) as content:
            return hashlib.file_digest(content, lambda: hashlib.blake2b(digest_size=8)).hexdigest()


@dataclass(frozen=True)
class Columns:
    """Where a record's text is read and where what is found goes, by name; text files have no names."""

    field: str
    outputs: tuple[str, ...]
    """The result, and if asked for its details, which are JSON."""


Found = Sequence[str]
"""What is found for a record, one for each of `Columns.outputs`."""


class Format(Protocol):
    """A family of files of records. Every method may raise one of `DAMAGES` where a file is damaged or not of it."""

    @property
    def name(self) -> str:
        """As messages call it."""

    def field(self, file: StoredFile, field: str | None, outputs: Sequence[str]) -> str:
        """The field that is read: `field` if it is named, else one that is usual.

        UserError where there is none of the name, or one of the outputs' already.
        """

    def count(self, file: StoredFile, columns: Columns) -> int:
        """The records of a file."""

    def sources(self, file: StoredFile, columns: Columns) -> Iterator[Source]:
        """What each record holds to be read, in a stream."""

    def write(self, file: StoredFile, columns: Columns, results: Iterator[Found], sink: NativeFile) -> None:
        """The records of a file, each with its outputs beside what else it holds, in a stream.

        ValueError where there are more or fewer records than results.
        """


def choose_field(file: StoredFile, names: Sequence[str], field: str | None, outputs: Sequence[str]) -> str:
    """The field to read among those that there are, as `Format.field` says."""
    for output in outputs:
        if output in names:
            raise UserError(f"{file.place} has a field {output} already; name another with --output-field.")
    if field is None:
        usual = [name for name in USUAL_FIELDS if name in names] or list(names if len(names) == 1 else [])
        if usual:
            return usual[0]
        asked = f"no field {', '.join(USUAL_FIELDS[:-1])} or {USUAL_FIELDS[-1]}"
    elif field in names:
        return field
    else:
        asked = f"no field {field}"
    raise UserError(f"{file.place} has {asked}; name one with --field: {', '.join(names) or 'it has none'}.")
