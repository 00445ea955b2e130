"""The products that search makes on a CPU: PyTorch's own, of packed weights, and of 8 bits, by rows, on one thread.

python -m tests.benchmarks.products
"""

import statistics
import time

import torch
from torch import Tensor, nn

from recurray.models.products.int8 import Int8Linear
from recurray.models.products.packed import PackedLinear
from recurray.platform.freed_memory import keep_freed_memory

SHAPES = ((256, 1024), (768, 1024), (256, 4000))
"""Inputs and outputs: an LSTM's of the demo's decoder, another with the context, and its vocabulary."""
ROWS = (1, 8, 64, 512)
REPEATS = 50
OWN = "PyTorch's"


def milliseconds(product: nn.Module, values: Tensor) -> float:
    """The median of many calls."""
    times = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        product(values)
        times.append(time.perf_counter() - began)
    return 1e3 * statistics.median(times)


@torch.inference_mode()
def main() -> None:
    """Prints a line for each shape and number of rows."""
    torch.set_num_threads(1)
    keep_freed_memory()
    for inputs, outputs in SHAPES:
        linear = nn.Linear(inputs, outputs)
        products = {
            OWN: linear,
            "packed": PackedLinear(linear.weight, linear.bias),
            "8 bits": Int8Linear(linear.weight, linear.bias),
        }
        for rows in ROWS:
            values = torch.randn(rows, inputs)
            took = {name: milliseconds(product, values) for name, product in products.items()}
            speeds = "  ".join(f"{name} {each:.3f} ms" for name, each in took.items())
            print(f"{inputs} to {outputs}, {rows} rows: {speeds}; packed {took[OWN] / took['packed']:.2f} times")


if __name__ == "__main__":
    main()
