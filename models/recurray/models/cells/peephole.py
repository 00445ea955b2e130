"""The LSTM whose gates see its memory."""

import torch
from torch import Tensor, nn

from recurray.models.cells.cell import State
from recurray.models.cells.gated import GatedCell


class PeepholeLSTM(GatedCell):
    """LSTM with peephole connections (Gers & Schmidhuber 2000); state (h, c).

    i, f = σ(W x_t + U h_{t-1} + b + p ⊙ c_{t-1}),  g = tanh(W x_t + U h_{t-1} + b),
    c_t = f ⊙ c_{t-1} + i ⊙ g,
    o = σ(W x_t + U h_{t-1} + b + p ⊙ c_t),  h_t = o ⊙ tanh(c_t),
    each gate with its own W, U, b, and each of i, f, o with its own p.

    Input weights start from Xavier's uniform distribution, recurrent ones orthogonal, peepholes 0, biases 0 but the
    forget gate's 1.
    """

    state_tensors = 2

    def __init__(self, input_dim: int, hidden_dim: int) -> None:
        super().__init__(input_dim, hidden_dim, gates=4)
        self.bias = nn.Parameter(torch.zeros(4 * hidden_dim))
        self.peepholes = nn.Parameter(torch.zeros(3, hidden_dim))
        with torch.no_grad():
            self.bias[hidden_dim : 2 * hidden_dim] = 1.0  # the gates' order is i, f, g, o

    def project(self, values: Tensor) -> Tensor:
        """W x_t + b."""
        return nn.functional.linear(values, self.input_weight, self.bias)

    def gate(self, sums: Tensor, state: State) -> State:
        """(h, c) after a step."""
        i, f, g, o = sums.chunk(4, dim=-1)
        to_i, to_f, to_o = self.peepholes
        memory = state[1]
        kept = torch.addcmul(f, to_f, memory).sigmoid() * memory
        memory = torch.addcmul(kept, torch.addcmul(i, to_i, memory).sigmoid(), g.tanh())
        return torch.addcmul(o, to_o, memory).sigmoid() * memory.tanh(), memory
