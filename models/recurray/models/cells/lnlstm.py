"""The LSTM with layer normalization in each gate."""

import torch
from torch import Tensor, nn

from recurray.models.cells.cell import State
from recurray.models.cells.gated import GatedCell


class LayerNormLSTM(GatedCell):
    """LSTM with layer normalization in each gate, as in RNMT+ (Chen et al. 2018, section 4.1); state (h, c).

    z_k = LN_k(W_k x_t + U_k h_{t-1}) for each gate k of i, f, g, o,
    i, f, o = σ(z_i), σ(z_f), σ(z_o),  g = tanh(z_g),
    c_t = f ⊙ c_{t-1} + i ⊙ g,  h_t = o ⊙ tanh(c_t),
    where LN_k(s) = gain_k ⊙ (s - mean(s)) / √(var(s) + 1e-5) + bias_k over the gate's units (Ba et al. 2016).

    Input weights start from Xavier's uniform distribution, recurrent ones orthogonal, gains 1, biases 0 but the forget
    gate's 1.
    """

    state_tensors = 2

    def __init__(self, input_dim: int, hidden_dim: int) -> None:
        super().__init__(input_dim, hidden_dim, gates=4)
        self.gain = nn.Parameter(torch.ones(4, hidden_dim))
        self.bias = nn.Parameter(torch.zeros(4, hidden_dim))
        with torch.no_grad():
            self.bias[1] = 1.0  # the gates' order is i, f, g, o

    def gate(self, sums: Tensor, state: State) -> State:
        """(h, c) after a step."""
        normal_n4h = nn.functional.layer_norm(sums.view(-1, 4, self.hidden_dim), (self.hidden_dim,), eps=1e-5)
        i, f, g, o = torch.addcmul(self.bias, self.gain, normal_n4h).unbind(dim=1)
        memory = torch.addcmul(f.sigmoid() * state[1], i.sigmoid(), g.tanh())
        return o.sigmoid() * memory.tanh(), memory
