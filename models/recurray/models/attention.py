"""Attention over encoder states, always masked."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from recurray.models.padded import Padded


@dataclass(frozen=True)
class Memory:
    """Encoder states as attention reads them, projected once a source."""

    keys: Padded
    """(B, S, D) projected states."""
    values_bsd: Tensor
    """(B, S, D) projected states that are averaged."""

    def select(self, rows: Tensor) -> "Memory":
        """The memories of the sources `rows`, (B',) int64."""
        return Memory(self.keys.select(rows), self.values_bsd.index_select(0, rows))


class MultiHeadAttention(nn.Module):
    """Scaled dot-product attention with several heads (Vaswani et al. 2017, section 3.2); one head is Luong's general.

    a = softmax(q k^T / √d + log mask), context = a v. A mask of -inf is kept out of the softmax: masked scores are the
    least finite number, so that a row that is all padding gives finite numbers in any precision.
    """

    def __init__(self, query_dim: int, memory_dim: int, attention_dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(query_dim, attention_dim, bias=False)
        self.key = nn.Linear(memory_dim, attention_dim, bias=False)
        self.value = nn.Linear(memory_dim, attention_dim, bias=False)
        for projection in (self.query, self.key, self.value):
            nn.init.xavier_uniform_(projection.weight)

    def memorize(self, states: Padded) -> Memory:
        """Projects encoder states, (B, S, memory_dim), once for all queries to come."""
        return Memory(states.with_values(self.key(states.values)), self.value(states.values))

    def forward(self, queries_btd: Tensor, memory: Memory) -> Tensor:
        """(B, T, query_dim) queries over the memory of their own row → (B, T, attention_dim) contexts."""
        query_bhtd = self._split(self.query(queries_btd))
        key_bhsd, value_bhsd = self._split(memory.keys.values), self._split(memory.values_bsd)
        scores_bhts = query_bhtd @ key_bhsd.transpose(2, 3) * query_bhtd.shape[-1] ** -0.5
        hidden = ~memory.keys.mask_bt[:, None, None, :]
        weights_bhts = scores_bhts.masked_fill(hidden, torch.finfo(scores_bhts.dtype).min).softmax(dim=-1)
        contexts_bthd: Tensor = (weights_bhts @ value_bhsd).transpose(1, 2)
        return contexts_bthd.flatten(2)

    def _split(self, values_btd: Tensor) -> Tensor:
        return values_btd.view(*values_btd.shape[:2], self.heads, -1).transpose(1, 2)
