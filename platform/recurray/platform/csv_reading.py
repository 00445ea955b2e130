"""Reading CSV: one limit for a field's length, since the csv module keeps it for the whole process."""

import csv
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _csv import Reader

LONGEST_FIELD = 1 << 24
"""Characters, after which a quote counts as never closed; documents may be long."""


def csv_reader(lines: Iterable[str]) -> "Reader":
    """Rows of values; csv.Error where a field is longer, or where the text is no CSV."""
    csv.field_size_limit(LONGEST_FIELD)
    return csv.reader(lines)
