"""The whole model of every family: a line is the same alone, in any batch, in any order, and step by step."""

import pytest
import torch
from tests.models.samples import FAMILIES, LAYERS, alone, assert_same, build_seq2seq, random_lines
from torch import Tensor
from torch.nn.functional import cross_entropy

from recurray.models import BOS, DropoutKey, Padded, Seq2Seq
from recurray.models.decoders.transformer import TransformerDecoder
from recurray.models.dropout import HashedDropout
from recurray.models.seq2seq import Embedding

VOCAB, SMOOTHING = 30, 0.1
SRC_LENGTHS, TGT_LENGTHS = [3, 9, 1, 6, 9], [5, 2, 8, 1, 7]
NUMBERS = torch.tensor([11, 3, 1000, 7, 8])


def build(family: str = "lstm", *, tie_embeddings: bool = False) -> Seq2Seq:
    return build_seq2seq(family, vocab=VOCAB, dropout=0.3, tie_embeddings=tie_embeddings)


def key(numbers: Tensor) -> DropoutKey:
    return DropoutKey(seed=5, step=17, examples=numbers)


def loss_and_gradients(model: Seq2Seq, src: Padded, tgt: Padded, numbers: Tensor) -> tuple[Tensor, ...]:
    loss = model(src, tgt, key(numbers), SMOOTHING).loss
    return (loss, *torch.autograd.grad(loss, tuple(model.parameters())))


@pytest.fixture(params=FAMILIES)
def model(request: pytest.FixtureRequest) -> Seq2Seq:
    return build(request.param)


@pytest.fixture
def src() -> Padded:
    return random_lines(SRC_LENGTHS, VOCAB, seed=1)


@pytest.fixture
def tgt() -> Padded:
    return random_lines(TGT_LENGTHS, VOCAB, seed=2)


def test_encoder_states_of_a_line_are_the_same_alone_and_padded_with_dropout_on(model: Seq2Seq, src: Padded) -> None:
    together = model.encode(src, key(NUMBERS)).values
    for number, length in enumerate(SRC_LENGTHS):
        apart = model.encode(alone(src, number), key(NUMBERS[number : number + 1])).values[0]
        assert_same((together[number, :length],), (apart,))
        assert not together[number, length:].any()


def test_loss_and_gradients_of_a_batch_are_the_sums_over_its_lines_alone_with_dropout_on(
    model: Seq2Seq, src: Padded, tgt: Padded
) -> None:
    apart = [
        loss_and_gradients(model, alone(src, number), alone(tgt, number), NUMBERS[number : number + 1])
        for number in range(len(SRC_LENGTHS))
    ]
    sums = tuple(torch.stack(parts).sum(dim=0) for parts in zip(*apart, strict=True))
    assert_same(loss_and_gradients(model, src, tgt, NUMBERS), sums)


def test_every_parameter_takes_part(model: Seq2Seq, src: Padded, tgt: Padded) -> None:
    _, *gradients = loss_and_gradients(model, src, tgt, NUMBERS)
    assert all(bool(gradient.any()) for gradient in gradients)


def test_dropout_changes_the_loss_and_no_key_leaves_it_off(model: Seq2Seq, src: Padded, tgt: Padded) -> None:
    without, again = model(src, tgt).loss, model(src, tgt).loss
    assert torch.equal(without, again)
    assert model(src, tgt, key(NUMBERS)).loss != without
    assert model(src, tgt, key(NUMBERS + 1)).loss != model(src, tgt, key(NUMBERS)).loss


def test_dropout_acts_at_every_one_of_its_places_and_no_two_share_a_mask(
    model: Seq2Seq, src: Padded, tgt: Padded
) -> None:
    places = [module for module in model.modules() if isinstance(module, HashedDropout)]
    everywhere = model(src, tgt, key(NUMBERS)).loss
    for place in places:
        place.probability = 0.0
        assert model(src, tgt, key(NUMBERS)).loss != everywhere
        place.probability = 0.3
    assert len({tuple(place.mask(key(NUMBERS), 64).flatten().tolist()) for place in places}) == len(places)
    recurrent, transformer = 2 * LAYERS + 1, (1 + 2 * LAYERS) + (1 + 3 * LAYERS)  # blocks, decoders, readouts
    assert len(places) == (transformer if isinstance(model.decoder, TransformerDecoder) else recurrent)


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


def test_the_loss_is_the_smoothed_cross_entropy_of_each_piece_after_those_before_it(src: Padded, tgt: Padded) -> None:
    model = build()
    before = torch.cat((torch.full((len(TGT_LENGTHS), 1), BOS), tgt.values[:, :-1]), dim=1)
    readouts = model.decoder(model.tgt_embedding(before), model.decoder.start(model.encode(src)), None).readouts_bte
    scores = (readouts @ model.output.weight.T + model.output.bias)[tgt.mask_bt]
    expected = [
        cross_entropy(scores, tgt.values[tgt.mask_bt], label_smoothing=smoothing, reduction="sum")
        for smoothing in (SMOOTHING, 0.0)
    ]
    sums = model(src, tgt, label_smoothing=SMOOTHING)
    assert_same([sums.loss, sums.nll], expected)


def test_vectors_of_pieces_have_unit_variance_when_training_starts() -> None:
    torch.manual_seed(0)
    embedding = Embedding(1000, 64)
    vectors = embedding(torch.arange(1000))
    assert torch.equal(vectors, embedding.weight * 8.0)
    assert vectors.std().item() == pytest.approx(1.0, abs=0.02)  # 5 standard deviations of 64,000 draws are 0.014


def test_teacher_forcing_scores_a_target_as_the_steps_of_search_do(model: Seq2Seq, src: Padded, tgt: Padded) -> None:
    for number in range(len(SRC_LENGTHS)):
        line = alone(tgt, number)
        state = model.start(alone(src, number))
        piece, nll = BOS, 0.0
        for following in line.values[0].tolist():
            log_probs, state = model.step(torch.tensor([[piece]]), state)
            nll -= log_probs[0, 0, following].item()
            piece = following
        assert model(alone(src, number), line).nll.item() == pytest.approx(nll, rel=1e-10)


def test_hypotheses_of_one_source_step_as_if_each_stood_alone(model: Seq2Seq, src: Padded) -> None:
    sources = torch.arange(len(SRC_LENGTHS))
    start = model.start(src)
    pieces = torch.randint(VOCAB, (len(SRC_LENGTHS), 3))
    together, _ = model.step(pieces, start.select(sources, sources.repeat_interleave(3)))
    for place in range(3):
        apart, _ = model.step(pieces[:, place : place + 1], start)
        assert_same((together[:, place],), (apart[:, 0],))


def test_tied_embeddings_are_one_parameter_with_the_gradients_of_all_three(src: Padded, tgt: Padded) -> None:
    tied, untied = build(tie_embeddings=True), build()
    shared = tied.output.weight
    assert tied.src_embedding.weight is tied.tgt_embedding.weight is shared
    assert sum(parameter.shape == shared.shape for parameter in tied.parameters()) == 1
    untied.load_state_dict(tied.state_dict())
    three = (untied.src_embedding.weight, untied.tgt_embedding.weight, untied.output.weight)
    assert len({id(parameter) for parameter in three}) == 3
    (gradient,) = torch.autograd.grad(tied(src, tgt, key(NUMBERS)).loss, (shared,))
    apart = torch.autograd.grad(untied(src, tgt, key(NUMBERS)).loss, three)
    assert_same((gradient,), (sum(apart, torch.zeros_like(shared)),))
