"""OpenNMT-py: an LSTM encoder and decoder, by its `Translator.translate_batch`."""

from argparse import Namespace
from collections.abc import Callable

import torch
from onmt.constants import DefaultTokens
from onmt.inputters.inputter import dict_to_vocabs
from onmt.model_builder import build_model
from onmt.opts import train_opts, translate_opts
from onmt.translate import GNMTGlobalScorer, Translator
from onmt.utils.parse import ArgumentParser
from protocol import Batch, Job, Search, serve

Options = Callable[[ArgumentParser], None]


def options(adds: Options, words: str) -> Namespace:
    """What OpenNMT-py's command line makes of these words."""
    parser = ArgumentParser()
    adds(parser)
    return parser.parse_args(words.split())


def start(job: Job) -> tuple[Search, int]:
    """Two bidirectional layers of 128 units a direction, as wide as the decoder's two of 256."""
    torch.manual_seed(1)
    special = [DefaultTokens.UNK, DefaultTokens.PAD, DefaultTokens.BOS, DefaultTokens.EOS]
    words = [*special, *job.names()]
    vocabs = dict_to_vocabs({"src": words, "tgt": words, "data_task": "seq2seq"})
    shape = options(
        train_opts,
        "-encoder_type brnn -decoder_type rnn -rnn_type LSTM -word_vec_size 256 -hidden_size 256 -layers 2 "
        "-input_feed 0 -global_attention general -share_embeddings -data none -src_vocab none",
    )
    ArgumentParser.update_model_opts(shape)
    model = build_model(shape, shape, vocabs, None, -1).eval()
    search_options = options(translate_opts, f"-model none -src none -gpu -1 -beam_size {job.beam} -max_length_ratio 0")
    translator = Translator.from_opt(
        model, vocabs, search_options, shape, global_scorer=GNMTGlobalScorer.from_opt(search_options)
    )
    pad, eos = vocabs["src"][DefaultTokens.PAD], vocabs["src"][DefaultTokens.EOS]

    def search_batch(batch: Batch) -> int:
        src_bs1 = torch.full((len(batch.sources), len(batch.sources[0]), 1), pad)
        for row, source in enumerate(batch.sources):
            src_bs1[row, : len(source), 0] = torch.tensor([*source[:-1], eos])
        lengths = torch.tensor([len(source) for source in batch.sources])
        translator.min_length = translator.max_length = batch.length
        found = translator.translate_batch({"src": src_bs1, "srclen": lengths}, attn_debug=False)
        return sum(len(best[0]) for best in found["predictions"])

    def search(batches: list[Batch]) -> int:
        return sum(search_batch(batch) for batch in batches)

    return search, sum(weight.numel() for weight in model.parameters())


if __name__ == "__main__":
    serve(start)
