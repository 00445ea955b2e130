"""The LSTM, on PyTorch's fused kernel."""

import torch
from torch import Tensor, nn

from recurray.models.cells.cell import Cell, State, initialize_gates
from recurray.models.precision import in_single_precision


class LSTM(Cell):
    """Long short-term memory (Hochreiter & Schmidhuber 1997, with forget gates: Gers et al. 2000); state (h, c).

    i, f, o = σ(W x_t + U h_{t-1} + b),  g = tanh(W x_t + U h_{t-1} + b),
    c_t = f ⊙ c_{t-1} + i ⊙ g,  h_t = o ⊙ tanh(c_t),  each gate with its own W, U, b.

    Input weights start from Xavier's uniform distribution, recurrent ones orthogonal, biases 0 but the forget gate's 1.
    """

    state_tensors = 2

    def __init__(self, input_dim: int, hidden_dim: int) -> None:
        super().__init__(input_dim, hidden_dim)
        self.lstm = nn.LSTM(input_dim, hidden_dim, batch_first=True)
        input_weight, recurrent_weight, input_bias, recurrent_bias = self.lstm.parameters()
        initialize_gates(input_weight, recurrent_weight)
        with torch.no_grad():
            input_bias.zero_()
            recurrent_bias.zero_()
            input_bias[hidden_dim : 2 * hidden_dim] = 1.0  # PyTorch orders the gates i, f, g, o

    @in_single_precision("cpu")
    def forward(self, values_btd: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """All steps in one call: outputs (B, T, hidden_dim), and (h, c) after step T."""
        start = None if state is None else (state[0][None], state[1][None])
        outputs_bth, (hidden, memory) = self.lstm(values_btd, start)
        return outputs_bth, (hidden[0], memory[0])

    @in_single_precision("cpu")
    def step(self, values_nd: Tensor, state: State) -> State:
        """One step; the kernel for whole sequences has a far higher cost a call."""
        return torch.lstm_cell(values_nd, state, *self.lstm.parameters())
