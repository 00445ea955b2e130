"""Decoders: their equations for each pair alone, and that search's steps are teacher forcing piece by piece."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
import torch
from tests.models import equations
from tests.models.samples import assert_computes, assert_same, own, random_sequences, randomized, with_gradients
from torch import Tensor

from recurray.models import DropoutKey, Padded
from recurray.models.attention.additive import AdditiveAttention, CoverageAttention
from recurray.models.attention.attention import Attended, Attention
from recurray.models.attention.dot import GeneralAttention
from recurray.models.attention.local import LocalAttention
from recurray.models.attention.multi_head import MultiHeadAttention
from recurray.models.decoders.decoder import Decoded, Decoder, DecoderState
from recurray.models.decoders.recurrent import RecurrentDecoder
from recurray.models.decoders.transformer import TransformerDecoder
from recurray.models.dropout import HashedDropout
from recurray.models.registry import CELLS

INPUT_DIM, MEMORY_DIM, HIDDEN, HEADS, WINDOW = 8, 6, 5, 2, 1
LENGTHS, UNPADDED, TARGETS, HYPOTHESES = [6, 2, 4, 1], [5, 5], 4, 3
WRITTEN_OUT = ["lstm", "gru"]
"""Cells that the equations have; the others are held to their own in test_cells.py."""


@dataclass(frozen=True)
class Shape:
    """A decoder of these tests."""

    cell: str
    """A cell, or transformer."""
    layers: int
    attention: str = "multi_head"
    input_feeding: bool = False

    def __str__(self) -> str:
        return f"{self.cell} {self.layers} {self.attention}{' fed' * self.input_feeding}"


SHAPES = [
    *(Shape(cell, layers, input_feeding=fed) for cell in WRITTEN_OUT for layers in (1, 2, 3) for fed in (False, True)),
    Shape("lstm", 2, "coverage"),
    Shape("gru", 3, "coverage", input_feeding=True),
    Shape("lstm", 1, "coverage", input_feeding=True),
    Shape("lstm", 2, "additive"),
    Shape("gru", 2, "local general", input_feeding=True),
    Shape("transformer", 1),
    Shape("transformer", 2),
    Shape("transformer", 2, "additive"),
    Shape("transformer", 1, "local multi_head"),
]
OTHER_CELLS = [Shape("rnn", 2), Shape("peephole", 2), Shape("lnlstm", 1, input_feeding=True)]
every_decoder = pytest.mark.parametrize("shape", [*SHAPES, *OTHER_CELLS], ids=str)
KINDS: dict[str, type[Attention]] = {
    "additive": AdditiveAttention,
    "coverage": CoverageAttention,
    "general": GeneralAttention,
    "multi_head": MultiHeadAttention,
}


def attention(name: str, query_dim: int) -> Attention:
    inner = KINDS[name.split()[-1]](query_dim, MEMORY_DIM, 4, HEADS)
    return LocalAttention(inner, query_dim, WINDOW) if name.startswith("local") else inner


def build(shape: Shape, dropout: float = 0.0) -> Decoder:
    torch.manual_seed(0)
    options: dict[str, Any] = {
        "attention": partial(attention, shape.attention),
        "layers": shape.layers,
        "dropout": dropout,
    }
    if shape.cell == "transformer":
        return randomized(TransformerDecoder(INPUT_DIM, MEMORY_DIM, heads=HEADS, feed_forward_dim=7, **options))
    options |= {"cell": CELLS[shape.cell], "hidden_dim": HIDDEN, "input_feeding": shape.input_feeding}
    return randomized(RecurrentDecoder(INPUT_DIM, MEMORY_DIM, **options))


def equation(shape: Shape) -> Callable[..., equations.Written]:
    """(decoder, (T, input_dim), (S, memory_dim)) → what it gives."""
    window = WINDOW if shape.attention.startswith("local") else None
    if shape.cell == "transformer":
        return partial(equations.transformer_decoder, heads=HEADS, window=window)
    return partial(
        equations.recurrent_decoder,
        cell=CELLS[shape.cell],
        layers=shape.layers,
        input_feeding=shape.input_feeding,
        window=window,
    )


def sources(lengths: list[int] = LENGTHS) -> Padded:
    """Encoder states, float64, with zeros at padding."""
    states = random_sequences(lengths, MEMORY_DIM)
    return states.with_values(states.values.double()).zeroed()


def targets(batch: int = len(LENGTHS), time: int = TARGETS) -> Tensor:
    return random_sequences([time] * batch, INPUT_DIM, seed=2).values.double()


def parts(decoded: Decoded, memory: Padded) -> list[Tensor]:
    """All that a decoder gives, each source's weights without those of its padding."""
    attended, lengths = decoded.attended, memory.lengths.tolist()
    weights = [row[..., :length] for row, length in zip(attended.weights_bhts, lengths, strict=True)]
    overlaps = [] if attended.overlap_bt is None else [attended.overlap_bt]
    return [decoded.readouts_bte, decoded.outputs_btd, attended.contexts_btd, *overlaps, *weights]


def joined(steps: list[Decoded]) -> Decoded:
    return Decoded(
        torch.cat([step.readouts_bte for step in steps], dim=1),
        torch.cat([step.outputs_btd for step in steps], dim=1),
        Attended.join([step.attended for step in steps]),
    )


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("lengths", [LENGTHS, UNPADDED])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_decoder_computes_its_equations_for_each_pair_alone(
    shape: Shape, lengths: list[int], dtype: torch.dtype
) -> None:
    states = sources(lengths)

    def ours(decoder: Decoder, embedded_bte: Tensor, values_bsd: Tensor) -> list[Tensor]:
        start = decoder.start(states.with_values(values_bsd).zeroed())
        return parts(decoder(embedded_bte, start, None), states)

    def written_out(decoder: Decoder, embedded_bte: Tensor, values_bsd: Tensor) -> list[Tensor]:
        pairs = zip(embedded_bte, own(states.with_values(values_bsd)), strict=True)
        found = [equation(shape)(decoder, embedded_te, states_sd) for embedded_te, states_sd in pairs]
        readouts, outputs, contexts, weights, overlaps = zip(*found, strict=True)
        kept = [torch.stack(overlaps)] if shape.attention == "coverage" else []
        return [torch.stack(readouts), torch.stack(outputs), torch.stack(contexts), *kept, *weights]

    assert_computes(ours, written_out, build(shape), [targets(len(lengths)), states.values], dtype)


@every_decoder
def test_teacher_forcing_gives_what_the_steps_of_search_do(shape: Shape) -> None:
    decoder, states, embedded = build(shape).double(), sources(), targets()
    state, steps = decoder.start(states), []
    for embedded_be in embedded.unbind(dim=1):
        decoded, state = decoder.step(embedded_be[:, None], state)
        steps.append(decoded)
    assert_same(parts(joined(steps), states), parts(decoder(embedded, decoder.start(states), None), states))


@every_decoder
def test_contexts_outputs_and_readouts_are_as_large_as_the_decoder_says(shape: Shape) -> None:
    decoder = build(shape).double()
    decoded = decoder(targets(), decoder.start(sources()), None)
    assert decoded.readouts_bte.shape == (len(LENGTHS), TARGETS, INPUT_DIM)
    assert decoded.outputs_btd.shape == (len(LENGTHS), TARGETS, decoder.output_dim)
    assert decoded.attended.contexts_btd.shape == (len(LENGTHS), TARGETS, decoder.context_dim)


@every_decoder
def test_no_piece_sees_those_after_it(shape: Shape) -> None:
    decoder, states, embedded = build(shape).double(), sources(), targets()
    whole = decoder(embedded, decoder.start(states), None).readouts_bte
    for time in range(1, TARGETS):
        changed = torch.cat((embedded[:, :time], -embedded[:, time:]), dim=1)
        readouts = decoder(changed, decoder.start(states), None).readouts_bte
        assert_same([readouts[:, :time]], [whole[:, :time]])
        assert not torch.allclose(readouts[:, time:], whole[:, time:])


def repeated(state: DecoderState) -> DecoderState:
    """As many hypotheses of each source as these tests have."""
    every = torch.arange(len(LENGTHS))
    return state.select(every, every.repeat_interleave(HYPOTHESES))


@every_decoder
def test_hypotheses_of_one_source_step_as_if_each_stood_alone(shape: Shape) -> None:
    decoder, states = build(shape).double(), sources()
    together, apart = repeated(decoder.start(states)), [decoder.start(states)] * HYPOTHESES
    for time in range(3):
        embedded_bke = targets(time=HYPOTHESES + time)[:, time:]
        decoded, together = decoder.step(embedded_bke, together)
        for place in range(HYPOTHESES):
            one, apart[place] = decoder.step(embedded_bke[:, place : place + 1], apart[place])
            assert len(apart[place].rows) == len(together.rows) == len(decoder.start(states).rows)
            assert_same(
                [decoded.readouts_bte[:, place], decoded.attended.contexts_btd[:, place]],
                [one.readouts_bte[:, 0], one.attended.contexts_btd[:, 0]],
            )


@every_decoder
def test_selected_hypotheses_of_selected_sources_go_on_as_if_the_others_had_never_been(shape: Shape) -> None:
    decoder, states = build(shape).double(), sources()
    histories_bkte = random_sequences([2] * len(LENGTHS) * HYPOTHESES, INPUT_DIM, seed=5).values.double()
    state = repeated(decoder.start(states))
    for time in range(2):
        _, state = decoder.step(histories_bkte[:, time].view(len(LENGTHS), HYPOTHESES, -1), state)
    places = [(2, 1), (2, 1), (0, 2), (0, 0)]  # two hypotheses of source 2, which are the same one, and two of source 0
    hypotheses = torch.tensor([HYPOTHESES * source + place for source, place in places])
    following = targets(batch=2, time=2)
    decoded, _ = decoder.step(following, state.select(torch.tensor([2, 0]), hypotheses))
    for number, (source, _) in enumerate(places):
        alone = decoder.start(states.select(torch.tensor([source])))
        history = torch.cat((histories_bkte[hypotheses[number]], following.flatten(0, 1)[number : number + 1]))
        expected = decoder(history[None], alone, None).readouts_bte[0, -1]
        assert_same([decoded.readouts_bte.flatten(0, 1)[number]], [expected])


@every_decoder
def test_with_dropout_a_pair_gives_the_same_readouts_and_gradients_alone_and_in_a_batch(shape: Shape) -> None:
    decoder, numbers = build(shape, dropout=0.3).double(), torch.tensor([11, 3, 1000, 7])
    states = sources()
    values, embedded = states.values.requires_grad_(), targets().requires_grad_()
    together = decoder(embedded, decoder.start(states.with_values(values).zeroed()), DropoutKey(5, 17, numbers))
    apart = [
        decoder(
            embedded[row : row + 1],
            decoder.start(Padded(values[row : row + 1, :length], torch.tensor([length]))),
            DropoutKey(5, 17, numbers[row : row + 1]),
        ).readouts_bte
        for row, length in enumerate(LENGTHS)
    ]
    of = [values, embedded, *decoder.parameters()]
    assert_same(with_gradients([together.readouts_bte], of), with_gradients([torch.cat(apart)], of))


@every_decoder
def test_dropout_acts_at_every_one_of_its_places_and_no_two_share_a_mask(shape: Shape) -> None:
    decoder = build(shape, dropout=0.3).double()
    key = DropoutKey(seed=5, step=17, examples=torch.arange(len(LENGTHS)))
    places = [module for module in decoder.modules() if isinstance(module, HashedDropout)]
    assert len(places) == (1 + 3 * shape.layers if shape.cell == "transformer" else shape.layers + 1)
    assert len({tuple(place.mask(key, 64).flatten().tolist()) for place in places}) == len(places)
    everywhere = decoder(targets(), decoder.start(sources()), key).readouts_bte
    for place in places:
        place.probability = 0.0
        assert not torch.equal(decoder(targets(), decoder.start(sources()), key).readouts_bte, everywhere)
        place.probability = 0.3
