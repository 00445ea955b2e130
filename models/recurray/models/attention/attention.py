"""What an attention is: queries over the states of their own source, always masked."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from recurray.models.padded import Padded, cat_padded
from recurray.models.precision import widened

AttentionState = tuple[Tensor, ...]
"""What an attention keeps from one target piece to the next, each (B × K, …); most keep nothing."""


@dataclass(frozen=True)
class Memory:
    """Encoder states as attention reads them, projected once a source."""

    keys: Padded
    """(B, S, D) what queries are compared with."""
    values_bsd: Tensor
    """(B, S, D) what is averaged."""

    def select(self, rows: Tensor) -> "Memory":
        """The memories of the sources `rows`, (B',) int64."""
        return Memory(self.keys.select(rows), self.values_bsd.index_select(0, rows))

    @classmethod
    def join(cls, parts: "Sequence[Memory]") -> "Memory":
        """The memories of several batches of sources, one batch after the other."""
        return cls(Padded.join([part.keys for part in parts]), cat_padded([part.values_bsd for part in parts]))


@dataclass(frozen=True)
class Attended:
    """What queries found."""

    contexts_btd: Tensor
    """(B, T, context_dim) averages of the values."""
    weights_bhts: Tensor
    """(B, heads, T, S) the weights of the averages: each row sums to 1, with zeros at padding."""
    overlap_bt: Tensor | None = None
    """(B, T) Σ_s min(a_ts, coverage_ts), where the attention keeps coverage (See et al. 2017, equation 12)."""

    @classmethod
    def join(cls, pieces: "Sequence[Attended]") -> "Attended":
        """What was found for target pieces that follow each other, T of them each."""
        overlaps = [piece.overlap_bt for piece in pieces if piece.overlap_bt is not None]
        return cls(
            torch.cat([piece.contexts_btd for piece in pieces], dim=1),
            torch.cat([piece.weights_bhts for piece in pieces], dim=2),
            torch.cat(overlaps, dim=1) if overlaps else None,
        )

    @property
    def weights_bts(self) -> Tensor:
        """(B, T, S): the mean over the heads."""
        return self.weights_bhts.mean(dim=1)


class Attention(nn.Module):
    """(B, T, query_dim) queries over (B, S, memory_dim) encoder states → (B, T, context_dim) contexts.

    It is made as `attention(query_dim, memory_dim, attention_dim, heads)`; kinds with one head take no other number.
    """

    context_dim: int
    """Units of a context."""

    @abstractmethod
    def memorize(self, states: Padded) -> Memory:
        """Projects encoder states once for all queries to come."""

    @abstractmethod
    def attend(self, queries_btd: Tensor, memory: Memory, falloff_bts: Tensor | None = None) -> Attended:
        """What queries find that know nothing of each other: target pieces of one step, or all of them at once.

        `falloff_bts` (B, T, S), at most 0, is added to the scores where a query should see some states less.
        """

    def start(self, memory: Memory) -> AttentionState:
        """The state before the first target piece of each source."""
        return ()

    def forward(self, queries_btd: Tensor, memory: Memory) -> Attended:
        """Teacher forcing: the queries of T target pieces that follow each other."""
        return self.attend(queries_btd, memory)

    def step(self, queries_bkd: Tensor, memory: Memory, state: AttentionState) -> tuple[Attended, AttentionState]:
        """Search: the queries of one more piece of each of K hypotheses a source."""
        return self.attend(queries_bkd, memory), state


def attention_weights(scores_bhts: Tensor, memory: Memory, falloff_bts: Tensor | None) -> Tensor:
    """Softmax over a source's own positions, under autocast in single precision: (B, H, T, S) scores → weights.

    Hidden scores are the least finite number, not -inf, so that a row that is all padding gives finite numbers and
    gradients in any precision.
    """
    scores_bhts = widened(scores_bhts)
    if falloff_bts is not None:
        scores_bhts = scores_bhts + falloff_bts[:, None]
    hidden = ~memory.keys.mask_bt[:, None, None, :]
    return scores_bhts.masked_fill(hidden, torch.finfo(scores_bhts.dtype).min).softmax(dim=-1)
