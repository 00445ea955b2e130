"""An attention that compares directions."""

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from recurray.models.attention.attention import Attended, Attention, Memory
from recurray.models.attention.dot import average
from recurray.models.padded import Padded
from recurray.models.registry import ATTENTIONS


@ATTENTIONS.register("cosine")
class CosineAttention(Attention):
    """a = softmax(β cos(W q, m)), context = a m (after Graves et al. 2014, section 3.3.1)."""

    def __init__(self, query_dim: int, memory_dim: int, attention_dim: int, heads: int) -> None:
        super().__init__()
        self.context_dim = memory_dim
        self.query = nn.Linear(query_dim, memory_dim, bias=False)
        self.sharpness = nn.Parameter(torch.tensor(5.0))

    def memorize(self, states: Padded) -> Memory:
        return Memory(states.with_values(normalize(states.values, dim=-1)), states.values)

    def attend(self, queries_btd: Tensor, memory: Memory, falloff_bts: Tensor | None = None) -> Attended:
        cosines_bts = normalize(self.query(queries_btd), dim=-1) @ memory.keys.values.transpose(1, 2)
        return average(self.sharpness * cosines_bts, memory, falloff_bts)
