"""Cells whose gates see a step through sums, with the gradient of the recurrent weights in one product."""

from abc import abstractmethod
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from recurray.models.cells.cell import State, initialize_gates
from recurray.models.cells.stepped import SteppedCell, unroll
from recurray.models.precision import in_single_precision


class GatedCell(SteppedCell):
    """A stepped cell that sees the input and its last output only through the sums s_t = W x_t + U h_{t-1}.

    W is `input_weight`, U is `recurrent_weight`, with the `gates` below each other; `gate` says what becomes of s_t.

    Left to autograd, the gradient of U would be as many products as there are steps, added up in memory one by one.
    Here it is one: dL/dU = Σ_t (dL/ds_t) h_{t-1}ᵀ, where dL/ds_t is the gradient of the projection W x_t.
    """

    def __init__(self, input_dim: int, hidden_dim: int, gates: int) -> None:
        super().__init__(input_dim, hidden_dim)
        self.input_weight = nn.Parameter(torch.empty(gates * hidden_dim, input_dim))
        self.recurrent_weight = nn.Parameter(torch.empty(gates * hidden_dim, hidden_dim))
        initialize_gates(self.input_weight, self.recurrent_weight)

    @abstractmethod
    def gate(self, sums: Tensor, state: State) -> State:
        """The state after a step, from its sums: (N, gates × hidden_dim) → each (N, hidden_dim)."""

    def project(self, values: Tensor) -> Tensor:
        """W x_t."""
        return nn.functional.linear(values, self.input_weight)

    def advance(self, projected: Tensor, state: State) -> State:
        """The state after a step."""
        return self._advance(self.recurrent_weight, projected, state)

    @in_single_precision("cpu")
    def forward(self, values_btd: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """All steps, one after the other."""
        first = self.zeros(values_btd) if state is None else state
        before: list[Tensor] = []
        projected_tbg = _enter(self.project(values_btd.transpose(0, 1)), self.recurrent_weight, before)
        weight_gh = self.recurrent_weight.detach().to(projected_tbg.dtype)  # or autocast would convert it at every step
        outputs_tbh, last = unroll(partial(self._advance, weight_gh), projected_tbg, first)
        outputs_tbh, *last_state = _leave(before, first[0], outputs_tbh, *last)
        return outputs_tbh.transpose(0, 1), tuple(last_state)

    def _advance(self, weight_gh: Tensor, projected: Tensor, state: State) -> State:
        return self.gate(torch.addmm(projected, state[0], weight_gh.t()), state)


class _Enter(torch.autograd.Function):
    """Passes projections on unchanged; in the backward pass, where it comes last, it makes the gradient of U."""

    @staticmethod
    def forward(ctx: Any, projected_tbg: Tensor, weight_gh: Tensor, before: list[Tensor]) -> Tensor:
        ctx.before = before
        return projected_tbg.view_as(projected_tbg)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        (grad_tbg,) = grads
        before_tbh = ctx.before.pop().to(grad_tbg.dtype)
        return grad_tbg, grad_tbg.flatten(0, 1).t() @ before_tbh.flatten(0, 1), None


class _Leave(torch.autograd.Function):
    """Passes outputs and state on unchanged; in the backward pass, where it comes first, it gives `_Enter` h_{t-1}."""

    @staticmethod
    def forward(ctx: Any, before: list[Tensor], first: Tensor, outputs_tbh: Tensor, *last: Tensor) -> State:
        ctx.before = before
        ctx.save_for_backward(first, outputs_tbh)
        return (outputs_tbh, *last)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        first, outputs_tbh = ctx.saved_tensors
        ctx.before[:] = [torch.cat((first[None], outputs_tbh[:-1]))]
        return (None, None, *grads)


_enter: Callable[[Tensor, Tensor, list[Tensor]], Tensor] = _Enter.apply
_leave: Callable[..., State] = _Leave.apply
