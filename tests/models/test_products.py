"""Products of search on a CPU: the same model with packed weights, and nearly the same with 8-bit ones."""

import copy

import pytest
import torch
from tests.models.samples import best_targets, build_seq2seq, random_lines
from torch import nn

from recurray.models.cells.gru import GRU
from recurray.models.cells.lstm import LSTM
from recurray.models.products.int8 import Int8Linear
from recurray.models.products.packed import PackedLinear
from recurray.models.products.replacing import Product, SteppedGRU, SteppedLSTM, replace_products

KINDS = [(PackedLinear, 1e-5), (Int8Linear, 0.02)]
"""Products, and how far a cell's outputs may be off."""


def random(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", [(1, 48), (300, 48), (3, 5, 48)])
@pytest.mark.parametrize("biased", [True, False])
@torch.inference_mode()
def test_packed_weights_give_the_product_for_any_rows(shape: tuple[int, ...], biased: bool) -> None:
    linear, values = nn.Linear(48, 96, bias=biased), random(*shape)
    torch.testing.assert_close(PackedLinear(linear.weight, linear.bias)(values), linear(values), rtol=1e-5, atol=1e-5)


@torch.inference_mode()
def test_packed_weights_read_rows_that_do_not_lie_beside_each_other() -> None:
    linear, wide = nn.Linear(48, 96), random(7, 96)
    values = wide[:, 48:]
    torch.testing.assert_close(PackedLinear(linear.weight, linear.bias)(values), linear(values), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("product", "tolerance"), KINDS)
@pytest.mark.parametrize(("kind", "stepped"), [(LSTM, SteppedLSTM), (GRU, SteppedGRU)])
@torch.inference_mode()
def test_a_step_of_a_cell_computes_its_equations(
    kind: type[LSTM | GRU], stepped: type[SteppedLSTM | SteppedGRU], product: Product, tolerance: float
) -> None:
    cell = kind(48, 64)
    for parameter in cell.parameters():
        nn.init.uniform_(parameter, -0.2, 0.2)
    state = tuple(random(9, 64, seed=seed).tanh() for seed in range(cell.state_tensors))
    values = random(9, 48, seed=5)
    for found, exact in zip(stepped(cell, product).step(values, state), cell.step(values, state), strict=True):
        assert (found - exact).abs().max() < tolerance


@pytest.mark.parametrize(("product", "tolerance"), [(PackedLinear, 1e-4), (Int8Linear, 0.1)])
@pytest.mark.parametrize("family", ["lstm", "gru", "transformer", "input_feeding"])
def test_a_model_finds_targets_as_likely_as_before(family: str, product: Product, tolerance: float) -> None:
    model = build_seq2seq(family, vocab=200).float().requires_grad_(False)
    src = random_lines([5, 9, 3, 7], 200, seed=3)
    replaced = copy.deepcopy(model)
    replace_products(replaced, product)
    assert isinstance(replaced.output.product, product)
    limits = torch.tensor([8, 12, 6, 9])
    for found, exact in zip(
        best_targets(replaced, src, max_lengths=limits), best_targets(model, src, max_lengths=limits), strict=True
    ):
        assert found.score == pytest.approx(exact.score, abs=tolerance)
