"""Every cell against its equations, against each sequence alone, and against its own single steps."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from recurray.models.cells.cell import Cell, State
from recurray.models.cells.gru import GRU
from recurray.models.cells.lnlstm import LayerNormLSTM
from recurray.models.cells.lstm import LSTM
from recurray.models.cells.peephole import PeepholeLSTM
from recurray.models.cells.rnn import RNN
from recurray.models.cells.stepped import SteppedCell
from recurray.models.registry import CELLS

BATCH, TIME, INPUT, HIDDEN = 4, 7, 6, 8
LENGTHS = [3, 7, 1, 5]
TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-5}


def lstm_step(cell: Cell, x: Tensor, state: State) -> State:
    w, u, b, d = cell.parameters()
    h, c = state
    i, f, g, o = (x @ w.T + b + h @ u.T + d).chunk(4, dim=-1)
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    return o.sigmoid() * c.tanh(), c


def gru_step(cell: Cell, x: Tensor, state: State) -> State:
    w, u, b, d = cell.parameters()
    (h,) = state
    from_x, from_h = (x @ w.T + b).chunk(3, dim=-1), (h @ u.T + d).chunk(3, dim=-1)
    r, z = (from_x[0] + from_h[0]).sigmoid(), (from_x[1] + from_h[1]).sigmoid()
    n = (from_x[2] + r * from_h[2]).tanh()
    return ((1 - z) * n + z * h,)


def rnn_step(cell: Cell, x: Tensor, state: State) -> State:
    w, u, b, d = cell.parameters()
    return ((x @ w.T + b + state[0] @ u.T + d).tanh(),)


def peephole_step(cell: Cell, x: Tensor, state: State) -> State:
    assert isinstance(cell, PeepholeLSTM)
    h, c = state
    i, f, g, o = (x @ cell.input_weight.T + h @ cell.recurrent_weight.T + cell.bias).chunk(4, dim=-1)
    p_i, p_f, p_o = cell.peepholes.unbind()
    i, f = (i + p_i * c).sigmoid(), (f + p_f * c).sigmoid()
    c = f * c + i * g.tanh()
    return (o + p_o * c).sigmoid() * c.tanh(), c


def layer_norm_step(cell: Cell, x: Tensor, state: State) -> State:
    assert isinstance(cell, LayerNormLSTM)
    h, c = state
    gates = []
    for w, u, gain, bias in zip(
        cell.input_weight.chunk(4), cell.recurrent_weight.chunk(4), cell.gain, cell.bias, strict=True
    ):
        s = x @ w.T + h @ u.T
        centred = s - s.mean(dim=-1, keepdim=True)
        gates.append(gain * centred / (centred.square().mean(dim=-1, keepdim=True) + 1e-5).sqrt() + bias)
    i, f, g, o = gates
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    return o.sigmoid() * c.tanh(), c


EQUATIONS: dict[type[Cell], Callable[[Cell, Tensor, State], State]] = {
    LSTM: lstm_step,
    GRU: gru_step,
    RNN: rnn_step,
    PeepholeLSTM: peephole_step,
    LayerNormLSTM: layer_norm_step,
}


class MinimalGated(SteppedCell):
    """A cell from outside: the minimal gated unit (Zhou et al. 2016)."""

    def __init__(self, input_dim: int, hidden_dim: int) -> None:
        super().__init__(input_dim, hidden_dim)
        self.input = torch.nn.Linear(input_dim, 2 * hidden_dim)
        self.forget = torch.nn.Linear(hidden_dim, hidden_dim, bias=False)
        self.candidate = torch.nn.Linear(hidden_dim, hidden_dim, bias=False)

    def project(self, values: Tensor) -> Tensor:
        projected: Tensor = self.input(values)
        return projected

    def advance(self, projected: Tensor, state: State) -> State:
        (h,) = state
        to_f, to_n = projected.chunk(2, dim=-1)
        f = (to_f + self.forget(h)).sigmoid()
        return (torch.lerp(h, (to_n + self.candidate(f * h)).tanh(), f),)


def minimal_gated_step(cell: Cell, x: Tensor, state: State) -> State:
    w, b, u_f, u_n = cell.parameters()
    (h,) = state
    to_f, to_n = (x @ w.T + b).chunk(2, dim=-1)
    f = (to_f + h @ u_f.T).sigmoid()
    return ((1 - f) * h + f * (to_n + (f * h) @ u_n.T).tanh(),)


EVERY_CELL = pytest.mark.parametrize("kind", EQUATIONS, ids=lambda kind: kind.__name__)
WRITTEN_HERE = pytest.mark.parametrize("kind", [PeepholeLSTM, LayerNormLSTM], ids=lambda kind: kind.__name__)


def written_out(cell: Cell, values_btd: Tensor, state: State) -> tuple[Tensor, State]:
    """The cell's equations, one step after the other."""
    step = {**EQUATIONS, MinimalGated: minimal_gated_step}[type(cell)]
    outputs = []
    for values_bd in values_btd.unbind(dim=1):
        state = step(cell, values_bd, state)
        outputs.append(state[0])
    return torch.stack(outputs, dim=1), state


def made(kind: type[Cell], dtype: torch.dtype = torch.float64) -> Cell:
    """A cell whose every parameter matters: none is left at 0 or 1."""
    torch.manual_seed(0)
    cell = kind(INPUT, HIDDEN).to(dtype)
    with torch.no_grad():
        for parameter in cell.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
    return cell


def batch(dtype: torch.dtype = torch.float64) -> Tensor:
    torch.manual_seed(1)
    return torch.randn(BATCH, TIME, INPUT, dtype=dtype, requires_grad=True)


def random_state(cell: Cell, dtype: torch.dtype = torch.float64) -> State:
    torch.manual_seed(2)
    return tuple(torch.randn(BATCH, HIDDEN, dtype=dtype, requires_grad=True) for _ in range(cell.state_tensors))


def results_and_gradients(outputs: Tensor, state: State, of: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """All that a call gives, and the gradients of a sum that weighs each number of it differently."""
    everything = torch.cat((outputs, *(tensor[:, None] for tensor in state)), dim=1)
    torch.manual_seed(3)
    factors = torch.randn_like(everything)
    return (everything, *torch.autograd.grad((everything * factors).sum(), of))


def largest_difference(one: tuple[Tensor, ...], other: tuple[Tensor, ...]) -> float:
    return max(float((a - b).detach().abs().max()) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("kind", [*EQUATIONS, MinimalGated], ids=lambda kind: kind.__name__)
def test_a_cell_computes_its_equations_forward_and_backward(kind: type[Cell], dtype: torch.dtype) -> None:
    cell, values = made(kind, dtype), batch(dtype)
    state = random_state(cell, dtype)
    of = (values, *state, *cell.parameters())
    found = results_and_gradients(*cell(values, state), of)
    assert largest_difference(found, results_and_gradients(*written_out(cell, values, state), of)) <= TOLERANCE[dtype]


@EVERY_CELL
def test_without_a_state_a_cell_starts_from_zeros(kind: type[Cell]) -> None:
    cell, values = made(kind), batch()
    of = (values, *cell.parameters())
    found = results_and_gradients(*cell(values), of)
    zeros = (torch.zeros(BATCH, HIDDEN, dtype=torch.float64),) * cell.state_tensors
    assert largest_difference(found, results_and_gradients(*written_out(cell, values, zeros), of)) <= 1e-10
    assert largest_difference(cell.zeros(values), zeros) == 0.0


@EVERY_CELL
def test_single_steps_give_what_a_whole_sequence_gives(kind: type[Cell]) -> None:
    cell, values = made(kind), batch()
    start = random_state(cell)
    of = (values, *start, *cell.parameters())
    outputs, state = [], start
    for values_bd in values.unbind(dim=1):
        state = cell.step(values_bd, state)
        outputs.append(state[0])
    stepped = results_and_gradients(torch.stack(outputs, dim=1), state, of)
    assert largest_difference(stepped, results_and_gradients(*cell(values, start), of)) <= 1e-10


@EVERY_CELL
def test_a_sequence_cut_in_two_goes_on_from_its_state(kind: type[Cell]) -> None:
    cell, values = made(kind), batch()
    of = (values, *cell.parameters())
    begin, state = cell(values[:, :3])
    end, state = cell(values[:, 3:], state)
    cut = results_and_gradients(torch.cat((begin, end), dim=1), state, of)
    assert largest_difference(cut, results_and_gradients(*cell(values), of)) <= 1e-10


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@EVERY_CELL
def test_a_padded_batch_gives_the_outputs_and_gradients_of_each_sequence_alone(
    kind: type[Cell], dtype: torch.dtype
) -> None:
    cell, values = made(kind, dtype), batch(dtype)
    state = random_state(cell, dtype)
    of = (values, *state, *cell.parameters())
    factors = torch.randn(BATCH, TIME, HIDDEN, dtype=dtype)
    for row, length in enumerate(LENGTHS):
        factors[row, length:] = 0.0
    outputs, _ = cell(values, state)
    together = torch.autograd.grad((outputs * factors).sum(), of)
    alone = [torch.zeros_like(tensor) for tensor in of]
    for row, length in enumerate(LENGTHS):
        own, _ = cell(values[row : row + 1, :length], tuple(tensor[row : row + 1] for tensor in state))
        assert largest_difference((outputs[row, :length],), (own[0],)) <= TOLERANCE[dtype]
        for total, part in zip(alone, torch.autograd.grad((own[0] * factors[row, :length]).sum(), of), strict=True):
            total += part
    assert largest_difference(together, tuple(alone)) <= TOLERANCE[dtype]


@EVERY_CELL
def test_what_stands_at_padding_changes_no_output_before_it(kind: type[Cell]) -> None:
    cell, values = made(kind), batch().detach()
    garbage = values.clone()
    for row, length in enumerate(LENGTHS):
        garbage[row, length:] = 1e6
    for row, length in enumerate(LENGTHS):
        assert torch.equal(cell(values)[0][row, :length], cell(garbage)[0][row, :length])


@WRITTEN_HERE
def test_gradients_written_here_agree_with_finite_differences(kind: type[Cell]) -> None:
    torch.manual_seed(4)
    cell = kind(3, 4).double()
    names = [name for name, _ in cell.named_parameters()]
    values = torch.randn(2, 3, 3, dtype=torch.float64, requires_grad=True)
    state = [torch.randn(2, 4, dtype=torch.float64, requires_grad=True) for _ in range(2)]

    def run(values: Tensor, hidden: Tensor, memory: Tensor, *parameters: Tensor) -> tuple[Tensor, ...]:
        weights = dict(zip(names, parameters, strict=True))
        outputs, last = torch.func.functional_call(cell, weights, (values, (hidden, memory)))
        return (outputs, *last)

    assert torch.autograd.gradcheck(run, (values, *state, *cell.parameters()))


@WRITTEN_HERE
def test_the_recurrent_weights_gradient_does_not_depend_on_earlier_backward_passes(kind: type[Cell]) -> None:
    cell, values = made(kind), batch()
    weight = cell.get_parameter("recurrent_weight")
    state = random_state(cell)
    _, expected_state = written_out(cell, values, state)
    (expected,) = torch.autograd.grad(expected_state[1].sum(), weight)
    outputs, last = cell(values, state)
    torch.autograd.grad(outputs.sum(), state, retain_graph=True)
    torch.autograd.grad(outputs[:, :2].sum(), (values, weight), retain_graph=True)
    (found,) = torch.autograd.grad(last[1].sum(), weight)
    assert largest_difference((found,), (expected,)) <= 1e-10


@WRITTEN_HERE
def test_a_recomputed_sequence_has_the_same_gradients(kind: type[Cell]) -> None:
    cell, values = made(kind), batch()
    of = (values, *cell.parameters())
    recomputed = checkpoint(cell, values, use_reentrant=False)
    found = results_and_gradients(*recomputed, of)
    assert largest_difference(found, results_and_gradients(*cell(values), of)) <= 1e-10


@WRITTEN_HERE
def test_a_second_derivative_is_refused_rather_than_wrong(kind: type[Cell]) -> None:
    cell, values = made(kind), batch()
    (slope,) = torch.autograd.grad(cell(values)[0].square().sum(), values, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        slope.sum().backward()


@WRITTEN_HERE
def test_under_autocast_gradients_stay_near_those_of_full_precision(kind: type[Cell]) -> None:
    cell, values = made(kind, torch.float32), batch(torch.float32)
    of = (values, *cell.parameters())
    exact = torch.autograd.grad(cell(values)[0].square().sum(), of)
    with torch.autocast("cpu", torch.bfloat16):
        outputs, _ = cell(values)
    rounded = torch.autograd.grad(outputs.float().square().sum(), of)
    for one, other in zip(rounded, exact, strict=True):
        assert float((one - other).norm() / other.norm()) < 0.05


@EVERY_CELL
def test_recurrent_weights_start_orthogonal_and_only_the_forget_gate_with_a_bias(kind: type[Cell]) -> None:
    cell = kind(INPUT, HIDDEN)
    (recurrent,) = (p for name, p in cell.named_parameters() if name.endswith(("weight_hh_l0", "recurrent_weight")))
    for gate in recurrent.split(HIDDEN):
        assert torch.allclose(gate @ gate.T, torch.eye(HIDDEN), atol=1e-5)
    bias = sum(p.detach().flatten() for name, p in cell.named_parameters() if "bias" in name)
    forget = int(kind in (LSTM, PeepholeLSTM, LayerNormLSTM))
    assert isinstance(bias, Tensor)
    assert bias.view(-1, HIDDEN).mean(dim=1).tolist() == [forget * float(k == 1) for k in range(len(bias) // HIDDEN)]


@EVERY_CELL
def test_input_weights_of_every_gate_start_within_xaviers_bound(kind: type[Cell]) -> None:
    torch.manual_seed(5)
    cell = kind(100, 50)
    (weight,) = (p for name, p in cell.named_parameters() if name.endswith(("weight_ih_l0", "input_weight")))
    bound = (6 / (100 + 50)) ** 0.5
    for gate in weight.split(50):
        assert 0.98 * bound < float(gate.detach().abs().max()) <= bound


def test_configurations_can_name_every_cell() -> None:
    named = {name: CELLS[name] for name in ("lstm", "gru", "rnn", "peephole", "lnlstm")}
    assert list(named.values()) == [LSTM, GRU, RNN, PeepholeLSTM, LayerNormLSTM]
