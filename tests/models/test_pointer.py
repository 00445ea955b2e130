"""The pointer-generator against See et al.'s equations in plain probabilities, and copying in training and search."""

from collections.abc import Iterator

import pytest
import torch
from tests.models import equations
from tests.models.samples import (
    alone,
    assert_computes,
    assert_same,
    best_targets,
    build_seq2seq,
    passes_gradcheck,
    random_lines,
    randomized,
)
from torch import Tensor

from recurray.models import EOS, Padded, Seq2Seq
from recurray.models.attention.attention import Attended
from recurray.models.decoders.decoder import Decoded
from recurray.models.pointer import PointerOutput

VOCAB, READOUT, CONTEXT, STATE, INPUT, HEADS, WEIGHT = 12, 5, 3, 4, 2, 2, 0.7
SRC_LENGTHS, TGT_LENGTHS = [6, 2, 4], [3, 5, 1]
TWICE, NOWHERE = 9, 10
FORBIDDEN = -1e9
"""A bias with which the vocabulary's softmax never gives a piece."""


def build() -> PointerOutput:
    torch.manual_seed(0)
    weight = torch.nn.Parameter(torch.randn(VOCAB, READOUT))
    sizes = {"context_dim": CONTEXT, "decoder_dim": STATE, "input_dim": INPUT}
    return randomized(PointerOutput(weight, **sizes, coverage_weight=WEIGHT))


@pytest.fixture
def src() -> Padded:
    """Sources, the first of which has the piece `TWICE` in two places."""
    lines = random_lines(SRC_LENGTHS, VOCAB, seed=1)
    lines.values[0, [0, 3]] = TWICE
    return lines


@pytest.fixture
def tgt() -> Padded:
    """Targets, the first of which has a piece that stands in the source twice and one that does not stand there."""
    lines = random_lines(TGT_LENGTHS, VOCAB, seed=2)
    lines.values[0, :2] = torch.tensor([TWICE, NOWHERE])
    return lines


def inputs() -> list[Tensor]:
    """Readouts, decoder states, contexts, decoder inputs, attention scores, overlaps."""
    shape = (len(TGT_LENGTHS), max(TGT_LENGTHS))
    generator = torch.Generator().manual_seed(3)
    sizes = [(*shape, READOUT), (*shape, STATE), (*shape, CONTEXT), (*shape, INPUT)]
    values = [torch.randn(size, generator=generator) for size in sizes]
    scores = torch.randn(shape[0], HEADS, shape[1], max(SRC_LENGTHS), generator=generator)
    return [*values, scores, torch.rand(shape, generator=generator)]


def decoded(given: list[Tensor], src: Padded, covers: bool = True) -> Decoded:
    readouts, outputs, contexts, _, scores, overlaps = given
    weights = scores.masked_fill(~src.mask_bt[:, None, None], float("-inf")).softmax(dim=-1)
    return Decoded(readouts, outputs, Attended(contexts, weights, overlaps if covers else None))


def plain(output: PointerOutput, given: list[Tensor], src: Padded, row: int, time: int) -> tuple[Tensor, Tensor]:
    """(V,) each: the mixture's probabilities and the vocabulary's alone after one piece."""
    readouts, outputs, contexts, embedded, scores, _ = given
    length = int(src.lengths[row])
    weights = scores[row, :, time, :length].softmax(dim=-1).mean(dim=0)
    told = contexts[row, time], outputs[row, time], embedded[row, time]
    pieces = src.values[row, :length].tolist()
    made = equations.vocabulary(output, readouts[row, time])
    return equations.pointer(output, readouts[row, time], told, weights, pieces), made


def positions(tgt: Padded) -> Iterator[tuple[int, int, int]]:
    """Row, time and piece of each target piece."""
    for row, length in enumerate(tgt.lengths.tolist()):
        for time, piece in enumerate(tgt.values[row, :length].tolist()):
            yield row, time, piece


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("covers", [True, False])
def test_loss_and_gradients_are_those_of_the_equations(
    src: Padded, tgt: Padded, covers: bool, smoothing: float, dtype: torch.dtype
) -> None:
    def ours(output: PointerOutput, *given: Tensor) -> list[Tensor]:
        return [output.losses(decoded(list(given), src, covers), given[3], src, tgt, smoothing).loss]

    def written_out(output: PointerOutput, *given: Tensor) -> list[Tensor]:
        loss = torch.zeros((), dtype=torch.float64)
        for row, time, piece in positions(tgt):
            mixture, made = plain(output, list(given), src, row, time)
            loss = loss - (1 - smoothing) * mixture[piece].log() - smoothing * made.log().mean()
            loss = loss + WEIGHT * covers * given[5][row, time]
        return [loss]

    assert_computes(ours, written_out, build(), inputs(), dtype)


def test_nll_is_that_of_the_mixture_without_smoothing_and_coverage_and_carries_no_gradient(
    src: Padded, tgt: Padded
) -> None:
    output, given = build().double(), [values.double() for values in inputs()]
    sums = output.losses(decoded(given, src), given[3], src, tgt, smoothing=0.1)
    expected = sum(-plain(output, given, src, row, time)[0][piece].log() for row, time, piece in positions(tgt))
    assert_same([sums.nll], [expected])
    assert not sums.nll.requires_grad


def test_gradients_pass_the_numerical_check(src: Padded, tgt: Padded) -> None:
    output, given = build().double(), [values.double().requires_grad_() for values in inputs()]

    def run() -> Tensor:
        return output.losses(decoded(given, src), given[3], src, tgt, smoothing=0.1).loss

    assert passes_gradcheck(run, [given[0], *output.parameters()])


def test_log_probabilities_are_those_of_the_equations_and_sum_to_one(src: Padded) -> None:
    output, given = build().double(), [values.double() for values in inputs()]
    found = output.log_probs(decoded(given, src), given[3], src).exp()
    expected = [
        torch.stack([plain(output, given, src, row, time)[0] for time in range(max(TGT_LENGTHS))])
        for row in range(len(SRC_LENGTHS))
    ]
    assert_same(found, expected)
    assert_same([found.sum(dim=-1)], [torch.ones(len(SRC_LENGTHS), max(TGT_LENGTHS), dtype=torch.float64)])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_log_probabilities_sum_to_one_in_the_precisions_of_search(src: Padded, dtype: torch.dtype) -> None:
    output, given = build().to(dtype), [values.to(dtype) for values in inputs()]
    sums = output.log_probs(decoded(given, src), given[3], src).exp().sum(dim=-1)
    assert sums.dtype == torch.float32
    assert (sums - 1).abs().max() <= (1e-5 if dtype == torch.float32 else 0.01)


def test_what_stands_in_the_padding_of_a_source_or_a_target_changes_nothing(src: Padded, tgt: Padded) -> None:
    output, given = build().double(), [values.double() for values in inputs()]
    results = []
    for piece in (0, 7):
        sources, targets = (lines.with_values(lines.values.masked_fill(~lines.mask_bt, piece)) for lines in (src, tgt))
        seen = decoded(given, sources)
        sums = output.losses(seen, given[3], sources, targets, smoothing=0.1)
        results.append([*sums, output.log_probs(seen, given[3], sources)])
    assert_same(*results)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_a_piece_that_the_vocabulary_never_gives_is_still_copied(src: Padded, dtype: torch.dtype) -> None:
    output, given = build().to(dtype), [values.to(dtype).requires_grad_() for values in inputs()]
    piece, length = TWICE, SRC_LENGTHS[0]
    with torch.no_grad():
        output.bias[piece] = FORBIDDEN
    target = Padded(torch.tensor([[piece], [EOS], [EOS]]), torch.tensor([1, 1, 1]))
    seen = decoded([values[:, :1] for values in given[:4]] + [given[4][:, :, :1], given[5][:, :1]], src)
    sums = output.losses(seen, given[3][:, :1], src, target, smoothing=0.0)
    gradients = torch.autograd.grad(sums.loss, [given[4], *output.parameters()])
    assert all(bool(gradient.isfinite().all()) for gradient in gradients)
    assert gradients[0][0].any()
    log_prob = output.log_probs(seen, given[3][:, :1], src)[0, 0, piece]
    told = torch.cat((given[2][0, 0], given[1][0, 0], given[3][0, 0]))
    copied = seen.attended.weights_bts[0, 0, :length][src.values[0, :length] == piece].sum()
    expected = ((1 - output.gate(told).sigmoid()) * copied).log()
    assert log_prob.item() == pytest.approx(expected.item(), rel=1e-6 if dtype != torch.bfloat16 else 0.02)


def test_a_piece_that_can_be_neither_made_nor_copied_costs_much_and_breaks_nothing(src: Padded, tgt: Padded) -> None:
    output, given = build(), [values.requires_grad_() for values in inputs()]
    assert NOWHERE not in src.values[0]
    with torch.no_grad():
        output.bias[NOWHERE] = FORBIDDEN
    sums = output.losses(decoded(given, src), given[3], src, tgt, smoothing=0.0)
    assert 50 < sums.nll.item() < 1000
    gradients = torch.autograd.grad(sums.loss, [*given, *output.parameters()])
    assert all(bool(gradient.isfinite().all()) for gradient in gradients)


@pytest.fixture(params=["pointer", "coverage"])
def model(request: pytest.FixtureRequest) -> Seq2Seq:
    return build_seq2seq(request.param, vocab=VOCAB)


def test_search_finds_a_piece_that_only_copying_can_give(model: Seq2Seq) -> None:
    piece = EOS + 4
    with torch.no_grad():
        model.output.bias[piece] = FORBIDDEN
    line = Padded(torch.full((1, 6), piece), torch.tensor([6]))

    def pieces(gate: float) -> list[int]:
        with torch.no_grad():
            model.output.gate.bias.fill_(gate)
        return best_targets(model, line, beam_size=3, length_penalty=0.6, max_lengths=torch.tensor([4]))[0].pieces

    assert pieces(-50.0) == [piece] * 3
    assert piece not in pieces(50.0)


def test_what_looking_twice_costs_is_the_overlap_of_each_piece_with_what_was_seen() -> None:
    model = build_seq2seq("coverage", vocab=VOCAB)
    sources, targets = random_lines([4, 2], VOCAB, seed=1), random_lines([5, 3], VOCAB, seed=2)
    for row in range(2):
        src, tgt = alone(sources, row), alone(targets, row)
        sums = model(src, tgt)
        embedded = model.tgt_embedding(torch.cat((torch.tensor([[2]]), tgt.values[:, :-1]), dim=1))[0]
        written = equations.recurrent_decoder(
            model.decoder,
            embedded,
            model.encode(src).values[0],
            cell=type(model.decoder.layers[0]),
            layers=2,
            input_feeding=False,
        )
        assert_same([sums.loss - sums.nll], [0.7 * written.overlaps_t.sum()])
        assert written.overlaps_t.sum() > 0.1
