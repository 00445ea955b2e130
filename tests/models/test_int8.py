"""8-bit weights: what rounding costs, and that a row's numbers do not hang on the rows beside it."""

import timeit

import pytest
import torch
from torch import nn

from recurray.models.products.int8 import LEVELS, Int8Linear


def random(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@torch.inference_mode()
def test_each_number_is_off_by_what_rounding_both_factors_can_make_of_it() -> None:
    weight, bias, rows = random(96, 48), random(96, seed=2), random(7, 48, seed=3)
    rows[3] = 0.0
    found, exact = Int8Linear(weight, bias)(rows), rows @ weight.t() + bias
    half_steps = (
        rows.abs().amax(dim=1, keepdim=True) * weight.abs().sum(dim=1)
        + rows.abs().sum(1, keepdim=True) * weight.abs().amax(dim=1)
    ) / (2 * LEVELS)
    assert ((found - exact).abs() <= 1.02 * half_steps + 1e-5).all()
    assert torch.equal(found[3], bias)


@torch.inference_mode()
def test_a_row_gives_the_same_bits_alone_and_in_any_batch() -> None:
    layer, rows = Int8Linear(random(96, 48), random(96, seed=2)), random(33, 48, seed=3) * torch.arange(1, 34)[:, None]
    together = layer(rows)
    for row in range(33):
        assert torch.equal(layer(rows[row : row + 1]), together[row : row + 1])


@torch.inference_mode()
def test_a_single_row_is_not_dearer_than_a_few() -> None:
    layer = Int8Linear(random(1024, 256), None)

    def seconds(rows: torch.Tensor) -> float:
        layer(rows)
        return min(timeit.repeat(lambda: layer(rows), number=1, repeat=5))

    assert seconds(random(1, 256)) < 20 * seconds(random(4, 256))  # it was 300 times


@pytest.mark.parametrize("rows", [1, 4, 64])
@torch.inference_mode()
def test_no_number_of_rows_is_many_times_as_dear_as_in_float(rows: int) -> None:
    linear, values = nn.Linear(256, 1024), random(rows, 256)
    layer = Int8Linear(linear.weight, linear.bias)

    def seconds(run: nn.Module) -> float:
        run(values)
        return min(timeit.repeat(lambda: run(values), number=1, repeat=5))

    assert seconds(layer) < 20 * seconds(linear)  # it was 800 times, on a processor without matrix units for integers
