"""Reading sources: each kind to pairs of texts. A new kind is a source in `SOURCES` and its reader in `READERS`."""

import csv
import difflib
import hashlib
import json
from collections.abc import Callable, Iterator
from io import BufferedReader
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel

from recurray.platform.corpora.sources import HfSource, JsonlSource, Source, TextSource, TsvSource
from recurray.platform.csv_reading import csv_reader
from recurray.platform.errors import UserError


class Pair(NamedTuple):
    """A source text and its target. Bytes that are not UTF-8 stand in them as lone surrogates (PEP 383)."""

    src: str
    tgt: str


def read_pairs(source: Source) -> Iterator[Pair]:
    """The pairs of a source, in its order.

    Raises UserError that names the file and, where there is one, the line: for a file that is not there, parallel files
    that differ in length, a row with too few columns, a broken line, a field that is not there.
    """
    return READERS[type(source)](source)


def source_identity(source: Source) -> str:
    """An identity of what a source holds and how it is read."""
    hasher = hashlib.blake2b(source.model_dump_json().encode(), digest_size=8)
    if isinstance(source, HfSource):
        hasher.update(str(_load_data_set(source)._fingerprint).encode())
    for name in (value for key, value in source if key in ("path", "src", "tgt")):
        with _open(Path(name)) as file:
            hasher.update(hashlib.file_digest(file, hashlib.blake2b).digest())
    return hasher.hexdigest()


def _read_text(source: TextSource) -> Iterator[Pair]:
    counts = [_count_lines(Path(name)) for name in (source.src, source.tgt)]
    if counts[0] != counts[1]:
        raise UserError(
            f"{source.src} has {counts[0]} lines but {source.tgt} has {counts[1]}; a parallel corpus has a line in one "
            "for each line in the other."
        )
    with _open(Path(source.src)) as src, _open(Path(source.tgt)) as tgt:
        for pair in zip(src, tgt, strict=True):
            yield Pair(*(_decode(line) for line in pair))


def _read_tsv(source: TsvSource) -> Iterator[Pair]:
    with _open(Path(source.path)) as file:
        if source.path.lower().endswith(".csv"):
            rows = _csv_rows(file, source.path)
        else:
            rows = ((number, _decode(line).split("\t")) for number, line in enumerate(file, 1))
        needed = max(source.src_column, source.tgt_column) + 1
        for number, row in rows:
            if len(row) < needed:
                raise UserError(
                    f"{source.path} line {number} has {len(row)} columns but column {needed - 1}, counted from 0, was "
                    "asked for; check src_column and tgt_column."
                )
            yield Pair(row[source.src_column], row[source.tgt_column])


def _csv_rows(file: BufferedReader, path: str) -> Iterator[tuple[int, list[str]]]:
    """Each row with the number of its last line: a quoted field may hold several."""
    reader = csv_reader(line.decode("utf-8", "surrogateescape") for line in file)
    try:
        for row in reader:
            yield reader.line_num, row
    except csv.Error as fault:
        raise UserError(
            f"{path} line {reader.line_num} is not CSV ({fault}); mend it, or give the pairs as JSON lines."
        ) from None


def _read_jsonl(source: JsonlSource) -> Iterator[Pair]:
    with _open(Path(source.path)) as file:
        for number, line in enumerate(file, 1):
            where = f"{source.path} line {number}"
            try:
                row = json.loads(line.decode("utf-8", "surrogateescape"))
            except json.JSONDecodeError as fault:
                raise UserError(f"{where} is not a JSON object ({fault.msg} at column {fault.colno}).") from None
            yield Pair(_field(row, source.src_field, where), _field(row, source.tgt_field, where))


def _read_hf(source: HfSource) -> Iterator[Pair]:
    rows = _load_data_set(source)
    for number, row in enumerate(rows):
        where = f"data set {source.name}, split {source.split}, row {number},"
        yield Pair(_field(row, source.src_field, where), _field(row, source.tgt_field, where))


READERS: dict[type[BaseModel], Callable[[Any], Iterator[Pair]]] = {
    TextSource: _read_text,
    TsvSource: _read_tsv,
    JsonlSource: _read_jsonl,
    HfSource: _read_hf,
}
"""The reader of each kind of source."""


def _load_data_set(source: HfSource) -> Any:
    """The split of a data set, from the hub or from the folder that `save_to_disk` wrote."""
    import datasets

    try:
        if Path(source.name).is_dir():
            found = datasets.load_from_disk(source.name)
        else:
            found = datasets.load_dataset(source.name, source.config)
    except (OSError, ValueError, RuntimeError, datasets.exceptions.DatasetsError) as fault:
        reason = " ".join(str(fault).split())[:200]
        raise UserError(
            f"data set {source.name} could not be loaded ({reason}); check its name and config, and without a network "
            "name a folder that `datasets.save_to_disk` wrote."
        ) from None
    if not isinstance(found, datasets.DatasetDict):  # a folder that holds one split
        found = {str(found.split or "train"): found}
    if source.split not in found:
        raise UserError(f"data set {source.name} has no split {source.split}; it has {', '.join(map(str, found))}.")
    return found[source.split]


def _field(row: Any, path: str, where: str) -> str:
    value = row
    for key in path.split("."):
        if not isinstance(value, dict) or key not in value:
            keys = list(value) if isinstance(value, dict) else []
            near = difflib.get_close_matches(key, keys, n=1)
            hint = f"did you mean {near[0]}?" if near else f"it has {', '.join(keys) or 'no fields'}."
            raise UserError(f"{where} has no field {path}; {hint}")
        value = value[key]
    if not isinstance(value, str):
        raise UserError(f"{where} field {path} holds {type(value).__name__} where a text was expected.")
    return _escaped(value)


def _escaped(text: str) -> str:
    """The text with a lone surrogate, such as JSON can spell, in the form that invalid bytes have in a Pair."""
    try:
        text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass").decode("utf-8", "surrogateescape")
    return text


def _open(path: Path) -> BufferedReader:
    try:
        return path.open("rb")
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"{path} does not exist; paths in a recipe are relative to the working directory.") from None
    except IsADirectoryError:
        raise UserError(f"{path} is a folder; a recipe names files.") from None


def _count_lines(path: Path) -> int:
    """Lines of a file: those that "\\n" ends, and a last one without it."""
    with _open(path) as file:
        blocks = iter(lambda: file.read(1 << 20), b"")
        count, last = 0, b"\n"
        for block in blocks:
            count, last = count + block.count(b"\n"), block[-1:]
    return count + (last != b"\n")


def _decode(line: bytes) -> str:
    return line.removesuffix(b"\n").removesuffix(b"\r").decode("utf-8", "surrogateescape")
