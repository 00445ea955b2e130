"""Memory and time of one long document through a BiLSTM encoder, whole and in segments.

A document of so many source positions goes forward and backward through two BiLSTM layers of 512 units, on one thread.
What is counted is the peak of the process's resident memory above what it was before: states, gradients of states and
what the layers keep, with parameters and their gradients apart. Each variant runs in a process of its own.

    python -m tests.benchmarks.long_documents [POSITIONS] [ROUNDS] [SEGMENT ...]
"""

import json
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch

from recurray.models import DropoutKey, Padded
from recurray.models.blocks.block import cut_into_segments
from recurray.models.segments import Segments
from recurray.platform.config.model import ModelConfig
from recurray.platform.network import build_encoder

DIM = 512


def resident_mib(key: str) -> float:
    """A figure of this process, `VmRSS` or its peak `VmHWM`, in MiB."""
    found = re.search(rf"{key}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None  # the kernel always gives it
    return int(found[1]) / 1024


def measure(positions: int, segment: int | None) -> dict[str, float]:
    """Peak memory above the start in MiB, seconds, and the gradient's norm."""
    torch.set_num_threads(1)
    torch.manual_seed(1)
    config = ModelConfig.model_validate({"encoder": [{"kind": "lstm", "hidden_dim": DIM, "layers": 2}]})
    encoder = build_encoder(config.encoder, DIM, dropout=0.2)
    cut_into_segments(encoder, Segments(segment) if segment else None)
    factors_d = torch.linspace(-1, 1, 2 * DIM)

    def run(time_steps: int) -> torch.Tensor:
        values = torch.randn(1, time_steps, DIM, generator=torch.Generator().manual_seed(2)).requires_grad_()
        source = Padded(values, torch.tensor([time_steps]))
        (encoder(source, DropoutKey(1, 1, torch.tensor([3]))).values @ factors_d).sum().backward()
        assert values.grad is not None
        return values.grad

    run(256)  # so that the parameters' gradients are there
    encoder.zero_grad(set_to_none=False)
    Path("/proc/self/clear_refs").write_text("5")  # the peak is counted from here
    before, began = resident_mib("VmRSS"), time.perf_counter()
    gradient = run(positions)
    seconds = time.perf_counter() - began
    parameters = torch.cat(
        [parameter.grad.flatten() for parameter in encoder.parameters() if parameter.grad is not None]
    )
    return {
        "mib": resident_mib("VmHWM") - before,
        "process_mib": resident_mib("VmHWM"),
        "seconds": seconds,
        "input_gradient": float(gradient.double().norm()),
        "parameter_gradient": float(parameters.double().norm()),
    }


def in_a_process(positions: int, segment: int | None) -> dict[str, float]:
    """The same in a fresh process, whose memory nothing has touched."""
    command = [sys.executable, "-m", "tests.benchmarks.long_documents", "measure", str(positions), str(segment or 0)]
    found: dict[str, float] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return found


def main(positions: int, rounds: int, segments: list[int]) -> None:
    """Prints, for whole and for each length of segments, the medians over the rounds and their ratios to whole."""
    variants: list[int | None] = [None, *segments]
    runs = [{segment: in_a_process(positions, segment) for segment in variants} for _ in range(rounds)]
    print(f"{positions:,} positions, two BiLSTM layers of {DIM} units, one thread, {rounds} rounds")
    for segment in variants:
        mib, process, seconds = (
            statistics.median(run[segment][key] for run in runs) for key in ("mib", "process_mib", "seconds")
        )
        memory = statistics.median(run[segment]["mib"] / run[None]["mib"] for run in runs)
        pace = statistics.median(run[segment]["seconds"] / run[None]["seconds"] for run in runs)
        gradients = [
            abs(runs[0][segment][key] / runs[0][None][key] - 1) for key in ("input_gradient", "parameter_gradient")
        ]
        print(
            f"{f'segments of {segment}' if segment else 'whole':18} {mib:7,.0f} MiB (process {process:,.0f})  ratio "
            f"{memory:.3f}   {seconds:6.1f} s  ratio {pace:.2f}   gradient norms differ by {max(gradients):.1e}",
            flush=True,
        )


if __name__ == "__main__":
    if sys.argv[1:2] == ["measure"]:
        print(json.dumps(measure(int(sys.argv[2]), int(sys.argv[3]) or None)))
    else:
        numbers = [int(word) for word in sys.argv[1:]]
        main(*(numbers + [16_384, 3][len(numbers[:2]) :])[:2], numbers[2:] or [512, 1024, 2048])
