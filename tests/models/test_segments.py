"""Long inputs in segments: the whole sequence's states and gradients; truncation as its definition says."""

from typing import Any

import pytest
import torch
from tests.benchmarks.long_documents import in_a_process
from torch import Tensor

from recurray.models import DropoutKey
from recurray.models.blocks.block import Block, cut_into_segments
from recurray.models.cells.cell import Cell
from recurray.models.padded import Padded
from recurray.models.registry import CELLS
from recurray.models.segments import Segments
from recurray.platform.config.model import ModelConfig
from recurray.platform.network import build_encoder

DIM, LENGTHS = 8, [29, 4, 17, 1]
LSTM = {"kind": "lstm", "hidden_dim": 4, "layers": 2}
WINDOWED = {"kind": "transformer", "layers": 2, "heads": 2, "feed_forward_dim": 16, "window": 3}
ENCODERS: dict[str, list[dict[str, Any]]] = {
    **{kind: [LSTM | {"kind": kind}] for kind in ("lstm", "gru", "rnn", "peephole", "lnlstm")},
    "one direction": [LSTM | {"bidirectional": False, "residual": True}],
    "residual": [LSTM | {"layers": 3, "residual": True}],
    "windowed transformer": [WINDOWED],
    "sinusoidal transformer": [WINDOWED | {"positions": "sinusoidal"}],
    "transformer without a window": [WINDOWED | {"window": None}],
    "windows over lstm": [LSTM, WINDOWED | {"positions": "none"}],
    "lstm over windows": [WINDOWED, LSTM],
    "columns": [{"kind": "columns", "columns": [[LSTM], [WINDOWED]], "merge": "gate"}],
    "pyramid": [LSTM, {"kind": "pyramid", "factor": 2}, LSTM],
}


def encoder_of(blocks: list[dict[str, Any]], dtype: torch.dtype) -> Block:
    torch.manual_seed(1)
    config = ModelConfig.model_validate({"encoder": blocks})
    return build_encoder(config.encoder, DIM, dropout=0.3).to(dtype)


def states_and_gradients(encoder: Block, segments: Segments | None, dtype: torch.dtype) -> list[Tensor]:
    torch.manual_seed(2)
    values = torch.randn(len(LENGTHS), max(LENGTHS), DIM, dtype=dtype).requires_grad_()
    cut_into_segments(encoder, segments)
    states = encoder(Padded(values, torch.tensor(LENGTHS)), DropoutKey(1, 5, torch.tensor([3, 0, 9, 4])))
    loss = (states.values * torch.randn(states.values.shape, dtype=dtype)).sum()
    return [states.values, *torch.autograd.grad(loss, [values, *encoder.parameters()])]


def relative_difference(one: Tensor, other: Tensor) -> float:
    return float((one - other).detach().abs().max() / other.detach().abs().max())


@pytest.mark.parametrize("length", [1, 5, 16, 28])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
@pytest.mark.parametrize("name", ENCODERS)
def test_segments_of_any_length_give_the_whole_sequences_states_and_gradients(
    name: str, dtype: torch.dtype, tolerance: float, length: int
) -> None:
    encoder = encoder_of(ENCODERS[name], dtype)
    whole = states_and_gradients(encoder, None, dtype)
    in_segments = states_and_gradients(encoder, Segments(length), dtype)
    assert max(relative_difference(a, b) for a, b in zip(in_segments, whole, strict=True)) <= tolerance


def truncated_by_definition(cell: Cell, values_btd: Tensor, steps: int) -> Tensor:
    """The cell's outputs, with the state cut out of the graph after every so many steps."""
    state, outputs = cell.zeros(values_btd), []
    for time, values_bd in enumerate(values_btd.unbind(dim=1)):
        if time % steps == 0:
            state = tuple(part.detach() for part in state)
        state = cell.step(values_bd, state)
        outputs.append(state[0])
    return torch.stack(outputs, dim=1)


@pytest.mark.parametrize("length", [2, 6, 100])
@pytest.mark.parametrize("kind", ["lstm", "gru", "rnn", "peephole", "lnlstm"])
def test_truncation_cuts_the_gradient_where_its_definition_does_whatever_the_segments(kind: str, length: int) -> None:
    torch.manual_seed(1)
    config = ModelConfig.model_validate({"encoder": [{"kind": kind, "hidden_dim": 4, "bidirectional": False}]})
    encoder = build_encoder(config.encoder, DIM, dropout=0.0).double()
    cell = next(module for module in encoder.modules() if isinstance(module, CELLS[kind]))
    values = torch.randn(2, 23, DIM, dtype=torch.float64).requires_grad_()
    factors = torch.randn(2, 23, 4, dtype=torch.float64)
    cut_into_segments(encoder, Segments(length, truncation=7))
    ours = encoder(Padded(values, torch.tensor([23, 23])), None).values
    expected = truncated_by_definition(cell, values, steps=7)
    assert relative_difference(ours, expected) <= 1e-10
    of = [values, *cell.parameters()]
    pairs = zip(
        torch.autograd.grad((ours * factors).sum(), of),
        torch.autograd.grad((expected * factors).sum(), of),
        strict=True,
    )
    assert max(relative_difference(one, other) for one, other in pairs) <= 1e-10


def test_truncation_goes_by_a_sequences_own_positions_and_not_by_its_batch() -> None:
    encoder = encoder_of([LSTM], torch.float64)
    cut_into_segments(encoder, Segments(100, truncation=5))
    values = torch.randn(2, 31, DIM, dtype=torch.float64)

    def gradient(rows: list[int], lengths: list[int]) -> Tensor:
        own = values[rows, : max(lengths)].requires_grad_()
        encoder(Padded(own, torch.tensor(lengths)), None).values[-1].square().sum().backward()
        assert own.grad is not None
        return own.grad[-1, : lengths[-1]]

    assert relative_difference(gradient([0, 1], [31, 13]), gradient([1], [13])) <= 1e-10


@pytest.mark.slow
def test_segments_hold_a_long_documents_memory_below_a_third() -> None:
    whole, in_segments = (in_a_process(8_192, segment) for segment in (None, 512))
    print(f"{in_segments['mib']:.0f} MiB in segments, {whole['mib']:.0f} MiB whole")
    assert in_segments["mib"] < whole["mib"] / 3
    for key in ("input_gradient", "parameter_gradient"):
        assert in_segments[key] == pytest.approx(whole[key], rel=1e-5)
