"""The whole model: source pieces and target pieces in, loss sums out; or source pieces in, search state out."""

import math

import torch
from torch import Tensor, nn

from recurray.models.decoder import DecoderState, LSTMDecoder
from recurray.models.dropout import DropoutKey
from recurray.models.encoder import BiLSTMEncoder
from recurray.models.loss import LossSums, cross_entropy_sums
from recurray.models.padded import Padded

PAD, UNK, BOS, EOS = 0, 1, 2, 3
"""Piece numbers with a meaning of their own; the tokenizer is trained with the same."""


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


class Seq2Seq(nn.Module):
    """A BiLSTM encoder and an LSTM decoder with attention over one joint vocabulary.

    Sources (B, S) and targets (B, T) are `Padded` int64 piece numbers, each sequence ending in EOS. With
    `tie_embeddings` one (vocabulary, embedding_dim) matrix serves the source, the target and the output (Press & Wolf
    2017); without it there are three.
    """

    def __init__(
        self,
        vocab_size: int,
        *,
        embedding_dim: int,
        hidden_dim: int,
        encoder_layers: int,
        decoder_layers: int,
        attention_heads: int,
        dropout: float,
        tie_embeddings: bool,
    ) -> None:
        super().__init__()
        self.src_embedding = Embedding(vocab_size, embedding_dim)
        self.tgt_embedding = self.src_embedding if tie_embeddings else Embedding(vocab_size, embedding_dim)
        self.encoder = BiLSTMEncoder(embedding_dim, hidden_dim, encoder_layers, dropout)
        self.decoder = LSTMDecoder(
            embedding_dim, hidden_dim, self.encoder.output_dim, decoder_layers, attention_heads, dropout
        )
        tied = self.tgt_embedding.weight
        self.output_weight = tied if tie_embeddings else nn.Parameter(tied.detach().clone())
        self.output_bias = nn.Parameter(torch.zeros(vocab_size))

    def forward(
        self, src: Padded, tgt: Padded, key: DropoutKey | None = None, label_smoothing: float = 0.0
    ) -> LossSums:
        """Loss sums of the targets under teacher forcing; only their own positions reach the output projection."""
        begin_b1 = torch.full_like(tgt.values[:, :1], BOS)
        inputs_bt = torch.cat((begin_b1, tgt.values[:, :-1]), dim=1)
        start = self.decoder.start(self.encode(src, key))
        readouts_bte = self.decoder(self.tgt_embedding(inputs_bt), start, key)
        own_bt = tgt.mask_bt
        return cross_entropy_sums(
            readouts_bte[own_bt], self.output_weight, self.output_bias, tgt.values[own_bt], label_smoothing
        )

    def encode(self, src: Padded, key: DropoutKey | None = None) -> Padded:
        """Encoder states (B, S, 2 × hidden_dim), zeros at padding."""
        states: Padded = self.encoder(src.with_values(self.src_embedding(src.values)), key)
        return states

    def start(self, src: Padded) -> DecoderState:
        """The search state before the first piece, one hypothesis a source."""
        return self.decoder.start(self.encode(src))

    def step(self, pieces_bk: Tensor, state: DecoderState) -> tuple[Tensor, DecoderState]:
        """Log-probabilities (B, K, V) of the piece after `pieces_bk`, and the state that goes with them."""
        readouts_bke, after = self.decoder.step(self.tgt_embedding(pieces_bk), state)
        scores_bkv = nn.functional.linear(readouts_bke, self.output_weight, self.output_bias)
        return scores_bkv.float().log_softmax(dim=-1), after
