"""The parts of a job that is not finished: the results of a shard each, in a folder beside the output.

A part is there whole or not at all, and so is the manifest, which says what job the parts are of. So a job that was
killed does no finished part twice when it is run again, and parts of another job are never joined.
"""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any, NamedTuple

from pyarrow.fs import FileSelector, FileType

from recurray.platform.errors import UserError
from recurray.platform.inference.formats.format import Found, StoredFile
from recurray.platform.inference.records import Notes
from recurray.platform.storage import reason_of, written_whole

_MANIFEST = "manifest.json"


class PartKey(NamedTuple):
    """Which part it is."""

    file: int
    """The input file's place in the order of names."""
    shard: int
    """The shard's place in the file."""


class PartCounts(NamedTuple):
    """What is to be known of a part that is done."""

    records: int
    failures: int
    """Records that could not be read."""
    first_failure: tuple[int, str] | None
    """The first of them and the reason."""


@dataclass(frozen=True)
class Part:
    """The results of one shard."""

    results: list[Found]
    notes: Notes

    def counts(self) -> PartCounts:
        """Its records and those that could not be read."""
        return PartCounts(len(self.results), self.notes.failures(), self.notes.first_failure())

    def to_bytes(self) -> bytes:
        """As it is written."""
        return json.dumps({"results": self.results, "notes": self.notes.records}, ensure_ascii=False).encode()

    @classmethod
    def from_bytes(cls, content: bytes) -> "Part":
        """Raises ValueError where it is none."""
        part = json.loads(content)
        return cls(part["results"], Notes(part["notes"]))


class Parts:
    """The parts of the job that writes `output`."""

    def __init__(self, output: StoredFile) -> None:
        self.place = f"{output.place.rstrip('/')}.parts"
        self._files, self._root = output.files, f"{output.path}.parts"

    def claim(self, manifest: dict[str, Any]) -> None:
        """Makes the folder, or makes sure that the parts in it are of this job; UserError says what differs."""
        path = f"{self._root}/{_MANIFEST}"
        if self._files.get_file_info(path).type is FileType.File:
            before = json.loads(self._read(path))
            differing = [name for name in {**before, **manifest} if before.get(name) != manifest.get(name)]
            if differing:
                raise UserError(
                    f"{self.place} holds parts of a job with another {' and another '.join(differing)}; delete it to "
                    "start over, or name another --output."
                )
        with self._room():
            self._files.create_dir(self._root)
        self._write(path, json.dumps(manifest, sort_keys=True).encode())

    def done(self) -> dict[PartKey, PartCounts]:
        """The parts that there are; one that is damaged is deleted, so that it is done again."""
        found = {}
        for info in self._files.get_file_info(FileSelector(self._root)):
            if match := re.fullmatch(r"part-(\d+)-(\d+)\.json", info.base_name):
                try:
                    counts = Part.from_bytes(self._read(info.path)).counts()
                except ValueError:
                    self._files.delete_file(info.path)
                    continue
                found[PartKey(*map(int, match.groups()))] = counts
        return found

    def write(self, key: PartKey, content: bytes) -> None:
        """Writes one; UserError where there is no room for it."""
        self._write(self._path(key), content)

    def of_file(self, file: int) -> Iterator[Part]:
        """Those of a file, in order, one at a time."""
        for shard in count():
            path = self._path(PartKey(file, shard))
            if self._files.get_file_info(path).type is not FileType.File:
                return
            yield Part.from_bytes(self._read(path))

    def remove(self) -> None:
        """Deletes all."""
        self._files.delete_dir(self._root)

    def _path(self, key: PartKey) -> str:
        return f"{self._root}/part-{key.file:05}-{key.shard:07}.json"

    def _read(self, path: str) -> bytes:
        with self._files.open_input_stream(path) as file:
            content: bytes = file.read()
        return content

    def _write(self, path: str, content: bytes) -> None:
        with self._room(), written_whole(self._files, path) as sink:
            sink.write(content)

    @contextmanager
    def _room(self) -> Iterator[None]:
        """UserError where what is done in the block fails."""
        try:
            yield
        except OSError as fault:
            raise UserError(
                f"{self.place} cannot be written ({reason_of(fault)}); what is in it is kept; see to access and room "
                "and run the command again."
            ) from None
