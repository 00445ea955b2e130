"""Encoder blocks: their equations on each sequence alone, and that a batch's other sequences never matter.

`RecurrentBlock` has a file of its own.
"""

from collections.abc import Callable, Sequence
from functools import partial

import pytest
import torch
from tests.models import equations
from tests.models.samples import (
    alone,
    assert_computes,
    assert_same,
    own,
    passes_gradcheck,
    random_sequences,
    randomized,
    with_gradients,
)
from torch import Tensor

from recurray.models import DropoutKey, Padded
from recurray.models.blocks.block import Block
from recurray.models.blocks.pyramid import PyramidBlock
from recurray.models.blocks.transformer import TransformerBlock
from recurray.models.dropout import HashedDropout

DIM, HEADS = 8, 2
LENGTHS, UNPADDED = [7, 2, 5, 1], [5, 5]
TRANSFORMERS = [("rotary", None), ("sinusoidal", None), ("none", None), ("rotary", 1), ("sinusoidal", 2), ("none", 3)]
FACTORS = [2, 3, 5]
EVERY_KIND = [*TRANSFORMERS, *FACTORS]
every_block = pytest.mark.parametrize("kind", EVERY_KIND, ids=str)
Kind = tuple[str, int | None] | int


def build(kind: Kind, *, dropout: float = 0.0, layers: int = 2, dim: int = DIM) -> Block:
    torch.manual_seed(0)
    if isinstance(kind, int):
        return randomized(PyramidBlock(dim, factor=kind, dropout=dropout, place="encoder.0"))
    positions, window = kind
    return randomized(
        TransformerBlock(
            dim,
            layers=layers,
            heads=HEADS,
            feed_forward_dim=6,
            positions=positions,
            window=window,
            dropout=dropout,
            place="encoder.0",
        )
    )


def equation(kind: Kind) -> Callable[..., Tensor]:
    """(block, (T, D)) → (T', D)."""
    if isinstance(kind, int):
        return partial(equations.pyramid_block, factor=kind)
    return partial(equations.transformer_block, heads=HEADS, positions=kind[0], window=kind[1])


def batch(lengths: Sequence[int] = LENGTHS) -> Padded:
    return random_sequences(lengths, DIM).zeroed()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("lengths", [LENGTHS, UNPADDED])
@every_block
def test_a_block_computes_its_equations_on_each_sequence_alone(
    kind: Kind, lengths: list[int], dtype: torch.dtype
) -> None:
    states = batch(lengths)

    def ours(block: Block, values_btd: Tensor) -> list[Tensor]:
        return own(block(states.with_values(values_btd).zeroed(), None))

    def written_out(block: Block, values_btd: Tensor) -> list[Tensor]:
        return [equation(kind)(block, states_td) for states_td in own(states.with_values(values_btd))]

    assert_computes(ours, written_out, build(kind), [states.values], dtype)


@pytest.mark.parametrize("kind", [("rotary", None), ("sinusoidal", 1), 2], ids=str)
def test_gradients_pass_the_numerical_check(kind: Kind) -> None:
    block, states = build(kind, layers=1, dim=4).double(), random_sequences([3, 1], 4)
    values = states.values.double().requires_grad_()
    assert passes_gradcheck(
        lambda: block(states.with_values(values).zeroed(), None).values, [values, *block.parameters()]
    )


@every_block
def test_states_are_as_wide_as_the_block_says_as_long_as_their_lengths_and_zero_at_padding(kind: Kind) -> None:
    found = build(kind)(batch(), None)
    factor = kind if isinstance(kind, int) else 1
    assert found.lengths.tolist() == [-(-length // factor) for length in LENGTHS]
    assert found.values.shape == (len(LENGTHS), int(found.lengths.max()), build(kind).output_dim)
    assert not found.values[~found.mask_bt].any()
    assert found.values[found.mask_bt].any(dim=-1).all()


@every_block
def test_with_dropout_a_sequence_gives_the_same_states_and_gradients_alone_and_in_a_batch(kind: Kind) -> None:
    block, states, numbers = build(kind, dropout=0.3).double(), batch(), torch.tensor([11, 3, 1000, 7])
    key = DropoutKey(seed=5, step=17, examples=numbers)
    values = states.values.double().requires_grad_()
    states = states.with_values(values).zeroed()
    together = own(block(states, key))
    apart = [
        block(alone(states, row), DropoutKey(5, 17, numbers[row : row + 1])).values[0] for row in range(len(LENGTHS))
    ]
    of = [values, *block.parameters()]
    assert_same(with_gradients(together, of), with_gradients(apart, of))


@every_block
def test_dropout_acts_at_every_one_of_its_places_and_no_two_share_a_mask(kind: Kind) -> None:
    block, states = build(kind, dropout=0.3), batch()
    key = DropoutKey(seed=5, step=17, examples=torch.arange(len(LENGTHS)))
    places = [module for module in block.modules() if isinstance(module, HashedDropout)]
    assert len(places) == (1 if isinstance(kind, int) else 1 + 2 * 2)
    assert len({tuple(place.mask(key, 64).flatten().tolist()) for place in places}) == len(places)
    everywhere = block(states, key).values
    for place in places:
        place.probability = 0.0
        assert not torch.equal(block(states, key).values, everywhere)
        place.probability = 0.3


@pytest.mark.parametrize("kind", TRANSFORMERS, ids=str)
def test_the_order_of_states_matters_only_where_the_block_knows_their_places(kind: tuple[str, int | None]) -> None:
    block = build((kind[0], None)).double()
    states = random_sequences(UNPADDED, DIM)
    states = states.with_values(states.values.double())
    turned = block(states.with_values(states.values.flip(1)), None).values.flip(1)
    changed = (turned - block(states, None).values).abs().max() > 1e-10
    assert changed == (kind[0] != "none")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", TRANSFORMERS, ids=str)
def test_a_sequence_of_no_states_gives_finite_states_and_gradients(kind: Kind, dtype: torch.dtype) -> None:
    block = build(kind).to(dtype)
    values = batch().values.to(dtype).requires_grad_()
    found = block(Padded(values, torch.tensor([7, 0, 5, 1])), None).values
    assert all(bool(tensor.isfinite().all()) for tensor in with_gradients([found], [values, *block.parameters()]))
