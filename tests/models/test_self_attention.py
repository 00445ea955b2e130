"""Self-attention: its equations, its window, its rotary positions, and that padding has no part in it."""

from functools import partial

import pytest
import torch
from tests.models import equations
from tests.models.samples import (
    TOLERANCE,
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
from recurray.models.attention.self_attention import SelfAttention
from recurray.models.positions import rotate, sinusoids

DIM, HEADS = 8, 2
LENGTHS, UNPADDED = [7, 2, 5, 1], [5, 5]
WINDOWS = [None, 1, 2, 3, 4, 7]


def build(window: int | None, *, rotary: bool = True, dim: int = DIM) -> SelfAttention:
    torch.manual_seed(0)
    return randomized(SelfAttention(dim, HEADS, rotary, window))


def ours(layer: SelfAttention, values_btd: Tensor, *, lengths: Tensor) -> list[Tensor]:
    states = Padded(values_btd, lengths)
    return own(states.with_values(layer(states)))


def written_out(
    layer: SelfAttention, values_btd: Tensor, *, lengths: Tensor, window: int | None, rotary: bool
) -> list[Tensor]:
    return [
        equations.self_attention(
            layer,
            states_td,
            heads=HEADS,
            sees=lambda one, other: window is None or abs(one - other) <= window,
            rotary=rotary,
        )
        for states_td in own(Padded(values_btd, lengths))
    ]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("lengths", [LENGTHS, UNPADDED])
@pytest.mark.parametrize("rotary", [True, False])
@pytest.mark.parametrize("window", WINDOWS)
def test_it_computes_its_equations_forward_and_backward(
    window: int | None, rotary: bool, lengths: list[int], dtype: torch.dtype
) -> None:
    states = random_sequences(lengths, DIM)
    reference = partial(written_out, lengths=states.lengths, window=window, rotary=rotary)
    layer = build(window, rotary=rotary)
    assert_computes(partial(ours, lengths=states.lengths), reference, layer, [states.values], dtype)


def within_a_band(layer: SelfAttention, values_btd: Tensor, *, lengths: Tensor, window: int) -> list[Tensor]:
    """Full attention, with all that is further away than the window hidden by a mask of T × T."""
    places = torch.arange(values_btd.shape[1])
    seen_btt = (places < lengths[:, None])[:, None] & ((places - places[:, None]).abs() <= window)
    query, key, value = (
        part.unflatten(-1, (HEADS, -1)).transpose(1, 2)
        for part in (values_btd @ layer.query_key_value.weight.T).chunk(3, -1)
    )
    scores = rotate(query, places) @ rotate(key, places).transpose(2, 3) / (DIM / HEADS) ** 0.5
    weights = scores.masked_fill(~seen_btt[:, None], -1e30).softmax(dim=-1)
    found = (weights @ value).transpose(1, 2).flatten(2) @ layer.output.weight.T
    return own(Padded(found, lengths))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("longest", [3, 4, 5, 8, 9, 11, 12, 13, 40])
def test_a_window_of_four_equals_a_band_for_lengths_below_at_and_above_it(longest: int, dtype: torch.dtype) -> None:
    states = random_sequences([longest, 1, longest - 2, longest // 2], DIM)
    sizes = {"lengths": states.lengths}
    band = partial(within_a_band, **sizes, window=4)
    assert_computes(partial(ours, **sizes), band, build(4), [states.values], dtype)


@pytest.mark.parametrize("window", [None, 1, 2])
def test_gradients_pass_the_numerical_check(window: int | None) -> None:
    layer, states = build(window, dim=4).double(), random_sequences([4, 2], 4)
    values = states.values.double().requires_grad_()
    assert passes_gradcheck(lambda: ours(layer, values, lengths=states.lengths), [values, *layer.parameters()])


@pytest.mark.parametrize("window", [None, 2])
def test_what_stands_at_padding_changes_neither_states_nor_gradients(window: int | None) -> None:
    layer, states = build(window).double(), random_sequences(LENGTHS, DIM)
    results = []
    for padding in (0.0, 1e4):
        values = states.values.double().masked_fill(~states.mask_bt[:, :, None], padding).requires_grad_()
        found = with_gradients(ours(layer, values, lengths=states.lengths), [values, *layer.parameters()])
        assert not found[len(LENGTHS)][~states.mask_bt].any()
        results.append(found)
    assert_same(*results)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("window", [None, 1, 2, 3])
def test_a_row_that_is_all_padding_gives_finite_states_and_gradients(window: int | None, dtype: torch.dtype) -> None:
    layer = build(window).to(dtype)
    values = random_sequences(LENGTHS, DIM).values.to(dtype).requires_grad_()
    found = layer(Padded(values, torch.tensor([7, 0, 5, 1])))
    assert all(bool(tensor.isfinite().all()) for tensor in with_gradients([found], [values, *layer.parameters()]))


def kept_for_the_backward_pass(layer: SelfAttention, time: int) -> int:
    kept: list[int] = []

    def note(tensor: Tensor) -> Tensor:
        kept.append(tensor.numel())
        return tensor

    states = random_sequences([time], DIM)
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        layer(states.with_values(states.values.requires_grad_()))
    return sum(kept)


def test_memory_of_a_window_grows_in_a_line_with_length() -> None:
    layer = build(8)
    assert kept_for_the_backward_pass(layer, 1024) <= 2.1 * kept_for_the_backward_pass(layer, 512)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("shift", [1, 7, 1000, 20_000])
def test_rotary_scores_depend_on_the_distance_alone(shift: int, dtype: torch.dtype) -> None:
    queries, keys = torch.randn(2, 1, 1, 6, DIM, generator=torch.Generator().manual_seed(0)).to(dtype)
    places = torch.arange(6)
    here = rotate(queries, places) @ rotate(keys, places).transpose(2, 3)
    there = rotate(queries, places + shift) @ rotate(keys, places + shift).transpose(2, 3)
    assert_same([there], [here], tolerance=TOLERANCE[dtype])
    assert (here - queries @ keys.transpose(2, 3)).abs().max() > 0.1


def test_rotary_leaves_the_first_place_and_every_length_as_they_are() -> None:
    values = torch.randn(2, HEADS, 5, DIM, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    turned = rotate(values, torch.arange(5))
    assert torch.equal(turned[:, :, 0], values[:, :, 0])
    assert_same([turned.norm(dim=-1)], [values.norm(dim=-1)])


@pytest.mark.parametrize("dim", [8, 7])
def test_sinusoids_are_those_of_the_formula(dim: int) -> None:
    places = torch.tensor([0, 1, 5, 20_000])
    assert_same(sinusoids(places, dim), [equations.sinusoid(place, dim) for place in places.tolist()])


@pytest.mark.parametrize(("dim", "heads", "rotary"), [(8, 3, False), (6, 2, True)])
def test_heads_that_do_not_go_with_the_width_are_refused_when_it_is_made(dim: int, heads: int, rotary: bool) -> None:
    with pytest.raises(ValueError, match=f"{heads} heads"):
        SelfAttention(dim, heads, rotary, window=None)
