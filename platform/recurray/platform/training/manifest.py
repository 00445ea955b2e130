"""What is written beside a checkpoint's files: what it is, and what they must be like."""

import hashlib
import io
import json
from typing import Any

from recurray.platform.config.section import Section
from recurray.platform.errors import UserError

FORMAT = 1


class FileRecord(Section):
    """What a file must be like."""

    size: int
    """In bytes."""
    blake2b: str
    """Of its content, in hexadecimal digits."""


class Manifest(Section):
    """A checkpoint's `manifest.json`; the file holds its own checksum too."""

    format: int
    """Of the checkpoint."""
    step: int
    """Updates done."""
    score: float | None
    """The task's best figure at the last validation; none before the first."""
    config: dict[str, Any]
    """The run's whole configuration."""
    files: dict[str, FileRecord]
    """Each file beside it."""

    def content(self) -> bytes:
        """Of its file."""
        tree = self.model_dump(mode="json")
        return json.dumps(tree | {"checksum": _checksum_of_tree(tree)}, indent=1).encode()


def read_manifest(content: bytes, where: str) -> Manifest:
    """The manifest in a file's content.

    Raises ValueError where it is not as it was written, and UserError for a format that is not known here.
    """
    tree = json.loads(content)
    if not isinstance(tree, dict) or tree.pop("checksum", None) != _checksum_of_tree(tree):
        raise ValueError("the manifest differs from its checksum")
    if tree["format"] != FORMAT:
        raise UserError(
            f"{where} has format {tree['format']} and this version of recurray reads {FORMAT}; use the version that "
            "wrote it, or start over with --fresh."
        )
    return Manifest.model_validate(tree)


class HashingStream(io.RawIOBase):
    """Passes on what is written to it, and counts and hashes it.

    A fault is kept and raised by `record`, for torch.save would hide it behind one of its own.
    """

    def __init__(self, file: Any) -> None:
        self._file = file
        self._size, self._hasher = 0, hashlib.blake2b()
        self._fault: OSError | None = None

    def write(self, data: Any) -> int:
        """Returns how many bytes there were."""
        if self._fault is None:
            try:
                self._file.write(data)
            except OSError as fault:
                self._fault = fault
        self._hasher.update(data)
        self._size += len(data)
        return len(data)

    def record(self) -> FileRecord:
        """Of all that was written; OSError where it could not be."""
        if self._fault is not None:
            raise self._fault
        return FileRecord(size=self._size, blake2b=self._hasher.hexdigest())


def checksum(content: bytes) -> str:
    """As a record has it."""
    return hashlib.blake2b(content).hexdigest()


def _checksum_of_tree(tree: dict[str, Any]) -> str:
    return checksum(json.dumps(tree, sort_keys=True).encode())
