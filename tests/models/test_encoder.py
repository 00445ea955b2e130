"""Cascades and columns: their equations on each sequence alone, and that padding's content is never read."""

from collections.abc import Callable, Sequence

import pytest
import torch
from tests.models import equations
from tests.models.samples import (
    alone,
    assert_computes,
    assert_same,
    own,
    passes_gradcheck,
    random_sequences,
    randomized,
    with_gradients,
)
from torch import Tensor

from recurray.models import DropoutKey, Padded
from recurray.models.blocks.block import Block
from recurray.models.blocks.pyramid import PyramidBlock
from recurray.models.blocks.recurrent import RecurrentBlock
from recurray.models.blocks.transformer import TransformerBlock
from recurray.models.cells.gru import GRU
from recurray.models.cells.lstm import LSTM
from recurray.models.encoder import Cascade, MultiColumn

DIM, HIDDEN = 8, 3
LENGTHS, UNPADDED = [7, 2, 5, 1], [5, 5]
Equation = Callable[..., Tensor]


def lstm(input_dim: int, place: str = "encoder.0", dropout: float = 0.0) -> tuple[Block, Equation]:
    return recurrent(LSTM, input_dim, place, dropout)


def gru(input_dim: int, place: str = "encoder.0", dropout: float = 0.0) -> tuple[Block, Equation]:
    return recurrent(GRU, input_dim, place, dropout)


def recurrent(cell: type[LSTM | GRU], input_dim: int, place: str, dropout: float) -> tuple[Block, Equation]:
    block = RecurrentBlock(
        input_dim,
        cell=cell,
        hidden_dim=HIDDEN,
        layers=2,
        bidirectional=True,
        residual=True,
        dropout=dropout,
        place=place,
    )
    return block, lambda block, states_td: equations.recurrent_block(block, states_td, hidden_dim=HIDDEN)


def transformer(input_dim: int, place: str = "encoder.0", dropout: float = 0.0) -> tuple[Block, Equation]:
    block = TransformerBlock(
        input_dim,
        layers=1,
        heads=1,
        feed_forward_dim=5,
        positions="sinusoidal",
        window=2,
        dropout=dropout,
        place=place,
    )
    return block, lambda block, states_td: equations.transformer_block(
        block, states_td, heads=1, positions="sinusoidal", window=2
    )


def pyramid(input_dim: int, place: str = "encoder.0", dropout: float = 0.0) -> tuple[Block, Equation]:
    block = PyramidBlock(input_dim, factor=2, dropout=dropout, place=place)
    return block, lambda block, states_td: equations.pyramid_block(block, states_td, factor=2)


def cascade(*kinds: Callable[..., tuple[Block, Equation]], dropout: float = 0.0) -> tuple[Block, Equation]:
    built: list[tuple[Block, Equation]] = []
    for index, kind in enumerate(kinds):
        input_dim = built[-1][0].output_dim if built else DIM
        built.append(kind(input_dim, f"encoder.{index}", dropout))

    def equation(whole: Cascade, states_td: Tensor) -> Tensor:
        for block, (_, written_out) in zip(whole.blocks, built, strict=True):
            states_td = written_out(block, states_td)
        return states_td

    return Cascade([block for block, _ in built]), equation


def columns(merge: str, dropout: float = 0.0) -> tuple[Block, Equation]:
    """A Transformer over an LSTM beside a GRU and a single Transformer: 6, 6 and 8 units."""
    built = [
        cascade(lstm, transformer, dropout=dropout),
        gru(DIM, "encoder.1", dropout),
        transformer(DIM, "encoder.2", dropout),
    ]

    def equation(whole: MultiColumn, states_td: Tensor) -> Tensor:
        found = [written_out(column, states_td) for column, (_, written_out) in zip(whole.columns, built, strict=True)]
        return equations.gate(whole, found) if merge == "gate" else torch.cat(found, dim=-1)

    return MultiColumn([column for column, _ in built], merge), equation


def over_columns(dropout: float = 0.0) -> tuple[Block, Equation]:
    """An LSTM over columns that are merged by a gate."""
    merged, equation = columns("gate", dropout)
    top, top_equation = lstm(merged.output_dim, "encoder.top", dropout)
    return Cascade([merged, top]), lambda whole, states_td: top_equation(
        whole.blocks[1], equation(whole.blocks[0], states_td)
    )


ENCODERS: dict[str, tuple[Callable[..., tuple[Block, Equation]], int]] = {
    "lstm": (lambda dropout=0.0: cascade(lstm, dropout=dropout), 6),
    "transformer over lstm": (lambda dropout=0.0: cascade(lstm, transformer, dropout=dropout), 6),
    "lstm over transformer": (lambda dropout=0.0: cascade(transformer, lstm, dropout=dropout), 6),
    "pyramid of gru": (lambda dropout=0.0: cascade(gru, pyramid, gru, pyramid, lstm, dropout=dropout), 6),
    "concatenate": (lambda dropout=0.0: columns("concatenate", dropout), 20),
    "gate": (lambda dropout=0.0: columns("gate", dropout), 6),
    "lstm over columns": (over_columns, 6),
}
every_encoder = pytest.mark.parametrize("name", ENCODERS)


def build(name: str, dropout: float = 0.0) -> tuple[Block, Equation]:
    torch.manual_seed(0)
    encoder, equation = ENCODERS[name][0](dropout=dropout)
    return randomized(encoder), equation


def batch(lengths: Sequence[int] = LENGTHS) -> Padded:
    return random_sequences(lengths, DIM)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("lengths", [LENGTHS, UNPADDED])
@every_encoder
def test_an_encoder_computes_its_equations_on_each_sequence_alone(
    name: str, lengths: list[int], dtype: torch.dtype
) -> None:
    encoder, equation = build(name)
    states = batch(lengths)

    def ours(encoder: Block, values_btd: Tensor) -> list[Tensor]:
        return own(encoder(states.with_values(values_btd).zeroed(), None))

    def written_out(encoder: Block, values_btd: Tensor) -> list[Tensor]:
        return [equation(encoder, states_td) for states_td in own(states.with_values(values_btd))]

    assert_computes(ours, written_out, encoder, [states.values], dtype)


@every_encoder
def test_states_are_as_wide_as_the_encoder_says_and_zero_at_padding(name: str) -> None:
    encoder, _ = build(name)
    found = encoder(batch().zeroed(), None)
    assert found.values.shape == (len(LENGTHS), int(found.lengths.max()), encoder.output_dim)
    assert encoder.output_dim == ENCODERS[name][1]
    assert not found.values[~found.mask_bt].any()


@pytest.mark.parametrize(
    "name", ["transformer over lstm", "lstm over transformer", "pyramid of gru", "lstm over columns"]
)
def test_a_cascade_never_reads_what_stands_at_padding_with_dropout_on(name: str) -> None:
    encoder, _ = build(name, dropout=0.3)
    encoder, states, results = encoder.double(), batch(), []
    key = DropoutKey(seed=5, step=17, examples=torch.tensor([11, 3, 1000, 7]))
    for padding in (0.0, 1e4, float("nan")):
        values = states.values.double().masked_fill(~states.mask_bt[:, :, None], padding).requires_grad_()
        found = encoder(states.with_values(values), key)
        outputs, *gradients = with_gradients([found.values], [values, *encoder.parameters()])
        assert not gradients[0][~states.mask_bt].any()
        results.append([outputs, *gradients])
    assert_same(results[1], results[0])
    assert_same(results[2], results[0])


@every_encoder
def test_with_dropout_a_sequence_gives_the_same_states_and_gradients_alone_and_in_a_batch(name: str) -> None:
    encoder, _ = build(name, dropout=0.3)
    encoder, numbers = encoder.double(), torch.tensor([11, 3, 1000, 7])
    values = batch().values.double().requires_grad_()
    states = batch().with_values(values).zeroed()
    together = own(encoder(states, DropoutKey(5, 17, numbers)))
    apart = [
        encoder(alone(states, row), DropoutKey(5, 17, numbers[row : row + 1])).values[0] for row in range(len(LENGTHS))
    ]
    of = [values, *encoder.parameters()]
    assert_same(with_gradients(together, of), with_gradients(apart, of))


def test_gradients_of_a_gate_pass_the_numerical_check() -> None:
    columns = [PyramidBlock(2, factor=2, dropout=0.0, place=f"encoder.{index}") for index in range(2)]
    encoder, states = randomized(MultiColumn(columns, "gate")).double(), random_sequences([3, 1], 2)
    values = states.values.double().requires_grad_()
    assert passes_gradcheck(
        lambda: encoder(states.with_values(values).zeroed(), None).values, [values, *encoder.parameters()]
    )


def test_a_gate_gives_each_unit_a_share_of_one_of_every_column() -> None:
    encoder, _ = build("gate")
    with torch.no_grad():
        encoder.merge.weigh.weight.zero_()
        encoder.merge.weigh.bias.zero_()
        encoder.merge.weigh.bias.view(3, -1)[1] = 50.0
    states = batch().zeroed()
    second = encoder.merge.resize[1](encoder.columns[1](states, None).values)
    assert_same([encoder(states, None).values], [second], tolerance=1e-5)
