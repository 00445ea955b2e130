"""8-bit weights: what rounding costs, and that a row's numbers do not hang on the rows beside it."""

import copy
import timeit

import pytest
import torch
from tests.models.samples import best_targets, build_seq2seq, random_lines
from torch import nn

from recurray.models.cells.gru import GRU
from recurray.models.cells.lstm import LSTM
from recurray.models.int8 import LEVELS, Int8GRU, Int8Linear, Int8LSTM, quantize


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


@pytest.mark.parametrize(("kind", "int8"), [(LSTM, Int8LSTM), (GRU, Int8GRU)])
@torch.inference_mode()
def test_a_step_of_a_cell_computes_its_equations(kind: type[LSTM | GRU], int8: type[Int8LSTM | Int8GRU]) -> None:
    cell = kind(48, 64)
    for parameter in cell.parameters():
        nn.init.uniform_(parameter, -0.2, 0.2)
    state = tuple(random(9, 64, seed=seed).tanh() for seed in range(cell.state_tensors))
    values = random(9, 48, seed=5)
    for found, exact in zip(int8(cell).step(values, state), cell.step(values, state), strict=True):
        assert (found - exact).abs().max() < 0.02
        assert not torch.equal(found, exact)


@pytest.mark.parametrize("family", ["lstm", "gru", "transformer", "input_feeding"])
def test_a_model_in_8_bits_finds_targets_as_likely_as_before(family: str) -> None:
    model = build_seq2seq(family, vocab=200).float().requires_grad_(False)
    src = random_lines([5, 9, 3, 7], 200, seed=3)
    narrow = copy.deepcopy(model)
    quantize(narrow)
    assert any(isinstance(module, Int8Linear) for module in narrow.modules())
    limits = torch.tensor([8, 12, 6, 9])
    for found, exact in zip(
        best_targets(narrow, src, max_lengths=limits), best_targets(model, src, max_lengths=limits), strict=True
    ):
        assert found.score == pytest.approx(exact.score, abs=0.1)
