"""Memory of a training: kept from one update to the next, and running out of it, as PyTorch tells of it."""

import ctypes

import torch

_KEPT_BYTES = {-1: 2**30, -2: 2**26, -3: 2**30}
"""By `mallopt`'s parameters, as glibc's malloc.h has them: M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD."""

_SIGNS = ("can't allocate memory", "bad_alloc", "out of memory")


def is_out_of_memory(fault: BaseException) -> bool:
    """Whether an error means that the device or the machine had no memory left.

    On CUDA there is a type for it. On a CPU it is a RuntimeError of the allocator, or whatever a library beneath
    made of its own.
    """
    if isinstance(fault, (MemoryError, torch.OutOfMemoryError)):
        return True
    return isinstance(fault, RuntimeError) and any(sign in str(fault) for sign in _SIGNS)


def keep_freed_memory() -> None:
    """Has this process keep up to a GiB of freed memory at hand, where its C library is glibc.

    Each update frees what the next one needs. By itself glibc gives large pieces back to the system at once, which then
    zeroes as many pages for the next update.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for parameter, size in _KEPT_BYTES.items():
            mallopt(parameter, size)
