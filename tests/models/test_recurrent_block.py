"""Bidirectional layers of every cell against each sequence alone, and against PyTorch's packed sequences."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from recurray.models.blocks.recurrent import Bidirectional
from recurray.models.cells.cell import Cell
from recurray.models.dropout import HashedDropout
from recurray.models.padded import Padded
from recurray.models.registry import CELLS

BATCH, TIME, INPUT, HIDDEN = 4, 7, 6, 8
LENGTHS = [3, 7, 1, 5]
EVERY_CELL = pytest.mark.parametrize("cell", [CELLS[name] for name in ("lstm", "gru", "rnn", "peephole", "lnlstm")])


def layer_of(cell: type[Cell]) -> Bidirectional:
    torch.manual_seed(1)
    return Bidirectional(cell, INPUT, HIDDEN, HashedDropout(0.0, "")).double()


def gradients(loss: Tensor, *of: Tensor) -> tuple[Tensor, ...]:
    return torch.autograd.grad(loss, of)


def largest_difference(one: tuple[Tensor, ...], other: tuple[Tensor, ...]) -> float:
    return max(float((a - b).detach().abs().max()) for a, b in zip(one, other, strict=True))


@pytest.fixture
def batch() -> Padded:
    torch.manual_seed(2)
    values = torch.randn(BATCH, TIME, INPUT, dtype=torch.float64).requires_grad_()
    return Padded(values, torch.tensor(LENGTHS))


@EVERY_CELL
def test_a_padded_batch_gives_the_states_and_gradients_of_each_sequence_alone(cell: type[Cell], batch: Padded) -> None:
    layer = layer_of(cell)
    factors = torch.randn(BATCH, TIME, 2 * HIDDEN, dtype=torch.float64)
    outputs = layer(batch)
    of = (batch.values, *layer.parameters())
    together = gradients((outputs.values * factors).sum(), *of)
    alone = [torch.zeros_like(tensor) for tensor in of]
    for row, length in enumerate(LENGTHS):
        own = layer(Padded(batch.values[row : row + 1, :length], torch.tensor([length]))).values[0]
        assert largest_difference((outputs.values[row, :length],), (own,)) <= 1e-10
        for total, part in zip(alone, gradients((own * factors[row, :length]).sum(), *of), strict=True):
            total += part
    assert largest_difference(together, tuple(alone)) <= 1e-10


@EVERY_CELL
def test_states_at_padding_are_exact_zeros_whatever_the_padding_holds(cell: type[Cell], batch: Padded) -> None:
    layer = layer_of(cell)
    garbage = batch.values.detach().masked_fill(~batch.mask_bt[:, :, None], 1e6)
    outputs, with_garbage = layer(batch), layer(batch.with_values(garbage))
    assert not outputs.values[~batch.mask_bt].any()
    assert largest_difference((outputs.values,), (with_garbage.values,)) <= 1e-10


@EVERY_CELL
def test_each_direction_reads_the_sequence_from_its_own_end(cell: type[Cell], batch: Padded) -> None:
    layer = layer_of(cell)
    changed = batch.values.detach().clone()
    changed[1, 3] += 1.0
    before, after = layer(batch).values[1], layer(batch.with_values(changed)).values[1]
    moved_t2 = (before - after).detach().view(TIME, 2, HIDDEN).abs().amax(dim=-1) > 0
    assert moved_t2.T.tolist() == [[time >= 3 for time in range(TIME)], [time <= 3 for time in range(TIME)]]


def packed_twin(cell: type[Cell], layer: Bidirectional) -> nn.RNNBase:
    """PyTorch's bidirectional layer with the same weights."""
    twin_of = {CELLS["lstm"]: nn.LSTM, CELLS["gru"]: nn.GRU, CELLS["rnn"]: nn.RNN}[cell]
    twin: nn.RNNBase = twin_of(INPUT, HIDDEN, batch_first=True, bidirectional=True).double()
    weights = [weight.detach() for weight in layer.parameters()]
    with torch.no_grad():
        for own, weight in zip(twin.parameters(), weights, strict=True):
            own.copy_(weight)
    return twin


@pytest.mark.parametrize("cell", [CELLS[name] for name in ("lstm", "gru", "rnn")])
def test_the_layer_equals_pytorchs_bidirectional_layer_on_packed_sequences(cell: type[Cell], batch: Padded) -> None:
    layer = layer_of(cell)
    factors = torch.randn(BATCH, TIME, 2 * HIDDEN, dtype=torch.float64)
    twin = packed_twin(cell, layer)
    packed = pack_padded_sequence(batch.values, batch.lengths, batch_first=True, enforce_sorted=False)
    expected = pad_packed_sequence(twin(packed)[0], batch_first=True, total_length=TIME)[0]
    found = layer(batch).values
    ours = gradients((found * factors).sum(), batch.values, *layer.parameters())
    theirs = gradients((expected * factors).sum(), batch.values, *twin.parameters())
    assert largest_difference((found, *ours), (expected, *theirs)) <= 1e-10
