"""The pieces that results are made of, where they are fewer than the vocabulary's."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import torch

from recurray.models import BOS, EOS, PAD, UNK, Hypothesis, Seq2Seq
from recurray.models.shortlist import cut_targets
from recurray.platform.data.tokenizer import Tokenizer
from recurray.platform.errors import UserError

_SPECIAL = (PAD, UNK, BOS, EOS)


class Shortlist:
    """Some pieces of a vocabulary, and the numbers that they have in a network that is cut to them."""

    def __init__(self, pieces: Iterable[int]) -> None:
        self.pieces = (*_SPECIAL, *sorted({*pieces}.difference(_SPECIAL)))
        """Each number's piece."""
        self._numbers = {piece: number for number, piece in enumerate(self.pieces)}

    @classmethod
    def of_texts(cls, texts: Sequence[str], tokenizer: Tokenizer) -> "Shortlist":
        """The pieces that some texts are made of."""
        return cls(piece for pieces in tokenizer.encode(texts) for piece in pieces)

    def cut(self, network: Seq2Seq) -> None:
        """Leaves the network's targets only these; UserError where that cannot be."""
        try:
            cut_targets(network, torch.tensor(self.pieces))
        except ValueError as fault:
            raise UserError(f"the model's results cannot be cut to a shortlist: {fault}.") from None

    def numbers_of(self, pieces: Sequence[int], tokenizer: Tokenizer) -> list[int]:
        """Pieces by its own numbers; UserError that names those that it lacks."""
        if lacking := [piece for piece in pieces if piece not in self._numbers]:
            names = ", ".join(f"`{piece}`" for piece in tokenizer.spelled(lacking))
            raise UserError(f"{names} cannot come, for the text of the shortlist does not hold it; name another text.")
        return [self._numbers[piece] for piece in pieces]

    def known(self, pieces: Sequence[int]) -> list[int]:
        """Those of the pieces that it has, by its own numbers."""
        return [self._numbers[piece] for piece in pieces if piece in self._numbers]

    def named(self, found: Hypothesis) -> Hypothesis:
        """A target of the cut network by the vocabulary's numbers."""
        return replace(found, pieces=[self.pieces[number] for number in found.pieces])
