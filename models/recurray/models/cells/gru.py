"""The GRU, on PyTorch's fused kernel."""

import torch
from torch import Tensor, nn

from recurray.models.cells.cell import Cell, State, initialize_gates
from recurray.models.precision import in_single_precision


class GRU(Cell):
    """Gated recurrent unit (Cho et al. 2014), in cuDNN's form, which resets after the recurrent product; state (h,).

    r, z = σ(W x_t + b + U h_{t-1} + d),  n = tanh(W x_t + b + r ⊙ (U h_{t-1} + d)),
    h_t = (1 - z) ⊙ n + z ⊙ h_{t-1},  each of r, z, n with its own W, b, U, d.

    Input weights start from Xavier's uniform distribution, recurrent ones orthogonal, biases 0.
    """

    def __init__(self, input_dim: int, hidden_dim: int) -> None:
        super().__init__(input_dim, hidden_dim)
        self.gru = nn.GRU(input_dim, hidden_dim, batch_first=True)
        input_weight, recurrent_weight, *biases = self.gru.parameters()
        initialize_gates(input_weight, recurrent_weight)
        for bias in biases:
            nn.init.zeros_(bias)

    @in_single_precision("cpu")
    def forward(self, values_btd: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """All steps in one call: outputs (B, T, hidden_dim), and (h,) after step T."""
        outputs_bth, hidden = self.gru(values_btd, None if state is None else state[0][None])
        return outputs_bth, (hidden[0],)

    @in_single_precision("cpu")
    def step(self, values_nd: Tensor, state: State) -> State:
        """One step; the kernel for whole sequences has a far higher cost a call."""
        return (torch.gru_cell(values_nd, state[0], *self.gru.parameters()),)
