"""Transformer encoder blocks."""

from collections.abc import Iterator
from typing import Literal

import torch
from torch import Tensor, nn

from recurray.models.attention.self_attention import SelfAttention
from recurray.models.blocks.block import Block
from recurray.models.dropout import DropoutKey, HashedDropout
from recurray.models.padded import Padded
from recurray.models.positions import sinusoids
from recurray.models.segments import Piece, Segments, State, run_pieces


class FeedForward(nn.Module):
    """Two products with a GELU between them: (B, T, dim) → (B, T, dim)."""

    def __init__(self, dim: int, inner_dim: int) -> None:
        super().__init__()
        self.widen = nn.Linear(dim, inner_dim)
        self.narrow = nn.Linear(inner_dim, dim)
        for linear in (self.widen, self.narrow):
            nn.init.xavier_uniform_(linear.weight)
            nn.init.zeros_(linear.bias)

    def forward(self, values_btd: Tensor) -> Tensor:
        """Each position by itself."""
        outputs_btd: Tensor = self.narrow(nn.functional.gelu(self.widen(values_btd)))
        return outputs_btd


class _Layer(nn.Module):
    """x + attention(norm x), then x + feed-forward(norm x): pre-norm (Xiong et al. 2020)."""

    def __init__(
        self, dim: int, heads: int, inner_dim: int, rotary: bool, window: int | None, dropout: float, place: str
    ) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(dim)
        self.attention = SelfAttention(dim, heads, rotary, window)
        self.attention_dropout = HashedDropout(dropout, f"{place}.attention")
        self.feed_forward_norm = nn.LayerNorm(dim)
        self.feed_forward = FeedForward(dim, inner_dim)
        self.feed_forward_dropout = HashedDropout(dropout, f"{place}.feed_forward")

    def forward(self, states: Padded, key: DropoutKey | None, segments: Segments | None) -> Padded:
        if segments is not None and segments.cuts(states.values.shape[1]):
            pieces = list(self._pieces(states, key, segments))
            parameters = list(self.parameters())
            return states.with_values(run_pieces(pieces, states.values, states.values.shape[2], parameters))
        return self._run(states, key, 0)

    def _pieces(self, states: Padded, key: DropoutKey | None, segments: Segments) -> Iterator[Piece]:
        """A window's layer in segments, each with what its window sees around it; any other in one piece."""
        time, window = states.values.shape[1], self.attention.window
        length = time if window is None else segments.length
        for begin in range(0, time, length):
            end = min(begin + length, time)
            first, last = max(begin - (window or 0), 0), min(end + (window or 0), time)
            lengths = (states.lengths - first).clamp(0, last - first)

            def run(
                values_btd: Tensor,
                state: State,
                first: int = first,
                own: slice = slice(begin - first, end - first),
                lengths: Tensor = lengths,
            ) -> tuple[Tensor, State]:
                return self._run(Padded(values_btd, lengths), key, first).values[:, own], state

            positions_bt = states.positions_bt
            yield Piece(positions_bt[:, first:last], positions_bt[:, begin:end], slice(None), run, start=())

    def _run(self, states: Padded, key: DropoutKey | None, first: int) -> Padded:
        """The states, which begin at the position `first`, after the layer."""
        found_btd = self.attention(states.with_values(self.attention_norm(states.values)), first)
        values_btd = states.values + self.attention_dropout(found_btd, key)
        found_btd = self.feed_forward(self.feed_forward_norm(values_btd))
        return states.with_values(values_btd + self.feed_forward_dropout(found_btd, key))


class TransformerBlock(Block):
    """A stack of pre-norm Transformer layers with a normalization at its end: (B, T, D) → (B, T, D), zeros at padding.

    `positions` says how it knows where a state stands: `rotary` turns queries and keys, `sinusoidal` adds sinusoids to
    the block's input, `none` leaves it to the blocks below, as over an LSTM.
    """

    def __init__(
        self,
        input_dim: int,
        *,
        layers: int,
        heads: int,
        feed_forward_dim: int,
        positions: Literal["rotary", "sinusoidal", "none"],
        window: int | None,
        dropout: float,
        place: str,
    ) -> None:
        super().__init__()
        self.output_dim = input_dim
        self._sinusoidal = positions == "sinusoidal"
        self.input_dropout = HashedDropout(dropout, f"{place}.input")
        self.layers = nn.ModuleList(
            _Layer(input_dim, heads, feed_forward_dim, positions == "rotary", window, dropout, f"{place}.{index}")
            for index in range(layers)
        )
        self.norm = nn.LayerNorm(input_dim)

    def forward(self, states: Padded, key: DropoutKey | None) -> Padded:
        """Normalized states of the last layer."""
        values_btd = states.values
        if self._sinusoidal:
            positions = torch.arange(values_btd.shape[1], device=values_btd.device)
            values_btd = values_btd + sinusoids(positions, values_btd.shape[2]).to(values_btd.dtype)
        states = states.with_values(self.input_dropout(values_btd, key))
        for layer in self.layers:
            states = layer(states, key, self.segments)
        return states.with_values(self.norm(states.values)).zeroed()
