"""The whole model: source pieces and target pieces in, loss sums out; or source pieces in, search state out."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from recurray.models.attention.attention import Attended
from recurray.models.blocks.block import Block
from recurray.models.decoders.decoder import Decoder, DecoderState
from recurray.models.dropout import DropoutKey
from recurray.models.loss import LossSums
from recurray.models.output import VocabularyOutput
from recurray.models.padded import Padded
from recurray.models.pieces import BOS


class Embedding(nn.Embedding):
    """Vectors of pieces, multiplied by √dim on the way in (Vaswani et al. 2017, section 3.4): (B, T) → (B, T, dim).

    The weights start with a deviation of 1/√dim, which suits them as output weights when they are tied; an LSTM that
    reads inputs as small as that learns far more slowly.
    """

    def __init__(self, vocab_size: int, dim: int) -> None:
        super().__init__(vocab_size, dim)
        nn.init.normal_(self.weight, std=dim**-0.5)

    def forward(self, pieces: Tensor) -> Tensor:
        """Vectors of unit variance at the start of training."""
        return nn.functional.embedding(pieces, self.weight) * math.sqrt(self.embedding_dim)


@dataclass(frozen=True)
class SearchState:
    """What search keeps between steps for B sources with K hypotheses each."""

    src: Padded
    """The sources' pieces, (B, S)."""
    decoder: DecoderState
    """The decoder's own."""
    attended: Attended | None = None
    """What the last attention found at the step before, if there was one."""

    @property
    def weights_bks(self) -> Tensor:
        """(B, K, S') the weights of the encoder's states at the step before."""
        assert self.attended is not None, "nothing is attended to before the first step"
        return self.attended.weights_bts

    def select(self, sources: Tensor | None, hypotheses: Tensor) -> "SearchState":
        """The sources `sources` (B',), or all as they are, and `hypotheses` (B' × K'), for the step that comes."""
        src = self.src if sources is None else self.src.select(sources)
        return SearchState(src, self.decoder.select(sources, hypotheses))


class Seq2Seq(nn.Module):
    """An encoder, a decoder and an output over one joint vocabulary.

    Sources (B, S) and targets (B, T) are `Padded` int64 piece numbers, each sequence ending in EOS. Embeddings and
    output may share one matrix (Press & Wolf 2017): its parameter is then one.
    """

    def __init__(
        self,
        src_embedding: Embedding,
        tgt_embedding: Embedding,
        encoder: Block,
        decoder: Decoder,
        output: VocabularyOutput,
    ) -> None:
        super().__init__()
        self.src_embedding = src_embedding
        self.tgt_embedding = tgt_embedding
        self.encoder = encoder
        self.decoder = decoder
        self.output = output

    def forward(
        self, src: Padded, tgt: Padded, key: DropoutKey | None = None, label_smoothing: float = 0.0
    ) -> LossSums:
        """Loss sums of the targets under teacher forcing; only their own positions reach the output projection."""
        begin_b1 = torch.full_like(tgt.values[:, :1], BOS)
        embedded_bte = self.tgt_embedding(torch.cat((begin_b1, tgt.values[:, :-1]), dim=1))
        start = self.decoder.start(self.encode(src, key))
        decoded = self.decoder(embedded_bte, start, key)
        return self.output.losses(decoded, embedded_bte, src, tgt, label_smoothing)

    def encode(self, src: Padded, key: DropoutKey | None = None) -> Padded:
        """Encoder states (B, S', encoder.output_dim), zeros at padding."""
        states: Padded = self.encoder(src.with_values(self.src_embedding(src.values)), key)
        return states

    def start(self, src: Padded) -> SearchState:
        """The search state before the first piece, one hypothesis a source."""
        return SearchState(src, self.decoder.start(self.encode(src)))

    def step(self, pieces_bk: Tensor, state: SearchState) -> tuple[Tensor, SearchState]:
        """Log-probabilities (B, K, V) of the piece after `pieces_bk`, and the state that goes with them."""
        embedded_bke = self.tgt_embedding(pieces_bk)
        decoded, after = self.decoder.step(embedded_bke, state.decoder)
        log_probs_bkv = self.output.log_probs(decoded, embedded_bke, state.src)
        return log_probs_bkv, SearchState(state.src, after, decoded.attended)

    def join(self, states: Sequence[SearchState]) -> SearchState:
        """The sources of several searches with as many hypotheses each, one search after the other."""
        return SearchState(
            Padded.join([state.src for state in states]), self.decoder.join([state.decoder for state in states])
        )
