"""Where a recipe's pairs come from: what may stand under `data.train`, `data.dev` and `data.test`."""

from typing import Annotated

from pydantic import BeforeValidator, Field, SerializeAsAny

from recurray.platform.config.section import Section, by_kind

ColumnNumber = Annotated[int, Field(ge=0)]


class SourceConfig(Section):
    """Where pairs come from; its kind says which keys it has."""

    kind: str
    """text, tsv, jsonl, hf, or what an extension adds."""


class TextSource(SourceConfig):
    """Two parallel UTF-8 text files, one segment a line; only "\\n" ends a line."""

    src: str
    """The file of source segments."""
    tgt: str
    """The file of target segments, as many lines."""


class TsvSource(SourceConfig):
    """A table with a pair a row: tab-separated without quoting, or by the rules of CSV if its name ends in .csv."""

    path: str
    """The file."""
    src_column: ColumnNumber = 0
    """The source's column, counted from 0."""
    tgt_column: ColumnNumber = 1
    """The target's column, counted from 0."""


class JsonlSource(SourceConfig):
    """A JSON object a line."""

    path: str
    """The file."""
    src_field: str = "src"
    """The source's key; `a.b` is key b of the object under key a."""
    tgt_field: str = "tgt"
    """The target's key."""


class HfSource(SourceConfig):
    """A Hugging Face data set: a name on the hub, or a folder that `save_to_disk` wrote."""

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


SOURCES: dict[str, type[SourceConfig]] = {"text": TextSource, "tsv": TsvSource, "jsonl": JsonlSource, "hf": HfSource}
"""The keys of each kind of source; an extension adds its own here and its reader to `READERS`."""

Source = Annotated[SerializeAsAny[SourceConfig], BeforeValidator(by_kind("source", lambda: SOURCES))]
