"""Local attention: any attention, kept to a window around a position that the query itself predicts."""

import torch
from torch import Tensor, nn

from recurray.models.attention.attention import Attended, Attention, Focus, Memory
from recurray.models.padded import Padded


class LocalAttention(Attention):
    """Predictive alignment, local-p (Luong et al. 2015, section 3.2), around any attention.

    The window's centre is p = (S - 1) σ(vᵀ tanh(W q)), S the source's own length; states further from it than `window`
    positions are hidden, and the scores of the others fall off by (s - p)² / 2σ² with σ = window / 2. The paper
    multiplies weights by that Gaussian after the softmax; before it, they still sum to 1, as copying needs.
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

    def attend(self, queries_btd: Tensor, memory: Memory, focus: Focus | None = None) -> Attended:
        """What the inner attention finds within the windows; `focus` is this attention's own to set."""
        return self.inner.attend(queries_btd, memory, self.focus(queries_btd, memory.keys))

    def focus(self, queries_btd: Tensor, keys: Padded) -> Focus:
        """The windows of these queries."""
        share_bt1 = torch.sigmoid(self.centre(torch.tanh(self.hidden(queries_btd))))
        exact = torch.promote_types(share_bt1.dtype, torch.float32)  # bfloat16 cannot tell far positions apart
        centres_bt1 = share_bt1.to(exact) * (keys.lengths[:, None, None] - 1)
        positions = torch.arange(keys.values.shape[1], device=keys.lengths.device)
        distances_bts = positions - centres_bt1
        falloff_bts = -0.5 * (distances_bts / (self._window / 2)) ** 2
        # Where σ is all but 0 or 1 a centre is all but whole: half a position keeps states off the window's edge.
        return Focus(distances_bts.abs() < self._window + 0.5, falloff_bts.to(queries_btd.dtype))
