"""The precision that a training computes in: what the device must have for it, and what is computed in it."""

import torch
import torch.distributed as dist

from recurray.platform.config.training import Precision
from recurray.platform.errors import UserError


def check_precision(precision: Precision, device: torch.device) -> None:
    """UserError, on all workers alike, where a worker's GPU does not compute in bfloat16 and is to."""
    if precision == "float32":
        return
    lacks: list[str | None] = [None] * dist.get_world_size()
    dist.all_gather_object(lacks, _what_lacks_bfloat16(device))
    name = next(filter(None, lacks), None)
    if name is not None:
        raise UserError(
            f"training.precision=bfloat16 needs GPUs that compute in it, of NVIDIA's Ampere generation or later, and "
            f"{name} does not; set training.precision=float32."
        )


def computing_in(precision: Precision, device: torch.device) -> torch.autocast:
    """A context for forward passes; gradients come out in the parameters' own precision whatever it is."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")


def _what_lacks_bfloat16(device: torch.device) -> str | None:
    """The GPU's name, if it only imitates bfloat16 or knows none of it; every CPU can compute in it, if slowly."""
    if device.type != "cuda" or torch.cuda.is_bf16_supported(including_emulation=False):
        return None
    return torch.cuda.get_device_name(device)
