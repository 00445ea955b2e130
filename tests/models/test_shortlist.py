"""A model cut to a shortlist: the same scores for the pieces that are left, shared out among them, by other numbers."""

import copy

import pytest
import torch
from tests.models.samples import best_targets, build_seq2seq, random_lines
from torch import nn

from recurray.models import BOS, EOS, PAD, UNK
from recurray.models.shortlist import cut_targets

VOCAB = 40
SPECIAL = [PAD, UNK, BOS, EOS]
LIMITS = torch.tensor([8, 12, 6, 9])


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("family", ["lstm", "gru", "transformer", "input_feeding"])
@torch.inference_mode()
def test_the_pieces_left_have_the_models_probabilities_shared_out_among_them(family: str, tied: bool) -> None:
    model = build_seq2seq(family, vocab=VOCAB, tie_embeddings=tied)
    assert (model.output.weight is model.src_embedding.weight) == tied
    nn.init.normal_(model.output.bias)
    pieces = torch.tensor([*SPECIAL, 30, 7, 21, 39])
    cut = copy.deepcopy(model)
    cut_targets(cut, pieces)
    start = model.start(random_lines([5, 9, 3, 7], VOCAB, seed=3))
    numbers = torch.tensor([4, 6, 7, 5])[:, None]
    exact_bkv, found_bkl = model.step(pieces[numbers], start)[0], cut.step(numbers, start)[0]
    torch.testing.assert_close(found_bkl, exact_bkv[:, :, pieces].log_softmax(dim=-1))


@pytest.mark.parametrize("family", ["lstm", "transformer"])
def test_a_shortlist_of_every_piece_finds_what_the_model_finds_by_other_numbers(family: str) -> None:
    model = build_seq2seq(family, vocab=VOCAB).requires_grad_(False)
    cut = copy.deepcopy(model)
    order = torch.randperm(VOCAB - len(SPECIAL), generator=torch.Generator().manual_seed(1)) + len(SPECIAL)
    pieces = [*SPECIAL, *order.tolist()]
    cut_targets(cut, torch.tensor(pieces))
    src = random_lines([5, 9, 3, 7], VOCAB, seed=3)
    found, expected = best_targets(cut, src, max_lengths=LIMITS), best_targets(model, src, max_lengths=LIMITS)
    assert [[pieces[number] for number in one.pieces] for one in found] == [one.pieces for one in expected]
    assert [one.score for one in found] == pytest.approx([one.score for one in expected])
    assert any(one.pieces for one in found)


def test_a_pointer_which_copies_any_piece_is_refused() -> None:
    with pytest.raises(ValueError, match="copies pieces of its source"):
        cut_targets(build_seq2seq("pointer", vocab=VOCAB), torch.tensor([*SPECIAL, 9]))
