"""The store of encoded examples: an Arrow file that is memory-mapped, so that no worker holds the corpus."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from recurray.platform.data.examples import Examples

SHARD_POSITIONS = 2**22
"""Source and target positions, together, at which a record batch of the file ends: what is held while it is made."""

Values = NDArray[np.int64] | NDArray[np.float32]


class StoreWriter:
    """Writes examples in order, a shard at a time, as a context manager.

    `src_type` and `tgt_type` are those of one position: an integer, or a list of one size of 32-bit floats.
    """

    def __init__(self, path: Path, src_type: pa.DataType, tgt_type: pa.DataType) -> None:
        self._schema = pa.schema({"src": pa.list_(src_type), "tgt": pa.list_(tgt_type)})
        self._writer = pa.ipc.new_file(path, self._schema)
        self._src: list[Sequence[object]] = []
        self._tgt: list[Sequence[object]] = []
        self._positions = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._src:
            self._write_shard()
        self._writer.close()

    def append(self, src: Sequence[object], tgt: Sequence[object]) -> None:
        """Adds an example; its number is the count of those before it."""
        self._src.append(src)
        self._tgt.append(tgt)
        self._positions += len(src) + len(tgt)
        if self._positions >= SHARD_POSITIONS:
            self._write_shard()

    def _write_shard(self) -> None:
        columns = [pa.array(rows, field.type) for rows, field in zip((self._src, self._tgt), self._schema, strict=True)]
        self._writer.write_batch(pa.record_batch(columns, schema=self._schema))
        self._src, self._tgt, self._positions = [], [], 0


class StoredLengths:
    """The lengths of one side, read from the mapped offsets of the shards when they are asked for."""

    def __init__(self, offsets: list[NDArray[np.int32]]) -> None:
        self._offsets = offsets
        self._begins = np.cumsum([0, *(len(each) - 1 for each in offsets)])

    def __len__(self) -> int:
        return int(self._begins[-1])

    def __getitem__(self, examples: Examples | slice) -> NDArray[np.int64]:
        """(B,) the lengths of some examples, or of a run of consecutive ones; ValueError for a slice with a step."""
        if isinstance(examples, slice):
            return self._run(*examples.indices(len(self)))
        lengths = np.empty(len(examples), np.int64)
        for shard, here, rows in self.by_shard(examples):
            lengths[here] = self._offsets[shard][rows + 1] - self._offsets[shard][rows]
        return lengths

    def _run(self, begin: int, end: int, step: int) -> NDArray[np.int64]:
        if step != 1:
            raise ValueError("lengths are read one by one, or of consecutive examples")
        shards = slice(np.searchsorted(self._begins, begin, side="right") - 1, np.searchsorted(self._begins, end))
        parts = [
            np.diff(offsets[max(begin - first, 0) : end - first + 1])
            for first, offsets in zip(self._begins[shards], self._offsets[shards], strict=False)
        ]
        return np.concatenate([np.zeros(0, np.int64), *parts])

    def by_shard(self, examples: Examples) -> Iterator[tuple[int, NDArray[np.int64], NDArray[np.int64]]]:
        """Each shard that holds some of the examples, where these stand among them, and their rows in the shard."""
        shards = np.searchsorted(self._begins, examples, side="right") - 1
        order = np.argsort(shards, kind="stable")
        for here in np.split(order, np.flatnonzero(np.diff(shards[order])) + 1):
            shard = int(shards[here[0]])
            yield shard, here, examples[here] - self._begins[shard]


class Column:
    """One side of the store: flat values with offsets, for each shard a view of the mapped file."""

    def __init__(self, shards: Iterable[pa.ListArray]) -> None:
        views = [(shard.offsets.to_numpy(), _flat(shard.values)) for shard in shards]
        self._offsets = [offsets for offsets, _ in views]
        self._values = [values for _, values in views]
        self.lengths = StoredLengths(self._offsets)

    def gather(self, examples: Examples) -> Values:
        """(B, T, …): the sequences of the examples, right-padded with zeros, which is PAD, to the longest of them."""
        lengths = self.lengths[examples]
        some = self._values[0]
        kind = np.int64 if np.issubdtype(some.dtype, np.integer) else np.float32
        padded_bt: Any = np.zeros((len(examples), int(lengths.max()), *some.shape[1:]), kind)
        positions = np.arange(padded_bt.shape[1])
        for shard, here, rows in self.lengths.by_shard(examples):
            begins = self._offsets[shard][rows]
            own_bt = positions < lengths[here][:, None]
            block_bt = np.zeros((len(begins), *padded_bt.shape[1:]), kind)
            block_bt[own_bt] = self._values[shard][(begins[:, None] + positions)[own_bt]]
            padded_bt[here] = block_bt
        found: Values = padded_bt
        return found


def _flat(values: pa.Array) -> Any:
    """(N,) numbers or (N, size) vectors."""
    if isinstance(values, pa.FixedSizeListArray):
        return values.values.to_numpy().reshape(len(values), -1)
    return values.to_numpy()


class Store:
    """The examples of one split, numbered from 0."""

    def __init__(self, path: Path) -> None:
        reader = pa.ipc.open_file(pa.memory_map(str(path)))
        shards = [reader.get_batch(index) for index in range(reader.num_record_batches)]
        self.src = Column(shard.column("src") for shard in shards)
        self.tgt = Column(shard.column("tgt") for shard in shards)

    def __len__(self) -> int:
        return len(self.src.lengths)
