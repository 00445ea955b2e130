"""Long inputs in segments: the whole sequence's exact gradient with one segment's inner activations in memory.

A layer is run segment by segment, and only its input, its output and the state between segments are kept. The backward
pass runs each segment forward once more, from the last to the first, and takes its gradient (Chen et al. 2016,
"Training Deep Nets with Sublinear Memory Cost", along time in place of depth).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

State = tuple[Tensor, ...]


@dataclass(frozen=True)
class Segments:
    """How a layer's sequences are cut."""

    length: int
    """Positions of a segment."""
    truncation: int | None = None
    """Positions after which no gradient flows back into the state before (Williams & Peng 1990), if any."""

    def cuts(self, time: int) -> bool:
        """Whether sequences of `time` positions are cut at all."""
        return time > min(self.length, self.truncation or self.length)

    def bounds(self, time: int) -> list[tuple[int, int, bool]]:
        """Begin and end of each segment of `time` positions, and whether no gradient flows back over its begin."""
        begins = set(range(0, time, self.length))
        cuts = set(range(0, time, self.truncation)) if self.truncation else {0}
        ordered = [*sorted(begins | cuts), time]
        return [(begin, end, begin in cuts) for begin, end in pairwise(ordered)]


@dataclass(frozen=True)
class Piece:
    """A part of a layer's work: some positions of its input, and a state, to some positions of its output."""

    reads_bt: Tensor
    """(B, t) the positions that it reads."""
    writes_bt: Tensor
    """(B, t') those that it writes."""
    columns: slice
    """The units of the output that it writes."""
    run: Callable[[Tensor, State], tuple[Tensor, State]]
    """(B, t, D) and the state before it to (B, t', units) and the state after it."""
    start: State | None = None
    """The state before it; by default the one after the piece before."""
    truncated: bool = True
    """Whether no gradient flows back into the state before it."""


def run_pieces(
    pieces: Sequence[Piece], values_btd: Tensor, output_dim: int, parameters: Sequence[nn.Parameter]
) -> Tensor:
    """(B, T, D) → (B, T, output_dim): what the pieces write; the gradient goes to `values_btd` and `parameters`.

    Whatever else `run` uses gets no gradient. What a piece keeps for its backward pass is made anew when it is needed.
    """
    outputs_btd: Tensor = _run(pieces, output_dim, values_btd, *parameters)
    return outputs_btd


class _RunPieces(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, pieces: Sequence[Piece], output_dim: int, values_btd: Tensor, *parameters: nn.Parameter
    ) -> Tensor:
        batch, time = values_btd.shape[:2]
        outputs_nd: Tensor | None = None
        states: list[State] = []
        state: State = ()
        for piece in pieces:
            before = state if piece.start is None else piece.start
            written_btd, state = piece.run(_read(values_btd, piece), before)
            if outputs_nd is None:
                outputs_nd = written_btd.new_zeros(batch * time, output_dim)
            rows_n = _rows(piece.writes_bt, time)
            outputs_nd[:, piece.columns].index_copy_(0, rows_n, written_btd.flatten(0, 1))
            states.append(before)
        assert outputs_nd is not None  # there is a piece
        ctx.pieces, ctx.states = pieces, states
        ctx.autocast = _autocast_of(values_btd.device.type)
        ctx.save_for_backward(values_btd, *parameters)
        return outputs_nd.view(batch, time, output_dim)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (grad_btd,) = grads
        values_btd, *parameters = ctx.saved_tensors
        values_grad_nd = torch.zeros_like(values_btd).flatten(0, 1)
        totals = [torch.zeros_like(parameter) for parameter in parameters]
        after: Sequence[Tensor] = ()
        for piece in reversed(ctx.pieces):
            before = ctx.states.pop()
            written_grad = _read_rows(grad_btd, piece.writes_bt)[:, :, piece.columns]
            read_grad, after, own = _gradients(
                piece, _read(values_btd, piece), before, (written_grad, *after), parameters, ctx.autocast
            )
            values_grad_nd.index_add_(0, _rows(piece.reads_bt, values_btd.shape[1]), read_grad.flatten(0, 1))
            for total, grad in zip(totals, own, strict=True):
                if grad is not None:
                    total += grad
        return None, None, values_grad_nd.view_as(values_btd), *totals


_run: Callable[..., Tensor] = _RunPieces.apply


def _gradients(
    piece: Piece,
    read_btd: Tensor,
    before: State,
    grads: Sequence[Tensor],
    parameters: Sequence[Tensor],
    autocast: dict[str, Any],
) -> tuple[Tensor, Sequence[Tensor], Sequence[Tensor | None]]:
    """The gradients of what a piece reads, of the state before it (none where truncated), and of the parameters.

    `grads` are those of what it writes and, unless its state is used by nobody, of the state after it.
    """
    wanted = () if piece.truncated else tuple(part.detach().requires_grad_() for part in before)
    with torch.enable_grad(), torch.autocast(**autocast):
        read_btd = read_btd.detach().requires_grad_()
        written_btd, after = piece.run(read_btd, wanted or before)
    outputs = (written_btd, *after)[: len(grads)]
    found = torch.autograd.grad(outputs, (read_btd, *wanted, *parameters), grads, allow_unused=True)
    return found[0], found[1 : 1 + len(wanted)], found[1 + len(wanted) :]


def _read(values_btd: Tensor, piece: Piece) -> Tensor:
    return _read_rows(values_btd, piece.reads_bt)


def _read_rows(values_btd: Tensor, positions_bt: Tensor) -> Tensor:
    rows_n = _rows(positions_bt, values_btd.shape[1])
    return values_btd.flatten(0, 1).index_select(0, rows_n).view(*positions_bt.shape, -1)


def _rows(positions_bt: Tensor, time: int) -> Tensor:
    """(B × t,) the rows of (B × T, D) that positions of each sequence are."""
    firsts_b1 = time * torch.arange(len(positions_bt), device=positions_bt.device)[:, None]
    return (firsts_b1 + positions_bt).flatten()


def _autocast_of(device_type: str) -> dict[str, Any]:
    """The autocast that is on, for the segments to be run again as they were run."""
    return {
        "device_type": device_type,
        "dtype": torch.get_autocast_dtype(device_type),
        "enabled": torch.is_autocast_enabled(device_type),
    }
