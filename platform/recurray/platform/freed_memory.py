"""Memory that a process frees and soon needs again: kept at hand."""

import ctypes

KEPT_BYTES = {"TRIM_THRESHOLD": 2**30, "TOP_PAD": 2**26, "MMAP_THRESHOLD": 2**30}
"""By the names of glibc's parameters, which are `M_NAME` of `mallopt` and `MALLOC_NAME_` in the environment."""

_PARAMETERS = {"TRIM_THRESHOLD": -1, "TOP_PAD": -2, "MMAP_THRESHOLD": -3}
"""As its malloc.h numbers them."""


def keep_freed_memory() -> None:
    """Has this process keep up to a GiB of freed memory at hand, where its C library is glibc.

    Each update of a training, and each step of a search, frees what the next one needs. By itself glibc gives large
    pieces back to the system at once, which then zeroes as many pages for the next.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for name, size in KEPT_BYTES.items():
            mallopt(_PARAMETERS[name], size)
