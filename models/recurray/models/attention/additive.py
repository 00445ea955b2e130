"""Additive attention, and the same with coverage."""

import torch
from torch import Tensor, nn

from recurray.models.attention.attention import Attended, Attention, AttentionState, Memory
from recurray.models.attention.dot import average
from recurray.models.padded import Padded


class AdditiveAttention(Attention):
    """a = softmax(vᵀ tanh(W q + U m + b)), context = a m (Bahdanau et al. 2015, section A.1.2)."""

    def __init__(self, query_dim: int, memory_dim: int, attention_dim: int, heads: int) -> None:
        super().__init__()
        self.context_dim = memory_dim
        self.query = nn.Linear(query_dim, attention_dim, bias=False)
        self.key = nn.Linear(memory_dim, attention_dim)
        self.score = nn.Linear(attention_dim, 1, bias=False)
        for projection in (self.query, self.key, self.score):
            nn.init.xavier_uniform_(projection.weight)
        nn.init.zeros_(self.key.bias)

    def memorize(self, states: Padded) -> Memory:
        """Keys U m + b, (B, S, attention_dim), and the states themselves."""
        return Memory(states.with_values(self.key(states.values)), states.values)

    def attend(self, queries_btd: Tensor, memory: Memory, falloff_bts: Tensor | None = None) -> Attended:
        """Averages of the states."""
        return average(self._scores(self.query(queries_btd), memory.keys.values[:, None]), memory, falloff_bts)

    def _scores(self, queries_bta: Tensor, keys_btsa: Tensor) -> Tensor:
        """(B, T, S), one product a target piece: one for all of them loses the sixth digit of the weights' gradient."""
        hidden_btsa = torch.tanh(queries_bta[:, :, None] + keys_btsa)
        batch, pieces, states, units = hidden_btsa.shape
        weight = self.score.weight.t().expand(batch * pieces, units, 1)
        return torch.bmm(hidden_btsa.flatten(0, 1), weight).view(batch, pieces, states)


class CoverageAttention(AdditiveAttention):
    """Additive attention that is told what it has seen: the sum of its weights so far (See et al. 2017, equation 11).

    a_t = softmax(vᵀ tanh(W q_t + U m + w c_t + b)) with the coverage c_t = Σ_{t' < t} a_t'. Its state is that coverage,
    (B × K, S), so under teacher forcing it goes through the target piece by piece.
    """

    def __init__(self, query_dim: int, memory_dim: int, attention_dim: int, heads: int) -> None:
        super().__init__(query_dim, memory_dim, attention_dim, heads)
        self.coverage = nn.Parameter(torch.zeros(attention_dim))

    def start(self, memory: Memory) -> AttentionState:
        """Nothing is covered."""
        return (memory.keys.values.new_zeros(memory.keys.values.shape[:2]),)

    def forward(self, queries_btd: Tensor, memory: Memory) -> Attended:
        """Piece by piece."""
        state, found = self.start(memory), []
        for query_bd in queries_btd.unbind(dim=1):
            attended, state = self.step(query_bd[:, None], memory, state)
            found.append(attended)
        return Attended.join(found)

    def step(self, queries_bkd: Tensor, memory: Memory, state: AttentionState) -> tuple[Attended, AttentionState]:
        """One piece of each hypothesis, with its own coverage."""
        coverage_bks = state[0].view(*queries_bkd.shape[:2], -1)
        keys_bksa = memory.keys.values[:, None] + coverage_bks[..., None] * self.coverage
        attended = average(self._scores(self.query(queries_bkd), keys_bksa), memory, None)
        weights_bks = attended.weights_bts
        overlap_bk = torch.minimum(weights_bks, coverage_bks).sum(dim=-1)
        seen = Attended(attended.contexts_btd, attended.weights_bhts, overlap_bk)
        return seen, ((coverage_bks + weights_bks).flatten(0, 1),)
