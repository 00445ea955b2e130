"""What one worker finds, all of them hear: so that they go on alike, or end alike."""

from collections.abc import Callable
from typing import Any, TypeVar

import torch.distributed as dist

from recurray.platform.errors import UserError

Found = TypeVar("Found")


def from_rank_0(find: Callable[[], Found]) -> Found:
    """What `find` returns on rank 0, on every worker; where it raises UserError, all of them do.

    A worker alone that ended with a user's mistake would leave the others waiting, and Ray would start all again.
    """
    found: list[Any] = [None]
    if dist.get_rank() == 0:
        try:
            found = [find()]
        except UserError as mistake:
            found = [mistake]
    dist.broadcast_object_list(found, src=0)
    if isinstance(found[0], UserError):
        raise found[0]
    result: Found = found[0]
    return result
