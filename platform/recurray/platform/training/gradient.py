"""The gradient of a network as one tensor: added up, all-reduced, measured and scaled in one go each."""

import torch
import torch.distributed as dist
from torch import Tensor, nn

SUMS = 16
"""Numbers that are added up over the workers together with the gradient; that many, so that it stays aligned."""
_ALIGNMENT = 16


class Gradient:
    """A tensor that the gradients of all parameters are views of, with a few sums of the update behind them.

    Backward passes add to it, so that after all micro-batches of a worker it holds the worker's sum, and one all-reduce
    makes the update's of it. DistributedDataParallel would overlap that with the last backward pass, but could then not
    take a pass back that ran out of memory, and it costs a pass over the gradient of its own.

    Raises ValueError where the parameters are not of one type.
    """

    def __init__(self, network: nn.Module) -> None:
        self._parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
        kinds = {parameter.dtype for parameter in self._parameters}
        if len(kinds) != 1:
            raise ValueError(f"parameters of one type are needed, and these are of {sorted(map(str, kinds))}")
        begins, end = [], 0
        for parameter in self._parameters:
            begins.append(end)
            end += -(-parameter.numel() // _ALIGNMENT) * _ALIGNMENT
        self._both = self._parameters[0].new_zeros(end + SUMS)
        self._values, self.sums = self._both[:end], self._both[end:]
        for parameter, begin in zip(self._parameters, begins, strict=True):
            parameter.grad = self._values[begin : begin + parameter.numel()].view_as(parameter)

    def zero(self) -> None:
        """Starts an update, or starts it again: gradient and sums are 0."""
        self._both.zero_()

    def all_reduce(self) -> None:
        """Adds up gradients and sums over the workers; all of them take part, those without a share too."""
        dist.all_reduce(self._both)

    def norm(self) -> Tensor:
        """() its Euclidean norm."""
        norm: Tensor = torch.linalg.vector_norm(self._values)
        return norm

    def scale(self, factor: float) -> None:
        """Multiplies the gradient."""
        self._values.mul_(factor)
