"""Formats by the endings of names. A new format is a file here and its line in `FORMATS`."""

from recurray.platform.inference.formats.delimited import CSV, TSV
from recurray.platform.inference.formats.format import Format, StoredFile
from recurray.platform.inference.formats.jsonl import JsonLines
from recurray.platform.inference.formats.parquet import Parquet
from recurray.platform.inference.formats.text import TextFormat

TEXT = TextFormat()

FORMATS: dict[str, Format] = {
    ".txt": TEXT,
    ".jsonl": JsonLines(),
    ".csv": CSV,
    ".tsv": TSV,
    ".parquet": Parquet(),
}


def format_of(file: StoredFile) -> Format:
    """The format of a file's name; text where its ending says nothing, as in `test.en`."""
    return FORMATS.get(file.ending, TEXT)
