"""The store of tokenized examples: an Arrow file that is memory-mapped, so that no worker holds the corpus."""

from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from recurray.models import PAD

SHARD_ROWS = 2**18
"""Examples in each record batch of the file."""

_PIECES = pa.list_(pa.int32())
_SCHEMA = pa.schema({"src": _PIECES, "tgt": _PIECES})


class StoreWriter:
    """Writes examples in order, a shard at a time, as a context manager."""

    def __init__(self, path: Path) -> None:
        self._writer = pa.ipc.new_file(path, _SCHEMA)
        self._src: list[list[int]] = []
        self._tgt: list[list[int]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._src:
            self._write_shard()
        self._writer.close()

    def append(self, src: list[int], tgt: list[int]) -> None:
        """Adds an example; its number is the count of those before it."""
        self._src.append(src)
        self._tgt.append(tgt)
        if len(self._src) == SHARD_ROWS:
            self._write_shard()

    def _write_shard(self) -> None:
        columns = [pa.array(self._src, _PIECES), pa.array(self._tgt, _PIECES)]
        self._writer.write_batch(pa.record_batch(columns, schema=_SCHEMA))
        self._src, self._tgt = [], []


class Column:
    """One side of the store: flat pieces with offsets, for each shard a view of the mapped file."""

    def __init__(self, shards: Iterable[pa.ListArray]) -> None:
        views = [(shard.offsets.to_numpy(), shard.values.to_numpy()) for shard in shards]
        self._offsets = [offsets for offsets, _ in views]
        self._pieces = [pieces for _, pieces in views]
        self.lengths: NDArray[np.int64] = np.concatenate([np.diff(offsets) for offsets in self._offsets]).astype(
            np.int64
        )

    def gather(self, examples: NDArray[np.int64]) -> NDArray[np.int64]:
        """(B, T): the pieces of the examples, right-padded with PAD to the longest of them."""
        lengths = self.lengths[examples]
        padded_bt = np.full((len(examples), int(lengths.max())), PAD, np.int64)
        shards, rows = np.divmod(examples, SHARD_ROWS)
        positions = np.arange(padded_bt.shape[1])
        for shard in np.unique(shards):
            here = shards == shard
            begins = self._offsets[shard][rows[here]]
            own_bt = positions < lengths[here][:, None]
            block_bt = np.full(own_bt.shape, PAD, np.int64)
            block_bt[own_bt] = self._pieces[shard][(begins[:, None] + positions)[own_bt]]
            padded_bt[here] = block_bt
        return padded_bt


class Store:
    """The examples of one split, numbered from 0."""

    def __init__(self, path: Path) -> None:
        reader = pa.ipc.open_file(pa.memory_map(str(path)))
        shards = [reader.get_batch(index) for index in range(reader.num_record_batches)]
        self.src = Column(shard.column("src") for shard in shards)
        self.tgt = Column(shard.column("tgt") for shard in shards)

    def __len__(self) -> int:
        return len(self.src.lengths)
