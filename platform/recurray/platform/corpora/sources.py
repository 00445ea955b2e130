"""Where a recipe's pairs come from: what may stand under `data.train`, `data.dev` and `data.test`."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

ColumnNumber = Annotated[int, Field(ge=0)]


class _Source(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class TextSource(_Source):
    """Two parallel UTF-8 text files, one segment a line; only "\\n" ends a line."""

    kind: Literal["text"]
    """Two text files."""
    src: str
    """The file of source segments."""
    tgt: str
    """The file of target segments, as many lines."""


class TsvSource(_Source):
    """A table with a pair a row: tab-separated without quoting, or by the rules of CSV if its name ends in .csv."""

    kind: Literal["tsv"]
    """A .tsv or .csv table."""
    path: str
    """The file."""
    src_column: ColumnNumber = 0
    """The source's column, counted from 0."""
    tgt_column: ColumnNumber = 1
    """The target's column, counted from 0."""


class JsonlSource(_Source):
    """A JSON object a line."""

    kind: Literal["jsonl"]
    """JSON lines."""
    path: str
    """The file."""
    src_field: str = "src"
    """The source's key; `a.b` is key b of the object under key a."""
    tgt_field: str = "tgt"
    """The target's key."""


class HfSource(_Source):
    """A Hugging Face data set: a name on the hub, or a folder that `save_to_disk` wrote."""

    kind: Literal["hf"]
    """A data set, read by the `datasets` package."""
    name: str
    """The data set's name, such as `opus100`, or its folder."""
    config: str | None = None
    """Its configuration, such as `de-en`, if it has several."""
    split: str = "train"
    """Its split; a folder that holds one split without a name is `train`."""
    src_field: str
    """The source's column; `translation.en` is key en of column translation."""
    tgt_field: str
    """The target's column."""


Source = Annotated[TextSource | TsvSource | JsonlSource | HfSource, Field(discriminator="kind")]
