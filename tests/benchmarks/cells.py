"""Training speed of cells and of bidirectional layers, against PyTorch's own: forward and backward, in fp32.

What is compared runs in turn and the ratio is taken round by round, since the speed of a shared machine drifts. On one
thread the time is the process's CPU time, which neighbours disturb less. The batch is 64 sequences of up to 30
positions, 77 % of which are no padding; 512 units in, 512 units a direction.

    python -m tests.benchmarks.cells [ROUNDS]
"""

import statistics
import sys
import time
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from recurray.models.blocks.recurrent import Bidirectional
from recurray.models.cells.lstm import LSTM
from recurray.models.dropout import HashedDropout
from recurray.models.padded import Padded
from recurray.models.registry import CELLS

BATCH, TIME, UNITS = 64, 30, 512

Run = Callable[[], Tensor]
"""A forward pass, which gives (B, T, any)."""


def padded_batch(device: torch.device) -> Padded:
    """Sequences of lengths from 16 to 30 in no order."""
    torch.manual_seed(1)
    lengths = torch.linspace(16.4, TIME, BATCH).round().long()[torch.randperm(BATCH)].to(device)
    return Padded(torch.randn(BATCH, TIME, UNITS, device=device, requires_grad=True), lengths)


def now() -> float:
    """Seconds, once all work that a GPU has been given is done."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.process_time() if torch.get_num_threads() == 1 else time.perf_counter()


def seconds(forward: Run) -> float:
    """The time of a forward and a backward pass."""
    began = now()
    outputs = forward()
    outputs.backward(torch.ones_like(outputs))
    return now() - began


def outputs_of(cell: nn.Module, batch: Padded) -> Tensor:
    """A cell's outputs, or those of PyTorch's module, which it gives beside its last state."""
    outputs: Tensor = cell(batch.values)[0]
    return outputs


def compare(title: str, aim: float, ours: Run, theirs: Run, rounds: int) -> None:
    """Prints the medians of both times and of the ratio of each round."""
    times = []
    for turn in range(rounds + 2):
        pair = (seconds(ours), seconds(theirs)) if turn % 2 else (seconds(theirs), seconds(ours))[::-1]
        times.append(pair)
    ours_ms, theirs_ms = (1000 * statistics.median(column) for column in zip(*times[2:], strict=True))
    ratio = statistics.median(a / b for a, b in times[2:])
    print(f"{title:52} {ours_ms:8.1f} ms {theirs_ms:8.1f} ms  ratio {ratio:.2f} (aim: at most {aim})", flush=True)


def cell_against_bare_lstm(batch: Padded, rounds: int) -> None:
    """What the cell adds to the kernel that it runs on."""
    cell = LSTM(UNITS, UNITS).to(batch.values.device)
    bare = nn.LSTM(UNITS, UNITS, batch_first=True).to(batch.values.device)
    ours, theirs = partial(outputs_of, cell, batch), partial(outputs_of, bare, batch)
    compare("LSTM against torch.nn.LSTM", 1.05, ours, theirs, rounds)


def bidirectional_against_packed(batch: Padded, rounds: int) -> None:
    """Reversing by length against packing, on the same padded batch."""
    layer = Bidirectional(LSTM, UNITS, UNITS, HashedDropout(0.0, "")).to(batch.values.device)
    twin = nn.LSTM(UNITS, UNITS, batch_first=True, bidirectional=True).to(batch.values.device)
    lengths = batch.lengths.cpu()

    def packed() -> Tensor:
        sequences = pack_padded_sequence(batch.values, lengths, batch_first=True, enforce_sorted=False)
        return pad_packed_sequence(twin(sequences)[0], batch_first=True)[0]

    compare("Bidirectional(LSTM) against packed torch.nn.LSTM", 0.85, lambda: layer(batch).values, packed, rounds)


def cells_against_lstm(batch: Padded, rounds: int) -> None:
    """Each other cell against the LSTM."""
    lstm = LSTM(UNITS, UNITS).to(batch.values.device)
    for name in ("rnn", "gru", "peephole", "lnlstm"):
        cell = CELLS[name](UNITS, UNITS).to(batch.values.device)
        ours, theirs = partial(outputs_of, cell, batch), partial(outputs_of, lstm, batch)
        compare(f"{name} against LSTM", 1.6, ours, theirs, rounds)


def main(rounds: int) -> None:
    """Runs all comparisons on one thread, on two, and on a GPU if there is one."""
    places = [("cpu", 1), ("cpu", 2), *([("cuda", 2)] if torch.cuda.is_available() else [])]
    for device, threads in places:
        torch.set_num_threads(threads)
        batch = padded_batch(torch.device(device))
        print(f"{device}, {threads} threads, fill {float(batch.mask_bt.float().mean()):.2f}")
        for comparison in (cell_against_bare_lstm, bidirectional_against_packed, cells_against_lstm):
            comparison(batch, rounds)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 15)
