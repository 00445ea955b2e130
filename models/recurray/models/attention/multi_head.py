"""Multi-head attention."""

import torch
from torch import Tensor, nn

from recurray.models.attention.attention import Attended, Attention, Memory, attention_weights
from recurray.models.padded import Padded


class MultiHeadAttention(Attention):
    """Scaled dot-product attention with several heads (Vaswani et al. 2017, section 3.2), before the output product.

    a = softmax(W_q q (W_k m)ᵀ / √d), context = a W_v m, for each head's own d of the `attention_dim` units.
    """

    def __init__(self, query_dim: int, memory_dim: int, attention_dim: int, heads: int) -> None:
        super().__init__()
        check_heads(attention_dim, heads)
        self.context_dim = attention_dim
        self.heads = heads
        self.query = nn.Linear(query_dim, attention_dim, bias=False)
        self.key = nn.Linear(memory_dim, attention_dim, bias=False)
        self.value = nn.Linear(memory_dim, attention_dim, bias=False)
        for projection in (self.query, self.key, self.value):
            nn.init.xavier_uniform_(projection.weight)

    def memorize(self, states: Padded) -> Memory:
        """Keys and values, each (B, S, attention_dim)."""
        return Memory(states.with_values(self.key(states.values)), self.value(states.values))

    def attend(self, queries_btd: Tensor, memory: Memory, falloff_bts: Tensor | None = None) -> Attended:
        """Contexts of the heads side by side.

        Each head's product reads the memory where it lies; one for all heads would copy it at every step of a search.
        """
        queries, keys, values = (
            part.chunk(self.heads, dim=2) for part in (self.query(queries_btd), memory.keys.values, memory.values_bsd)
        )
        scores = [query_btd @ key_bsd.transpose(1, 2) for query_btd, key_bsd in zip(queries, keys, strict=True)]
        scores_bhts = torch.stack(scores, dim=1) * queries[0].shape[2] ** -0.5
        weights_bhts = attention_weights(scores_bhts, memory, falloff_bts)
        contexts = [
            weights_bts @ value_bsd for weights_bts, value_bsd in zip(weights_bhts.unbind(1), values, strict=True)
        ]
        return Attended(torch.cat(contexts, dim=2), weights_bhts)


def check_heads(dim: int, heads: int, *, rotary: bool = False) -> None:
    """ValueError where heads cannot share the units evenly, or where those of one cannot be turned two by two."""
    if dim % heads:
        raise ValueError(f"{heads} heads cannot share {dim} units evenly")
    if rotary and dim // heads % 2:
        raise ValueError(f"rotary positions turn units in pairs, and each of {heads} heads has {dim // heads} of them")


def split_heads(values_btd: Tensor, heads: int) -> Tensor:
    """(B, T, D) → (B, heads, T, D / heads)."""
    return values_btd.view(*values_btd.shape[:2], heads, -1).transpose(1, 2)


def join_heads(values_bhtd: Tensor) -> Tensor:
    """(B, heads, T, D / heads) → (B, T, D)."""
    return values_bhtd.transpose(1, 2).flatten(2)
