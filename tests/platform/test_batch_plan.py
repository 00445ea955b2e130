import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recurray.platform.data.plan import BatchPlan


def lengths(seed: int, examples: int, longest: int = 40) -> np.ndarray:
    return np.random.default_rng(seed).integers(1, longest + 1, examples)


def make_plan(tgt: np.ndarray, *, seed: int = 1, batch_tokens: int = 256, sort_window: int = 4) -> BatchPlan:
    return BatchPlan(tgt[::-1].copy(), tgt, seed=seed, batch_tokens=batch_tokens, sort_window=sort_window)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.integers(1, 300), min_size=1, max_size=200),
    st.integers(1, 400),
    st.integers(1, 9),
    st.integers(0, 2**32 - 1),
)
def test_every_example_is_in_exactly_one_step_of_an_epoch_and_no_step_is_empty(
    tgt: list[int], batch_tokens: int, sort_window: int, seed: int
) -> None:
    plan = make_plan(np.array(tgt), seed=seed, batch_tokens=batch_tokens, sort_window=sort_window)
    for epoch in (0, 3):
        steps = [plan.epoch(epoch).step(index) for index in range(plan.steps_per_epoch)]
        assert all(len(step) > 0 for step in steps)
        assert sorted(np.concatenate(steps).tolist()) == list(range(len(tgt)))


def test_a_step_can_be_asked_for_without_those_before_it() -> None:
    tgt = lengths(1, 500)
    walked = make_plan(tgt)
    for epoch in range(4):
        plan = walked.epoch(epoch)
    fresh = make_plan(tgt)
    assert np.array_equal(plan.step(5), fresh.epoch(3).step(5))


def test_seed_and_epoch_change_the_order() -> None:
    tgt = lengths(2, 500)
    base = make_plan(tgt).epoch(0).examples
    assert not np.array_equal(base, make_plan(tgt).epoch(1).examples)
    assert not np.array_equal(base, make_plan(tgt, seed=2).epoch(0).examples)


def test_steps_hold_about_batch_tokens() -> None:
    tgt = lengths(3, 5000)
    plan = make_plan(tgt, batch_tokens=512).epoch(0)
    tokens = [tgt[plan.step(index)].sum() for index in range(len(plan.bounds) - 1)]
    assert np.mean(tokens) == pytest.approx(512, rel=0.01)
    assert max(tokens) <= 512 + 2 * 40


def test_one_steps_examples_are_of_like_length() -> None:
    tgt = lengths(4, 5000)
    sorted_spread = np.mean([np.ptp(tgt[step]) for step in _steps(make_plan(tgt, sort_window=16))])
    unsorted_spread = np.mean([np.ptp(tgt[step]) for step in _steps(make_plan(tgt, sort_window=1))])
    assert sorted_spread < unsorted_spread / 4


def _steps(plan: BatchPlan) -> list[np.ndarray]:
    epoch = plan.epoch(0)
    return [epoch.step(index) for index in range(plan.steps_per_epoch)]


def test_the_plan_is_the_same_today_as_it_was_when_it_was_written() -> None:
    # A run that was begun by an older version goes on with the same updates: this order must never change.
    assert make_plan(np.arange(1, 13), batch_tokens=20).epoch(2).examples.tolist() == [
        7,
        8,
        9,
        0,
        1,
        2,
        3,
        4,
        5,
        6,
        10,
        11,
    ]
