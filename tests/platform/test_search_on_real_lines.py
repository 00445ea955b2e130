"""The search on real lines with a trained model, against its definition: one line at a time, no state kept."""

from pathlib import Path
from typing import Any

import pytest
import torch
from tests.conftest import DATA
from tests.models.plain_search import plain_beam_search, teacher_forced

from recurray.models import Hypothesis, Padded, Room, SearchOptions, Seq2Seq, Source, search_targets
from recurray.models.padded import cat_padded
from recurray.platform.saved_model import load
from recurray.platform.tasks.text import tokenizer_of

LINES, MAX_LENGTH = 300, 16
SOME = Room(hypotheses=320, pieces=1024)

Lines = list[list[int]]


@pytest.fixture(scope="module")
def network(tiny_model: Path) -> Seq2Seq:
    """In double precision: that of two equal hypotheses which is the best must not hang on the last digit."""
    network = load(tiny_model).network
    assert isinstance(network, Seq2Seq)
    return network.double().requires_grad_(False)


@pytest.fixture(scope="module")
def lines(tiny_model: Path) -> Lines:
    texts = (DATA / "test.en").read_text(encoding="utf-8").split("\n")[:LINES]
    return tokenizer_of(load(tiny_model).codec).encode(texts)


def found(network: Seq2Seq, sources: list[Source], options: SearchOptions, room: Room = SOME) -> list[list[Hypothesis]]:
    order = sorted(range(len(sources)), key=lambda row: len(sources[row].pieces))
    by_length = search_targets(network, [sources[row] for row in order], options, room=room, device=torch.device("cpu"))
    results: list[list[Hypothesis]] = [[] for _ in sources]
    for row, hypotheses in zip(order, by_length, strict=True):
        results[row] = hypotheses
    return results


def assert_definition_finds_the_same(network: Seq2Seq, sources: list[Source], options: SearchOptions) -> None:
    src = Padded(
        cat_padded([torch.tensor(source.pieces)[None] for source in sources]),
        torch.tensor([len(source.pieces) for source in sources]),
    )
    vocab = len(network.output.weight)
    for row, hypotheses in enumerate(found(network, sources, options)):
        expected = plain_beam_search(teacher_forced(network, src, row), vocab, sources[row], options)
        assert [one.pieces for one in hypotheses] == [one.pieces for one in expected]
        assert [one.score for one in hypotheses] == pytest.approx([one.score for one in expected], abs=1e-4)
        for one, other in zip(hypotheses, expected, strict=True):
            assert one.log_probs == pytest.approx(other.log_probs, abs=1e-4)
            assert one.places == other.places


@pytest.mark.slow
@pytest.mark.parametrize("beam_size", [1, 4, 8])
def test_real_lines_get_what_the_definition_gives(network: Seq2Seq, lines: Lines, beam_size: int) -> None:
    sources = [Source(pieces, MAX_LENGTH) for pieces in lines]
    assert_definition_finds_the_same(network, sources, SearchOptions(beam_size=beam_size))


OPTIONS: dict[str, dict[str, Any]] = {
    "n-best": {"n_best": 4},
    "coverage penalty": {"coverage_penalty": 0.2},
    "no length penalty": {"length_penalty": 0.0},
    "no repeated pair": {"no_repeat_ngram": 2},
    "forbidden": {"forbidden": (300, 400, 500)},
    "alignments": {"alignments": True},
}


@pytest.mark.slow
@pytest.mark.parametrize("option", OPTIONS)
def test_real_lines_get_what_the_definition_gives_with_each_option(network: Seq2Seq, lines: Lines, option: str) -> None:
    sources = [Source(pieces, MAX_LENGTH) for pieces in lines]
    assert_definition_finds_the_same(network, sources, SearchOptions(beam_size=4, **OPTIONS[option]))


@pytest.mark.slow
def test_real_lines_get_what_the_definition_gives_with_least_lengths_and_prefixes(
    network: Seq2Seq, lines: Lines
) -> None:
    sources = [
        Source(pieces, MAX_LENGTH, min_length=len(pieces) % 9, prefix=pieces[: row % 3])
        for row, pieces in enumerate(lines)
    ]
    assert_definition_finds_the_same(network, sources, SearchOptions(beam_size=4))


@pytest.mark.slow
def test_real_lines_get_what_the_definition_gives_with_forced_pieces(network: Seq2Seq, lines: Lines) -> None:
    pieces = [[], [300], [300, 400], [500, 300, 400]]
    sources = [Source(line, MAX_LENGTH, forced=pieces[row % len(pieces)]) for row, line in enumerate(lines)]
    assert_definition_finds_the_same(network, sources, SearchOptions(beam_size=4))


@pytest.mark.parametrize("options", [SearchOptions(beam_size=4, n_best=2), SearchOptions(beam_size=1)])
def test_real_lines_get_the_same_however_many_are_searched_at_once(
    network: Seq2Seq, lines: Lines, options: SearchOptions
) -> None:
    sources = [Source(pieces, MAX_LENGTH) for pieces in lines[:100]]

    def pieces(room: Room) -> list[list[list[int]]]:
        return [[one.pieces for one in hypotheses] for hypotheses in found(network, sources, options, room)]

    together = pieces(room=Room(10**6, 10**6))
    assert pieces(room=SOME) == together
    assert pieces(room=Room(20, 1024)) == together
