"""Shards: runs of neighbouring records of a file, which one actor takes at a time.

One Ray task on the driver's node reads the files in a stream, so that a shard is in memory only while it is on its way.
"""

import pickle
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import ray.data
from ray.data.block import BlockMetadata
from ray.data.datasource import ReadTask

from recurray.platform.errors import UserError
from recurray.platform.inference.files import FilePair
from recurray.platform.inference.formats.format import DAMAGES, Columns
from recurray.platform.inference.parts import PartKey
from recurray.platform.inference.records import Source
from recurray.platform.storage import reason_of

SHARD_RECORDS = 512
"""Records that one actor takes at a time, and that are lost to a kill at the most."""
SHARD_BYTES = 1 << 18
"""A shard ends with the record that brings its sources to so many, if that comes first."""


@dataclass(frozen=True)
class Shard:
    """A run of records of a file."""

    key: PartKey
    first_record: int
    """The number of its first record, counted from 1 over the file."""
    sources: list[Source]


@dataclass(frozen=True)
class Table:
    """A file of the input as the job reads it."""

    pair: FilePair
    columns: Columns
    records: int


def shards_of(sources: Iterator[Source], file: int) -> Iterator[Shard]:
    """A file's records in shards."""
    held: list[Source] = []
    size, shard, first = 0, 0, 1
    for record, source in enumerate(sources, 1):
        held.append(source)
        size += len(source) if isinstance(source, bytes) else 0
        if len(held) == SHARD_RECORDS or size >= SHARD_BYTES:
            yield Shard(PartKey(file, shard), first, held)
            held, size, shard, first = [], 0, shard + 1, record + 1
    if held:
        yield Shard(PartKey(file, shard), first, held)


def checked_sources(table: Table) -> Iterator[Source]:
    """What a file's records hold to be read; UserError names the file and the record before it is damaged."""
    place = table.pair.source.place
    record = 0
    try:
        for source in table.pair.format.sources(table.pair.source, table.columns):
            record += 1
            yield source
    except DAMAGES as fault:
        raise UserError(f"{place} is damaged after record {record:,} ({reason_of(fault)})") from None


class ShardSource(ray.data.Datasource):
    """The shards of a job's files that are not `done`, a row each; where a file is damaged, a last row says so."""

    def __init__(self, tables: Sequence[Table], done: Set[PartKey]) -> None:
        untyped: Any = super()
        untyped.__init__()
        self._tables, self._done = tables, frozenset(done)

    def get_name(self) -> str:
        """As Ray's dashboard shows it."""
        return "Shards"

    def estimate_inmemory_data_size(self) -> int | None:
        """Unknown until all is read."""
        return None

    def get_read_tasks(self, parallelism: int, *_: Any, **__: Any) -> list[ReadTask]:
        """One, which reads all files."""
        tables, done = self._tables, self._done

        def read() -> Iterator[pa.Table]:
            return _rows(tables, done)

        return [ReadTask(read, BlockMetadata(num_rows=None, size_bytes=None, input_files=None, exec_stats=None))]


def _rows(tables: Sequence[Table], done: Set[PartKey]) -> Iterator[pa.Table]:
    try:
        for file, table in enumerate(tables):
            for shard in shards_of(checked_sources(table), file):
                if shard.key not in done:
                    yield pa.table({"shard": [pickle.dumps(shard)], "fault": [""]})
    except UserError as fault:
        yield pa.table({"shard": [b""], "fault": [str(fault)]})
