"""The products of a model for search on a CPU, each replaced by another way to make it: packed, or in 8 bits."""

from collections.abc import Callable

from torch import Tensor, nn

from recurray.models.cells.cell import Cell, State
from recurray.models.cells.gru import GRU
from recurray.models.cells.lstm import LSTM
from recurray.models.seq2seq import Seq2Seq

FEWEST_OUTPUTS = 64
"""Layers with fewer outputs stay as they are: they cost next to nothing."""

Product = Callable[[Tensor, Tensor | None], nn.Module]
"""Makes y = W x + b of a weight (out, in) and a bias (out,) or none."""


class _SteppedByProducts(Cell):
    """A cell whose steps are made of given products; whole sequences run on the kernel as before."""

    def __init__(self, cell: Cell, kernel: nn.RNNBase, product: Product) -> None:
        super().__init__(cell.input_dim, cell.hidden_dim)
        self.cell = cell
        input_weight, recurrent_weight, input_bias, recurrent_bias = kernel.parameters()
        self.inputs = product(input_weight, input_bias)
        self.recurrent = product(recurrent_weight, recurrent_bias)

    def forward(self, values_btd: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """All steps, on the kernel."""
        found: tuple[Tensor, State] = self.cell(values_btd, state)
        return found


class SteppedLSTM(_SteppedByProducts):
    """The equations of `LSTM`."""

    state_tensors = 2

    def __init__(self, cell: LSTM, product: Product) -> None:
        super().__init__(cell, cell.lstm, product)

    def step(self, values_nd: Tensor, state: State) -> State:
        """One step."""
        inward, forget, candidate, outward = (self.inputs(values_nd) + self.recurrent(state[0])).chunk(4, dim=1)
        memory_nh = forget.sigmoid() * state[1] + inward.sigmoid() * _tanh(candidate)
        return outward.sigmoid() * _tanh(memory_nh), memory_nh


class SteppedGRU(_SteppedByProducts):
    """The equations of `GRU`."""

    state_tensors = 1

    def __init__(self, cell: GRU, product: Product) -> None:
        super().__init__(cell, cell.gru, product)

    def step(self, values_nd: Tensor, state: State) -> State:
        """One step."""
        reset_in, update_in, new_in = self.inputs(values_nd).chunk(3, dim=1)
        reset_before, update_before, new_before = self.recurrent(state[0]).chunk(3, dim=1)
        reset, update = (reset_in + reset_before).sigmoid(), (update_in + update_before).sigmoid()
        new = _tanh(new_in + reset * new_before)
        return ((1 - update) * new + update * state[0],)


def _tanh(values: Tensor) -> Tensor:
    """2 σ(2 x) - 1, to 1e-7: PyTorch's own goes through MKL and takes five times as long where that is slow."""
    return (2 * values).sigmoid_().mul_(2).sub_(1)


def replace_products(model: Seq2Seq, product: Product) -> None:
    """Replaces linear layers, the decoder's LSTM and GRU steps, and the vocabulary's scores; for search alone.

    Recurrent encoders stay on the kernel for whole sequences, and cells of other kinds stay as they are.
    """
    _replace(model.encoder, product, cells=False)
    _replace(model.decoder, product, cells=True)
    model.output.product = product(model.output.weight, model.output.bias)


def _replace(module: nn.Module, product: Product, *, cells: bool) -> None:
    for name, child in module.named_children():
        match child:
            case LSTM() if cells:
                setattr(module, name, SteppedLSTM(child, product))
            case GRU() if cells:
                setattr(module, name, SteppedGRU(child, product))
            case nn.Linear() if child.out_features >= FEWEST_OUTPUTS:
                setattr(module, name, product(child.weight, child.bias))
            case _:
                _replace(child, product, cells=cells)
