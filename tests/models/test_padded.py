"""The padded batch: its mask, its mirror, its mean, its rows."""

import pytest
import torch
from torch import Tensor

from recurray.models import Padded

LENGTHS = [5, 1, 3, 4]


@pytest.fixture
def batch() -> Padded:
    torch.manual_seed(0)
    return Padded(torch.randn(4, 5, 3, dtype=torch.float64), torch.tensor(LENGTHS))


def mirrored(values: Tensor) -> Tensor:
    """What `Padded.reversed` is to give, sequence by sequence."""
    rows = [torch.cat((row[:length].flip(0), row[length:])) for row, length in zip(values, LENGTHS, strict=True)]
    return torch.stack(rows)


def test_the_mask_is_true_at_own_positions_only(batch: Padded) -> None:
    assert batch.mask_bt.tolist() == [[position < length for position in range(5)] for length in LENGTHS]


def test_each_sequence_is_reversed_by_its_own_length_and_padding_stays(batch: Padded) -> None:
    assert torch.equal(batch.reversed().values, mirrored(batch.values))


def test_reversed_twice_is_the_batch_itself(batch: Padded) -> None:
    assert torch.equal(batch.reversed().reversed().values, batch.values)


def test_the_gradient_of_reversed_is_the_gradient_of_plain_indexing(batch: Padded) -> None:
    upstream = torch.randn_like(batch.values)
    ours, plain = batch.values.clone().requires_grad_(), batch.values.clone().requires_grad_()
    (found,) = torch.autograd.grad(batch.with_values(ours).reversed().values, ours, upstream)
    (expected,) = torch.autograd.grad(mirrored(plain), plain, upstream)
    assert torch.equal(found, expected)


def test_reversed_passes_the_numerical_check_of_gradients(batch: Padded) -> None:
    values = batch.values.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda given: batch.with_values(given).reversed().values, values)


def test_zeroed_leaves_own_positions_and_clears_even_nan_from_padding(batch: Padded) -> None:
    own_bt1 = batch.mask_bt[:, :, None]
    zeroed = batch.with_values(batch.values.masked_fill(~own_bt1, float("nan"))).zeroed()
    assert torch.equal(zeroed.values, torch.where(own_bt1, batch.values, torch.zeros(())))


def test_mean_is_that_of_the_own_positions_of_each_sequence(batch: Padded) -> None:
    means = [batch.values[row, :length].mean(dim=0) for row, length in enumerate(LENGTHS)]
    assert torch.allclose(batch.zeroed().mean(), torch.stack(means), rtol=1e-10, atol=1e-10)


def test_select_takes_values_and_lengths_in_the_order_asked_for(batch: Padded) -> None:
    selected = batch.select(torch.tensor([2, 0, 2]))
    assert torch.equal(selected.values, torch.stack([batch.values[2], batch.values[0], batch.values[2]]))
    assert selected.lengths.tolist() == [3, 5, 3]
