"""The whole family under bfloat16 autocast: near single precision, with float32 gradients, and padding without a part.

Weights are float32 and forward passes are under autocast, as `training.precision=bfloat16` has them. A rounding to
bfloat16 moves a number by up to 1/512 of itself. The bounds below are two to three times the worst of the whole family.
"""

from collections.abc import Callable

import pytest
import torch
from tests.models.samples import HEADS, alone, random_lines, random_sequences
from tests.promises.test_padding_in_the_whole_family import COMBINATIONS, build
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from recurray.models import DropoutKey, Padded, Seq2Seq
from recurray.models.attention.additive import CoverageAttention
from recurray.models.attention.attention import Attention
from recurray.models.attention.local import LocalAttention
from recurray.models.attention.multi_head import MultiHeadAttention
from recurray.models.attention.self_attention import hidden_scores
from recurray.models.blocks.block import cut_into_segments
from recurray.models.cells.gated import GatedCell
from recurray.models.cells.lnlstm import LayerNormLSTM
from recurray.models.cells.peephole import PeepholeLSTM
from recurray.models.dropout import HashedDropout
from recurray.models.loss import CHUNK_ROWS, cross_entropy_rows, cross_entropy_sums
from recurray.models.precision import in_single_precision
from recurray.models.registry import ATTENTIONS, CELLS
from recurray.models.segments import Segments

LOSS = 1e-3
"""Relative difference of a loss from that of single precision, or of the same examples padded in another way."""
COSINE = 0.99
"""Least cosine between the gradient of a whole network and that of single precision."""
PADDED = 0.05
"""Length of the difference between a batch's gradient and the sum of its examples', relative to the gradient's."""
LOG_PROBABILITY = 0.15
"""Largest difference of a log-probability of search from that of single precision, in nats."""
VOCAB, SRC_LENGTHS, TGT_LENGTHS = 500, [2, 5, 9, 14], [7, 3, 12, 5]
QUICK = [
    ("lstm", "multi_head", "lstm", None),
    ("gru", "additive", "gru", None),
    ("rnn", "dot", "input feeding", None),
    ("peephole", "general", "transformer", None),
    ("lnlstm", "local", "lstm", None),
    ("windowed transformer", "multi_head", "input feeding", None),
    ("gated columns", "local", "transformer", None),
    ("pyramid", "general", "gru", None),
    ("sinusoidal transformer", "additive", "lstm", "coverage"),
    ("lstm", "multi_head", "transformer", "copying"),
    ("forward lstm", "additive", "input feeding", None),
    ("transformer", "dot", "gru", None),
    ("transformer over lstm", "local", "transformer", None),
    ("lstm over transformer", "general", "lstm", None),
    ("columns side by side", "additive", "lstm", "copying"),
]
"""Every encoder, attention, decoder and output; the slow tests take all combinations."""

every_combination = pytest.mark.parametrize(
    "combination",
    [pytest.param(parts, marks=() if parts in QUICK else pytest.mark.slow) for parts in COMBINATIONS],
    ids=lambda parts: ", ".join(filter(None, parts)),
)
every_attention = pytest.mark.parametrize("name", [*ATTENTIONS.names(), "coverage", "local"])


def in_bfloat16() -> torch.autocast:
    return torch.autocast("cpu", torch.bfloat16)


def in_float32() -> torch.autocast:
    return torch.autocast("cpu", enabled=False)


def lines() -> tuple[Padded, Padded]:
    return random_lines(SRC_LENGTHS, VOCAB, seed=1), random_lines(TGT_LENGTHS, VOCAB, seed=2)


def with_an_empty_row(batch: Padded) -> Padded:
    """The batch, and a row that is all padding."""
    empty = torch.zeros_like(batch.values[:1])
    return Padded(torch.cat((batch.values, empty)), torch.cat((batch.lengths, torch.tensor([0]))))


def run(
    network: Seq2Seq, src: Padded, tgt: Padded, precision: Callable[[], torch.autocast], first_example: int = 0
) -> tuple[Tensor, Tensor]:
    """The loss, and the gradient of all parameters in one row."""
    examples = torch.arange(first_example, first_example + len(src.lengths))
    with precision():
        sums = network(src, tgt, DropoutKey(seed=3, step=7, examples=examples), 0.1)
    assert sums.loss.dtype == sums.nll.dtype == torch.float32
    gradients = torch.autograd.grad(sums.loss, list(network.parameters()))
    assert all(gradient.dtype == torch.float32 and bool(gradient.isfinite().all()) for gradient in gradients)
    return sums.loss.detach(), torch.cat([gradient.flatten() for gradient in gradients])


def relative(one: Tensor, other: Tensor) -> float:
    return float((one - other).detach().norm() / other.detach().norm())


@every_combination
def test_loss_and_gradient_are_those_of_single_precision_but_for_rounding(
    combination: tuple[str, str, str, str | None],
) -> None:
    network, (src, tgt) = build(*combination), lines()
    exact_loss, exact = run(network, src, tgt, in_float32)
    loss, gradient = run(network, src, tgt, in_bfloat16)
    assert relative(loss, exact_loss) < LOSS
    assert torch.cosine_similarity(gradient, exact, dim=0) > COSINE
    assert not torch.equal(gradient, exact)  # or nothing was in bfloat16


@every_combination
def test_padding_changes_a_loss_and_a_gradient_by_rounding_alone(
    combination: tuple[str, str, str, str | None],
) -> None:
    network, (src, tgt) = build(*combination), lines()
    parts = [run(network, alone(src, row), alone(tgt, row), in_bfloat16, row) for row in range(len(SRC_LENGTHS))]
    losses, gradients = zip(*parts, strict=True)
    loss, gradient = run(network, src, tgt, in_bfloat16)
    assert relative(loss, torch.stack(losses).sum()) < LOSS
    assert relative(gradient, torch.stack(gradients).sum(dim=0)) < PADDED


@every_combination
def test_a_row_that_is_all_padding_has_states_of_zero_and_no_part_in_loss_and_gradient(
    combination: tuple[str, str, str, str | None],
) -> None:
    network, (src, tgt) = build(*combination), lines()
    with in_bfloat16():
        states = network.encode(with_an_empty_row(src))
    assert states.values.dtype == torch.float32
    assert not states.values[-1].any()
    loss, gradient = run(network, with_an_empty_row(src), with_an_empty_row(tgt), in_bfloat16)
    expected_loss, expected = run(network, src, tgt, in_bfloat16)
    assert relative(loss, expected_loss) < 1e-6
    assert relative(gradient, expected) < 1e-6


@pytest.mark.parametrize("encoder", ["lstm", "gru", "lnlstm", "windowed transformer", "pyramid"])
def test_segments_give_the_gradient_of_the_whole(encoder: str) -> None:
    network, (src, tgt) = build(encoder, "multi_head", "lstm", None), lines()
    whole_loss, whole = run(network, src, tgt, in_bfloat16)
    cut_into_segments(network, Segments(4))
    loss, gradient = run(network, src, tgt, in_bfloat16)
    assert relative(loss, whole_loss) < LOSS
    assert relative(gradient, whole) < PADDED


@every_combination
def test_log_probabilities_of_search_are_those_of_single_precision_but_for_rounding(
    combination: tuple[str, str, str, str | None],
) -> None:
    network, (src, tgt) = build(*combination), lines()
    found = []
    for precision in (in_float32, in_bfloat16):
        with precision(), torch.no_grad():
            state = network.start(src)
            for pieces_b in tgt.values[:, :3].unbind(dim=1):
                log_probs_bkv, state = network.step(pieces_b[:, None], state)
        found.append(log_probs_bkv)
    assert found[1].dtype == torch.float32
    assert (found[1].exp().sum(dim=-1) - 1).abs().max() < 1e-5
    assert (found[1] - found[0]).abs().max() < LOG_PROBABILITY


def attention(name: str) -> Attention:
    torch.manual_seed(0)
    if name == "local":
        return LocalAttention(MultiHeadAttention(16, 16, 16, HEADS), 16, window=4)
    return (CoverageAttention if name == "coverage" else ATTENTIONS[name])(16, 16, 16, HEADS)


@every_attention
def test_weights_of_attention_sum_to_one_in_single_precision_with_none_on_padding(name: str) -> None:
    layer, states, queries = attention(name), random_sequences([9, 3, 0], 16), random_sequences([4, 4, 4], 16, seed=2)
    with in_bfloat16():
        attended = layer(queries.values, layer.memorize(states.zeroed()))
    assert attended.weights_bhts.dtype == torch.float32
    assert (attended.weights_bhts.sum(dim=-1) - 1).abs().max() < 1e-6
    assert not attended.weights_bhts[1, :, :, 3:].any()
    assert not attended.contexts_btd[2].any()


def test_local_attention_tells_far_positions_apart() -> None:
    layer = LocalAttention(MultiHeadAttention(16, 16, 16, HEADS), 16, window=4)
    keys, queries = random_sequences([2000], 16), random_sequences([4], 16).values
    with in_bfloat16():
        found = layer.falloff(queries, keys)
    expected = layer.falloff(queries, keys)
    assert torch.equal(found.argmax(dim=-1), expected.argmax(dim=-1))
    assert relative(found, expected) < 1e-6


def test_what_hides_scores_stays_finite_when_autocast_rounds_it() -> None:
    hidden = hidden_scores(torch.tensor([True, False]), torch.float32)
    assert hidden.bfloat16().isfinite().all()
    assert hidden.bfloat16().softmax(dim=0).tolist() == [1.0, 0.0]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("rows", [0, 17, CHUNK_ROWS + 3])
def test_losses_are_sums_in_single_precision_over_scores_in_bfloat16(rows: int, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    states, weight, bias = torch.randn(rows, 8).to(dtype), torch.randn(20, 8), torch.randn(20)
    given = [values.requires_grad_() for values in (states, weight, bias)]
    targets = torch.randint(20, (rows,))
    with in_bfloat16():
        sums = cross_entropy_sums(*given, targets, 0.1)
        nll, uniform = cross_entropy_rows(*given, targets)
    scores = torch.addmm(bias.bfloat16(), states.bfloat16(), weight.bfloat16().t()).float()
    smoothed = cross_entropy(scores, targets, label_smoothing=0.1, reduction="sum")
    for loss in (sums.loss, (0.9 * nll + 0.1 * uniform).sum()):
        torch.testing.assert_close(loss, smoothed, rtol=1e-5, atol=0)
        found, expected = (torch.autograd.grad(total, given, retain_graph=True) for total in (loss, smoothed))
        for one, other, tensor in zip(found, expected, given, strict=True):
            assert one.dtype == tensor.dtype
            assert rows == 0 or relative(one.float(), other.float()) < 0.01
    assert sums.nll.dtype == nll.dtype == torch.float32


@pytest.mark.parametrize("name", CELLS.names())
def test_cells_on_a_cpu_compute_in_single_precision(name: str) -> None:
    torch.manual_seed(0)
    cell, values = CELLS[name](8, 8), random_sequences([6, 6], 8).values
    state = tuple(torch.randn(2, 8) for _ in range(cell.state_tensors))
    outputs, after = cell(values, state)
    once = cell.step(values[:, 0], state)
    with in_bfloat16():
        low_outputs, low_after = cell(values, state)
        low_once = cell.step(values[:, 0], state)
        from_low = cell.step(values[:, 0].bfloat16(), tuple(part.bfloat16() for part in state))
    for found, expected in zip((low_outputs, *low_after, *low_once), (outputs, *after, *once), strict=True):
        assert torch.equal(found, expected)
    assert all(part.dtype == torch.float32 for part in from_low)


@pytest.mark.parametrize("kind", [PeepholeLSTM, LayerNormLSTM])
def test_gated_cells_bear_bfloat16_as_they_meet_it_on_cuda(kind: type[GatedCell]) -> None:
    torch.manual_seed(0)
    cell, values = kind(8, 8), random_sequences([6, 6], 8).values.requires_grad_()
    of = (values, *cell.parameters())
    exact = torch.autograd.grad(cell(values)[0].square().sum(), of)
    with in_bfloat16():
        outputs, _ = kind.forward.__wrapped__(cell, values)
    rounded = torch.autograd.grad(outputs.float().square().sum(), of)
    assert all(0 < relative(one, other) < 0.05 for one, other in zip(rounded, exact, strict=True))


class _LikeCudnn(nn.Module):
    """It gives float16 under any autocast, as cuDNN's kernels do."""

    @in_single_precision("cpu of another kind")
    def forward(self, values: Tensor, state: tuple[Tensor, ...] | None = None) -> tuple[Tensor, tuple[Tensor, ...]]:
        assert values.dtype == torch.float32
        assert state is None or state[0].dtype == torch.float32
        assert torch.is_autocast_enabled("cpu")
        return values.half(), (values.half(),)


def test_what_a_kernel_gives_in_float16_goes_on_in_single_precision() -> None:
    values = torch.randn(2, 3)
    with in_bfloat16():
        outputs, (state,) = _LikeCudnn()(values.bfloat16(), state=(values.bfloat16(),))
        joined = torch.cat((outputs, values.bfloat16()))  # autocast refuses to join float16 and bfloat16
    assert outputs.dtype == state.dtype == joined.dtype == torch.float32


def test_dropout_drops_the_same_units_in_any_precision() -> None:
    layer, key = HashedDropout(0.3, "encoder.0"), DropoutKey(seed=1, step=2, examples=torch.arange(50))
    values = torch.ones(50, 2, 64)
    with in_bfloat16():
        found = layer(values.bfloat16(), key)
    expected = layer(values, key)
    assert torch.equal(found == 0, expected == 0)
    torch.testing.assert_close(found.float(), expected, rtol=2**-8, atol=0)


def test_the_quick_tests_forget_no_encoder_attention_decoder_or_output() -> None:
    for quick, every in zip(zip(*QUICK, strict=True), zip(*COMBINATIONS, strict=True), strict=True):
        assert set(quick) == set(every)
