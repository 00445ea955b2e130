"""The corpora ddtp and rfc, made by the real apt-get from an archive in a folder."""

import gzip
import hashlib
import subprocess
import tempfile
from pathlib import Path

import pytest

from recurray.jobs.corpus import corpus
from recurray.platform.corpora.apt import PrivateApt, with_component
from recurray.platform.corpora.ddtp import Unit, make_ddtp, parse_description
from recurray.platform.corpora.filled_text import joined
from recurray.platform.corpora.made import write_corpus
from recurray.platform.corpora.rfc import make_rfc
from recurray.platform.corpora.rfc_text import read_article
from recurray.platform.errors import UserError

TRANSLATION_EN = """\
Package: chess
Description-md5: 01
Description-en: board game for two
 Chess is a game for two players on a board. It comes with a well-
 known engine, and with the rules
 of the game.
 .
 Features:
  * plays against you, or against
    itself
  - knows openings
 .
   a b c d
   8 7 6 5

Package: chess-data
Description-md5: 02
Description-en: board game for two
 Chess is a game for two players on a board. It comes with a well-
 known engine, and with the rules
 of the game.
 .
 These are its data.

Package: draughts
Description-md5: 03
Description-en: draughts
 Draughts on a board.
 .
 With an opponent:
  * strong
  * and patient

Package: go
Description-md5: 04
Description-en: game of stones that was never translated
 It is so.

Package: ludo
Description-md5: 05
Description-en: old description of ludo
 Ludo is a game for four players on a board, with a die and with four pieces for each of them.
"""
TRANSLATION_IT = """\
Package: chess
Description-md5: 01
Description-it: gioco da tavolo per due
 Gli scacchi sono un gioco per due giocatori su una scacchiera. C'è un motore
 noto, e ci sono le regole.
 .
 Caratteristiche:
  * gioca contro l'utente, o contro se stesso;
  – conosce le aperture;
 .
   a b c d
   8 7 6 5

Package: chess-data
Description-md5: 02
Description-it: gioco da tavolo per due
 Gli scacchi sono un gioco, e questi sono i dati.

Package: draughts
Description-md5: 03
Description-it: dama
 Draughts on a board.
 .
 Con un avversario:
  * forte e paziente

Package: ludo
Description-md5: of-another-version
Description-it: descrizione nuova
"""

ABSTRACT = "This document defines a protocol by which a kettle tells its tea pot that the water boils."
RFC = f"""\


Network Working Group                                          A. Author
Request for Comments: 9999                                   Kettle Inc.
Category: Informational                                       April 2001


                          The Kettle Protocol

Status of this Memo

   This memo provides information for the Internet community.

Abstract

   This document defines a protocol by which a kettle tells its tea pot
   that the water boils.

Table of Contents

   1.  Introduction . . . . . . . . . . . . . . . . . . . . . . . . .  1
   2.  The Message  . . . . . . . . . . . . . . . . . . . . . . . . .  2
   References . . . . . . . . . . . . . . . . . . . . . . . . . . . .  2

1.  Introduction

   A kettle boils water.  {"The pot has to be warm before that, so that the tea is good. " * 12}
   A pot that is told of it in good time, and that has been warmed with
   some of the water before, has reason to look forward to some well-

Author                       Informational                      [Page 1]
\f
RFC 9999                  The Kettle Protocol                 April 2001


   made tea.

2.  The Message

   The message has these fields:

   o  a type, which tells whether the water boils already, or is only
      warm
   o  a length

    0                   1
   +-+-+-+-+-+-+-+-+-+-+-+-+
   |     type  |   length  |
   +-+-+-+-+-+-+-+-+-+-+-+-+

   x = 1
   y = 2

References

   [1]  Author, A., "Kettles", RFC 9998, April 2000.

A.  Author's Address

   A. Author
   EMail: a@example.org

Full Copyright Statement

   Copyright (C) The Internet Society (2001).  All Rights Reserved.

Author                       Informational                      [Page 2]
\f
"""


class Archive:
    """A Debian archive in a folder, and the folder of apt sources that names it."""

    def __init__(self, folder: Path) -> None:
        self._root, self.etc = folder / "archive", folder / "etc"
        self._architecture = run("dpkg", "--print-architecture").strip()
        (self.etc / "sources.list.d").mkdir(parents=True)
        (self.etc / "sources.list.d" / "here.sources").write_text(
            f"Types: deb\nURIs: file:{self._root}\nSuites: stable\nComponents: main\nTrusted: yes\n"
        )
        self.write("main", f"binary-{self._architecture}/Packages", "")

    def write(self, component: str, name: str, text: str) -> None:
        path = self._root / "dists" / "stable" / component / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        self._write_release()

    def add_package(self, name: str, files: dict[str, bytes]) -> None:
        tree = self._root / "trees" / name
        for path, content in {"DEBIAN/control": self._control(name).encode(), **files}.items():
            (tree / path).parent.mkdir(parents=True, exist_ok=True)
            (tree / path).write_bytes(content)
        package = self._root / "pool" / f"{name}_20230121-1_all.deb"
        package.parent.mkdir(exist_ok=True)
        run("dpkg-deb", "--build", "--root-owner-group", str(tree), str(package))
        content = package.read_bytes()
        listed = (
            f"{self._control(name)}Filename: pool/{package.name}\nSize: {len(content)}\n"
            f"SHA256: {hashlib.sha256(content).hexdigest()}\n"
        )
        self.write("non-free", f"binary-{self._architecture}/Packages", listed)

    def _control(self, name: str) -> str:
        return f"Package: {name}\nVersion: 20230121-1\nArchitecture: all\nMaintainer: A <a@b.org>\nDescription: x\n"

    def _write_release(self) -> None:
        suite = self._root / "dists" / "stable"
        files = sorted(path for path in suite.rglob("*") if path.is_file() and path.name != "Release")
        sums = "".join(
            f" {hashlib.sha256(file.read_bytes()).hexdigest()} {file.stat().st_size} {file.relative_to(suite)}\n"
            for file in files
        )
        components = sorted(path.name for path in suite.iterdir() if path.is_dir())
        (suite / "Release").write_text(
            f"Origin: Here\nVersion: 1.2\nSuite: stable\nCodename: stable\nArchitectures: {self._architecture}\n"
            f"Components: {' '.join(components)}\nDate: Thu, 01 Jan 2026 00:00:00 UTC\nSHA256:\n{sums}"
        )


def run(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Archive:
    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "scratch"))
    return Archive(tmp_path)


@pytest.fixture
def descriptions(archive: Archive) -> Archive:
    archive.write("main", "i18n/Translation-en", TRANSLATION_EN)
    archive.write("main", "i18n/Translation-it", TRANSLATION_IT)
    archive.write("main", "i18n/Translation-pt_BR", "")
    return archive


def test_descriptions_of_one_text_are_paired_by_synopsis_paragraph_and_item(descriptions: Archive) -> None:
    made = make_ddtp("en-it", descriptions.etc)
    assert made.source == "package descriptions (Translation-en, Translation-it) of Here stable 1.2"
    assert [(row.src, row.tgt, row.where) for row in made.rows] == [
        ("board game for two", "gioco da tavolo per due", "chess"),
        (
            "Chess is a game for two players on a board. It comes with a well-known engine, and with the rules of the "
            "game.",
            "Gli scacchi sono un gioco per due giocatori su una scacchiera. C'è un motore noto, e ci sono le regole.",
            "chess",
        ),
        ("plays against you, or against itself", "gioca contro l'utente, o contro se stesso", "chess"),
        ("knows openings", "conosce le aperture", "chess"),
    ]
    assert made.dropped == {
        "source of one word": 2,  # Features: and draughts
        "verbatim lines": 1,
        "duplicate pair": 1,
        "paragraph of a description with another number of them": 2,
        "target equals source": 1,
        "paragraph with another list": 1,
        "description that is not translated": 2,
    }


def test_english_descriptions_are_documents_and_their_synopses_summaries(descriptions: Archive, tmp_path: Path) -> None:
    made = make_ddtp(None, descriptions.etc)
    rows = list(made.rows)
    assert [row.tgt for row in rows] == ["board game for two", "board game for two", "old description of ludo"]
    assert rows[0].src.split("\n\n")[1:] == [
        "Features:\n* plays against you, or against itself\n* knows openings",
        "  a b c d\n  8 7 6 5",
    ]
    assert made.dropped == {"synopsis under 3 words": 1, "body under 10 words": 1}
    summary = write_corpus(make_ddtp(None, descriptions.etc), tmp_path / "out", "command")
    assert sum(summary["rows"].values()) == 3
    assert sum(len((tmp_path / "out" / f"{split}.jsonl").read_text().splitlines()) for split in summary["rows"]) == 3


def test_a_language_that_the_archive_does_not_have_is_named_with_the_nearest(descriptions: Archive) -> None:
    with pytest.raises(UserError, match=r"has no language pt; did you mean pt_BR or it"):
        make_ddtp("en-pt", descriptions.etc)
    with pytest.raises(UserError, match="has no language xx; it has en, it, pt_BR"):
        make_ddtp("en-xx", descriptions.etc)


@pytest.mark.parametrize("pair", ["en", "en-en", "en-it-de", 'en-it";'])
def test_a_pair_that_is_none_is_refused_before_anything_is_fetched(pair: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="expected two different language codes"):
        make_ddtp(pair, tmp_path / "nowhere")


def test_the_lists_lie_in_a_folder_that_is_removed(descriptions: Archive, tmp_path: Path) -> None:
    apt = PrivateApt(tmp_path / "apt", languages=["it"], etc=descriptions.etc)
    assert [Path(file["Filename"]).parent for file in apt.translations()] == [tmp_path / "apt" / "state" / "lists"]
    list(make_ddtp("en-it", descriptions.etc).rows)
    assert not list((tmp_path / "scratch").iterdir())


def test_without_a_network_the_error_says_what_to_do(
    archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "apt.conf").write_text('Acquire::Retries "0";\n')
    monkeypatch.setenv("APT_CONFIG", str(tmp_path / "apt.conf"))
    (archive.etc / "sources.list.d" / "here.sources").unlink()
    (archive.etc / "sources.list").write_text("deb [trusted=yes] http://127.0.0.1:9/debian stable main # closed\n")
    for make in (lambda: make_ddtp("en-it", archive.etc), lambda: make_rfc(archive.etc)):
        with pytest.raises(UserError, match=r"gave no .*127\.0\.0\.1.*; check them and the network"):
            make()
    assert not list((tmp_path / "scratch").iterdir())


def test_an_archive_that_fails_beside_one_that_does_not_is_told(
    descriptions: Archive, capsys: pytest.CaptureFixture[str]
) -> None:
    (descriptions.etc / "sources.list").write_text("deb file:/nowhere stable main\n")
    assert len(list(make_ddtp("en-it", descriptions.etc).rows)) == 4
    assert "apt-get update: The repository 'file:/nowhere stable Release' does not have" in capsys.readouterr().out


def test_where_there_is_no_apt_the_error_says_where_to_make_the_corpus(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(archive.etc))
    with pytest.raises(UserError, match=r"apt-get was not found; .* on Debian or Ubuntu"):
        make_ddtp("en-it", archive.etc)


@pytest.mark.parametrize(
    ("sources", "with_non_free"),
    [
        ("Types: deb\nComponents: main\nSuites: x\n", "Types: deb\nComponents: main non-free \nSuites: x\n"),
        ("Components: main non-free\n", "Components: main non-free\n"),
        ("deb [a=b] http://x/d stable main # y\n", "deb [a=b] http://x/d stable main non-free # y\n"),
        ("deb-src http://x/d stable main\n", "deb-src http://x/d stable main\n"),
        ("# deb http://x/d stable main\n", "# deb http://x/d stable main\n"),
        ("deb file:/flat ./\n", "deb file:/flat ./\n"),
    ],
)
def test_a_component_is_added_to_sources_that_have_components(sources: str, with_non_free: str) -> None:
    assert with_component(sources, "non-free") == with_non_free


def test_paragraphs_lists_and_verbatim_lines_are_told_apart() -> None:
    description = parse_description("synopsis\n A\n b.\n .\n  * c\n    d;\n  * e\n f\n   g\n    h")
    assert description.paragraphs == [
        [Unit("text", "A b.")],
        [Unit("item", "c d"), Unit("item", "e"), Unit("text", "f"), Unit("verbatim", "  g\n   h")],
    ]


def test_line_breaks_that_filled_the_text_leave_a_space_only_where_there_was_one() -> None:
    assert joined(["a  b", "c"]) == "a b c"
    assert joined(["well-", "known"]) == "well-known"
    assert joined(["Client-", "und Serverpakete"]) == "Client- und Serverpakete"
    assert joined(["日本", "語"]) == "日本語"
    assert joined(["a\N{NO-BREAK SPACE}:", "b"]) == "a\N{NO-BREAK SPACE}: b"


def test_an_rfc_is_read_without_its_pages_contents_and_boilerplate() -> None:
    article = read_article(RFC)
    assert article.abstract == ABSTRACT
    heading, introduction, *rest = article.body.split("\n\n")
    assert heading == "1.  Introduction"
    assert introduction.startswith("A kettle boils water. The pot")
    assert introduction.endswith("has reason to look forward to some well-made tea.")
    assert rest == [
        "2.  The Message",
        "The message has these fields:",
        "o a type, which tells whether the water boils already, or is only warm\no  a length",
        " 0                   1\n+-+-+-+-+-+-+-+-+-+-+-+-+\n|     type  |   length  |\n+-+-+-+-+-+-+-+-+-+-+-+-+",
        "x = 1\ny = 2",
    ]


def test_contents_below_the_abstract_do_not_belong_to_it() -> None:
    article = read_article("Abstract\n\n   It is short.\n\n   Table of Contents\n\n   One\n\nFirst\n\n   Text.\n")
    assert article == ("It is short.", "First\n\nText.")


def test_rfcs_are_taken_from_packages_of_a_component_that_the_sources_do_not_name(
    archive: Archive, tmp_path: Path
) -> None:
    folder = "usr/share/doc/RFC/informational"
    archive.add_package(
        "doc-rfc-informational",
        {
            f"{folder}/rfc9999.txt.gz": gzip.compress(b"\xef\xbb\xbf" + RFC.encode()),
            f"{folder}/rfc9998.txt": RFC.encode(),
            f"{folder}/rfc9997.txt": RFC.replace("Abstract", "Preface").encode(),
            f"{folder}/rfc9996.txt": RFC.replace("kettle", "kettl\xe9").encode("latin-1"),
            f"{folder}/rfc9995.txt": RFC.replace("defines a protocol by which", "asks how").encode(),
            f"{folder}/rfc9994.txt": RFC.replace("has to be warm", ABSTRACT).encode(),
            f"{folder}/rfc9993.txt": RFC.replace("This document defines", "On").replace("by which", "").encode(),
            f"{folder}/rfc-index.txt": b"no RFC",
        },
    )
    made = make_rfc(archive.etc)
    assert made.source == "the 1 Debian packages doc-rfc-* 20230121-1 (non-free)"
    assert [(row.where, row.tgt) for row in made.rows] == [
        ("RFC 9993", "On a protocol a kettle tells its tea pot that the water boils.")
    ]
    assert made.dropped == {
        "no abstract": 1,
        "file that is not UTF-8": 1,
        "duplicate body": 3,
        "body repeats the abstract": 1,
    }
    assert not list((tmp_path / "scratch").iterdir())


def test_an_archive_without_the_packages_is_named(archive: Archive) -> None:
    with pytest.raises(UserError, match=r"gave no packages doc-rfc-\*"):
        make_rfc(archive.etc)


def test_the_command_knows_which_options_a_corpus_takes(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the corpus rfc takes no --pair"):
        corpus("rfc", tmp_path / "out", pair="en-it")
    with pytest.raises(UserError, match=r"no corpus ddpt; did you mean ddtp\?"):
        corpus("ddpt", tmp_path / "out")
