import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from recurray.platform.data.dealing import MicroBatch, deal


def parts_of(shares: list[list[MicroBatch]]) -> list[MicroBatch]:
    return [part for share in shares for part in share]


def work_of(shares: list[list[MicroBatch]]) -> list[int]:
    return [sum(part.cost for part in share) for share in shares]


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.integers(1, 90), st.integers(1, 90)), min_size=1, max_size=80),
    st.integers(1, 5),
    st.integers(1, 900),
)
def test_every_example_is_dealt_once_and_no_micro_batch_is_too_large(
    pairs: list[tuple[int, int]], workers: int, micro_batch_tokens: int
) -> None:
    src, tgt = np.array(pairs).T
    first = 1000
    examples = np.arange(first, first + len(pairs))
    shares = deal(examples, src, tgt, workers=workers, micro_batch_tokens=micro_batch_tokens)
    assert sorted(np.concatenate([part.examples for part in parts_of(shares)]).tolist()) == examples.tolist()
    assert len(shares) == workers
    for part in parts_of(shares):
        rows = part.examples - first
        assert (part.src_length, part.tgt_length) == (src[rows].max(), tgt[rows].max())
        assert part.cost == len(rows) * (part.src_length + part.tgt_length)
        assert part.cost <= micro_batch_tokens or len(rows) == 1


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=1, max_size=80), st.integers(1, 200))
def test_one_worker_takes_as_few_micro_batches_as_hold_them(pairs: list[tuple[int, int]], bound: int) -> None:
    src, tgt = np.array(pairs).T
    (share,) = deal(np.arange(len(pairs)), src, tgt, workers=1, micro_batch_tokens=bound)
    rows = np.lexsort((src, tgt))
    fewest, begin = 0, 0
    while begin < len(rows):  # as many rows as fit, one after another
        end = begin + 1
        while end < len(rows) and (end + 1 - begin) * (src[rows[begin : end + 1]].max() + tgt[rows[end]]) <= bound:
            end += 1
        fewest, begin = fewest + 1, end
    assert len(share) == fewest


def test_each_worker_has_as_many_micro_batches_as_the_others() -> None:
    shares = deal(np.arange(70), np.full(70, 5), np.full(70, 5), workers=3, micro_batch_tokens=100)
    assert [len(share) for share in shares] == [3, 3, 3]  # 7 would hold them


def test_a_thousand_workers_have_even_work() -> None:
    random = np.random.default_rng(6)
    src, tgt = random.integers(3, 60, (2, 60_000))
    work = work_of(deal(np.arange(60_000), src, tgt, workers=1024, micro_batch_tokens=8192))
    assert len(work) == 1024
    assert max(work) < 1.05 * np.mean(work)


def test_each_worker_has_work_where_there_is_enough() -> None:
    shares = deal(np.arange(4), np.full(4, 9), np.full(4, 9), workers=4, micro_batch_tokens=10_000)
    assert [len(share) for share in shares] == [1, 1, 1, 1]


def test_a_worker_too_many_has_none() -> None:
    shares = deal(np.arange(2), np.full(2, 9), np.full(2, 9), workers=3, micro_batch_tokens=10_000)
    assert sorted(len(share) for share in shares) == [0, 1, 1]


def test_work_is_even_between_workers() -> None:
    random = np.random.default_rng(5)
    src, tgt = random.integers(3, 60, (2, 400))
    shares = deal(np.arange(400), src, tgt, workers=4, micro_batch_tokens=1024)
    work = work_of(shares)
    assert max(work) < 1.2 * min(work)
