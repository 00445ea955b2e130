"""What tasks from text to text share: one SentencePiece vocabulary and an encoder with a decoder."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import pyarrow as pa
from torch import Tensor, nn

from recurray.models import Padded, Seq2Seq, beam_search
from recurray.platform.config.model import ModelConfig
from recurray.platform.config.tree import RunConfig, SearchConfig
from recurray.platform.corpora.readers import Pair
from recurray.platform.data.tokenizer import Tokenizer
from recurray.platform.network import build_seq2seq, check_model
from recurray.platform.tasks.task import Codec, Sequences, Task


class TextCodec:
    """Texts as pieces of one joint vocabulary, each sequence ending in EOS."""

    src_type = tgt_type = pa.int32()

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer

    def encode(self, pairs: Sequence[Pair], threads: int) -> Iterable[Sequences]:
        """Piece numbers of both sides."""
        src = self.tokenizer.encode([pair.src for pair in pairs], threads)
        tgt = self.tokenizer.encode([pair.tgt for pair in pairs], threads)
        return zip(src, tgt, strict=True)

    def save(self, folder: Path) -> None:
        """Writes `tokenizer.model`."""
        self.tokenizer.save(folder)


class TextTask(Task):
    """A task whose sources and targets are texts."""

    def describe(self, config: RunConfig) -> str:
        """The vocabulary."""
        return f"Sources and targets share {config.tokenizer.vocab_size} {config.tokenizer.kind} pieces."

    def make_codec(self, pairs: Iterable[Pair], config: RunConfig) -> TextCodec:
        """Trains SentencePiece on both sides."""
        return TextCodec(Tokenizer.train((text for pair in pairs for text in pair), config.tokenizer))

    def load_codec(self, folder: Path) -> TextCodec:
        """From `tokenizer.model`."""
        return TextCodec(Tokenizer.load(folder))

    def check(self, config: ModelConfig) -> None:
        """Without a weight in memory."""
        check_model(config)

    def build_network(self, config: ModelConfig, codec: Codec) -> Seq2Seq:
        """An encoder, a decoder and an output."""
        return build_seq2seq(config, tokenizer_of(codec).vocab_size)

    def predict(self, network: nn.Module, codec: Codec, src: Padded, search: SearchConfig) -> list[str]:
        """Searches each source's target."""
        assert isinstance(network, Seq2Seq)
        found = beam_search(
            network,
            src,
            beam_size=search.beam_size,
            length_penalty=search.length_penalty,
            max_lengths=max_lengths(src.lengths, search),
        )
        return tokenizer_of(codec).decode([hypothesis.pieces for hypothesis in found])


def max_lengths(src_lengths: Tensor, search: SearchConfig) -> Tensor:
    """(B,) int64: the most pieces, EOS among them, that each source's hypotheses may have."""
    relative_b = (src_lengths * search.max_length_factor).long() + 10
    return relative_b if search.max_length is None else relative_b.clamp_max(search.max_length)


def tokenizer_of(codec: Codec) -> Tokenizer:
    """The tokenizer of a text task's codec."""
    assert isinstance(codec, TextCodec)
    return codec.tokenizer
