"""Finding a job's input files, and for each the output that it becomes."""

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase

from pyarrow.fs import FileSelector, FileSystem, FileType

from recurray.platform.errors import UserError
from recurray.platform.inference.formats.format import Format, StoredFile
from recurray.platform.inference.formats.registry import FORMATS, format_of
from recurray.platform.storage import absolute_place, file_system_of, reason_of

_WILD = re.compile(r"[*?\[]")


@dataclass(frozen=True)
class FilePair:
    """A file of the input and what it becomes."""

    name: str
    """Within the folder or glob that it was found in, or its own."""
    source: StoredFile
    output: StoredFile
    format: Format


def stored(place: str, option: str) -> StoredFile:
    """A file or folder at a path or URI, whether it is there or not; UserError where its address is none."""
    files, path, _ = file_system_of(absolute_place(place), option)
    return StoredFile(place.partition("?")[0] if "://" in place else place, files, path)  # options are not shown


def pair_files(source: str, output: str) -> list[FilePair]:
    """The files of a file, folder, glob or URI, in the order of their names, each with its output.

    Raises UserError where there are none, where an output has another format than its input, or would replace it.
    """
    given, wanted = stored(source, "--input"), stored(output, "--output")
    kind = _type_of(given)
    if kind is FileType.File:
        return [_pair(given.path.rpartition("/")[2], given, wanted)]
    if kind is FileType.Directory:
        root, paths = given.path, _in_folder(given)
    elif wild := _WILD.search(given.path):
        root = given.path[: wild.start()].rpartition("/")[0]
        paths = _matching(given, root)
    else:
        raise UserError(f"{source} does not exist.")
    if f"{wanted.path}/".startswith(f"{given.path}/") and wanted.files == given.files:
        raise UserError(f"{output} lies within the input {source}; name a folder that does not.")
    if _type_of(wanted) is FileType.File:
        raise UserError(f"{output} is a file, but {source} is several; name a folder.")
    pairs = []
    for path in paths:
        name = path[len(root) :].lstrip("/")
        found = StoredFile(f"{_shown(given.place)}{name}", given.files, path)
        becomes = StoredFile(f"{wanted.place.rstrip('/')}/{name}", wanted.files, f"{wanted.path}/{name}")
        pairs.append(_pair(name, found, becomes))
    return pairs


def _pair(name: str, source: StoredFile, output: StoredFile) -> FilePair:
    if output.files == source.files and output.path == source.path:
        raise UserError(f"{output.place} is input and output; name another --output.")
    if _type_of(output) is FileType.Directory:
        raise UserError(f"{output.place} is a folder, but {source.place} is a file; name a file.")
    format_ = format_of(source)
    if format_of(output) is not format_:
        raise UserError(
            f"{source.place} is {format_.name}, so --output must end as such a file does, but {output.place} would be "
            f"{format_of(output).name}."
        )
    return FilePair(name, source, output, format_)


def _type_of(file: StoredFile) -> FileType:
    try:
        return file.files.get_file_info(file.path).type
    except OSError as fault:
        raise UserError(f"{file.place} cannot be reached ({reason_of(fault)}).") from None


def _in_folder(folder: StoredFile) -> list[str]:
    """The files in a folder and in those within it, but for hidden ones."""
    paths = _files(folder.files, folder.path, recursive=True)
    shown = [path for path in paths if not re.search(r"/[._]", path[len(folder.path) :])]
    for path in shown:
        if StoredFile(path, folder.files, path).ending not in FORMATS:
            raise UserError(
                f"{path} has none of the endings {', '.join(FORMATS)}; name the files by a glob such as "
                f"'{folder.place.rstrip('/')}/*.txt', which takes other names as text."
            )
    if not shown:
        raise UserError(f"{folder.place} has no files in it.")
    return shown


def _matching(pattern: StoredFile, root: str) -> list[str]:
    """The files that match a glob, in which ** stands for any folders."""
    parts = _names(pattern.path, root)
    paths = _files(pattern.files, root, recursive=len(parts) > 1)
    found = [path for path in paths if _matches(_names(path, root), parts)]
    if not found:
        raise UserError(f"{pattern.place} matches no file.")
    return found


def _names(path: str, root: str) -> list[str]:
    return path[len(root) :].lstrip("/").split("/")


def _matches(names: list[str], parts: list[str]) -> bool:
    """Whether names of folders and a file match a glob's parts; a hidden one matches none."""
    if not names or not parts:
        return not names and not parts
    if parts[0] == "**":
        return any(_matches(names[skipped:], parts[1:]) for skipped in range(len(names)))
    hidden = names[0].startswith(".") and not parts[0].startswith(".")
    return not hidden and fnmatchcase(names[0], parts[0]) and _matches(names[1:], parts[1:])


def _files(files: FileSystem, folder: str, *, recursive: bool) -> list[str]:
    """Sorted, so that the order is the same on any storage."""
    found = files.get_file_info(FileSelector(folder or "/", allow_not_found=True, recursive=recursive))
    return sorted(info.path for info in found if info.is_file)


def _shown(source: str) -> str:
    """What stands before a found file's name in messages."""
    wild = _WILD.search(source)
    folder = source.rstrip("/") if wild is None else source[: wild.start()].rpartition("/")[0]
    return f"{folder}/" if folder else ""
