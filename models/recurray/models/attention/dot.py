"""Multiplicative attention: a query is compared with a state by their product."""

from torch import Tensor, nn

from recurray.models.attention.attention import Attended, Attention, Memory, attention_weights
from recurray.models.padded import Padded


class _Multiplicative(Attention):
    def attend(self, queries_btd: Tensor, memory: Memory, falloff_bts: Tensor | None = None) -> Attended:
        """Averages of the states, by their products with the queries."""
        return average(queries_btd @ memory.keys.values.transpose(1, 2), memory, falloff_bts)


class DotAttention(_Multiplicative):
    """a = softmax(q mᵀ), context = a m (Luong et al. 2015, equation 8, dot); query_dim must be memory_dim."""

    def __init__(self, query_dim: int, memory_dim: int, attention_dim: int, heads: int) -> None:
        super().__init__()
        if query_dim != memory_dim:
            raise ValueError(f"dot attention compares {query_dim} units of a query with {memory_dim} of a state")
        self.context_dim = memory_dim

    def memorize(self, states: Padded) -> Memory:
        """The states themselves."""
        return Memory(states, states.values)


class GeneralAttention(_Multiplicative):
    """a = softmax(q W mᵀ), context = a m (Luong et al. 2015, equation 8, general)."""

    def __init__(self, query_dim: int, memory_dim: int, attention_dim: int, heads: int) -> None:
        super().__init__()
        self.context_dim = memory_dim
        self.key = nn.Linear(memory_dim, query_dim, bias=False)
        nn.init.xavier_uniform_(self.key.weight)

    def memorize(self, states: Padded) -> Memory:
        """Keys W m, (B, S, query_dim), and the states themselves."""
        return Memory(states.with_values(self.key(states.values)), states.values)


def average(scores_bts: Tensor, memory: Memory, falloff_bts: Tensor | None) -> Attended:
    """What one head finds with these scores."""
    weights_bhts = attention_weights(scores_bts[:, None], memory, falloff_bts)
    return Attended(weights_bhts[:, 0] @ memory.values_bsd, weights_bhts)
