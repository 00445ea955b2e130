"""The plain recurrent network, on PyTorch's fused kernel."""

import torch
from torch import Tensor, nn

from recurray.models.cells.cell import Cell, State, initialize_gates
from recurray.models.precision import in_single_precision


class RNN(Cell):
    """The simple recurrent network (Elman 1990) with tanh; state (h,).

    h_t = tanh(W x_t + b + U h_{t-1} + d).

    Input weights start from Xavier's uniform distribution, recurrent ones orthogonal, biases 0.
    """

    def __init__(self, input_dim: int, hidden_dim: int) -> None:
        super().__init__(input_dim, hidden_dim)
        self.rnn = nn.RNN(input_dim, hidden_dim, batch_first=True)
        input_weight, recurrent_weight, *biases = self.rnn.parameters()
        initialize_gates(input_weight, recurrent_weight)
        for bias in biases:
            nn.init.zeros_(bias)

    @in_single_precision("cpu")
    def forward(self, values_btd: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """All steps in one call: outputs (B, T, hidden_dim), and (h,) after step T."""
        outputs_bth, hidden = self.rnn(values_btd, None if state is None else state[0][None])
        return outputs_bth, (hidden[0],)

    @in_single_precision("cpu")
    def step(self, values_nd: Tensor, state: State) -> State:
        """One step; the kernel for whole sequences has a far higher cost a call."""
        return (torch.rnn_tanh_cell(values_nd, state[0], *self.rnn.parameters()),)
