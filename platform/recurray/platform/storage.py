"""Folders that are named by a path or by a URI such as `s3://bucket/models/demo`."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pyarrow import ArrowException
from pyarrow.fs import FileSystem, FileType, copy_files

from recurray.platform.errors import UserError


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
            reason = " ".join(str(fault).split())
            raise UserError(f"{place} could not be read ({reason}); check the address and your access to it.") from None
        yield Path(copy)
