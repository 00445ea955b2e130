"""Folders and files at a path or a URI such as `s3://bucket/models/demo`, and patience with their storage."""

import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from pyarrow import ArrowException, ArrowInvalid, NativeFile
from pyarrow.fs import FileSystem, FileType, LocalFileSystem, copy_files

from recurray.platform.errors import UserError

PATIENCE_SECONDS = 300.0
"""How long a full disk or storage that is out of reach is waited for."""
LONGEST_PAUSE_SECONDS = 30.0
"""From one attempt to the next."""

Found = TypeVar("Found")


@contextmanager
def local_folder(place: str | Path) -> Iterator[Path]:
    """The folder itself if it is named by a path, else a copy on this machine for as long as the context lasts.

    Raises UserError where a URI cannot be read or is no folder; a path is passed on as it is.
    """
    if "://" not in str(place):
        yield Path(place)
        return
    with tempfile.TemporaryDirectory(prefix="recurray-") as copy:
        try:
            remote, path = FileSystem.from_uri(str(place))
            if remote.get_file_info(path).type is not FileType.Directory:
                raise UserError(f"{place} is no folder; name the folder that holds the model.")
            copy_files(path, copy, source_filesystem=remote)
        except (ArrowException, OSError) as fault:
            raise UserError(
                f"{place} could not be read ({reason_of(fault)}); check the address and your access to it."
            ) from None
        yield Path(copy)


def absolute_place(place: str | Path) -> str:
    """A path that holds in any working directory; a URI as it is."""
    return str(place) if "://" in str(place) else str(Path(place).absolute())


def file_system_of(place: str, key: str) -> tuple[FileSystem, str, bool]:
    """A place's file system, its path there, and whether it is a disk, where a folder can be renamed.

    Raises UserError that names the `key` of the configuration, or the option, where the place is a URI of no kind that
    is known, or has a password in it.
    """
    if "://" not in place:
        return LocalFileSystem(), place, True
    if urlsplit(place).password is not None:
        raise UserError(
            f"{key}: an address with a password in it would be written into logs; leave it out, and give it by the "
            "environment, as in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."
        )
    try:
        files, path = _from_uri(place)
    except (ArrowException, ValueError, ImportError, OSError) as fault:
        raise UserError(f"{key}: {place} is no address that is known ({reason_of(fault)}).") from None
    return files, path.rstrip("/"), isinstance(files, LocalFileSystem)


def _from_uri(place: str) -> tuple[FileSystem, str]:
    """By Arrow's own kinds of file systems, else by fsspec's."""
    try:
        files, path = FileSystem.from_uri(place)
    except ArrowInvalid:
        files, path = FileSystem.from_uri(f"fsspec+{place}")
    return files, path


@contextmanager
def written_whole(files: FileSystem, path: str, compression: str | None = None) -> Iterator[NativeFile]:
    """A file to write that is at `path` once it is whole: it is written aside, and renamed when the block has ended."""
    folder, slash, name = path.rpartition("/")
    aside = f"{folder}{slash}.{name}.writing"  # what a kill leaves of it is overwritten the next time
    try:
        with files.open_output_stream(aside, compression=compression) as sink:
            yield sink
        files.move(aside, path)
    except BaseException:
        with suppress(OSError):
            files.delete_file(aside)
        raise


def patiently(
    work: Callable[[], Found], tell: Callable[[OSError], object], hurry: threading.Event | None = None
) -> Found:
    """What `work` returns; after an OSError it is done again in 1, 2, 4, … seconds, for PATIENCE_SECONDS in all.

    `tell` hears of the first failure; `hurry`, once it is set, ends the waiting. Raises the last OSError.
    """
    hurry = hurry or threading.Event()
    deadline, pause, told = time.monotonic() + PATIENCE_SECONDS, 1.0, False
    while True:
        try:
            return work()
        except OSError as fault:
            left = deadline - time.monotonic()
            if left <= 0 or hurry.is_set():
                raise
            if not told:
                tell(fault)
                told = True
        hurry.wait(min(pause, left))
        pause = min(2 * pause, LONGEST_PAUSE_SECONDS)


def reason_of(fault: Exception) -> str:
    """What a fault says, on one line."""
    return " ".join((getattr(fault, "strerror", None) or str(fault)).split())
