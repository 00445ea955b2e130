"""What a recurrent cell is: a layer in one direction that can run a whole sequence, or one step."""

from abc import abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn

State = tuple[Tensor, ...]
"""What a cell keeps from one step to the next, each (B, H); the first is its output h."""


class Cell(nn.Module):
    """A recurrent layer in one direction: (B, T, input_dim) → (B, T, hidden_dim).

    A cell on a kernel for whole sequences extends this class; any other extends `SteppedCell`, and says what one step
    does. Under autocast a cell takes and gives single precision, by `in_single_precision`. On a CPU it computes in it
    too, since not every CPU has its kernels in bfloat16. On CUDA kernels compute as autocast has them do: cuDNN's for
    whole sequences in float16, whatever lower type is asked for.
    """

    state_tensors: ClassVar[int] = 1
    """Tensors in the state."""

    def __init__(self, input_dim: int, hidden_dim: int) -> None:
        super().__init__()
        self.input_dim = input_dim
        self.hidden_dim = hidden_dim

    @abstractmethod
    def forward(self, values_btd: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """All steps: (B, T, input_dim) → outputs (B, T, hidden_dim), and the state after step T.

        Without a `state` it starts from zeros. For right-padded input the outputs at a sequence's own positions are
        exact; those at padding, and the state after step T, are not the sequence's and must not be read.
        """

    @abstractmethod
    def step(self, values_nd: Tensor, state: State) -> State:
        """One step: (N, input_dim) → each (N, hidden_dim)."""

    def zeros(self, values: Tensor) -> State:
        """The state before a sequence, for `values` of (B, …)."""
        return (values.new_zeros(values.shape[0], self.hidden_dim),) * self.state_tensors


def initialize_gates(input_weight: Tensor, recurrent_weight: Tensor) -> None:
    """Starts each gate's input weights from Xavier's uniform distribution and its recurrent ones orthogonal.

    (G × hidden_dim, input_dim) and (G × hidden_dim, hidden_dim), the gates below each other.
    """
    gates = len(recurrent_weight) // recurrent_weight.shape[1]
    with torch.no_grad():
        for input_rows, recurrent_rows in zip(input_weight.chunk(gates), recurrent_weight.chunk(gates), strict=True):
            nn.init.xavier_uniform_(input_rows)
            nn.init.orthogonal_(recurrent_rows)
