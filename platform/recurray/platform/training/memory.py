"""Running out of memory, as PyTorch tells of it."""

import torch

_SIGNS = ("can't allocate memory", "bad_alloc", "out of memory")


def is_out_of_memory(fault: BaseException) -> bool:
    """Whether an error means that the device or the machine had no memory left.

    On CUDA there is a type for it. On a CPU it is a RuntimeError of the allocator, or whatever a library beneath
    made of its own.
    """
    if isinstance(fault, (MemoryError, torch.OutOfMemoryError)):
        return True
    return isinstance(fault, RuntimeError) and any(sign in str(fault) for sign in _SIGNS)
