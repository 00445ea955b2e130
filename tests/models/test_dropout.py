"""Hashed dropout: whose mask it is, and that it is as good as chance.

Statistical bounds are 5 standard deviations of the binomial; the seeds are fixed, so a test passes always or never.
"""

import itertools
import math
import zlib

import pytest
import torch
from torch import Tensor

from recurray.models.dropout import DropoutKey, HashedDropout, mix32

DEVIATIONS = 5.0


def mask(*, seed: int = 1, step: int = 2, examples: Tensor, place: str = "encoder.0", p: float = 0.3) -> Tensor:
    return HashedDropout(p, place).mask(DropoutKey(seed, step, examples), 64)


def dropped(first_example: int, step: int, p: float = 0.3, examples: int = 1000) -> Tensor:
    """(examples, 64) float64: 1 where a unit is dropped."""
    numbers = torch.arange(first_example, first_example + examples)
    return (mask(examples=numbers, step=step, p=p) == 0).double()


def correlation_in_deviations(one: Tensor, other: Tensor, p: float = 0.3) -> float:
    """The sum of products of two equally large sets of independent drops, in its own standard deviations."""
    return float(((one - p) * (other - p)).sum() / (p * (1 - p) * math.sqrt(one.numel())))


def lowbias32(word: int) -> int:
    word ^= word >> 16
    word = word * 0x7FEB352D % 2**32
    word ^= word >> 15
    word = word * 0x846CA68B % 2**32
    return word ^ (word >> 16)


def test_an_example_has_the_same_mask_alone_and_in_any_batch_and_order() -> None:
    examples = torch.tensor([7, 123_456, 0, 8, 999])
    together, turned = mask(examples=examples), mask(examples=examples.flip(0))
    for row in range(5):
        assert torch.equal(together[row], mask(examples=examples[row : row + 1])[0])
        assert torch.equal(together[row], turned[4 - row])


def test_masks_differ_by_seed_step_place_and_example_and_by_any_two_of_them_at_once() -> None:
    places = ("encoder.0", "encoder.1", "decoder.0", "decoder.readout")
    masks = {
        tuple(row.tolist())
        for seed, step, place in itertools.product(range(6), range(6), places)
        for row in mask(seed=seed, step=step, place=place, examples=torch.arange(6))
    }
    assert len(masks) == 6 * 6 * 4 * 6


def test_the_hash_is_that_of_32_bit_integers() -> None:
    words = [0, 1, 2, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, *range(12345, 2**32, 2**32 // 97)]
    assert mix32(torch.tensor(words)).tolist() == [lowbias32(word) for word in words]


def test_each_bit_of_a_hashed_word_flips_each_bit_of_the_hash_half_of_the_time() -> None:
    words = torch.randint(2**32, (4096,), generator=torch.Generator().manual_seed(0))
    bits = torch.arange(32)
    for bit in range(32):
        flipped = ((mix32(words) ^ mix32(words ^ (1 << bit)))[:, None] >> bits) & 1
        assert (flipped.double().mean(dim=0) - 0.5).abs().max() < DEVIATIONS * math.sqrt(0.25 / 4096)


def test_a_mask_of_a_known_key_never_changes_since_a_resumed_run_relies_on_it() -> None:
    row = 0
    for word in (42, 7, 11, zlib.crc32(b"decoder.1")):
        row = lowbias32(row ^ word)
    expected = [lowbias32((row + unit * 0x9E3779B9) % 2**32) >= 0.25 * 2**32 for unit in range(64)]
    found = mask(examples=torch.tensor([42]), step=7, seed=11, place="decoder.1", p=0.25)
    assert (found[0] > 0).tolist() == expected


@pytest.mark.parametrize("p", [0.1, 0.3, 0.5])
def test_the_share_of_dropped_units_is_the_probability(p: float) -> None:
    units = dropped(0, step=5, p=p)
    assert abs(float(units.mean()) - p) < DEVIATIONS * math.sqrt(p * (1 - p) / units.numel())


def test_every_unit_is_dropped_as_often_as_the_others() -> None:
    counts = dropped(0, step=5, examples=4000).sum(dim=0)
    chi_square = float(((counts - 4000 * 0.3) ** 2 / (4000 * 0.3 * 0.7)).sum())
    assert abs(chi_square - 64) < DEVIATIONS * math.sqrt(2 * 64)


@pytest.mark.parametrize("lag", [1, 2, 3, 8, 32])
def test_units_of_one_example_are_uncorrelated(lag: int) -> None:
    units = dropped(0, step=5)
    assert abs(correlation_in_deviations(units[:, lag:], units[:, :-lag])) < DEVIATIONS


@pytest.mark.parametrize(("examples", "steps"), [(1, 0), (0, 1), (1, 1), (-1, 1), (2, 2), (3, 1), (64, 0), (0, 1024)])
def test_a_unit_is_uncorrelated_over_neighbouring_examples_and_steps(examples: int, steps: int) -> None:
    first, second = dropped(1000, step=4), dropped(1000 + examples, step=4 + steps)
    assert abs(correlation_in_deviations(first, second)) < DEVIATIONS


def test_dropout_keeps_the_mean() -> None:
    kept = HashedDropout(0.3, "encoder.0")(torch.ones(1000, 1, 64), DropoutKey(1, 2, torch.arange(1000)))
    deviation = math.sqrt(0.3 / 0.7 / kept.numel())  # of the mean of values that are 0 or 1/(1-p)
    assert abs(float(kept.double().mean()) - 1.0) < DEVIATIONS * deviation


def test_whole_units_are_dropped_for_all_time_steps_and_the_rest_is_scaled() -> None:
    values = torch.randn(3, 5, 64, dtype=torch.float64)
    key = DropoutKey(1, 2, torch.arange(3))
    layer = HashedDropout(0.5, "encoder.0")
    assert torch.equal(layer(values, key), values * layer.mask(key, 64).double()[:, None, :])
    assert set(layer.mask(key, 64).flatten().tolist()) == {0.0, 2.0}


def test_without_a_key_or_without_a_probability_values_pass_unchanged() -> None:
    values = torch.randn(3, 5, 64)
    assert torch.equal(HashedDropout(0.5, "encoder.0")(values, None), values)
    assert torch.equal(HashedDropout(0.0, "encoder.0")(values, DropoutKey(1, 2, torch.arange(3))), values)
