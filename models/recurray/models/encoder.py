"""The encoder: source pieces to states."""

from torch import nn

from recurray.models.dropout import DropoutKey, HashedDropout
from recurray.models.lstm import BiLSTMLayer
from recurray.models.padded import Padded


class BiLSTMEncoder(nn.Module):
    """A stack of bidirectional LSTM layers, with dropout before each and residual sums where the sizes agree.

    (B, S, input_dim) → (B, S, 2 × hidden_dim), zeros at padding.
    """

    def __init__(self, input_dim: int, hidden_dim: int, layers: int, dropout: float) -> None:
        super().__init__()
        self.output_dim = 2 * hidden_dim
        input_dims = [input_dim] + [self.output_dim] * (layers - 1)
        self.layers = nn.ModuleList(BiLSTMLayer(size, hidden_dim) for size in input_dims)
        self.dropouts = nn.ModuleList(HashedDropout(dropout, f"encoder.{layer}") for layer in range(layers))

    def forward(self, embedded: Padded, key: DropoutKey | None) -> Padded:
        """States of the last layer."""
        states = embedded
        for layer, dropout in zip(self.layers, self.dropouts, strict=True):
            outputs: Padded = layer(states.with_values(dropout(states.values, key)))
            same_size = outputs.values.shape == states.values.shape
            states = outputs.with_values(outputs.values + states.values) if same_size else outputs
        return states.zeroed()
