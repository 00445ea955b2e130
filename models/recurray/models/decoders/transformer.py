"""The Transformer decoder, for comparison."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from recurray.models.attention.attention import Attended, Attention, Memory
from recurray.models.attention.self_attention import HeadProjections, hidden_scores
from recurray.models.blocks.transformer import FeedForward
from recurray.models.decoders.decoder import Decoded, Decoder, DecoderState, join_states
from recurray.models.dropout import DropoutKey, HashedDropout
from recurray.models.padded import Padded

Past = tuple[Tensor, Tensor, Tensor]
"""Keys and values of the pieces before, (N, heads, t, d) each, the keys turned by their positions, and (N, t) which of
them are a hypothesis's own: in search those of sources that came later stand before its first piece."""


class CausalSelfAttention(HeadProjections):
    """Rotary multi-head self-attention over the pieces before and the piece itself: (N, T, D) → (N, T, D)."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__(dim, heads, rotary=True)
        self._head_dim = dim // heads

    def none_yet(self, values: Tensor) -> Past:
        """The past before the first piece, for `values` of (N, …)."""
        none_nhtd = values.new_zeros(values.shape[0], self.heads, 0, self._head_dim)
        return none_nhtd, none_nhtd, torch.zeros(values.shape[0], 0, dtype=torch.bool, device=values.device)

    def forward(self, values_ntd: Tensor, past: Past) -> tuple[Tensor, Past]:
        """T pieces after those of `past`."""
        key_before, value_before, own_nt = past
        before, pieces = own_nt.shape[1], torch.arange(values_ntd.shape[1], device=values_ntd.device)
        positions = pieces + own_nt.sum(dim=1)[:, None, None] if before else pieces
        query, key, value = self.split(values_ntd, positions)
        key, value = torch.cat((key_before, key), dim=2), torch.cat((value_before, value), dim=2)
        own_nt = torch.cat((own_nt, own_nt.new_ones(values_ntd.shape[:2])), dim=1)
        seen = torch.arange(before + len(pieces), device=pieces.device) <= pieces[:, None] + before
        if before:  # under teacher forcing nothing is before, and all rows see alike
            seen = seen & own_nt[:, None, None, :]
        found = scaled_dot_product_attention(query, key, value, attn_mask=hidden_scores(seen, query.dtype))
        return self.join(found), (key, value, own_nt)


class _Layer(nn.Module):
    """Self-attention, attention over the source, feed-forward, each as x + f(norm x)."""

    def __init__(
        self, dim: int, heads: int, inner_dim: int, attention: Callable[[int], Attention], dropout: float, place: str
    ) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(dim) for _ in range(3))
        self.dropouts = nn.ModuleList(
            HashedDropout(dropout, f"{place}.{part}") for part in ("self_attention", "attention", "feed_forward")
        )
        self.self_attention = CausalSelfAttention(dim, heads)
        self.attention = attention(dim)
        self.context = nn.Linear(self.attention.context_dim, dim, bias=False)
        nn.init.xavier_uniform_(self.context.weight)
        self.feed_forward = FeedForward(dim, inner_dim)

    def forward(
        self, values_btd: Tensor, memory: Memory, past: Past, key: DropoutKey | None
    ) -> tuple[Tensor, Attended, Past]:
        """(B, T, D): T pieces of each target if the past has B rows, or one of B × T hypotheses if it has those."""
        rows = past[0].shape[0]
        normed_ntd = self.norms[0](values_btd).reshape(rows, -1, values_btd.shape[2])
        found_ntd, past = self.self_attention(normed_ntd, past)
        values_btd = values_btd + self.dropouts[0](found_ntd.view_as(values_btd), key)
        attended: Attended = self.attention(self.norms[1](values_btd), memory)
        values_btd = values_btd + self.dropouts[1](self.context(attended.contexts_btd), key)
        return values_btd + self.dropouts[2](self.feed_forward(self.norms[2](values_btd)), key), attended, past


class TransformerDecoder(Decoder):
    """A stack of pre-norm Transformer layers with rotary positions (Vaswani et al. 2017; Su et al. 2021).

    Its size is that of the target vectors. It knows nothing of the source but what its attentions find.
    """

    def __init__(
        self,
        input_dim: int,
        memory_dim: int,
        *,
        attention: Callable[[int], Attention],
        layers: int,
        heads: int,
        feed_forward_dim: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.output_dim = input_dim
        self.input_dropout = HashedDropout(dropout, "decoder.input")
        self.layers = nn.ModuleList(
            _Layer(input_dim, heads, feed_forward_dim, attention, dropout, f"decoder.{index}")
            for index in range(layers)
        )
        self.context_dim = self._layers()[-1].attention.context_dim
        self.norm = nn.LayerNorm(input_dim)

    def _layers(self) -> list[_Layer]:
        return [layer for layer in self.layers if isinstance(layer, _Layer)]

    def start(self, states: Padded) -> DecoderState:
        """Each layer's memory of the source, and no pieces yet."""
        memories = tuple(layer.attention.memorize(states) for layer in self._layers())
        rows = tuple(past for layer in self._layers() for past in layer.self_attention.none_yet(states.values))
        return DecoderState(memories, rows)

    def join(self, states: Sequence[DecoderState]) -> DecoderState:
        """Pasts end together; places in front that no hypothesis has pieces in are dropped."""
        joined = join_states(states, front=True)
        unused = int((~joined.rows[2].any(dim=0)).sum())
        rows = [row[:, unused:] if row.dtype == torch.bool else row[:, :, unused:] for row in joined.rows]
        return DecoderState(joined.memories, tuple(rows))

    def forward(self, embedded_bte: Tensor, start: DecoderState, key: DropoutKey | None) -> Decoded:
        """Each layer over the whole target, no piece seeing those after it."""
        return self._stack(embedded_bte, start, key)[0]

    def step(self, embedded_bke: Tensor, state: DecoderState) -> tuple[Decoded, DecoderState]:
        """One piece of each hypothesis after its own past."""
        decoded, rows = self._stack(embedded_bke, state, None)
        return decoded, DecoderState(state.memories, rows)

    def _stack(self, inputs: Tensor, state: DecoderState, key: DropoutKey | None) -> tuple[Decoded, tuple[Tensor, ...]]:
        values = self.input_dropout(inputs, key)
        rows: list[Tensor] = []
        for index, layer in enumerate(self.layers):
            keys, values_before, own = state.rows[3 * index : 3 * index + 3]
            values, attended, past = layer(values, state.memories[index], (keys, values_before, own), key)
            rows.extend(past)
        outputs = self.norm(values)
        return Decoded(outputs, outputs, attended), tuple(rows)
