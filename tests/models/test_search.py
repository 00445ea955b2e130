"""Beam search against a plain one of lists and loops, one source at a time."""

import itertools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import pytest
import torch
from tests.models.plain_search import Follow, plain_beam_search, teacher_forced
from tests.models.samples import FAMILIES, best_targets, build_seq2seq, own
from torch import Tensor

from recurray.models import (
    BOS,
    EOS,
    PAD,
    UNK,
    Hypothesis,
    Padded,
    Room,
    Sampling,
    SearchOptions,
    Seq2Seq,
    Source,
    search_targets,
)

VOCAB, SOURCES, FEW, MAX_SRC_LENGTH, SHARPNESS = 24, 24, 8, 7, 4.0


def build(vocab_size: int, sharpness: float, family: str = "lstm") -> Seq2Seq:
    """A random model, the sharper the more its preferences hang on the pieces before, ends of targets among them."""
    model = build_seq2seq(family, vocab=vocab_size, layers=1)
    torch.manual_seed(2)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 2:
                parameter.normal_(std=sharpness * parameter.shape[1] ** -0.5)
        model.output.bias[EOS] = 2.0
    return model.requires_grad_(False)


class Scored(NamedTuple):
    """What a hypothesis is compared with."""

    pieces: list[int]
    score: float


@pytest.fixture(scope="module")
def model() -> Seq2Seq:
    return build(VOCAB, SHARPNESS)


@pytest.fixture(scope="module")
def src() -> Padded:
    torch.manual_seed(4)
    pieces = torch.randint(EOS + 1, VOCAB, (SOURCES, MAX_SRC_LENGTH))
    return Padded(pieces, torch.arange(SOURCES) % MAX_SRC_LENGTH + 1)


@pytest.fixture(scope="module")
def max_lengths() -> Tensor:
    return torch.tensor([1, 2, 4] + [12] * (SOURCES - 3))


@pytest.fixture(scope="module")
def followers(model: Seq2Seq, src: Padded) -> list[Follow]:
    return [teacher_forced(model, src, row) for row in range(SOURCES)]


def plain_best(follow: Follow, beam_size: int, alpha: float, limit: int) -> Hypothesis:
    options = SearchOptions(beam_size=beam_size, length_penalty=alpha)
    return plain_beam_search(follow, VOCAB, Source([], limit), options)[0]


def best_of_all(follow: Follow, vocab: int, max_length: int, alpha: float) -> Scored:
    """The best of all targets of at most `max_length` pieces, every one of them scored."""
    scored = []
    for length in range(1, max_length + 1):
        for pieces in itertools.product(range(EOS + 1, vocab), repeat=length - 1):
            total = sum(follow([pieces[:time]])[0][0][piece] for time, piece in enumerate((*pieces, EOS)))
            scored.append(Scored(list(pieces), total / math.pow((5 + length) / 6, alpha)))
    return max(scored, key=lambda hypothesis: hypothesis.score)


def assert_same(found: Sequence[Hypothesis], expected: Sequence[Hypothesis | Scored]) -> None:
    assert [hypothesis.pieces for hypothesis in found] == [hypothesis.pieces for hypothesis in expected]
    assert [hypothesis.score for hypothesis in found] == pytest.approx(
        [hypothesis.score for hypothesis in expected], rel=1e-6, abs=1e-6
    )


@pytest.mark.parametrize("alpha", [0.0, 0.6, 1.0])
@pytest.mark.parametrize("beam_size", [1, 3, 5])
def test_the_search_finds_what_a_plain_one_finds(
    model: Seq2Seq, src: Padded, max_lengths: Tensor, followers: list[Follow], beam_size: int, alpha: float
) -> None:
    found = best_targets(model, src, beam_size=beam_size, length_penalty=alpha, max_lengths=max_lengths)
    limits = max_lengths.tolist()
    assert_same(
        found,
        [plain_best(follow, beam_size, alpha, limit) for follow, limit in zip(followers, limits, strict=True)],
    )


def test_the_model_of_these_tests_sets_beams_penalties_and_limits_apart(
    model: Seq2Seq, src: Padded, max_lengths: Tensor
) -> None:
    def pieces(beam_size: int, alpha: float) -> list[list[int]]:
        found = best_targets(model, src, beam_size=beam_size, length_penalty=alpha, max_lengths=max_lengths)
        return [hypothesis.pieces for hypothesis in found]

    settings = [pieces(1, 0.0), pieces(3, 0.0), pieces(5, 0.0), pieces(5, 0.6), pieces(5, 1.0)]
    for one, other in itertools.combinations(settings, 2):
        assert one != other
    assert len({len(hypothesis) for hypothesis in settings[3]}) >= 8


@pytest.fixture(scope="module", params=FAMILIES)
def family(request: pytest.FixtureRequest) -> Seq2Seq:
    return build(VOCAB, SHARPNESS, request.param)


@pytest.mark.parametrize("beam_size", [1, 4])
def test_the_search_finds_what_a_plain_one_finds_with_models_of_every_family(
    family: Seq2Seq, src: Padded, max_lengths: Tensor, beam_size: int
) -> None:
    some = torch.arange(FEW)
    found = best_targets(
        family, src.select(some), beam_size=beam_size, length_penalty=0.6, max_lengths=max_lengths[:FEW]
    )
    expected = [
        plain_best(teacher_forced(family, src, row), beam_size, 0.6, limit)
        for row, limit in enumerate(max_lengths[:FEW].tolist())
    ]
    assert_same(found, expected)
    assert max(len(hypothesis.pieces) for hypothesis in found) >= 3


def assert_any_batch_gives_the_same(
    model: Seq2Seq, src: Padded, max_lengths: Tensor, beam_size: int, batch_size: int
) -> None:
    def search(rows: Tensor) -> list[Hypothesis]:
        part = src.select(rows)
        trimmed = part.with_values(part.values[:, : int(part.lengths.max())])
        return best_targets(
            model, trimmed, beam_size=beam_size, length_penalty=0.6, max_lengths=max_lengths.index_select(0, rows)
        )

    every = torch.arange(len(max_lengths))
    apart = [found for rows in every.split(batch_size) for found in search(rows)]
    assert_same(apart, search(every))
    assert_same(search(every.flip(0))[::-1], search(every))


@pytest.mark.parametrize("beam_size", [1, 4])
@pytest.mark.parametrize("batch_size", [1, 3, 5])
def test_a_source_gets_the_same_hypothesis_at_any_batch_size(
    model: Seq2Seq, src: Padded, max_lengths: Tensor, beam_size: int, batch_size: int
) -> None:
    assert_any_batch_gives_the_same(model, src, max_lengths, beam_size, batch_size)


def test_a_source_gets_the_same_hypothesis_alone_and_in_a_batch_from_models_of_every_family(
    family: Seq2Seq, src: Padded, max_lengths: Tensor
) -> None:
    some = torch.arange(FEW)
    assert_any_batch_gives_the_same(family, src.select(some), max_lengths[:FEW], beam_size=4, batch_size=1)


def test_a_beam_of_one_is_argmax_decoding(model: Seq2Seq, src: Padded, followers: list[Follow]) -> None:
    expected = []
    for follow in followers:
        prefix: tuple[int, ...] = ()
        total = 0.0
        while not prefix or prefix[-1] != EOS:
            log_probs = [float("-inf")] * EOS + follow([prefix])[0][0][EOS:]
            piece = EOS if len(prefix) == 11 else max(range(VOCAB), key=log_probs.__getitem__)
            total += log_probs[piece]
            prefix = (*prefix, piece)
        expected.append(Scored(list(prefix[:-1]), total))
    limits = torch.full((SOURCES,), 12)
    assert_same(best_targets(model, src, beam_size=1, length_penalty=0.0, max_lengths=limits), expected)


@pytest.mark.parametrize("beam_size", [1, 5])
def test_no_hypothesis_holds_pad_unk_bos_or_eos_however_much_the_model_likes_them(
    src: Padded, max_lengths: Tensor, beam_size: int
) -> None:
    model = build(VOCAB, SHARPNESS)
    model.output.bias[[PAD, UNK, BOS]] = 20.0
    found = best_targets(model, src, beam_size=beam_size, length_penalty=0.6, max_lengths=max_lengths)
    assert not {PAD, UNK, BOS, EOS} & {piece for hypothesis in found for piece in hypothesis.pieces}


@pytest.mark.parametrize("beam_size", [1, 5])
def test_no_hypothesis_is_longer_than_its_own_maximum_when_the_model_never_wants_to_end(
    src: Padded, max_lengths: Tensor, beam_size: int
) -> None:
    model = build(VOCAB, SHARPNESS)
    model.output.bias[EOS] = -50.0
    found = best_targets(model, src, beam_size=beam_size, length_penalty=0.6, max_lengths=max_lengths)
    assert [len(hypothesis.pieces) + 1 for hypothesis in found] == max_lengths.tolist()


@pytest.mark.timeout(20)
def test_the_search_ends_at_the_maximum_length_even_where_a_broken_model_gives_nan(
    src: Padded, max_lengths: Tensor
) -> None:
    model = build(VOCAB, SHARPNESS)
    model.output.bias[EOS + 1] = float("nan")
    found = best_targets(model, src, beam_size=3, length_penalty=0.6, max_lengths=max_lengths)
    assert all(len(hypothesis.pieces) < limit for hypothesis, limit in zip(found, max_lengths.tolist(), strict=True))


@pytest.mark.parametrize("alpha", [0.0, 0.6, 1.0, 2.0])
def test_a_beam_wide_enough_finds_the_best_of_all_targets(src: Padded, alpha: float) -> None:
    vocab, max_length = EOS + 3, 4
    model = build(vocab, sharpness=1.5)
    lines = src.with_values(src.values % 2 + EOS + 1)
    found = best_targets(
        model, lines, beam_size=16, length_penalty=alpha, max_lengths=torch.full((SOURCES,), max_length)
    )
    expected = [best_of_all(teacher_forced(model, lines, row), vocab, max_length, alpha) for row in range(SOURCES)]
    assert_same(found, expected)


OPTIONS: dict[str, dict[str, Any]] = {
    "n-best": {"n_best": 3},
    "coverage penalty": {"coverage_penalty": 0.4},
    "no repeated piece": {"no_repeat_ngram": 1},
    "no repeated pair": {"no_repeat_ngram": 2},
    "forbidden": {"forbidden": (EOS + 2, EOS + 5, EOS + 9)},
    "alignments": {"alignments": True},
    "all of them": {
        "n_best": 2,
        "coverage_penalty": 0.2,
        "no_repeat_ngram": 2,
        "forbidden": (EOS + 3,),
        "alignments": True,
    },
}


def sources_of(src: Padded, **limits: Any) -> list[Source]:
    return [Source(pieces.tolist(), **({"max_length": 12} | limits)) for pieces in own(src)]


def assert_plain_search_finds_the_same(
    model: Seq2Seq, src: Padded, sources: list[Source], options: SearchOptions, room: Room
) -> list[list[Hypothesis]]:
    found = search_targets(model, sources, options, room=room, device=torch.device("cpu"))
    for row, (hypotheses, source) in enumerate(zip(found, sources, strict=True)):
        expected = plain_beam_search(teacher_forced(model, src, row), VOCAB, source, options)
        assert_same(hypotheses, expected)
        for one, other in zip(hypotheses, expected, strict=True):
            assert one.log_probs == pytest.approx(other.log_probs, abs=1e-5)
            assert one.places == other.places
    return found


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("beam_size", [3, 5])
def test_with_each_option_the_search_finds_what_its_definition_does(
    model: Seq2Seq, src: Padded, option: str, beam_size: int
) -> None:
    options = SearchOptions(beam_size=beam_size, length_penalty=0.6, **OPTIONS[option])
    assert_plain_search_finds_the_same(model, src, sources_of(src), options, room=Room())


@pytest.mark.parametrize("limits", [{"min_length": 6}, {"min_length": 12}, {"prefix": [9, 5, 9]}, {"prefix": [7] * 30}])
def test_targets_keep_their_least_lengths_and_begin_as_they_must(
    model: Seq2Seq, src: Padded, limits: dict[str, Any]
) -> None:
    options = SearchOptions(beam_size=4, n_best=2, no_repeat_ngram=2, forbidden=(5,), alignments=True)
    sources = sources_of(src, **limits)
    found = assert_plain_search_finds_the_same(model, src, sources, options, room=Room())
    for source, hypotheses in zip(sources, found, strict=True):
        for one in hypotheses:
            assert source.min_length <= len(one.pieces) + 1 <= 12
            assert one.pieces[: len(source.prefix)] == list(source.prefix)[:11]


@pytest.mark.parametrize("forced", [[9], [9, 5], [20, 6, 13]])
@pytest.mark.parametrize("limits", [{}, {"max_length": 5}, {"min_length": 8}, {"prefix": [7, 9]}])
def test_targets_hold_what_is_forced_and_are_those_of_the_definition(
    model: Seq2Seq, src: Padded, forced: list[int], limits: dict[str, Any]
) -> None:
    options = SearchOptions(beam_size=5, n_best=3, no_repeat_ngram=2, forbidden=(8,), coverage_penalty=0.2)
    sources = sources_of(src, forced=forced, **limits)
    found = assert_plain_search_finds_the_same(model, src, sources, options, room=Room())
    assert all({*forced} <= {*one.pieces} for hypotheses in found for one in hypotheses)


def test_each_source_has_its_own_forced_pieces_in_any_batch(model: Seq2Seq, src: Padded) -> None:
    pieces = [[9, 5], [], [7], [20, 6, 13]]
    sources = [
        Source(line.tolist(), max_length=12, forced=pieces[row % len(pieces)]) for row, line in enumerate(own(src))
    ]
    options = SearchOptions(beam_size=4, n_best=2)
    for room in (Room(1, 1), Room(24, 1000), Room()):
        assert_plain_search_finds_the_same(model, src, sources, options, room)


def test_where_there_is_no_room_for_what_is_forced_there_is_an_empty_target(model: Seq2Seq, src: Padded) -> None:
    sources = sources_of(src, max_length=3, forced=[9, 5, 7])
    found = search_targets(model, sources, SearchOptions(), room=Room(), device=torch.device("cpu"))
    assert all([one.pieces for one in hypotheses] == [[]] for hypotheses in found)


@pytest.fixture(scope="module", params=FAMILIES)
def calm_family(request: pytest.FixtureRequest) -> Seq2Seq:
    """Models that hold nothing for all but impossible, where a pointer's probabilities would end at the least share."""
    return build(VOCAB, SHARPNESS / 2, request.param)


@pytest.mark.parametrize("room", [Room(1, 1), Room(1000, 20), Room(24, 1000)])
def test_sources_that_come_in_when_others_leave_get_what_they_get_alone(
    calm_family: Seq2Seq, src: Padded, max_lengths: Tensor, room: Room
) -> None:
    options = SearchOptions(
        beam_size=3, n_best=2, coverage_penalty=0.3, no_repeat_ngram=2, forbidden=(6,), alignments=True
    )
    limits = max_lengths.tolist()
    sources = [
        Source(pieces.tolist(), max_length=limit, min_length=limit // 3, prefix=pieces[: row % 3].tolist())
        for row, (pieces, limit) in enumerate(zip(own(src), limits, strict=True))
    ]
    assert_plain_search_finds_the_same(calm_family, src, sources, options, room)


def test_where_the_options_leave_no_target_there_is_an_empty_one_and_the_search_ends(
    model: Seq2Seq, src: Padded
) -> None:
    options = SearchOptions(beam_size=3, forbidden=tuple(range(EOS + 1, VOCAB)))
    found = search_targets(model, sources_of(src, min_length=4), options, room=Room(), device=torch.device("cpu"))
    assert all(len(hypotheses) == 1 and hypotheses[0].pieces == [] for hypotheses in found)
    assert all(hypotheses[0].score == float("-inf") for hypotheses in found)


def drawn(
    model: Seq2Seq, src: Padded, room: Room | None = None, count: int = 2, **settings: Any
) -> list[list[Hypothesis]]:
    options = SearchOptions(n_best=count, length_penalty=0.0, sampling=Sampling(**({"seed": 1} | settings)))
    return search_targets(model, sources_of(src), options, room=room or Room(), device=torch.device("cpu"))


@pytest.mark.parametrize("room", [Room(1, 1), Room(1000, 30)])
def test_a_sources_samples_are_the_same_in_any_batch(family: Seq2Seq, src: Padded, room: Room) -> None:
    for apart, together in zip(drawn(family, src, room), drawn(family, src), strict=True):
        assert_same(apart, together)


def test_samples_differ_by_seed_and_by_number_and_are_scored_by_the_model(model: Seq2Seq, src: Padded) -> None:
    first, second = drawn(model, src, seed=1), drawn(model, src, seed=2)
    assert first != second
    assert any(one.pieces != other.pieces for one, other in first)
    for row, hypotheses in enumerate(first):
        follow = teacher_forced(model, src, row)
        for one in hypotheses:
            pieces = (*one.pieces, EOS)
            expected = sum(follow([pieces[:time]])[0][0][piece] for time, piece in enumerate(pieces))
            assert one.score == pytest.approx(expected, rel=1e-5)
            assert one.score == pytest.approx(sum(one.log_probs), rel=1e-5)


def test_pieces_are_drawn_as_often_as_the_model_says(model: Seq2Seq, src: Padded) -> None:
    count = 4000
    line = Padded(src.values[6:7], src.lengths[6:7])
    (found,) = drawn(model, line, count=count, temperature=2.0)
    log_probs = torch.tensor(teacher_forced(model, line, 0)([()])[0][0])
    allowed = torch.full_like(log_probs, float("-inf"))
    allowed[EOS:] = log_probs[EOS:]
    expected = (allowed / 2.0).softmax(dim=0)
    firsts = torch.tensor([(*one.pieces, EOS)[0] for one in found])
    seen = torch.bincount(firsts, minlength=VOCAB) / count
    deviation = (expected * (1 - expected) / count).sqrt()
    assert ((seen - expected).abs() <= 5 * deviation + 1e-9).all()


@pytest.mark.parametrize(("settings", "most"), [({"top_k": 2}, 2), ({"top_p": 0.6}, None), ({"top_k": 1}, 1)])
def test_only_pieces_that_top_k_and_top_p_leave_are_drawn(
    model: Seq2Seq, src: Padded, settings: dict[str, Any], most: int | None
) -> None:
    line = Padded(src.values[6:7], src.lengths[6:7])
    (found,) = drawn(model, line, count=500, **settings)
    probabilities = torch.tensor(teacher_forced(model, line, 0)([()])[0][0]).exp()
    probabilities[:EOS] = 0.0
    ordered = (probabilities / probabilities.sum()).sort(descending=True)
    if most is None:
        most = int((ordered.values.cumsum(0) < 0.6).sum()) + 1
    left = set(ordered.indices[:most].tolist())
    assert {(*one.pieces, EOS)[0] for one in found} == left


def test_a_sample_of_the_likeliest_piece_only_is_the_greedy_target(model: Seq2Seq, src: Padded) -> None:
    greedy = best_targets(model, src, beam_size=1, length_penalty=0.0, max_lengths=torch.full((SOURCES,), 12))
    assert_same([found[0] for found in drawn(model, src, top_k=1)], greedy)
