"""Attention: its formula, and that padding has no part in it."""

import pytest
import torch
from torch import Tensor

from recurray.models import Padded
from recurray.models.attention import MultiHeadAttention

BATCH, QUERIES, STATES, QUERY_DIM, MEMORY_DIM, DIM = 3, 4, 6, 10, 12, 8
LENGTHS = [6, 2, 4]


def attention(heads: int) -> MultiHeadAttention:
    torch.manual_seed(0)
    return MultiHeadAttention(QUERY_DIM, MEMORY_DIM, DIM, heads).double()


@pytest.fixture
def states() -> Padded:
    torch.manual_seed(1)
    return Padded(torch.randn(BATCH, STATES, MEMORY_DIM, dtype=torch.float64), torch.tensor(LENGTHS))


@pytest.fixture
def queries() -> Tensor:
    torch.manual_seed(2)
    return torch.randn(BATCH, QUERIES, QUERY_DIM, dtype=torch.float64)


def one_query(layer: MultiHeadAttention, query: Tensor, states_sd: Tensor) -> Tensor:
    """softmax(q k^T / √d) v of one query over one sequence without padding, head by head."""
    contexts = []
    for rows in torch.arange(DIM).chunk(layer.heads):
        q = layer.query.weight[rows] @ query
        keys, values = states_sd @ layer.key.weight[rows].T, states_sd @ layer.value.weight[rows].T
        weights = (keys @ q / len(rows) ** 0.5).softmax(dim=0)
        contexts.append(weights @ values)
    return torch.cat(contexts)


@pytest.mark.parametrize("heads", [1, 2])
def test_contexts_are_those_of_the_formula_over_own_states_only(heads: int, states: Padded, queries: Tensor) -> None:
    layer = attention(heads)
    contexts = layer(queries, layer.memorize(states))
    for row, length in enumerate(LENGTHS):
        for time in range(QUERIES):
            expected = one_query(layer, queries[row, time], states.values[row, :length])
            assert (contexts[row, time] - expected).abs().max() <= 1e-10


def test_what_stands_at_padding_changes_neither_contexts_nor_gradients(states: Padded, queries: Tensor) -> None:
    layer = attention(heads=2)
    results = []
    for padding in (0.0, 1e4):
        values = states.values.masked_fill(~states.mask_bt[:, :, None], padding).requires_grad_()
        contexts = layer(queries, layer.memorize(states.with_values(values)))
        gradients = torch.autograd.grad(contexts.square().sum(), (values, *layer.parameters()))
        assert not gradients[0][~states.mask_bt].any()
        results.append((contexts, *gradients))
    for one, other in zip(*results, strict=True):
        assert (one - other).abs().max() <= 1e-10


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_row_that_is_all_padding_gives_finite_contexts_and_gradients(
    dtype: torch.dtype, states: Padded, queries: Tensor
) -> None:
    layer = attention(heads=2).to(dtype)
    values = states.values.to(dtype).requires_grad_()
    empty = Padded(values, torch.tensor([6, 0, 4]))
    contexts = layer(queries.to(dtype), layer.memorize(empty))
    gradients = torch.autograd.grad(contexts.square().sum(), (values, *layer.parameters()))
    assert all(bool(tensor.isfinite().all()) for tensor in (contexts, *gradients))


def test_selected_memories_are_those_of_the_selected_sources(states: Padded, queries: Tensor) -> None:
    layer = attention(heads=2)
    rows = torch.tensor([2, 0])
    contexts = layer(queries[rows], layer.memorize(states).select(rows))
    assert (contexts - layer(queries, layer.memorize(states))[rows]).abs().max() <= 1e-10
