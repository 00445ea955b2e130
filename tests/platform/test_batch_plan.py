from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recurray.platform.data import plan as plan_module
from recurray.platform.data.hashing import shuffled
from recurray.platform.data.plan import BatchPlan


def lengths(seed: int, examples: int, longest: int = 40) -> np.ndarray:
    return np.random.default_rng(seed).integers(1, longest + 1, examples)


def make_plan(tgt: np.ndarray, *, seed: int = 1, batch_tokens: int = 256, sort_window: int = 4) -> BatchPlan:
    return BatchPlan(tgt[::-1].copy(), tgt, seed=seed, batch_tokens=batch_tokens, sort_window=sort_window)


@contextmanager
def small_groups() -> Iterator[None]:
    """Groups of some 32 examples in blocks of 4."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan_module, "GROUP_EXAMPLES", 32)
        patch.setattr(plan_module, "BLOCK_EXAMPLES", 4)
        yield


def steps_of(plan: BatchPlan, epoch: int = 0) -> list[np.ndarray]:
    planned = plan.epoch(epoch)
    return [planned.step(index) for index in range(plan.steps_per_epoch)]


def groups_in(plan: BatchPlan) -> int:
    return plan.group_of(plan.steps_per_epoch - 1) + 1


def assert_each_example_is_in_one_step_and_no_step_is_empty(plan: BatchPlan, examples: int) -> None:
    for epoch in (0, 3):
        steps = steps_of(plan, epoch)
        assert all(len(step) > 0 for step in steps)
        assert sorted(np.concatenate(steps).tolist()) == list(range(examples))


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
    assert_each_example_is_in_one_step_and_no_step_is_empty(plan, len(tgt))


@settings(deadline=None, max_examples=100)
@given(
    st.lists(st.sampled_from([1, 2, 3, 4, 30]), min_size=150, max_size=400),
    st.booleans(),
    st.integers(1, 60),
    st.integers(1, 9),
    st.integers(0, 2**32 - 1),
)
def test_that_holds_in_a_corpus_of_several_groups(
    tgt: list[int], by_length: bool, batch_tokens: int, sort_window: int, seed: int
) -> None:
    ordered = np.array(sorted(tgt) if by_length else tgt)
    with small_groups():
        plan = make_plan(ordered, seed=seed, batch_tokens=batch_tokens, sort_window=sort_window)
        assert_each_example_is_in_one_step_and_no_step_is_empty(plan, len(tgt))


def test_a_step_can_be_asked_for_without_those_before_it() -> None:
    tgt = lengths(1, 500)
    walked = make_plan(tgt)
    for epoch in range(4):
        plan = walked.epoch(epoch)
    fresh = make_plan(tgt)
    assert np.array_equal(plan.step(5), fresh.epoch(3).step(5))


def test_a_step_of_any_group_can_be_asked_for_alone_and_in_any_order() -> None:
    tgt = lengths(1, 500, longest=6)
    with small_groups():
        plan = make_plan(tgt, batch_tokens=20)
        assert groups_in(plan) == 16
        steps = steps_of(plan, epoch=3)
        backwards = plan.epoch(3)
        for index in reversed(range(len(steps))):
            assert np.array_equal(steps[index], backwards.step(index))
        assert np.array_equal(steps[50], make_plan(tgt, batch_tokens=20).epoch(3).step(50))


def test_seed_and_epoch_change_the_order() -> None:
    tgt = lengths(2, 500)
    base = np.concatenate(steps_of(make_plan(tgt)))
    assert not np.array_equal(base, np.concatenate(steps_of(make_plan(tgt), epoch=1)))
    assert not np.array_equal(base, np.concatenate(steps_of(make_plan(tgt, seed=2))))


def test_seed_and_epoch_change_what_the_groups_hold() -> None:
    tgt = lengths(2, 500, longest=6)

    def groups(seed: int, epoch: int) -> list[list[int]]:
        with small_groups():
            return [blocks.tolist() for blocks in make_plan(tgt, seed=seed, batch_tokens=20).blocks(epoch)]

    assert groups(1, 0) == groups(1, 0)
    assert groups(1, 0) != groups(1, 1)
    assert groups(1, 0) != groups(2, 0)


def test_no_group_is_much_larger_than_the_others() -> None:
    tgt = lengths(2, 5000, longest=6)
    with small_groups():
        plan = make_plan(tgt, batch_tokens=20)
        sizes = [len(blocks) * plan_module.BLOCK_EXAMPLES for epoch in range(3) for blocks in plan.blocks(epoch)]
    assert groups_in(plan) == 157
    assert max(sizes) <= 2 * 32


def test_groups_are_as_large_as_updates_need_them() -> None:
    tgt = lengths(2, 500, longest=6)
    with small_groups():
        assert groups_in(make_plan(tgt, batch_tokens=int(tgt.sum()) // 9)) == 2
        assert groups_in(make_plan(tgt, batch_tokens=int(tgt.sum()))) == 1


@pytest.mark.parametrize("grouped", [False, True])
def test_steps_hold_about_batch_tokens(grouped: bool) -> None:
    tgt = lengths(3, 5000)
    with pytest.MonkeyPatch.context() as patch:
        if grouped:
            patch.setattr(plan_module, "GROUP_EXAMPLES", 1000)
            patch.setattr(plan_module, "BLOCK_EXAMPLES", 4)
        plan = make_plan(tgt, batch_tokens=512)
        tokens = [tgt[step].sum() for step in steps_of(plan)]
    assert groups_in(plan) == (5 if grouped else 1)
    assert np.mean(tokens) == pytest.approx(512, rel=0.01)
    assert max(tokens) <= 512 + 2 * 40


def test_one_steps_examples_are_of_like_length() -> None:
    tgt = lengths(4, 5000)
    sorted_spread = np.mean([np.ptp(tgt[step]) for step in steps_of(make_plan(tgt, sort_window=16))])
    unsorted_spread = np.mean([np.ptp(tgt[step]) for step in steps_of(make_plan(tgt, sort_window=1))])
    assert sorted_spread < unsorted_spread / 4


def planned_before_groups(
    src: np.ndarray, tgt: np.ndarray, *, seed: int, batch_tokens: int, sort_window: int, epoch: int
) -> list[np.ndarray]:
    """The updates of an epoch as they were planned when a plan had no groups."""
    total = int(tgt.sum())
    steps = max(1, total // max(batch_tokens, int(tgt.max())))

    def steps_of(order: np.ndarray) -> np.ndarray:
        return (np.cumsum(tgt[order]) - tgt[order]) * steps // total

    order = shuffled(len(tgt), seed, epoch, 1)
    order = order[np.lexsort((src[order], tgt[order], steps_of(order) // sort_window))]
    step_of = np.empty(steps, np.int64)
    step_of[shuffled(steps, seed, epoch, 2)] = np.arange(steps)
    step_of_each = step_of[steps_of(order)]
    together = np.argsort(step_of_each, kind="stable")
    return np.split(order[together], np.searchsorted(step_of_each[together], np.arange(1, steps)))


@pytest.mark.parametrize("examples", [1, 1023, 1024, 30_001])
def test_a_corpus_of_one_group_is_planned_as_it_was_before_there_were_groups(examples: int) -> None:
    src, tgt = lengths(5, examples), lengths(6, examples)
    plan = BatchPlan(src, tgt, seed=7, batch_tokens=768, sort_window=5)
    for epoch in (0, 2):
        before = planned_before_groups(src, tgt, seed=7, batch_tokens=768, sort_window=5, epoch=epoch)
        assert len(before) == plan.steps_per_epoch
        assert all(np.array_equal(*pair) for pair in zip(before, steps_of(plan, epoch), strict=True))


def test_the_plan_is_the_same_today_as_it_was_when_it_was_written() -> None:
    # A run that was begun by an older version goes on with the same updates: this order must never change.
    assert np.concatenate(steps_of(make_plan(np.arange(1, 13), batch_tokens=20), epoch=2)).tolist() == [
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


def test_the_plan_of_several_groups_is_the_same_today_as_it_was_when_it_was_written() -> None:
    tgt = np.arange(1, 101) % 5 + 1
    with small_groups():
        plan = make_plan(tgt, batch_tokens=12)
        assert groups_in(plan) == 4
        firsts = [plan.epoch(2).step(plan.first_step(group)).tolist() for group in range(4)]
    assert firsts == [[1, 51, 22, 2], [24, 14, 59, 15, 75, 80, 56, 26], [78, 43], [19, 99, 64, 4, 5, 96, 91]]
