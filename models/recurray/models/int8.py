"""Weights of 8 bits for search on a CPU: four times less memory to read, and products of integers.

Weights are rounded once, with a scale for each output; inputs at each call, with a scale for each row, so that what a
row gives does not hang on the rows beside it (PyTorch's dynamic quantization has one scale for the whole batch). Sums
of products of integers are exact.
"""

import torch
from torch import Tensor, nn

from recurray.models.cells.cell import Cell, State
from recurray.models.cells.gru import GRU
from recurray.models.cells.lstm import LSTM
from recurray.models.seq2seq import Seq2Seq

LEVELS = 127
"""The largest integer that a number is rounded to."""
FEWEST_OUTPUTS = 64
"""Layers with fewer outputs stay as they are: they cost next to nothing."""


class Int8Linear(nn.Module):
    """y = W x + b with W and x rounded to 8 bits: (…, in) → (…, out), in single precision.

    `weight_oi` (out, in), `bias_o` (out,) or none.
    """

    def __init__(self, weight_oi: Tensor, bias_o: Tensor | None) -> None:
        super().__init__()
        rounded_oi, scales_o1 = _rounded(weight_oi.detach().float())
        self.weight_oi = nn.Buffer(rounded_oi)
        self.scales_o = nn.Buffer(scales_o1[:, 0])
        self.bias_o = nn.Buffer(torch.zeros(len(weight_oi)) if bias_o is None else bias_o.detach().float())

    def forward(self, values: Tensor) -> Tensor:
        """Any rows."""
        rows_ni, scales_n1 = _rounded(values.flatten(0, -2))
        sums_no = torch._int_mm(rows_ni, self.weight_oi.t())
        outputs_no = (sums_no * self.scales_o).mul_(scales_n1).add_(self.bias_o)
        return outputs_no.view(*values.shape[:-1], -1)


def _rounded(rows: Tensor) -> tuple[Tensor, Tensor]:
    """(N, D) → int8, and (N, 1) the scales to multiply it with."""
    scales_n1 = rows.abs().amax(dim=1, keepdim=True).clamp_min(torch.finfo(torch.float32).tiny) / LEVELS
    return (rows / scales_n1).round_().to(torch.int8), scales_n1


class _Int8Cell(Cell):
    """A cell whose steps are made of 8-bit products; whole sequences run on the float kernel as before."""

    def __init__(self, cell: Cell, kernel: nn.RNNBase) -> None:
        super().__init__(cell.input_dim, cell.hidden_dim)
        self.cell = cell
        input_weight, recurrent_weight, input_bias, recurrent_bias = kernel.parameters()
        self.inputs = Int8Linear(input_weight, input_bias)
        self.recurrent = Int8Linear(recurrent_weight, recurrent_bias)

    def forward(self, values_btd: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """All steps, in float."""
        found: tuple[Tensor, State] = self.cell(values_btd, state)
        return found


class Int8LSTM(_Int8Cell):
    """The equations of `LSTM`."""

    state_tensors = 2

    def __init__(self, cell: LSTM) -> None:
        super().__init__(cell, cell.lstm)

    def step(self, values_nd: Tensor, state: State) -> State:
        """One step."""
        inward, forget, candidate, outward = (self.inputs(values_nd) + self.recurrent(state[0])).chunk(4, dim=1)
        memory_nh = forget.sigmoid() * state[1] + inward.sigmoid() * candidate.tanh()
        return outward.sigmoid() * memory_nh.tanh(), memory_nh


class Int8GRU(_Int8Cell):
    """The equations of `GRU`."""

    state_tensors = 1

    def __init__(self, cell: GRU) -> None:
        super().__init__(cell, cell.gru)

    def step(self, values_nd: Tensor, state: State) -> State:
        """One step."""
        reset_in, update_in, new_in = self.inputs(values_nd).chunk(3, dim=1)
        reset_before, update_before, new_before = self.recurrent(state[0]).chunk(3, dim=1)
        reset, update = (reset_in + reset_before).sigmoid(), (update_in + update_before).sigmoid()
        new = (new_in + reset * new_before).tanh()
        return ((1 - update) * new + update * state[0],)


def quantize(model: Seq2Seq) -> None:
    """Gives a model on a CPU 8-bit weights for search: linear layers, the decoder's LSTM and GRU steps, the vocabulary.

    Recurrent encoders stay in float, on the kernel for whole sequences, as do cells of other kinds.
    """
    _replace(model.encoder, cells=False)
    _replace(model.decoder, cells=True)
    model.output.int8 = Int8Linear(model.output.weight, model.output.bias)


def _replace(module: nn.Module, *, cells: bool) -> None:
    for name, child in module.named_children():
        match child:
            case LSTM() if cells:
                setattr(module, name, Int8LSTM(child))
            case GRU() if cells:
                setattr(module, name, Int8GRU(child))
            case nn.Linear() if child.out_features >= FEWEST_OUTPUTS:
                setattr(module, name, Int8Linear(child.weight, child.bias))
            case _:
                _replace(child, cells=cells)
