"""The corpus `rfc`: the body of an RFC as document, its abstract as summary."""

import gzip
import re
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from recurray.platform.corpora.apt import ETC, PrivateApt
from recurray.platform.corpora.made import Corpus, Row
from recurray.platform.corpora.rfc_text import read_article

MIN_ABSTRACT_WORDS, MAX_ABSTRACT_WORDS, MIN_BODY_WORDS = 8, 500, 100

_FILE = re.compile(r"rfc(\d+)\.txt(?:\.gz)?")


def make_rfc(etc: Path = ETC) -> Corpus:
    """RFCs of the Debian packages doc-rfc-*, from the apt sources in a folder, by default the system's, and non-free.

    Nothing is installed. UserError where there is no apt-get or dpkg, no network, or no such package.
    """
    dropped: Counter[str] = Counter()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="recurray-rfc-")))
        print("downloading the Debian packages doc-rfc-* (about 480 MB) with apt-get", flush=True)
        apt = PrivateApt(folder, component="non-free", etc=etc)
        packages = apt.download("doc-rfc-")
        return Corpus(
            name="rfc",
            source=f"the {len(packages)} Debian packages doc-rfc-* {packages[0].name.split('_')[1]} (non-free)",
            licence="of each RFC (BCP 78): whole copies are free, parts of IETF documents only within the IETF process",
            languages=None,
            rows=_documents(apt, packages, stack.pop_all(), dropped),
            dropped=dropped,
        )


def _documents(apt: PrivateApt, packages: list[Path], folders: ExitStack, dropped: Counter[str]) -> Iterator[Row]:
    seen: set[int] = set()
    with folders:
        for package in packages:
            for number, text in _texts(apt, package, dropped):
                article = read_article(text)
                if reason := _fault(article.body, article.abstract):
                    dropped[reason] += 1
                elif hash(article.body) in seen:
                    dropped["duplicate body"] += 1
                else:
                    seen.add(hash(article.body))
                    yield Row(article.body, article.abstract, f"RFC {number}")


def _texts(apt: PrivateApt, package: Path, dropped: Counter[str]) -> Iterator[tuple[int, str]]:
    """Number and text of each RFC in a package."""
    with tempfile.TemporaryDirectory(dir=package.parent) as folder:
        apt.unpack(package, Path(folder))
        found = [(match, file) for file in Path(folder).rglob("rfc*") if (match := _FILE.fullmatch(file.name))]
        files = {int(match[1]): file for match, file in found if not file.is_symlink()}
        for number, file in sorted(files.items()):
            content = file.read_bytes()
            try:
                text = (gzip.decompress(content) if file.suffix == ".gz" else content).decode("utf-8-sig")
            except UnicodeDecodeError:
                dropped["file that is not UTF-8"] += 1
            else:
                yield number, text


def _fault(body: str, abstract: str) -> str | None:
    if not abstract:
        return "no abstract"
    if not MIN_ABSTRACT_WORDS <= len(abstract.split()) <= MAX_ABSTRACT_WORDS:
        return f"abstract not of {MIN_ABSTRACT_WORDS} to {MAX_ABSTRACT_WORDS} words"
    if len(body.split()) < MIN_BODY_WORDS:
        return f"body under {MIN_BODY_WORDS} words"
    return "body repeats the abstract" if abstract in " ".join(body.split()) else None
