"""Parquet: a row a record, to which the result is added as its last column; types and metadata stay as they are."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import islice

import pyarrow as pa
from pyarrow import NativeFile
from pyarrow.parquet import ParquetFile, ParquetWriter

from recurray.platform.errors import UserError
from recurray.platform.inference.formats.format import Columns, Found, StoredFile, choose_field
from recurray.platform.inference.records import NO_TEXT, Source, Unreadable

_BATCH_ROWS = 512
_ROW_GROUP_BYTES = 1 << 25
"""Of what is held until it is written."""


class Parquet:
    """Columns of Arrow's types."""

    name = "Parquet"

    def field(self, file: StoredFile, field: str | None, outputs: Sequence[str]) -> str:
        """Looked for among the columns of text."""
        with _opened(file) as parquet:
            schema = parquet.schema_arrow
        if field in schema.names and not _is_text(schema.field(field).type):
            raise UserError(f"{file.place} has no text in its field {field}, which is {schema.field(field).type}.")
        if any(output in schema.names for output in outputs):
            return choose_field(file, schema.names, field, outputs)
        return choose_field(file, [column.name for column in schema if _is_text(column.type)], field, outputs)

    def count(self, file: StoredFile, columns: Columns) -> int:
        """As the file says."""
        with _opened(file) as parquet:
            return int(parquet.metadata.num_rows)

    def sources(self, file: StoredFile, columns: Columns) -> Iterator[Source]:
        """The texts of one column."""
        with _opened(file) as parquet:
            for batch in parquet.iter_batches(_BATCH_ROWS, columns=[columns.field]):
                for text in _encoded(batch.column(0)):
                    yield Unreadable(NO_TEXT) if text is None else text

    def write(self, file: StoredFile, columns: Columns, results: Iterator[Found], sink: NativeFile) -> None:
        """All columns and the outputs, in row groups of some 32 MB."""
        with _opened(file) as parquet:
            schema = parquet.schema_arrow
            for output in columns.outputs:
                schema = schema.append(pa.field(output, pa.string()))
            with ParquetWriter(sink, schema, compression=_codec(parquet)) as writer:
                held: list[pa.RecordBatch] = []
                for batch in parquet.iter_batches(_BATCH_ROWS):
                    found = list(islice(results, batch.num_rows))
                    added = [
                        pa.array([each[place] for each in found], pa.string()) for place in range(len(columns.outputs))
                    ]
                    held.append(pa.RecordBatch.from_arrays([*batch.columns, *added], schema=schema))
                    if sum(each.nbytes for each in held) >= _ROW_GROUP_BYTES:
                        writer.write_table(pa.Table.from_batches(held))
                        held.clear()
                if held:
                    writer.write_table(pa.Table.from_batches(held))
        if next(results, None) is not None:
            raise ValueError("there are more results than rows")


def _opened(file: StoredFile) -> "closing[ParquetFile]":
    """With a buffer of its own for each column, so that no row group is read at once."""
    return closing(ParquetFile(file.open(), buffer_size=1 << 20, pre_buffer=False))


def _is_text(kind: pa.DataType) -> bool:
    values = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_string(values) or pa.types.is_large_string(values) or pa.types.is_string_view(values))


def _encoded(column: pa.Array) -> list[bytes | None]:
    """The bytes of texts, which nobody has checked to be UTF-8."""
    texts = column.dictionary_decode() if pa.types.is_dictionary(column.type) else column
    encoded: list[bytes | None] = texts.cast(pa.large_binary()).to_pylist()
    return encoded


def _codec(parquet: ParquetFile) -> str:
    """The compression of its first column, which that of the output is."""
    if not parquet.metadata.num_row_groups:
        return "snappy"
    codec = str(parquet.metadata.row_group(0).column(0).compression).lower()
    return "none" if codec == "uncompressed" else codec
