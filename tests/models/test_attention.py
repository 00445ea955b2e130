"""Attention: its equations one query at a time, that padding has no part in it, and that steps are the same."""

from collections.abc import Sequence
from functools import partial

import pytest
import torch
from tests.models import equations
from tests.models.samples import (
    assert_computes,
    assert_same,
    own,
    passes_gradcheck,
    random_sequences,
    randomized,
    with_gradients,
)
from torch import Tensor

from recurray.models import Padded
from recurray.models.attention.additive import AdditiveAttention, CoverageAttention
from recurray.models.attention.attention import Attended, Attention
from recurray.models.attention.dot import DotAttention, GeneralAttention
from recurray.models.attention.local import LocalAttention
from recurray.models.attention.multi_head import MultiHeadAttention

QUERIES, MEMORY_DIM, DIM, HEADS, WINDOW = 4, 12, 8, 2, 1
LENGTHS, UNPADDED = [6, 2, 4, 1], [5, 5]
KINDS: dict[str, type[Attention]] = {
    "additive": AdditiveAttention,
    "coverage": CoverageAttention,
    "dot": DotAttention,
    "general": GeneralAttention,
    "multi_head": MultiHeadAttention,
}
NAMES = [*KINDS, *(f"local {kind}" for kind in KINDS if kind != "coverage")]
every_attention = pytest.mark.parametrize("name", NAMES)


def query_dim(name: str) -> int:
    return MEMORY_DIM if name.endswith("dot") else 10


def build(name: str) -> Attention:
    return make(name, query_dim(name), MEMORY_DIM, DIM)


def make(name: str, query_dim: int, memory_dim: int, dim: int) -> Attention:
    torch.manual_seed(0)
    inner = KINDS[name.split()[-1]](query_dim, memory_dim, dim, HEADS)
    return randomized(LocalAttention(inner, query_dim, WINDOW) if name.startswith("local") else inner)


def queries_for(name: str, batch: int = len(LENGTHS)) -> Tensor:
    return random_sequences([QUERIES] * batch, query_dim(name), seed=2).values


def states(lengths: Sequence[int] = LENGTHS) -> Padded:
    return random_sequences(lengths, MEMORY_DIM)


def found_at_own_states(attended: Attended, memory: Padded) -> list[Tensor]:
    """Contexts, overlaps, and each source's weights without those of its padding."""
    overlaps = [] if attended.overlap_bt is None else [attended.overlap_bt]
    lengths = memory.lengths.tolist()
    weights = [row[..., :length] for row, length in zip(attended.weights_bhts, lengths, strict=True)]
    return [attended.contexts_btd, *overlaps, *weights]


def written_out(
    layer: Attention, queries_btd: Tensor, values_bsd: Tensor, *, lengths: Tensor, window: int | None
) -> list[Tensor]:
    """The equations, one query after the other over one sequence without padding after the other."""
    contexts, overlaps, weights = [], [], []
    for queries_td, states_sd in zip(queries_btd, own(Padded(values_bsd, lengths)), strict=True):
        coverage_s = states_sd.new_zeros(len(states_sd))
        found = []
        for query_d in queries_td:
            context, weights_hs = equations.attend(layer, query_d, states_sd, coverage_s, window)
            found.append((context, weights_hs, torch.minimum(weights_hs.mean(dim=0), coverage_s).sum()))
            coverage_s = coverage_s + weights_hs.mean(dim=0)
        contexts.append(torch.stack([context for context, _, _ in found]))
        weights.append(torch.stack([weights_hs for _, weights_hs, _ in found], dim=1))
        overlaps.append(torch.stack([overlap for _, _, overlap in found]))
    kept = [torch.stack(overlaps)] if isinstance(layer, CoverageAttention) else []
    return [torch.stack(contexts), *kept, *weights]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("lengths", [LENGTHS, UNPADDED])
@every_attention
def test_an_attention_computes_its_equations_forward_and_backward(
    name: str, lengths: list[int], dtype: torch.dtype
) -> None:
    memory = states(lengths)

    def ours(layer: Attention, queries_btd: Tensor, values_bsd: Tensor) -> list[Tensor]:
        attended = layer(queries_btd, layer.memorize(memory.with_values(values_bsd)))
        return found_at_own_states(attended, memory)

    window = WINDOW if name.startswith("local") else None
    reference = partial(written_out, lengths=memory.lengths, window=window)
    inputs = [queries_for(name, len(lengths)), memory.values]
    assert_computes(ours, reference, build(name), inputs, dtype)


@every_attention
def test_gradients_pass_the_numerical_check(name: str) -> None:
    layer, memory = make(name, 2, 2, 2).double(), random_sequences([3, 1], 2)
    queries = random_sequences([2, 2], 2, seed=2).values.double().requires_grad_()
    values = memory.values.double().requires_grad_()

    def run() -> tuple[Tensor, Tensor]:
        attended = layer(queries, layer.memorize(memory.with_values(values)))
        return attended.contexts_btd, attended.weights_bhts

    assert passes_gradcheck(run, [queries, values, *layer.parameters()])


@every_attention
def test_what_stands_at_padding_changes_neither_contexts_nor_gradients(name: str) -> None:
    layer, memory, queries = build(name).double(), states(), queries_for(name).double()
    results = []
    for padding in (0.0, 1e4):
        values = memory.values.double().masked_fill(~memory.mask_bt[:, :, None], padding).requires_grad_()
        attended = layer(queries, layer.memorize(memory.with_values(values)))
        outputs, *gradients = with_gradients([attended.contexts_btd], [values, *layer.parameters()])
        assert not gradients[0][~memory.mask_bt].any()
        results.append([outputs, *gradients])
    assert_same(*results)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@every_attention
def test_weights_sum_to_one_and_are_zero_at_padding(name: str, dtype: torch.dtype) -> None:
    layer, memory = build(name).to(dtype), states()
    attended = layer(queries_for(name).to(dtype), layer.memorize(memory.with_values(memory.values.to(dtype))))
    heads = HEADS if name.endswith("multi_head") else 1
    assert attended.weights_bhts.shape == (len(LENGTHS), heads, QUERIES, max(LENGTHS))
    assert (attended.weights_bhts >= 0).all()
    assert (attended.weights_bhts.sum(dim=-1) - 1).abs().max() <= 4 * torch.finfo(dtype).eps
    assert not attended.weights_bhts.transpose(1, 3)[~memory.mask_bt].any()
    assert torch.equal(attended.weights_bts, attended.weights_bhts.mean(dim=1))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", ["dot", "local dot"])
def test_padding_has_no_weight_however_low_the_scores_of_own_states_are(name: str, dtype: torch.dtype) -> None:
    layer = build(name).to(dtype)
    far = Padded(torch.full((2, 6, MEMORY_DIM), 1e3, dtype=dtype), torch.tensor([6, 2]))
    attended = layer(torch.full((2, QUERIES, MEMORY_DIM), -1e3, dtype=dtype), layer.memorize(far))
    assert not attended.weights_bhts.transpose(1, 3)[~far.mask_bt].any()
    assert (attended.weights_bhts.sum(dim=-1) - 1).abs().max() <= 4 * torch.finfo(dtype).eps


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@every_attention
def test_a_row_that_is_all_padding_gives_finite_contexts_and_gradients(name: str, dtype: torch.dtype) -> None:
    layer, queries = build(name).to(dtype), queries_for(name).to(dtype).requires_grad_()
    values = states().values.to(dtype).requires_grad_()
    attended = layer(queries, layer.memorize(Padded(values, torch.tensor([6, 0, 4, 1]))))
    found = with_gradients([attended.contexts_btd, attended.weights_bhts], [queries, values, *layer.parameters()])
    assert all(bool(tensor.isfinite().all()) for tensor in found)


@every_attention
def test_selected_memories_are_those_of_the_selected_sources(name: str) -> None:
    layer, memory, queries = build(name), states(), queries_for(name)
    rows = torch.tensor([2, 0, 2])
    selected = layer(queries[rows], layer.memorize(memory).select(rows))
    assert_same([selected.contexts_btd], [layer(queries, layer.memorize(memory)).contexts_btd[rows]], tolerance=1e-6)


@every_attention
def test_the_steps_of_search_find_what_all_queries_at_once_do(name: str) -> None:
    layer, memory, queries = build(name).double(), states(), queries_for(name).double()
    memorized = layer.memorize(memory.with_values(memory.values.double()))
    state, steps = layer.start(memorized), []
    for query_bd in queries.unbind(dim=1):
        attended, state = layer.step(query_bd[:, None], memorized, state)
        steps.append(attended)
    joined, whole = Attended.join(steps), layer(queries, memorized)
    assert_same(found_at_own_states(joined, memory), found_at_own_states(whole, memory))


@every_attention
def test_hypotheses_of_one_source_step_as_if_each_stood_alone(name: str) -> None:
    layer, memory = build(name).double(), states()
    memorized = layer.memorize(memory.with_values(memory.values.double()))
    queries_btkd = torch.stack([queries_for(name).double().roll(shift, dims=1) for shift in range(3)], dim=2)
    together = tuple(rows.repeat_interleave(3, dim=0) for rows in layer.start(memorized))
    apart = [layer.start(memorized)] * 3
    for queries_bkd in queries_btkd.unbind(dim=1):
        attended, together = layer.step(queries_bkd, memorized, together)
        for place in range(3):
            one, apart[place] = layer.step(queries_bkd[:, place : place + 1], memorized, apart[place])
            assert_same([attended.contexts_btd[:, place]], [one.contexts_btd[:, 0]])


@every_attention
def test_contexts_are_as_large_as_the_attention_says(name: str) -> None:
    layer = build(name)
    contexts = layer(queries_for(name), layer.memorize(states())).contexts_btd
    assert contexts.shape == (len(LENGTHS), QUERIES, layer.context_dim)


def test_coverage_is_the_sum_of_the_weights_so_far_and_its_first_overlap_nothing() -> None:
    layer, queries = build("coverage"), queries_for("coverage")
    memory = layer.memorize(states())
    state, whole = layer.start(memory), layer(queries, memory)
    for time in range(QUERIES):
        assert_same(state, [whole.weights_bts[:, :time].sum(dim=1)], tolerance=1e-6)
        _, state = layer.step(queries[:, time : time + 1], memory, state)
    assert not whole.overlap_bt[:, 0].any()
    assert whole.overlap_bt[:, 1:].all()


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("local")])
def test_local_attention_has_no_weight_far_from_where_it_looks(name: str) -> None:
    layer, memory, places = build(name), random_sequences([40, 25], MEMORY_DIM), torch.arange(40)
    local, everywhere = (
        attention(queries_for(name, 2), attention.memorize(memory)).weights_bts for attention in (layer, layer.inner)
    )
    far = (places - local.argmax(dim=-1, keepdim=True)).abs() > 6 * WINDOW
    assert local[far].max() < 1e-5
    assert everywhere[far].max() > 1e-2


@pytest.mark.parametrize(("kind", "heads", "complaint"), [("dot", 1, "10 units"), ("multi_head", 3, "3 heads")])
def test_sizes_that_do_not_go_together_are_refused_when_it_is_made(kind: str, heads: int, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        KINDS[kind](10, MEMORY_DIM, DIM, heads)
