import json
import zipfile
from pathlib import Path

import pytest

from recurray.jobs.corpus import corpus
from recurray.platform.corpora.docstrings import make_docstrings
from recurray.platform.corpora.homeassistant import make_homeassistant
from recurray.platform.corpora.made import split_of
from recurray.platform.errors import UserError

EN = {
    "title": "Door sensor",
    "state": {"open": "Open", "lost": "Connection  was\nlost", "same": "Home Assistant", "more": "Not there yet"},
    "again": "Door sensor",
}
DE = {
    "title": "Türsensor",
    "state": {"open": "Offen", "lost": "Verbindung verloren", "same": "Home Assistant"},
    "again": "Türsensor",
}


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    path = tmp_path / "package.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for language, texts in (("en", EN), ("de", DE)):
            archive.writestr(f"homeassistant/components/door/translations/{language}.json", json.dumps(texts))
        archive.writestr("homeassistant/components/door/translations/select.fr.json", json.dumps({"state": "x"}))
    return path


def test_strings_are_paired_by_key_and_what_is_left_out_is_counted(wheel: Path) -> None:
    made = make_homeassistant("en-de", wheel)
    assert [(row.src, row.tgt) for row in made.rows] == [
        ("Door sensor", "Türsensor"),
        ("Connection was lost", "Verbindung verloren"),
    ]
    assert made.dropped == {
        "duplicate pair": 1,
        "source of one word": 1,
        "target equals source": 1,
        "not translated": 1,
    }


def test_a_language_that_is_not_there_is_named_with_those_that_are(wheel: Path) -> None:
    with pytest.raises(UserError, match="has no language fr; it has de, en"):
        make_homeassistant("en-fr", wheel)


def test_a_pair_may_start_with_a_language_that_has_a_dash(tmp_path: Path) -> None:
    path = tmp_path / "package.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for language, text in (("en", "Door sensor"), ("zh", "x"), ("zh-Hans", "门 传感器")):
            archive.writestr(f"homeassistant/components/door/translations/{language}.json", json.dumps({"a": text}))
    made = make_homeassistant("zh-Hans-en", path)
    assert made.languages == ("zh-Hans", "en")
    assert [row.src for row in made.rows] == ["门 传感器"]


def test_a_pair_of_one_language_is_refused(wheel: Path) -> None:
    with pytest.raises(UserError, match="expected two different languages"):
        make_homeassistant("en-en", wheel)


def test_a_folder_given_as_wheel_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not a wheel of homeassistant"):
        make_homeassistant("en-de", tmp_path)


@pytest.mark.parametrize("content", [b"no wheel", None])
def test_a_wheel_that_is_none_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "x.whl"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=r"x\.whl is not a wheel of homeassistant"):
        make_homeassistant("en-de", path)


def test_without_a_network_the_error_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    with pytest.raises(UserError, match="give the file with --wheel"):
        make_homeassistant("en-de", None)


def test_no_source_text_is_in_two_splits() -> None:
    assert split_of("Door sensor") == split_of("  door \n SENSOR ")
    splits = [split_of(f"text {number}") for number in range(10_000)]
    assert 300 < splits.count("dev") < 500
    assert 500 < splits.count("test") < 700


def test_a_corpus_is_written_with_its_counts_and_made_once(
    wheel: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "out"
    summary = corpus("homeassistant", folder, pair="en-de", wheel=wheel)
    sides = [
        sum(len((folder / f"{split}.{side}").read_text().splitlines()) for split in summary["rows"])
        for side in ("en", "de")
    ]
    assert sides == [2, 2]
    assert sum(summary["rows"].values()) == 2
    assert summary["licence"] == "Apache-2.0"
    assert corpus("homeassistant", folder, pair="en-de") == summary
    assert "is there already" in capsys.readouterr().out
    monkeypatch.chdir(tmp_path)
    assert corpus("homeassistant", Path("out"), pair="en-de") == summary
    with pytest.raises(UserError, match="was not made by"):
        corpus("homeassistant", folder, pair="de-en")


@pytest.mark.parametrize("content", ["", "name: other\n"])
def test_a_folder_that_holds_something_else_is_left_alone(wheel: Path, tmp_path: Path, content: str) -> None:
    (tmp_path / "corpus.yaml").write_text(content)
    with pytest.raises(UserError, match="was not made by"):
        corpus("homeassistant", tmp_path, pair="en-de", wheel=wheel)


MODULE = '''"""What this module is for, in a line.

{body}
"""

def short():
    """Only a line."""

def broken_summary():
    """Too short

    {body}
    """

class Thing:
    """A thing that has documentation of its own.

    {body} And more of it, so that it is another one.

        indented = code
    """

    def method():
        """Do what this method says.

        {body} And yet another one.
        """
'''


def test_bodies_of_docstrings_are_paired_with_their_first_lines(tmp_path: Path) -> None:
    body = (
        "This body is long enough to be a document, since it goes on for more than the twenty words that are asked for."
    )
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "module.py").write_text(MODULE.format(body=body))
    (tmp_path / "package" / "broken.py").write_text("def (")
    made = make_docstrings(tmp_path)
    rows = list(made.rows)
    assert [(row.tgt, row.where) for row in rows] == [
        ("What this module is for, in a line.", "package.module"),
        ("A thing that has documentation of its own.", "package.module:Thing"),
        ("Do what this method says.", "package.module:Thing.method"),
    ]
    assert rows[1].src.endswith("\n\n    indented = code")
    assert made.dropped == {"no body": 1, "summary not of 4 to 40 words": 1, "file that does not parse": 1}
