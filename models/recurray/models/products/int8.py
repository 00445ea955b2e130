"""Weights of 8 bits: four times less memory to read, and products of integers.

Weights are rounded once, with a scale for each output; inputs at each call, with a scale for each row, so that what a
row gives does not hang on the rows beside it (PyTorch's dynamic quantization has one scale for the whole batch). Sums
of products of integers are exact.
"""

import torch
from torch import Tensor, nn

LEVELS = 127
"""The largest integer that a number is rounded to."""


class Int8Linear(nn.Module):
    """y = W x + b with W and x rounded to 8 bits: (…, in) → (…, out), in single precision.

    `weight_oi` (out, in), `bias_o` (out,) or none.
    """

    def __init__(self, weight_oi: Tensor, bias_o: Tensor | None) -> None:
        super().__init__()
        rounded_oi, scales_o1 = _rounded(weight_oi.detach().float())
        self.weight_oi = nn.Buffer(rounded_oi)
        self.scales_o = nn.Buffer(scales_o1[:, 0])
        self.bias_o = nn.Buffer(torch.zeros(len(weight_oi)) if bias_o is None else bias_o.detach().float())

    def forward(self, values: Tensor) -> Tensor:
        """Any rows."""
        rows_ni, scales_n1 = _rounded(values.flatten(0, -2))
        sums_no = torch._int_mm(rows_ni, self.weight_oi.t()).float()  # its own pass: faster than a product of two types
        outputs_no = sums_no.mul_(scales_n1).mul_(self.scales_o).add_(self.bias_o)
        return outputs_no.view(*values.shape[:-1], -1)


def _rounded(rows: Tensor) -> tuple[Tensor, Tensor]:
    """(N, D) → int8, and (N, 1) the scales to multiply it with."""
    scales_n1 = rows.abs().amax(dim=1, keepdim=True).clamp_min(torch.finfo(torch.float32).tiny) / LEVELS
    return (rows / scales_n1).round_().to(torch.int8), scales_n1
