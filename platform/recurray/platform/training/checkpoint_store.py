"""Checkpoints in a folder of a disk or of a URI: each is whole or does not count, and none is trusted unread.

    step-00000250/state.pt        the state, as torch.save writes it; it is read with weights_only
    step-00000250/manifest.json   format, step, score, configuration, size and checksum of the state, checksum of itself

On a disk they are written aside, as `.writing-step-00000250`, brought to the disk and renamed. Where folders cannot be
renamed the manifest is written last. So a kill leaves what has no manifest, and that is no checkpoint.
"""

import io
import os
import pickle
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pyarrow.fs import FileSelector, FileType

from recurray.platform.config.tree import RunConfig
from recurray.platform.errors import UserError
from recurray.platform.storage import absolute_place, file_system_of, reason_of
from recurray.platform.training.manifest import FORMAT, FileRecord, HashingStream, Manifest, checksum, read_manifest

STATE_FILE, MANIFEST_FILE = "state.pt", "manifest.json"

_ASIDE = ".writing-"
_BEFORE = _ASIDE + "before"
_MARKER = ".recurray-checkpoints"
"""An empty file in every store, made by the driver. Where a worker does not find it, the folder is not the driver's:
it lies on another machine's disk, or what was mounted there is gone."""


class DamagedError(Exception):
    """A checkpoint is not whole; the message names the file and what is wrong with it."""

    def __init__(self, step: int, message: str) -> None:
        super().__init__(message)
        self.step = step


class UnfinishedError(DamagedError):
    """It is what a kill leaves of a checkpoint that was being written."""


@dataclass(frozen=True)
class Checkpoint:
    """A whole checkpoint, read; its tensors are on the CPU."""

    manifest: Manifest
    state: dict[str, Any]


class CheckpointStore:
    """The checkpoints of one run, of which one process writes at a time.

    Args:
        place: a folder's absolute path, or a URI.

    Raises UserError where the URI is none that is known.
    """

    def __init__(self, place: str) -> None:
        self.place = place
        self.shown = place.partition("?")[0] if "://" in place else place
        """The place in messages: without a URI's options."""
        self._files, self._root, self._renames = file_system_of(place, key="checkpoints.folder")

    @classmethod
    def of(cls, config: RunConfig, folder: Path) -> "CheckpointStore":
        """That of a run in its folder, on the driver, to whose working directory a relative path belongs."""
        place = config.checkpoints.folder or str(folder / "checkpoints")
        return cls(absolute_place(place))

    def open(self) -> None:
        """Makes the folder if it is not there; UserError where it cannot be written."""
        try:
            self._files.create_dir(self._root)
            with self._files.open_output_stream(self._path(_MARKER)):
                pass
        except OSError as fault:
            raise UserError(
                f"checkpoints.folder: {self.shown} cannot be written ({reason_of(fault)}); check the address and your "
                "access to it."
            ) from None

    def check_it_is_there(self) -> None:
        """Raises OSError where this is not the folder that was opened."""
        if self._files.get_file_info(self._path(_MARKER)).type is not FileType.File:
            raise FileNotFoundError(f"it has no {_MARKER}: it is not there, or not the folder that the driver sees")

    def steps(self) -> list[int]:
        """The steps of which there is a checkpoint, whole or not, the newest last."""
        return sorted(_step(name) for name in self._folders() if re.fullmatch(r"step-\d+", name))

    def manifest(self, step: int) -> Manifest:
        """A checkpoint's manifest.

        Raises DamagedError, OSError where the storage is out of reach, and UserError for a format that is unknown.
        """
        where = f"{self.shown}/{_name(step)}/{MANIFEST_FILE}"
        content = self._content(f"{_name(step)}/{MANIFEST_FILE}")
        if content is None and self._renames:
            raise DamagedError(step, f"{where} is missing")
        if content is None:
            raise UnfinishedError(step, f"{where} is missing: it was never finished")
        try:
            return read_manifest(content, where)
        except ValueError:
            raise DamagedError(step, f"{where} differs from its checksum") from None

    def read(self, step: int) -> Checkpoint:
        """A checkpoint, if every byte of it is as it was written; raises what `manifest` raises."""
        manifest = self.manifest(step)
        where, record = f"{self.shown}/{_name(step)}/{STATE_FILE}", manifest.files[STATE_FILE]
        content = self._content(f"{_name(step)}/{STATE_FILE}")
        if content is None:
            raise DamagedError(step, f"{where} is missing")
        if len(content) != record.size:
            raise DamagedError(step, f"{where} has {len(content):,} bytes instead of {record.size:,}")
        if checksum(content) != record.blake2b:
            raise DamagedError(step, f"{where} differs from its checksum")
        try:
            return Checkpoint(manifest, torch.load(io.BytesIO(content), map_location="cpu", weights_only=True))
        except (pickle.UnpicklingError, EOFError):
            raise DamagedError(step, f"{where} holds more than tensors and numbers, or something else") from None

    def newest_whole(self) -> tuple[Checkpoint | None, list[str]]:
        """The newest whole checkpoint, if any, and a sentence on each newer one that is not.

        Raises OSError where the storage is out of reach, and UserError where there are some and none is whole.
        """
        self.check_it_is_there()
        faults = self._unfinished()
        for step in reversed(self.steps()):
            try:
                checkpoint = self.read(step)
            except DamagedError as fault:
                self.check_it_is_there()  # or it is the storage that went
                faults.append(fault)
            else:
                instead = f"the checkpoint of step {step} is used instead"
                return checkpoint, [f"{fault}; {instead}" for fault in faults if fault.step > step]
        if all(isinstance(fault, UnfinishedError) for fault in faults):
            return None, [f"{fault}, and there is no other checkpoint" for fault in faults]
        raise UserError(
            f"none of the checkpoints in {self.shown} is whole: {'; '.join(map(str, faults))}; put one back from a "
            "copy, or start over with --fresh."
        )

    def write(self, step: int, score: float | None, config: dict[str, Any], state: dict[str, Any]) -> None:
        """Writes a checkpoint, in the place of one of the same step; OSError leaves those that were whole as they were.

        What earlier writers left unfinished is deleted first.
        """
        self.check_it_is_there()
        for name in self._folders():
            if name.startswith(_ASIDE):
                self._files.delete_dir(self._path(name))
        name = _name(step)
        folder = _ASIDE + name if self._renames else name
        try:
            if not self._renames and step in self.steps():  # a damaged one
                self.remove(step)
            self._files.create_dir(self._path(folder), recursive=False)
            record = self._write_file(f"{folder}/{STATE_FILE}", lambda stream: torch.save(state, stream))
            manifest = Manifest(format=FORMAT, step=step, score=score, config=config, files={STATE_FILE: record})
            self._write_file(f"{folder}/{MANIFEST_FILE}", lambda stream: stream.write(manifest.content()))
            if self._renames:
                self._publish(folder, name)
        except OSError:
            with suppress(OSError):
                self._files.delete_dir(self._path(folder))
            raise

    def remove(self, step: int) -> None:
        """Deletes a checkpoint, its manifest first, so that none is ever whole in part."""
        folder = self._path(_name(step))
        if self._files.get_file_info(f"{folder}/{MANIFEST_FILE}").type is FileType.File:
            self._files.delete_file(f"{folder}/{MANIFEST_FILE}")
        self._files.delete_dir(folder)

    def _publish(self, aside: str, name: str) -> None:
        """Puts a folder in its place on a disk, so that it is there with all its content or not at all."""
        _sync(self._path(aside))
        replaces = os.path.exists(self._path(name))  # a damaged one
        if replaces:
            os.rename(self._path(name), self._path(_BEFORE))
        os.rename(self._path(aside), self._path(name))
        _sync(self._root)
        if replaces:
            self._files.delete_dir(self._path(_BEFORE))

    def _write_file(self, where: str, fill: Callable[[Any], object]) -> FileRecord:
        with self._writing(self._path(where)) as file:
            stream = HashingStream(file)
            fill(stream)
            return stream.record()

    @contextmanager
    def _writing(self, path: str) -> Iterator[Any]:
        if not self._renames:
            with self._files.open_output_stream(path) as stream:
                yield stream
            return
        with open(path, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())

    def _content(self, where: str) -> bytes | None:
        """What is in a file, if there is one."""
        if self._files.get_file_info(self._path(where)).type is not FileType.File:
            return None
        with self._files.open_input_stream(self._path(where)) as stream:
            content: bytes = stream.read()
        return content

    def _unfinished(self) -> list[DamagedError]:
        """What was being written aside when the writer was killed."""
        names = (name for name in self._folders() if name.startswith(_ASIDE + "step-"))
        return [UnfinishedError(_step(name), f"{self.shown}/{name} was never finished") for name in names]

    def _folders(self) -> list[str]:
        entries = self._files.get_file_info(FileSelector(self._root, allow_not_found=True))
        return [entry.base_name for entry in entries if entry.type is FileType.Directory]

    def _path(self, where: str) -> str:
        return f"{self._root}/{where}"


def _name(step: int) -> str:
    return f"step-{step:08}"


def _step(name: str) -> int:
    return int(name.rpartition("-")[2])


def _sync(folder: str) -> None:
    """Brings a folder's entries to the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
