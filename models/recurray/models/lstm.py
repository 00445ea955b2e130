"""LSTM layers on PyTorch's fused kernel."""

import torch
from torch import Tensor, nn

from recurray.models.padded import Padded

LSTMState = tuple[Tensor, Tensor]
"""Hidden and cell state (h, c), each (B, H)."""


class LSTMLayer(nn.Module):
    """One LSTM layer in one direction (Hochreiter & Schmidhuber 1997, with forget gates: Gers et al. 2000).

    i, f, o = σ(W x_t + U h_{t-1} + b),  g = tanh(W x_t + U h_{t-1} + b),
    c_t = f ⊙ c_{t-1} + i ⊙ g,  h_t = o ⊙ tanh(c_t),  each gate with its own W, U, b.

    Input weights start from Xavier's uniform distribution, recurrent ones orthogonal, biases 0 but the forget gate's 1.
    """

    def __init__(self, input_dim: int, hidden_dim: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(input_dim, hidden_dim, batch_first=True)
        input_weight, recurrent_weight, input_bias, recurrent_bias = self.lstm.parameters()
        with torch.no_grad():
            for gate in range(4):
                rows = slice(gate * hidden_dim, (gate + 1) * hidden_dim)
                nn.init.xavier_uniform_(input_weight[rows])
                nn.init.orthogonal_(recurrent_weight[rows])
            input_bias.zero_()
            recurrent_bias.zero_()
            input_bias[hidden_dim : 2 * hidden_dim] = 1.0  # PyTorch orders the gates i, f, g, o

    def forward(self, values_btd: Tensor, state: LSTMState | None = None) -> tuple[Tensor, LSTMState]:
        """All steps in one call: (B, T, D) → (B, T, H), and the state after step T.

        For right-padded input the outputs at a sequence's own positions are exact; those at padding, and the state
        after step T, are not the sequence's and must not be read.
        """
        start = None if state is None else (state[0][None], state[1][None])
        outputs_bth, (hidden, cell) = self.lstm(values_btd, start)
        return outputs_bth, (hidden[0], cell[0])

    def step(self, values_nd: Tensor, state: LSTMState) -> LSTMState:
        """One step: (N, D) → (h, c), each (N, H); the kernel for whole sequences has a far higher cost a call."""
        return torch.lstm_cell(values_nd, state, *self.lstm.parameters())


class BiLSTMLayer(nn.Module):
    """Two LSTM layers, one in each direction (Schuster & Paliwal 1997): (B, T, D) → (B, T, 2H), zeros at padding.

    Nothing is packed: the backward direction runs the forward kernel on each sequence reversed by its own length, so
    that neither direction reads padding before it has read the sequence.
    """

    def __init__(self, input_dim: int, hidden_dim: int) -> None:
        super().__init__()
        self.forwards = LSTMLayer(input_dim, hidden_dim)
        self.backwards = LSTMLayer(input_dim, hidden_dim)

    def forward(self, sequences: Padded) -> Padded:
        """States of both directions side by side."""
        ahead_bth, _ = self.forwards(sequences.values)
        back_bth, _ = self.backwards(sequences.reversed().values)
        back = sequences.with_values(back_bth).reversed()
        return sequences.with_values(torch.cat((ahead_bth, back.values), dim=-1)).zeroed()
