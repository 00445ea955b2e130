"""The corpus `ddtp`: Debian package descriptions in two languages, or English ones with their synopses as summaries."""

import difflib
import re
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from recurray.platform.corpora.apt import ETC, PrivateApt, stanzas
from recurray.platform.corpora.filled_text import joined
from recurray.platform.corpora.made import Corpus, Row
from recurray.platform.errors import UserError

MIN_BODY_WORDS, MIN_SYNOPSIS_WORDS = 10, 3

_LANGUAGE = re.compile(r"[A-Za-z]+(?:_[A-Za-z]+)?(?:@[A-Za-z]+)?")
_ITEM = re.compile(r"\s+[-+o–—°·\N{MINUS SIGN}]\s+|\s*[*•]\s+")
_SHOWN_NO_BREAK_SPACE = "\N{DOT OPERATOR}"  # as the translators' editor shows it: some came into French texts so


class Unit(NamedTuple):
    """A part of a paragraph: running text, an item of a list, or lines to be shown as they stand."""

    kind: str
    text: str


class Description(NamedTuple):
    """A package's one-line synopsis and the paragraphs of its long description."""

    synopsis: str
    paragraphs: list[list[Unit]]


Key = tuple[str, str]
"""A package's name and the MD5 of its English description, which its translations carry too."""


def make_ddtp(pair: str | None = None, etc: Path = ETC) -> Corpus:
    """Package descriptions from the archives of the apt sources in a folder, by default the system's.

    With a pair such as en-it: synopses, paragraphs and list items in two languages. Without one: long English
    descriptions and their synopses. UserError where there is no apt-get, no network, or no such language.
    """
    languages = _languages(pair) if pair else None
    wanted = languages or ("en",)
    print(f"fetching package descriptions ({', '.join(wanted)}) with apt-get", flush=True)
    with tempfile.TemporaryDirectory(prefix="recurray-ddtp-") as folder:
        apt = PrivateApt(Path(folder), languages=wanted, etc=etc)
        files = apt.translations()
        for language in wanted:
            if all(file["Language"] != language for file in files):
                raise _no_language(language, pair, apt)
        texts = [_read(apt, files, language) for language in wanted]
    releases = sorted({" ".join(file.get(key, "") for key in ("Origin", "Release", "Version")) for file in files})
    dropped: Counter[str] = Counter()
    return Corpus(
        name="ddtp",
        source=f"package descriptions (Translation-{', Translation-'.join(wanted)}) of {', '.join(releases)}",
        licence="of each package, see its copyright file",
        languages=languages,
        rows=_pairs(texts[0], texts[1], dropped) if languages else _documents(texts[0], dropped),
        dropped=dropped,
    )


def _languages(pair: str) -> tuple[str, str]:
    src_lang, _, tgt_lang = pair.partition("-")
    if not (_LANGUAGE.fullmatch(src_lang) and _LANGUAGE.fullmatch(tgt_lang)) or src_lang == tgt_lang:
        raise UserError(f"--pair {pair}: expected two different language codes such as en-it or en-pt_BR.")
    return src_lang, tgt_lang


def _no_language(language: str, pair: str | None, apt: PrivateApt) -> UserError:
    known = sorted(apt.languages())
    if not known or language in known:
        return apt.missing(f"Translation-{language}")
    near = difflib.get_close_matches(language, known, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else f"it has {', '.join(known)}."
    return UserError(f"--pair {pair}: the corpus ddtp has no language {language}; {hint}")


def _read(apt: PrivateApt, files: list[dict[str, str]], language: str) -> dict[Key, Description]:
    texts = (apt.read(file["Filename"]) for file in files if file["Language"] == language)
    return {
        (stanza["Package"], stanza["Description-md5"]): parse_description(stanza[f"Description-{language}"])
        for text in texts
        for stanza in stanzas(text)
        if f"Description-{language}" in stanza
    }


def parse_description(field: str) -> Description:
    """A package's description from its control field.

    Lines after the first start with a space; a line of " ." ends a paragraph, and lines that start with more spaces are
    to be shown as they stand (Debian Policy 5.6.13), as lists are.
    """
    synopsis, _, body = field.replace(_SHOWN_NO_BREAK_SPACE, "\N{NO-BREAK SPACE}").partition("\n")
    paragraphs: list[list[str]] = [[]]
    for line in body.split("\n"):
        if line.strip() in ("", "."):
            paragraphs.append([])
        else:
            paragraphs[-1].append(line[1:])
    return Description(joined([synopsis]), [_units(lines) for lines in paragraphs if lines])


def _units(lines: list[str]) -> list[Unit]:
    """The units of a paragraph: a line with a bullet starts an item, which goes on over lines that are indented."""
    found: list[tuple[str, list[str]]] = []
    for line in lines:
        if bullet := _ITEM.match(line):
            found.append(("item", [line[bullet.end() :]]))
            continue
        kind = "text" if line[:1] not in (" ", "\t") else "item" if found and found[-1][0] == "item" else "verbatim"
        if found and found[-1][0] == kind:
            found[-1][1].append(line)
        else:
            found.append((kind, [line]))
    return [Unit(kind, _UNIT_TEXT[kind](part)) for kind, part in found]


_UNIT_TEXT: dict[str, Callable[[list[str]], str]] = {
    "text": joined,
    "item": lambda lines: joined(lines).rstrip("\N{NO-BREAK SPACE} ,;"),  # which belong to the list, not to the item
    "verbatim": "\n".join,
}


def _pairs(src: dict[Key, Description], tgt: dict[Key, Description], dropped: Counter[str]) -> Iterator[Row]:
    seen: set[tuple[str, str]] = set()
    for key in sorted(src):
        if key not in tgt:
            dropped["description that is not translated"] += 1
            continue
        for pair in _aligned(src[key], tgt[key], dropped):
            if reason := _pair_fault(*pair):
                dropped[reason] += 1
            elif pair in seen:
                dropped["duplicate pair"] += 1
            else:
                seen.add(pair)
                yield Row(*pair, key[0])


def _aligned(src: Description, tgt: Description, dropped: Counter[str]) -> Iterator[tuple[str, str]]:
    """Texts that stand at the same place of two descriptions of the same build."""
    yield src.synopsis, tgt.synopsis
    if len(src.paragraphs) != len(tgt.paragraphs):
        dropped["paragraph of a description with another number of them"] += len(src.paragraphs)
        return
    for src_units, tgt_units in zip(src.paragraphs, tgt.paragraphs, strict=True):
        if [unit.kind for unit in src_units] != [unit.kind for unit in tgt_units]:
            dropped["paragraph with another list"] += 1
            continue
        for src_unit, tgt_unit in zip(src_units, tgt_units, strict=True):
            if src_unit.kind == "verbatim":
                dropped["verbatim lines"] += 1
            else:
                yield src_unit.text, tgt_unit.text


def _pair_fault(src: str, tgt: str) -> str | None:
    if not src or not tgt:
        return "empty side"
    if "\ufffd" in src + tgt:
        return "broken characters"
    if len(src.split()) < 2:
        return "source of one word"
    return "target equals source" if src == tgt else None


def _documents(descriptions: dict[Key, Description], dropped: Counter[str]) -> Iterator[Row]:
    seen: set[str] = set()
    for (package, _), description in sorted(descriptions.items()):
        body = "\n\n".join("\n".join(map(_shown, units)) for units in description.paragraphs)
        if reason := _document_fault(body, description.synopsis):
            dropped[reason] += 1
        elif body in seen:
            dropped["duplicate body"] += 1
        else:
            seen.add(body)
            yield Row(body, description.synopsis, package)


def _shown(unit: Unit) -> str:
    return f"* {unit.text}" if unit.kind == "item" else unit.text


def _document_fault(body: str, synopsis: str) -> str | None:
    if not body:
        return "no body"
    if len(body.split()) < MIN_BODY_WORDS:
        return f"body under {MIN_BODY_WORDS} words"
    if len(synopsis.split()) < MIN_SYNOPSIS_WORDS:
        return f"synopsis under {MIN_SYNOPSIS_WORDS} words"
    if "\ufffd" in body + synopsis:
        return "broken characters"
    return "body repeats the synopsis" if body.startswith(synopsis) else None
