"""Reads what an offline W&B run wrote: records in LevelDB's log format, after a header of W&B's own."""

import json
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from wandb.proto import wandb_internal_pb2

_FILE_HEADER, _BLOCK, _RECORD_HEADER = 7, 32768, 7
_FULL, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4


def logged_rows(run_folder: Path) -> list[dict[str, Any]]:
    """The rows that were logged, each with its `step`; the folder must hold exactly one run's file."""
    return [
        {"step": record.history.step.num} | _items(record.history.item)
        for record in _run_records(run_folder)
        if record.HasField("history")
    ]


def summary(run_folder: Path) -> dict[str, Any]:
    """The run's summary: of every name the figure that was written last."""
    found: dict[str, Any] = {}
    for record in _run_records(run_folder):
        if record.HasField("summary"):
            found |= _items(record.summary.update)
    return found


def _items(items: Iterable[Any]) -> dict[str, Any]:
    return {item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in items}


def _run_records(run_folder: Path) -> Iterator[Any]:
    (path,) = (run_folder / "wandb").glob("offline-run-*/run-*.wandb")
    for data in _records(path.read_bytes()):
        record = wandb_internal_pb2.Record()
        record.ParseFromString(data)
        yield record


def _records(content: bytes) -> Iterator[bytes]:
    place, record = _FILE_HEADER, b""
    while place < len(content):
        if _BLOCK - place % _BLOCK < _RECORD_HEADER:
            place += _BLOCK - place % _BLOCK
            continue
        _, length, kind = struct.unpack_from("<IHB", content, place)
        place += _RECORD_HEADER
        record = (b"" if kind in (_FULL, _FIRST) else record) + content[place : place + length]
        place += length
        if kind in (_FULL, _LAST):
            yield record
