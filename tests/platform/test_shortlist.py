"""Results made of a shortlist's pieces alone, by a trained model."""

from pathlib import Path

import pytest
from tests.conftest import DATA

from recurray.jobs.cli import main
from recurray.platform import Translator
from recurray.platform.config.search import SearchConfig
from recurray.platform.data.tokenizer import Tokenizer
from recurray.platform.saved_model import load_codec
from recurray.platform.tasks.shortlist import Shortlist
from recurray.platform.tasks.text import tokenizer_of

SEARCH = SearchConfig(beam_size=4, n_best=2, max_length_factor=1.0)
GREEDY = SearchConfig(beam_size=1, max_length_factor=1.0)


@pytest.fixture(scope="module")
def tokenizer(tiny_model: Path) -> Tokenizer:
    return tokenizer_of(load_codec(tiny_model))


@pytest.fixture(scope="module")
def lines() -> list[str]:
    return (DATA / "test.en").read_text(encoding="utf-8").split("\n")[:100]


def test_greedy_results_are_the_same_where_the_shortlist_holds_their_pieces(
    tiny_model: Path, tokenizer: Tokenizer, lines: list[str]
) -> None:
    found = Translator.from_pretrained(tiny_model).find(lines, GREEDY)
    pieces = tokenizer.numbers_of(sorted({piece for (one,) in found for piece in one.pieces}))
    cut = Translator.from_pretrained(tiny_model, shortlist=Shortlist(pieces)).find(lines, GREEDY)
    assert [one.text for (one,) in cut] == [one.text for (one,) in found]
    assert len(pieces) < tokenizer.vocab_size / 2


@pytest.mark.parametrize("int8", [False, True])
def test_results_hold_no_other_pieces_and_what_is_forced_and_forbidden_counts(
    tiny_model: Path, tokenizer: Tokenizer, lines: list[str], int8: bool
) -> None:
    shortlist = Shortlist.of_texts(lines[:30], tokenizer)
    translator = Translator.from_pretrained(tiny_model, int8=int8, shortlist=shortlist)
    names = {*tokenizer.spelled(shortlist.pieces)}
    forced = tokenizer.spelled(shortlist.pieces[40:41])
    free = {piece for best in translator.find(lines, SEARCH) for one in best for piece in one.pieces}
    assert free <= names
    lacking = next(piece for piece in range(300, tokenizer.vocab_size) if piece not in shortlist.pieces)
    forbidden = (sorted(free - {*forced})[0], *tokenizer.spelled([lacking]))
    search = SEARCH.model_copy(update={"forced": tuple(forced), "forbidden": forbidden})
    held = [{*one.pieces} for best in translator.find(lines, search) for one in best]
    assert all({*forced} <= pieces <= names - {*forbidden} for pieces in held)


def test_a_forced_piece_that_the_shortlist_lacks_is_named(
    tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "words.txt").write_text("ein\n")
    command = ["translate", str(tiny_model), "--input", "in.txt", "--output", str(tmp_path / "out.txt")]
    assert main([*command, "--shortlist", str(tmp_path / "words.txt"), "--force", "▁und"]) == 2
    assert "`▁und` cannot come, for the text of the shortlist does not hold it" in capsys.readouterr().err


def test_a_shortlist_of_nothing_is_named(tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "words.txt").write_text(" \n")
    assert main(["translate", str(tiny_model), "--shortlist", str(tmp_path / "words.txt")]) == 2
    assert "words.txt is empty; name a text of the results' language and kind" in capsys.readouterr().err
