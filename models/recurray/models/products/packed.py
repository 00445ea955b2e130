"""Weights in single precision, packed once in the order in which oneDNN reads them.

PyTorch's own products of floats go through MKL, which has no kernel for AVX-512 on processors that are not Intel's:
there oneDNN's are more than twice as fast, and for a few rows packed weights are some times faster on any.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

has_kernels: Callable[[], bool] = torch.backends.mkldnn.is_available
"""Whether this build of PyTorch has oneDNN."""

_ROWS = 256
"""Rows of a product that the packed order is chosen for; any number may come."""


class PackedLinear(nn.Module):
    """y = W x + b: (…, in) → (…, out), on a CPU, for search alone: no gradient goes through it.

    `weight_oi` (out, in), `bias_o` (out,) or none, both in single precision.
    """

    def __init__(self, weight_oi: Tensor, bias_o: Tensor | None) -> None:
        super().__init__()
        self._weight = torch.ops.mkldnn._reorder_linear_weight(weight_oi.detach(), _ROWS)
        self._bias_o = None if bias_o is None else bias_o.detach()

    def forward(self, values: Tensor) -> Tensor:
        """Any rows."""
        outputs: Tensor = torch.ops.mkldnn._linear_pointwise(values, self._weight, self._bias_o, "none", [], "")
        return outputs
