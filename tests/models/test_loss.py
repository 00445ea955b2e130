"""The chunked losses, summed and row by row, against PyTorch's own cross-entropy."""

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from recurray.models.loss import CHUNK_ROWS, cross_entropy_rows, cross_entropy_sums

DIM, VOCAB = 8, 20
Parts = tuple[Tensor, Tensor, Tensor, Tensor]


def parts(rows: int) -> Parts:
    """States, output weights, output biases and targets."""
    torch.manual_seed(rows)
    states = torch.randn(rows, DIM, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(VOCAB, DIM, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(VOCAB, dtype=torch.float64, requires_grad=True)
    return states, weight, bias, torch.randint(VOCAB, (rows,))


def largest_relative_difference(one: tuple[Tensor, ...], other: tuple[Tensor, ...]) -> float:
    return max(float((a - b).detach().abs().max() / b.detach().abs().max()) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("rows", [1, 17, CHUNK_ROWS, 2 * CHUNK_ROWS + 3])
def test_loss_and_gradients_are_those_of_pytorch_for_any_number_of_chunks(rows: int, smoothing: float) -> None:
    states, weight, bias, targets = parts(rows)
    ours = cross_entropy_sums(states, weight, bias, targets, smoothing).loss
    plain = cross_entropy(states @ weight.T + bias, targets, label_smoothing=smoothing, reduction="sum")
    gradients = [torch.autograd.grad(3.0 * loss, (states, weight, bias)) for loss in (ours, plain)]
    assert largest_relative_difference((ours, *gradients[0]), (plain, *gradients[1])) <= 1e-10


def test_loss_passes_the_numerical_check_of_gradients() -> None:
    states, weight, bias, targets = parts(5)
    assert torch.autograd.gradcheck(
        lambda states, weight, bias: cross_entropy_sums(states, weight, bias, targets, 0.1).loss, (states, weight, bias)
    )


def test_nll_is_the_unsmoothed_loss_and_carries_no_gradient() -> None:
    states, weight, bias, targets = parts(17)
    sums = cross_entropy_sums(states, weight, bias, targets, 0.1)
    expected = cross_entropy(states @ weight.T + bias, targets, reduction="sum")
    assert largest_relative_difference((sums.nll,), (expected,)) <= 1e-10
    assert not sums.nll.requires_grad


def test_without_gradients_the_sums_are_the_same() -> None:
    states, weight, bias, targets = parts(17)
    with torch.no_grad():
        without = cross_entropy_sums(states, weight, bias, targets, 0.1)
    assert torch.equal(without.loss, cross_entropy_sums(states, weight, bias, targets, 0.1).loss)
    assert not without.loss.requires_grad


def test_no_targets_give_a_loss_of_zero_and_zero_gradients() -> None:
    states, weight, bias, targets = parts(0)
    sums = cross_entropy_sums(states, weight, bias, targets, 0.1)
    assert sums.loss.item() == sums.nll.item() == 0.0
    gradients = torch.autograd.grad(sums.loss, (states, weight, bias))
    assert [gradient.shape for gradient in gradients] == [(0, DIM), (VOCAB, DIM), (VOCAB,)]
    assert not any(gradient.any() for gradient in gradients)


def pytorch_rows(states: Tensor, weight: Tensor, bias: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Cross-entropy of each row against its target, and against the uniform distribution."""
    scores = states @ weight.T + bias
    uniform = torch.full_like(scores, 1 / VOCAB)
    return cross_entropy(scores, targets, reduction="none"), cross_entropy(scores, uniform, reduction="none")


@pytest.mark.parametrize("rows", [1, 17, CHUNK_ROWS - 1, CHUNK_ROWS, CHUNK_ROWS + 1, 2 * CHUNK_ROWS + 3])
def test_rows_and_their_gradients_are_those_of_pytorch_whatever_each_row_weighs(rows: int) -> None:
    states, weight, bias, targets = parts(rows)
    upstream = (torch.randn(rows, dtype=torch.float64), torch.randn(rows, dtype=torch.float64))
    results = []
    for losses in (cross_entropy_rows, pytorch_rows):
        nll, uniform = losses(states, weight, bias, targets)
        results.append((nll, uniform, *torch.autograd.grad((nll, uniform), (states, weight, bias), upstream)))
    assert largest_relative_difference(*results) <= 1e-10


@pytest.mark.parametrize("which", [0, 1])
def test_gradients_of_rows_are_those_of_pytorch_where_only_one_of_the_two_losses_is_used(which: int) -> None:
    states, weight, bias, targets = parts(17)
    upstream = torch.randn(17, dtype=torch.float64)
    results = [
        torch.autograd.grad(losses(states, weight, bias, targets)[which], (states, weight, bias), upstream)
        for losses in (cross_entropy_rows, pytorch_rows)
    ]
    assert largest_relative_difference(*results) <= 1e-10


def test_rows_in_single_precision_are_those_of_double_precision() -> None:
    states, weight, bias, targets = parts(CHUNK_ROWS + 1)
    upstream = torch.ones(CHUNK_ROWS + 1)
    results = []
    for dtype in (torch.float32, torch.float64):
        given = [tensor.detach().float().to(dtype).requires_grad_() for tensor in (states, weight, bias)]
        nll, uniform = cross_entropy_rows(*given, targets)
        results.append((nll, uniform, *torch.autograd.grad((nll, uniform), given, (upstream.to(dtype),) * 2)))
    assert largest_relative_difference(*results) <= 1e-5


def test_rows_pass_the_numerical_check_of_gradients() -> None:
    states, weight, bias, targets = parts(5)
    assert torch.autograd.gradcheck(
        lambda states, weight, bias: cross_entropy_rows(states, weight, bias, targets), (states, weight, bias)
    )


def test_no_rows_give_no_losses_and_zero_gradients() -> None:
    states, weight, bias, targets = parts(0)
    nll, uniform = cross_entropy_rows(states, weight, bias, targets)
    assert nll.shape == uniform.shape == (0,)
    gradients = torch.autograd.grad(nll.sum() + uniform.sum(), (states, weight, bias))
    assert [gradient.shape for gradient in gradients] == [(0, DIM), (VOCAB, DIM), (VOCAB,)]
    assert not any(gradient.any() for gradient in gradients)


def test_only_the_gradients_that_are_wanted_are_needed_for_rows() -> None:
    states, weight, bias, targets = parts(17)
    nll, _ = cross_entropy_rows(states, weight.detach(), bias.detach(), targets)
    expected, _ = pytorch_rows(states, weight, bias, targets)
    (found,), (gradient,) = (torch.autograd.grad(losses.sum(), (states,)) for losses in (nll, expected))
    assert largest_relative_difference((found,), (gradient,)) <= 1e-10
