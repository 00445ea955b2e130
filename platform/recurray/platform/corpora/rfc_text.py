"""Reading the text of an RFC: pages to sections, sections to the abstract and the body."""

import re
import textwrap
from collections.abc import Iterable, Iterator
from itertools import takewhile
from typing import NamedTuple

from recurray.platform.corpora.filled_text import joined

_FOOTER = re.compile(r".*\[Page\s+\w+\]\s*")
_HEADER = re.compile(r"(?:RFC|Internet Draft|NWG/RFC)\s+\d+\b.*|.*\bRFC\s+\d+\s*", re.IGNORECASE)
_SENTENCE_END = (".", ":", ";", "?", "!")

_NUMBER = r"(?:\d+|[IVX]+)(?:\.\d+)*[.):]?\s+"
_ABSTRACT = re.compile(rf"(?:{_NUMBER})?abstract[.:]*", re.IGNORECASE)
_AFTER_ABSTRACT = re.compile(
    rf"(?:{_NUMBER})?(?:table of contents|status of this memo|copyright notice)", re.IGNORECASE
)
_BODY = re.compile(rf"(?!.*\s{{3}}\d+$)(?:(?:{_NUMBER})?introduction\b.*|{_NUMBER}\S.*)", re.IGNORECASE)
_CONTENTS_LINE = re.compile(r"(?:\. ?){4}\s*\d+$")
_BOILERPLATE = re.compile(
    rf"(?:{_NUMBER}|[A-Z]\.\s+|appendix \w+[.:]?\s+)?(?:(?:(?:non-)?normative |informati(?:ve|onal) )?references|"
    r"bibliography|.*(?:author|editor|contributor)(?:s|'s|s'|\(s\)'?)?\s+(?:address|information).*|"
    r"contribut(?:ors|ing authors)|acknowledge?ments?.*|(?:full )?copyright (?:notice|statement).*|"
    r"intellectual property.*|disclaimer.*|status of this memo.*|table of contents.*|contents|index)[.:]?",
    re.IGNORECASE,
)

_BULLET = re.compile(r"(?:[-*o+•]|\(?(?:\d\d?|[a-z]|[ivx]+)[.)])\s+", re.IGNORECASE)
_RULE = re.compile(r"[-=+_*~.]{4}")
WIDTH = 66
"""Text is filled to about so many characters: a line that had room for the next word was ended on purpose."""


class Article(NamedTuple):
    """What is learned from in an RFC: a paragraph is a line, with an empty one before the next."""

    abstract: str
    body: str


class Section(NamedTuple):
    """A heading, which stands at the margin, and the indented lines below it."""

    heading: str
    lines: list[str]


def read_article(text: str) -> Article:
    """The abstract and the body of an RFC; what is not there is empty.

    The body starts behind the abstract, with the introduction or the first numbered section if there is one. Contents,
    references, acknowledgements, addresses of authors and notices of copyright are left out.
    """
    parts = iter(_sections(_join_pages(text)))
    abstract = next((part.lines for part in parts if _ABSTRACT.fullmatch(part.heading)), [])
    rest = list(parts)
    start = next((number for number, part in enumerate(rest) if _BODY.fullmatch(part.heading)), 0)
    body: list[str] = []
    for part in rest[start:]:
        if not _BOILERPLATE.fullmatch(part.heading):
            body += [part.heading, *_paragraphs(part.lines)]
    summary = takewhile(lambda line: not _AFTER_ABSTRACT.fullmatch(line.strip()), abstract)
    return Article(joined(summary), "\n\n".join(body))


def _join_pages(text: str) -> list[str]:
    """The lines without page headers and footers; a paragraph that goes on over a page's end is in one piece again."""
    lines: list[str] = []
    for page in text.replace("\r", "").split("\f"):
        kept = _page_lines(page)
        if lines and kept and not _goes_on(lines[-1], kept[0]):
            lines.append("")
        lines += kept
    return lines


def _page_lines(page: str) -> list[str]:
    lines = [line.rstrip() for line in page.expandtabs().split("\n")]
    while lines and (not lines[-1] or _FOOTER.fullmatch(lines[-1])):
        lines.pop()
    first = next((number for number, line in enumerate(lines) if line), 0)
    if lines and _HEADER.fullmatch(lines[first]):
        first = next((number for number, line in enumerate(lines) if number > first and line), len(lines))
    return [line for line in lines[first:] if not (line[-1:].isdigit() and _CONTENTS_LINE.search(line))]


def _goes_on(before: str, after: str) -> bool:
    return len(before) > WIDTH - 16 and not before.endswith(_SENTENCE_END) and after.startswith(" ")


def _sections(lines: list[str]) -> Iterator[Section]:
    """A heading stands alone at the margin; some old documents have all their text there."""
    section = Section("", [])
    for before, line, after in zip(["", *lines], lines, [*lines[1:], ""], strict=False):
        if not before and line[:1].strip() not in ("", "[") and not after[:1].strip():
            yield section
            section = Section(line, [])
        else:
            section.lines.append(line)
    yield section


def _paragraphs(lines: Iterable[str]) -> list[str]:
    """Paragraphs of filled text as one line each; lists, figures and code with the lines that they have."""
    found: list[list[list[str]]] = [[]]
    width = 0
    for line in lines:
        text = line.strip()
        bullet = _BULLET.match(text)
        figure = _is_figure(text[bullet.end() :] if bullet else text)
        if not text:
            found.append([])
        elif found[-1] and not bullet and not figure and width + 1 + len(text.split(maxsplit=1)[0]) > WIDTH:
            found[-1][-1].append(line)
        else:
            found[-1].append([line])
        width = 0 if figure else len(line)
    return [textwrap.dedent("\n".join(map(_as_line, part))) for part in found if part]


def _as_line(lines: list[str]) -> str:
    """Lines of filled text as one that is indented as the first; a line by itself stays as it is."""
    if len(lines) == 1:
        return lines[0]
    return lines[0][: -len(lines[0].lstrip())] + joined(lines)


def _is_figure(text: str) -> bool:
    return "   " in text or text[:1] in ("|", "+", "/", "\\") or text.endswith("|") or bool(_RULE.search(text))
