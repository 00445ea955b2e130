"""The chunked loss against PyTorch's own cross-entropy."""

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from recurray.models.loss import CHUNK_ROWS, cross_entropy_sums

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
