"""Self-attention: what its kinds share, and that of an encoder, over a whole sequence or over a window of it."""

import torch
from torch import Tensor, nn
from torch.nn.functional import pad, scaled_dot_product_attention

from recurray.models.attention.multi_head import check_heads, join_heads, split_heads
from recurray.models.padded import Padded
from recurray.models.positions import rotate


class HeadProjections(nn.Module):
    """The products of multi-head self-attention: states to queries, keys and values, and what is found back to states.

    With `rotary`, queries and keys are turned by their positions.
    """

    def __init__(self, dim: int, heads: int, rotary: bool) -> None:
        super().__init__()
        check_heads(dim, heads, rotary=rotary)
        self.heads, self._rotary = heads, rotary
        self.query_key_value = nn.Linear(dim, 3 * dim, bias=False)
        self.output = nn.Linear(dim, dim, bias=False)
        for weight in (*self.query_key_value.weight.chunk(3), self.output.weight):
            nn.init.xavier_uniform_(weight)

    def split(self, values_btd: Tensor, positions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, T, D) states at positions (T,) or (B, 1, T) → query, key and value, each (B, heads, T, D / heads)."""
        query, key, value = (
            split_heads(part, self.heads) for part in self.query_key_value(values_btd).chunk(3, dim=-1)
        )
        return (rotate(query, positions), rotate(key, positions), value) if self._rotary else (query, key, value)

    def join(self, found_bhtd: Tensor) -> Tensor:
        """(B, heads, T, D / heads) → (B, T, D)."""
        joined_btd: Tensor = self.output(join_heads(found_bhtd))
        return joined_btd


class SelfAttention(HeadProjections):
    """Multi-head self-attention (Vaswani et al. 2017), (B, T, D) → (B, T, D), never over padding.

    With a `window`, a state sees that many positions on either side, and time and memory grow with T × window, not T².
    """

    def __init__(self, dim: int, heads: int, rotary: bool, window: int | None) -> None:
        super().__init__(dim, heads, rotary)
        self.window = window

    def forward(self, states: Padded, first: int = 0) -> Tensor:
        """What each state finds, (B, T, D); of no meaning at padding. The states begin at the position `first`."""
        positions = torch.arange(first, first + states.values.shape[1], device=states.values.device)
        query, key, value = self.split(states.values, positions)
        if self.window is None or self.window >= query.shape[2]:
            hidden_bt = hidden_scores(states.mask_bt, query.dtype)
            found = scaled_dot_product_attention(query, key, value, attn_mask=hidden_bt[:, None, None, :])
        else:
            found = _windowed(query, key, value, states.mask_bt, self.window)
        return self.join(found)


def hidden_scores(seen: Tensor, dtype: torch.dtype) -> Tensor:
    """What is added to scores: 0 where `seen`, else the least number that is finite in `dtype` and in bfloat16."""
    least = max(torch.finfo(dtype).min, torch.finfo(torch.bfloat16).min)  # autocast may yet make bfloat16 of it
    return torch.zeros(seen.shape, dtype=dtype, device=seen.device).masked_fill(~seen, least)


def _windowed(query: Tensor, key: Tensor, value: Tensor, mask_bt: Tensor, window: int) -> Tensor:
    """Attention in chunks of `window` queries over the chunk's own keys and those of its neighbours.

    (B, H, T, d) each, and (B, T) own positions → (B, H, T, d).
    """
    batch, heads, time, dim = query.shape
    chunks = -(-time // window)
    right = chunks * window - time
    query_bhcwd = pad(query, (0, 0, 0, right)).view(batch, heads, chunks, window, dim)

    def neighbourhoods(values_bhtd: Tensor) -> Tensor:
        """(B, H, chunks, 3 × window, d): each chunk between its neighbours."""
        padded = pad(values_bhtd, (0, 0, window, right + window))
        return padded.unfold(2, 3 * window, window).transpose(3, 4)

    near_b1cn = pad(mask_bt, (window, right + window)).unfold(1, 3 * window, window)[:, None]
    places = torch.arange(3 * window, device=query.device)
    offsets = places - window - places[:window, None]
    seen_b1cwn = near_b1cn[:, :, :, None] & (offsets.abs() <= window)
    found_bhcwd = scaled_dot_product_attention(
        query_bhcwd, neighbourhoods(key), neighbourhoods(value), attn_mask=hidden_scores(seen_b1cwn, query.dtype)
    )
    return found_bhcwd.reshape(batch, heads, chunks * window, dim)[:, :, :time]
