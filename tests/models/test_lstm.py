"""LSTM layers against their equations, against each sequence alone, and against PyTorch's packed sequences."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from recurray.models import Padded
from recurray.models.lstm import BiLSTMLayer, LSTMLayer, LSTMState

BATCH, TIME, INPUT, HIDDEN = 4, 7, 6, 8
LENGTHS = [3, 7, 1, 5]
TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-5}


def written_out(layer: LSTMLayer, values_btd: Tensor, state: LSTMState) -> tuple[Tensor, LSTMState]:
    """The equations of `LSTMLayer`, one step after the other."""
    weight, recurrent, input_bias, recurrent_bias = layer.lstm.parameters()
    hidden, cell = state
    outputs = []
    for values_bd in values_btd.unbind(dim=1):
        sums = values_bd @ weight.T + hidden @ recurrent.T + input_bias + recurrent_bias
        i, f, g, o = sums.chunk(4, dim=-1)
        cell = f.sigmoid() * cell + i.sigmoid() * g.tanh()
        hidden = o.sigmoid() * cell.tanh()
        outputs.append(hidden)
    return torch.stack(outputs, dim=1), (hidden, cell)


def gradients(loss: Tensor, *of: Tensor) -> tuple[Tensor, ...]:
    return torch.autograd.grad(loss, of)


def largest_difference(one: tuple[Tensor, ...], other: tuple[Tensor, ...]) -> float:
    return max(float((a - b).detach().abs().max()) for a, b in zip(one, other, strict=True))


@pytest.fixture
def bilstm() -> BiLSTMLayer:
    torch.manual_seed(1)
    return BiLSTMLayer(INPUT, HIDDEN).double()


@pytest.fixture
def batch() -> Padded:
    torch.manual_seed(2)
    values = torch.randn(BATCH, TIME, INPUT, dtype=torch.float64).requires_grad_()
    return Padded(values, torch.tensor(LENGTHS))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_the_layer_computes_its_equations_forward_and_backward(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    layer = LSTMLayer(INPUT, HIDDEN).to(dtype)
    values = torch.randn(BATCH, TIME, INPUT, dtype=dtype, requires_grad=True)
    state = (
        torch.randn(BATCH, HIDDEN, dtype=dtype, requires_grad=True),
        torch.randn(BATCH, HIDDEN, dtype=dtype, requires_grad=True),
    )
    factors = torch.randn(BATCH, TIME + 2, HIDDEN, dtype=dtype)
    of = (values, *state, *layer.parameters())
    results = []
    for outputs, (hidden, cell) in (layer(values, state), written_out(layer, values, state)):
        everything = torch.cat((outputs, hidden[:, None], cell[:, None]), dim=1)
        results.append((everything, *gradients((everything * factors).sum(), *of)))
    assert largest_difference(*results) <= TOLERANCE[dtype]


def test_without_a_state_the_layer_starts_from_zeros() -> None:
    layer = LSTMLayer(INPUT, HIDDEN).double()
    values = torch.randn(BATCH, TIME, INPUT, dtype=torch.float64)
    zeros = values.new_zeros(BATCH, HIDDEN)
    assert largest_difference((layer(values)[0],), (written_out(layer, values, (zeros, zeros))[0],)) <= 1e-10


def test_recurrent_weights_start_orthogonal_and_only_the_forget_gate_with_a_bias() -> None:
    _, recurrent, input_bias, recurrent_bias = LSTMLayer(INPUT, HIDDEN).lstm.parameters()
    for gate in recurrent.chunk(4):
        assert torch.allclose(gate @ gate.T, torch.eye(HIDDEN), atol=1e-5)
    assert (input_bias + recurrent_bias).view(4, HIDDEN).tolist() == [[float(gate == 1)] * HIDDEN for gate in range(4)]


def test_a_padded_batch_gives_the_states_and_gradients_of_each_sequence_alone(
    bilstm: BiLSTMLayer, batch: Padded
) -> None:
    factors = torch.randn(BATCH, TIME, 2 * HIDDEN, dtype=torch.float64)
    outputs = bilstm(batch)
    of = (batch.values, *bilstm.parameters())
    together = gradients((outputs.values * factors).sum(), *of)
    alone = [torch.zeros_like(tensor) for tensor in of]
    for row, length in enumerate(LENGTHS):
        own = bilstm(Padded(batch.values[row : row + 1, :length], torch.tensor([length]))).values[0]
        assert largest_difference((outputs.values[row, :length],), (own,)) <= 1e-10
        for total, part in zip(alone, gradients((own * factors[row, :length]).sum(), *of), strict=True):
            total += part
    assert largest_difference(together, tuple(alone)) <= 1e-10


def test_states_at_padding_are_exact_zeros_whatever_the_padding_holds(bilstm: BiLSTMLayer, batch: Padded) -> None:
    garbage = batch.values.detach().masked_fill(~batch.mask_bt[:, :, None], 1e6)
    outputs, with_garbage = bilstm(batch), bilstm(batch.with_values(garbage))
    assert not outputs.values[~batch.mask_bt].any()
    assert largest_difference((outputs.values,), (with_garbage.values,)) <= 1e-10


def packed_twin(layer: BiLSTMLayer) -> nn.LSTM:
    """PyTorch's bidirectional LSTM with the same weights."""
    twin = nn.LSTM(INPUT, HIDDEN, batch_first=True, bidirectional=True).double()
    backwards = {f"{name}_reverse": weight for name, weight in layer.backwards.lstm.state_dict().items()}
    twin.load_state_dict({**layer.forwards.lstm.state_dict(), **backwards})
    return twin


def test_the_layer_equals_pytorchs_bidirectional_lstm_on_packed_sequences(bilstm: BiLSTMLayer, batch: Padded) -> None:
    factors = torch.randn(BATCH, TIME, 2 * HIDDEN, dtype=torch.float64)
    twin = packed_twin(bilstm)
    packed = pack_padded_sequence(batch.values, batch.lengths, batch_first=True, enforce_sorted=False)
    expected = pad_packed_sequence(twin(packed)[0], batch_first=True, total_length=TIME)[0]
    found = bilstm(batch).values
    ours = gradients((found * factors).sum(), batch.values, *bilstm.parameters())
    theirs = gradients((expected * factors).sum(), batch.values, *twin.parameters())
    assert largest_difference((found, *ours), (expected, *theirs)) <= 1e-10
