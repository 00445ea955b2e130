import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from recurray.platform.data.dealing import deal, padded_tokens


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
    shares = deal(np.arange(len(pairs)), src, tgt, workers=workers, micro_batch_tokens=micro_batch_tokens)
    micro_batches = [part for share in shares for part in share]
    assert sorted(np.concatenate(micro_batches).tolist()) == list(range(len(pairs)))
    assert len(shares) == workers
    for part in micro_batches:
        assert padded_tokens(part, src, tgt) <= micro_batch_tokens or len(part) == 1


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
    work = [sum(padded_tokens(part, src, tgt) for part in share) for share in shares]
    assert max(work) < 1.2 * min(work)
