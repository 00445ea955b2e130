"""Cells without a kernel for whole sequences: they say what one step does."""

from abc import abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor

from recurray.models.cells.cell import Cell, State
from recurray.models.precision import in_single_precision

Advance = Callable[[Tensor, State], State]


class SteppedCell(Cell):
    """A cell that says what one step does, in two parts: `project` is what needs no state, `advance` the rest.

    A sequence's projections are made in one product. Its steps then follow each other.
    """

    @abstractmethod
    def project(self, values: Tensor) -> Tensor:
        """The part of a step that needs no state: (…, input_dim) → (…, any)."""

    @abstractmethod
    def advance(self, projected: Tensor, state: State) -> State:
        """The state after a step, from what `project` made of its input: (N, any) → each (N, hidden_dim)."""

    @in_single_precision("cpu", "cuda")
    def forward(self, values_btd: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """All steps, one after the other."""
        first = self.zeros(values_btd) if state is None else state
        outputs_tbh, last = unroll(self.advance, self.project(values_btd.transpose(0, 1)), first)
        return outputs_tbh.transpose(0, 1), last

    @in_single_precision("cpu", "cuda")
    def step(self, values_nd: Tensor, state: State) -> State:
        """One step."""
        return self.advance(self.project(values_nd), state)


def unroll(advance: Advance, projected_tb: Tensor, state: State) -> tuple[Tensor, State]:
    """Runs `advance` over time, from (T, B, any): outputs (T, B, hidden_dim), and the state after step T."""
    outputs = []
    for projected in projected_tb.unbind():
        state = advance(projected, state)
        outputs.append(state[0])
    return torch.stack(outputs), state
