"""Memory that a process frees and soon needs again: kept at hand."""

import ctypes

_KEPT_BYTES = {-1: 2**30, -2: 2**26, -3: 2**30}
"""By `mallopt`'s parameters, as glibc's malloc.h has them: M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD."""


def keep_freed_memory() -> None:
    """Has this process keep up to a GiB of freed memory at hand, where its C library is glibc.

    Each update of a training, and each step of a search, frees what the next one needs. By itself glibc gives large
    pieces back to the system at once, which then zeroes as many pages for the next.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for parameter, size in _KEPT_BYTES.items():
            mallopt(parameter, size)
