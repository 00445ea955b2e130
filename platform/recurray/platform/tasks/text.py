"""What tasks from text to text share: one SentencePiece vocabulary and an encoder with a decoder."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import torch
from torch import nn

from recurray.models import Hypothesis, Padded, Room, Sampling, SearchOptions, Seq2Seq, Source, search_targets
from recurray.platform.config.model import ModelConfig
from recurray.platform.config.search import SearchConfig
from recurray.platform.config.tree import RunConfig
from recurray.platform.corpora.readers import Pair
from recurray.platform.data.tokenizer import Tokenizer
from recurray.platform.network import build_seq2seq, check_model
from recurray.platform.tasks.shortlist import Shortlist
from recurray.platform.tasks.task import Codec, Sequences, Task

LENGTH_MORE = 10
"""Pieces that a target may have beyond its source's, times `max_length_factor`."""


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
        lengths = src.lengths.tolist()
        sources = [row[:length] for row, length in zip(src.values.tolist(), lengths, strict=True)]
        found = self.find(network, codec, sources, search, room=Room(), device=src.values.device)
        return tokenizer_of(codec).decode([hypotheses[0].pieces for hypotheses in found])

    def find(
        self,
        network: nn.Module,
        codec: Codec,
        sources: Sequence[Sequence[int]],
        search: SearchConfig,
        *,
        room: Room,
        device: torch.device,
        prefixes: Sequence[str] | None = None,
        shortlist: Shortlist | None = None,
    ) -> list[list[Hypothesis]]:
        """The best targets of each source; `room` as in `search_targets`.

        `prefixes` are texts that targets begin with. With a `shortlist` the network is cut to it. UserError where the
        vocabulary or the shortlist lacks a forced piece, or the vocabulary a forbidden one.
        """
        assert isinstance(network, Seq2Seq)
        tokenizer = tokenizer_of(codec)
        begins = [pieces[:-1] for pieces in tokenizer.encode(prefixes)] if prefixes else [[]] * len(sources)
        forced = tokenizer.numbers_of(search.forced)
        options = options_of(search, tokenizer)
        if shortlist:
            begins = [shortlist.numbers_of(pieces, tokenizer) for pieces in begins]
            forced = shortlist.numbers_of(forced, tokenizer)
            options = replace(options, forbidden=tuple(shortlist.known(options.forbidden)))
        limited = [limits(pieces, begin, forced, search) for pieces, begin in zip(sources, begins, strict=True)]
        found = search_targets(network, limited, options, room=room, device=device)
        return found if shortlist is None else [[shortlist.named(one) for one in best] for best in found]


def limits(pieces: Sequence[int], prefix: Sequence[int], forced: Sequence[int], search: SearchConfig) -> Source:
    """A source with the fewest and the most pieces, EOS among them, that its targets may have."""
    most = int(len(pieces) * search.max_length_factor) + LENGTH_MORE + len(prefix) + len(forced)
    most = most if search.max_length is None else min(most, search.max_length)
    fewest = max(search.min_length, int(len(pieces) * search.min_length_factor))
    return Source(pieces, max_length=most, min_length=min(fewest, most), prefix=prefix, forced=forced)


def options_of(search: SearchConfig, tokenizer: Tokenizer) -> SearchOptions:
    """A configuration for a vocabulary."""
    drawn = search.sampling
    return SearchOptions(
        beam_size=search.beam_size,
        n_best=search.n_best,
        length_penalty=search.length_penalty,
        coverage_penalty=search.coverage_penalty,
        no_repeat_ngram=search.no_repeat_ngram,
        forbidden=tuple(tokenizer.numbers_of(search.forbidden)),
        alignments=search.alignments,
        sampling=None if drawn is None else Sampling(drawn.seed, drawn.temperature, drawn.top_k, drawn.top_p),
    )


def tokenizer_of(codec: Codec) -> Tokenizer:
    """The tokenizer of a text task's codec."""
    assert isinstance(codec, TextCodec)
    return codec.tokenizer
