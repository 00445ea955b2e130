"""Joining the lines of text that was filled to a width."""

import re
from collections.abc import Iterable

_CJK = "[\u3000-\u9fff\uff00-\uffef]"
# A line break after a hyphen is no space, but for one such as in "Client- und Serverpakete".
_BREAK_WITHOUT_SPACE = re.compile(
    rf"(?<={_CJK})\n(?={_CJK})|(?<=\w-)\n(?!(?:and|or|und|oder|bzw|sowie|et|ou|e|ed|o|y|en|of)\b)"
)
_SPACES = re.compile(r"[ \t\n]+")  # not all that Unicode knows: a no-break space belongs to French punctuation


def joined(lines: Iterable[str]) -> str:
    """The lines of a paragraph as one line, with single spaces."""
    text = "\n".join(line.strip(" \t") for line in lines)
    return _SPACES.sub(" ", _BREAK_WITHOUT_SPACE.sub("", text)).strip()
