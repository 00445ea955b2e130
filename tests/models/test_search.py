"""Beam search against a plain one of lists and loops, one source at a time."""

import itertools
import math

import pytest
import torch
from tests.models import equations
from tests.models.samples import FAMILIES, alone, build_seq2seq
from torch import Tensor

from recurray.models import BOS, EOS, PAD, UNK, Hypothesis, Padded, Seq2Seq, beam_search
from recurray.models.pointer import PointerOutput

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


class NextPiece:
    """Log-probabilities of the piece after a prefix, by teacher forcing over one source's whole prefix."""

    def __init__(self, model: Seq2Seq, src: Padded, row: int) -> None:
        self._model = model
        self._src = alone(src, row)
        self._start = model.decoder.start(model.encode(self._src))
        self._known: dict[tuple[int, ...], list[float]] = {}

    def __call__(self, prefix: tuple[int, ...]) -> list[float]:
        if prefix not in self._known:
            self._known[prefix] = self._probabilities(prefix).log().tolist()
        return self._known[prefix]

    def _probabilities(self, prefix: tuple[int, ...]) -> Tensor:
        output = self._model.output
        embedded = self._model.tgt_embedding(torch.tensor([[BOS, *prefix]]))
        decoded = self._model.decoder(embedded, self._start, None)
        readout = decoded.readouts_bte[0, -1]
        if not isinstance(output, PointerOutput):
            return equations.vocabulary(output, readout)
        told = decoded.attended.contexts_btd[0, -1], decoded.outputs_btd[0, -1], embedded[0, -1]
        weights, pieces = decoded.attended.weights_bts[0, -1], self._src.values[0].tolist()
        return equations.pointer(output, readout, told, weights, pieces)


@pytest.fixture(scope="module")
def next_pieces(model: Seq2Seq, src: Padded) -> list[NextPiece]:
    return [NextPiece(model, src, row) for row in range(SOURCES)]


def penalized(log_probability: float, length: int, alpha: float) -> float:
    return log_probability / math.pow((5 + length) / 6, alpha)


def plain_beam_search(next_piece: NextPiece, beam_size: int, alpha: float, max_length: int) -> Hypothesis:
    """The definition of `beam_search`."""
    live: list[tuple[float, tuple[int, ...]]] = [(0.0, ())]
    finished: list[Hypothesis] = []
    for length in range(1, max_length + 1):
        allowed = [EOS] if length == max_length else [EOS, *range(EOS + 1, VOCAB)]
        candidates = sorted(
            ((total + next_piece(prefix)[piece], (*prefix, piece)) for total, prefix in live for piece in allowed),
            reverse=True,
        )
        finished += [
            Hypothesis(list(prefix[:-1]), penalized(total, length, alpha))
            for total, prefix in candidates[:beam_size]
            if prefix[-1] == EOS
        ]
        finished.sort(key=lambda hypothesis: hypothesis.score, reverse=True)
        live = [(total, prefix) for total, prefix in candidates if prefix[-1] != EOS][:beam_size]
        if len(finished) >= beam_size or not live:
            break
        if finished and penalized(live[0][0], max_length, alpha) <= finished[0].score:
            break
    return finished[0]


def best_of_all(next_piece: NextPiece, vocab: int, max_length: int, alpha: float) -> Hypothesis:
    """The best of all targets of at most `max_length` pieces, every one of them scored."""
    scored = []
    for length in range(1, max_length + 1):
        for pieces in itertools.product(range(EOS + 1, vocab), repeat=length - 1):
            total = sum(next_piece(pieces[:time])[piece] for time, piece in enumerate((*pieces, EOS)))
            scored.append(Hypothesis(list(pieces), penalized(total, length, alpha)))
    return max(scored, key=lambda hypothesis: hypothesis.score)


def assert_same(found: list[Hypothesis], expected: list[Hypothesis]) -> None:
    assert [hypothesis.pieces for hypothesis in found] == [hypothesis.pieces for hypothesis in expected]
    assert [hypothesis.score for hypothesis in found] == pytest.approx(
        [hypothesis.score for hypothesis in expected], rel=1e-6, abs=1e-6
    )


@pytest.mark.parametrize("alpha", [0.0, 0.6, 1.0])
@pytest.mark.parametrize("beam_size", [1, 3, 5])
def test_the_search_finds_what_a_plain_one_finds(
    model: Seq2Seq, src: Padded, max_lengths: Tensor, next_pieces: list[NextPiece], beam_size: int, alpha: float
) -> None:
    found = beam_search(model, src, beam_size=beam_size, length_penalty=alpha, max_lengths=max_lengths)
    limits = max_lengths.tolist()
    assert_same(
        found,
        [
            plain_beam_search(next_piece, beam_size, alpha, limit)
            for next_piece, limit in zip(next_pieces, limits, strict=True)
        ],
    )


def test_the_model_of_these_tests_sets_beams_penalties_and_limits_apart(
    model: Seq2Seq, src: Padded, max_lengths: Tensor
) -> None:
    def pieces(beam_size: int, alpha: float) -> list[list[int]]:
        found = beam_search(model, src, beam_size=beam_size, length_penalty=alpha, max_lengths=max_lengths)
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
    found = beam_search(
        family, src.select(some), beam_size=beam_size, length_penalty=0.6, max_lengths=max_lengths[:FEW]
    )
    expected = [
        plain_beam_search(NextPiece(family, src, row), beam_size, 0.6, limit)
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
        return beam_search(
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


def test_a_beam_of_one_is_argmax_decoding(model: Seq2Seq, src: Padded, next_pieces: list[NextPiece]) -> None:
    expected = []
    for next_piece in next_pieces:
        prefix: tuple[int, ...] = ()
        total = 0.0
        while not prefix or prefix[-1] != EOS:
            log_probs = [float("-inf")] * EOS + next_piece(prefix)[EOS:]
            piece = EOS if len(prefix) == 11 else max(range(VOCAB), key=log_probs.__getitem__)
            total += log_probs[piece]
            prefix = (*prefix, piece)
        expected.append(Hypothesis(list(prefix[:-1]), total))
    limits = torch.full((SOURCES,), 12)
    assert_same(beam_search(model, src, beam_size=1, length_penalty=0.0, max_lengths=limits), expected)


@pytest.mark.parametrize("beam_size", [1, 5])
def test_no_hypothesis_holds_pad_unk_bos_or_eos_however_much_the_model_likes_them(
    src: Padded, max_lengths: Tensor, beam_size: int
) -> None:
    model = build(VOCAB, SHARPNESS)
    model.output.bias[[PAD, UNK, BOS]] = 20.0
    found = beam_search(model, src, beam_size=beam_size, length_penalty=0.6, max_lengths=max_lengths)
    assert not {PAD, UNK, BOS, EOS} & {piece for hypothesis in found for piece in hypothesis.pieces}


@pytest.mark.parametrize("beam_size", [1, 5])
def test_no_hypothesis_is_longer_than_its_own_maximum_when_the_model_never_wants_to_end(
    src: Padded, max_lengths: Tensor, beam_size: int
) -> None:
    model = build(VOCAB, SHARPNESS)
    model.output.bias[EOS] = -50.0
    found = beam_search(model, src, beam_size=beam_size, length_penalty=0.6, max_lengths=max_lengths)
    assert [len(hypothesis.pieces) + 1 for hypothesis in found] == max_lengths.tolist()


@pytest.mark.timeout(20)
def test_the_search_ends_at_the_maximum_length_even_where_a_broken_model_gives_nan(
    src: Padded, max_lengths: Tensor
) -> None:
    model = build(VOCAB, SHARPNESS)
    model.output.bias[EOS + 1] = float("nan")
    found = beam_search(model, src, beam_size=3, length_penalty=0.6, max_lengths=max_lengths)
    assert all(len(hypothesis.pieces) < limit for hypothesis, limit in zip(found, max_lengths.tolist(), strict=True))


@pytest.mark.parametrize("alpha", [0.0, 0.6, 1.0, 2.0])
def test_a_beam_wide_enough_finds_the_best_of_all_targets(src: Padded, alpha: float) -> None:
    vocab, max_length = EOS + 3, 4
    model = build(vocab, sharpness=1.5)
    lines = src.with_values(src.values % 2 + EOS + 1)
    found = beam_search(
        model, lines, beam_size=16, length_penalty=alpha, max_lengths=torch.full((SOURCES,), max_length)
    )
    expected = [best_of_all(NextPiece(model, lines, row), vocab, max_length, alpha) for row in range(SOURCES)]
    assert_same(found, expected)
