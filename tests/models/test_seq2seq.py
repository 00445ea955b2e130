"""The whole model: a line is the same alone, in any batch, in any order, and step by step."""

import pytest
import torch
from torch import Tensor

from recurray.models import BOS, EOS, DropoutKey, Padded, Seq2Seq
from recurray.models.dropout import HashedDropout

VOCAB, SMOOTHING, TOLERANCE = 30, 0.1, 1e-10
SRC_LENGTHS, TGT_LENGTHS = [3, 9, 1, 6, 9], [5, 2, 8, 1, 7]
NUMBERS = torch.tensor([11, 3, 1000, 7, 8])


def build(*, tie_embeddings: bool = False) -> Seq2Seq:
    torch.manual_seed(0)
    return Seq2Seq(
        VOCAB,
        embedding_dim=16,  # that of the encoder's states, so that its first layer has a residual sum too
        hidden_dim=8,
        encoder_layers=2,
        decoder_layers=2,
        attention_heads=2,
        dropout=0.3,
        tie_embeddings=tie_embeddings,
    ).double()


def random_lines(lengths: list[int], seed: int) -> Padded:
    """Random pieces, each line ending in EOS, padding 0."""
    torch.manual_seed(seed)
    lines = Padded(torch.randint(EOS + 1, VOCAB, (len(lengths), max(lengths))), torch.tensor(lengths))
    lines.values[torch.arange(len(lengths)), lines.lengths - 1] = EOS
    return lines.with_values(lines.values * lines.mask_bt)


def row(lines: Padded, number: int) -> Padded:
    length = int(lines.lengths[number])
    return Padded(lines.values[number : number + 1, :length], lines.lengths[number : number + 1])


def key(numbers: Tensor) -> DropoutKey:
    return DropoutKey(seed=5, step=17, examples=numbers)


def loss_and_gradients(model: Seq2Seq, src: Padded, tgt: Padded, numbers: Tensor) -> tuple[Tensor, ...]:
    loss = model(src, tgt, key(numbers), SMOOTHING).loss
    return (loss, *torch.autograd.grad(loss, tuple(model.parameters())))


def assert_same(found: tuple[Tensor, ...], expected: tuple[Tensor, ...]) -> None:
    for one, other in zip(found, expected, strict=True):
        assert (one - other).abs().max() <= TOLERANCE * max(1.0, other.abs().max().item())


@pytest.fixture
def model() -> Seq2Seq:
    return build()


@pytest.fixture
def src() -> Padded:
    return random_lines(SRC_LENGTHS, seed=1)


@pytest.fixture
def tgt() -> Padded:
    return random_lines(TGT_LENGTHS, seed=2)


def test_encoder_states_of_a_line_are_the_same_alone_and_padded_with_dropout_on(model: Seq2Seq, src: Padded) -> None:
    together = model.encode(src, key(NUMBERS)).values
    for number, length in enumerate(SRC_LENGTHS):
        alone = model.encode(row(src, number), key(NUMBERS[number : number + 1])).values[0]
        assert_same((together[number, :length],), (alone,))
        assert not together[number, length:].any()


def test_loss_and_gradients_of_a_batch_are_the_sums_over_its_lines_alone_with_dropout_on(
    model: Seq2Seq, src: Padded, tgt: Padded
) -> None:
    alone = [
        loss_and_gradients(model, row(src, number), row(tgt, number), NUMBERS[number : number + 1])
        for number in range(len(SRC_LENGTHS))
    ]
    sums = tuple(torch.stack(parts).sum(dim=0) for parts in zip(*alone, strict=True))
    assert_same(loss_and_gradients(model, src, tgt, NUMBERS), sums)


def test_every_parameter_takes_part(model: Seq2Seq, src: Padded, tgt: Padded) -> None:
    _, *gradients = loss_and_gradients(model, src, tgt, NUMBERS)
    assert all(bool(gradient.any()) for gradient in gradients)


def test_dropout_changes_the_loss_and_no_key_leaves_it_off(model: Seq2Seq, src: Padded, tgt: Padded) -> None:
    without, again = model(src, tgt).loss, model(src, tgt).loss
    assert torch.equal(without, again)
    assert model(src, tgt, key(NUMBERS)).loss != without
    assert model(src, tgt, key(NUMBERS + 1)).loss != model(src, tgt, key(NUMBERS)).loss


def test_dropout_acts_at_every_one_of_its_places(model: Seq2Seq, src: Padded, tgt: Padded) -> None:
    places = [module for module in model.modules() if isinstance(module, HashedDropout)]
    everywhere = model(src, tgt, key(NUMBERS)).loss
    for place in places:
        place.probability = 0.0
        assert model(src, tgt, key(NUMBERS)).loss != everywhere
        place.probability = 0.3
    assert len(places) == 2 + 2 + 1  # before each layer and after the readout


def test_pieces_beyond_a_line_change_nothing(model: Seq2Seq, src: Padded, tgt: Padded) -> None:
    torch.manual_seed(3)
    garbled = [
        lines.with_values(torch.where(lines.mask_bt, lines.values, torch.randint(VOCAB, lines.values.shape)))
        for lines in (src, tgt)
    ]
    assert not torch.equal(garbled[0].values, src.values)
    assert not torch.equal(garbled[1].values, tgt.values)
    assert_same((model.encode(garbled[0]).values,), (model.encode(src).values,))
    expected = loss_and_gradients(model, src, tgt, NUMBERS)
    assert_same(loss_and_gradients(model, garbled[0], garbled[1], NUMBERS), expected)


def test_rows_in_another_order_give_the_results_in_that_order(model: Seq2Seq, src: Padded, tgt: Padded) -> None:
    order = torch.tensor([3, 0, 4, 1, 2])
    assert_same((model.encode(src.select(order)).values,), (model.encode(src).values[order],))
    expected = loss_and_gradients(model, src, tgt, NUMBERS)
    assert_same(loss_and_gradients(model, src.select(order), tgt.select(order), NUMBERS[order]), expected)


def test_the_encoder_adds_what_a_layer_reads_to_what_it_gives(model: Seq2Seq, src: Padded) -> None:
    states = src.with_values(model.src_embedding(src.values)).zeroed()
    for layer in model.encoder.layers:
        states = states.with_values(states.values + layer(states).values)
    assert_same((model.encode(src).values,), (states.values,))


def test_the_decoder_starts_from_both_ends_of_its_source_and_reads_out_its_equations(
    model: Seq2Seq, src: Padded, tgt: Padded
) -> None:
    decoder, half = model.decoder, model.encoder.output_dim // 2
    states, embedded = model.encode(src), model.tgt_embedding(tgt.values)
    ends = [
        torch.cat((own[length - 1, :half], own[0, half:]))
        for own, length in zip(states.values, SRC_LENGTHS, strict=True)
    ]
    h_0, c_0, h_1, c_1 = torch.tanh(decoder.bridge(torch.stack(ends))).chunk(4, dim=-1)
    first, _ = decoder.layers[0](embedded, (h_0, c_0))
    context = decoder.attention(first, decoder.attention.memorize(states))
    second, _ = decoder.layers[1](torch.cat((first, context), dim=-1), (h_1, c_1))
    readouts = torch.tanh(decoder.readout(torch.cat((first + second, context), dim=-1)))
    assert_same((decoder(embedded, decoder.start(states), None),), (readouts,))


def test_teacher_forcing_scores_a_target_as_the_steps_of_search_do(model: Seq2Seq, src: Padded, tgt: Padded) -> None:
    for number in range(len(SRC_LENGTHS)):
        line = row(tgt, number)
        state = model.start(row(src, number))
        piece, nll = BOS, 0.0
        for following in line.values[0].tolist():
            log_probs, state = model.step(torch.tensor([[piece]]), state)
            nll -= log_probs[0, 0, following].item()
            piece = following
        assert model(row(src, number), line).nll.item() == pytest.approx(nll, rel=1e-6)  # search scores in float32


def test_teacher_forcing_reads_out_what_the_steps_of_search_do(model: Seq2Seq, src: Padded, tgt: Padded) -> None:
    embedded = model.tgt_embedding(tgt.values)
    state = model.start(src)
    whole = model.decoder(embedded, state, None)
    for time in range(embedded.shape[1]):
        readouts, state = model.decoder.step(embedded[:, time : time + 1], state)
        assert_same((readouts[:, 0],), (whole[:, time],))


def test_hypotheses_of_one_source_step_as_if_each_stood_alone(model: Seq2Seq, src: Padded) -> None:
    sources = torch.arange(len(SRC_LENGTHS))
    start = model.start(src)
    pieces = torch.randint(VOCAB, (len(SRC_LENGTHS), 3))
    together, _ = model.step(pieces, start.select(sources, sources.repeat_interleave(3)))
    for place in range(3):
        alone, _ = model.step(pieces[:, place : place + 1], start)
        assert torch.allclose(together[:, place], alone[:, 0], rtol=1e-6, atol=1e-6)


def test_tied_embeddings_are_one_parameter_with_the_gradients_of_all_three(src: Padded, tgt: Padded) -> None:
    tied, untied = build(tie_embeddings=True), build()
    shared = tied.output_weight
    assert tied.src_embedding.weight is tied.tgt_embedding.weight is shared
    assert sum(parameter.shape == shared.shape for parameter in tied.parameters()) == 1
    untied.load_state_dict(tied.state_dict())
    three = (untied.src_embedding.weight, untied.tgt_embedding.weight, untied.output_weight)
    assert len({id(parameter) for parameter in three}) == 3
    (gradient,) = torch.autograd.grad(tied(src, tgt, key(NUMBERS)).loss, (shared,))
    apart = torch.autograd.grad(untied(src, tgt, key(NUMBERS)).loss, three)
    assert_same((gradient,), (sum(apart, torch.zeros_like(shared)),))
