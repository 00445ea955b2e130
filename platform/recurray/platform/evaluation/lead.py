"""The lead baseline: the first sentences of a document stand for its summary. A model should beat it."""

import re
from itertools import islice

_SENTENCE_END = re.compile(
    r"""(?<!\b\d) (?<!\b\d\d) [.!?…]+ ["'”\u2019»)\]]* \s+  # not the `1. ` of a section or an item
    |   [。！？]+ [」』”\u2019\uff09]* \s*
    |   \n \s*? \n \s*""",
    re.VERBOSE,
)


def lead(text: str, sentences: int) -> str:
    """The first `sentences` sentences of a document, on one line; all of it where it has fewer.

    A sentence ends at `.`, `!`, `?` or `…`, with the quotes and brackets that close behind it, where white space
    follows, at `。`, `！` or `？`, and at an empty line. So the dot of an abbreviation ends one too; a mark behind a
    number of one or two digits does not, or the number of a first section would be the lead.
    """
    text = text.strip()
    ends = (found.end() for found in _SENTENCE_END.finditer(text))
    end = next(islice(ends, sentences - 1, None), None)
    return " ".join(text[:end].split())
