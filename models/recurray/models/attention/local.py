"""Local attention: any attention, kept near a position that the query itself predicts."""

import torch
from torch import Tensor, nn

from recurray.models.attention.attention import Attended, Attention, Memory
from recurray.models.padded import Padded
from recurray.models.precision import widened, without_autocast


class LocalAttention(Attention):
    """Predictive alignment, local-p (Luong et al. 2015, section 3.2), around any attention.

    The window's centre is p = (S - 1) σ(vᵀ tanh(W q)), S the source's own length, and the state at s has
    (s - p)² / 2σ² taken from its score, with σ = window / 2. The paper multiplies weights by that Gaussian after the
    softmax; before it, they still sum to 1, as copying needs. The paper also cuts the Gaussian off at the window
    edge, where a state then jumps, so that a rounding of p in another batch would show; here it only falls off.
    """

    def __init__(self, inner: Attention, query_dim: int, window: int) -> None:
        super().__init__()
        self.context_dim = inner.context_dim
        self.inner = inner
        self._window = window
        self.hidden = nn.Linear(query_dim, query_dim, bias=False)
        self.centre = nn.Linear(query_dim, 1, bias=False)
        for projection in (self.hidden, self.centre):
            nn.init.xavier_uniform_(projection.weight)

    def memorize(self, states: Padded) -> Memory:
        """As the inner attention does."""
        return self.inner.memorize(states)

    def attend(self, queries_btd: Tensor, memory: Memory, falloff_bts: Tensor | None = None) -> Attended:
        """What the inner attention finds within the windows, and within what else falls off."""
        own_bts = self.falloff(queries_btd, memory.keys)
        return self.inner.attend(queries_btd, memory, own_bts if falloff_bts is None else own_bts + falloff_bts)

    def falloff(self, queries_btd: Tensor, keys: Padded) -> Tensor:
        """(B, T, S): -(s - p)² / 2σ² of each query."""
        queries_btd = widened(queries_btd)
        with without_autocast(queries_btd):
            share_bt1 = torch.sigmoid(self.centre(torch.tanh(self.hidden(queries_btd))))
        exact = torch.promote_types(share_bt1.dtype, torch.float32)  # bfloat16 cannot tell far positions apart
        centres_bt1 = share_bt1.to(exact) * (keys.lengths[:, None, None] - 1)
        positions = torch.arange(keys.values.shape[1], device=keys.lengths.device)
        return (-0.5 * ((positions - centres_bt1) / (self._window / 2)) ** 2).to(queries_btd.dtype)
