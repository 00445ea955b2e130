"""eole: an LSTM encoder and decoder, by its `Translator.predict_batch`."""

import torch
from eole.config.models import CustomModelConfig
from eole.config.run import PredictConfig
from eole.constants import DefaultTokens
from eole.inputters.inputter import dict_to_vocabs
from eole.models.model import EncoderDecoderModel
from eole.predict import GNMTGlobalScorer, Translator
from protocol import Batch, Job, Search, serve


def start(job: Job) -> tuple[Search, int]:
    """Two bidirectional layers of 128 units a direction, as wide as the decoder's two of 256."""
    torch.manual_seed(1)
    special = {
        "unk_token": DefaultTokens.UNK,
        "pad_token": DefaultTokens.PAD,
        "bos_token": DefaultTokens.BOS,
        "eos_token": DefaultTokens.EOS,
    }
    words = [*special.values(), *job.names()]
    vocabs = dict_to_vocabs({"src": words, "tgt": words, "specials": special})
    shape = CustomModelConfig(
        hidden_size=256,
        layers=2,
        input_feed=False,
        share_embeddings=True,
        embeddings={"word_vec_size": 256, "position_encoding_type": None},
        encoder={"encoder_type": "brnn", "layers": 2, "hidden_size": 256},
        decoder={"decoder_type": "rnn", "layers": 2, "hidden_size": 256},
    )
    config = PredictConfig(
        model_path="none", src="none", model=shape, beam_size=job.beam, max_length_ratio=0, gpu_ranks=[]
    )
    model = EncoderDecoderModel.build_blocks(shape, vocabs, running_config=config)
    model.build_generator(shape, config, vocabs)
    for weight in model.parameters():
        torch.nn.init.uniform_(weight, -0.1, 0.1)
    model.eval()
    translator = Translator(
        model, vocabs, config, shape, device_id=-1, global_scorer=GNMTGlobalScorer.from_config(config)
    )
    pad, eos = vocabs["src"][DefaultTokens.PAD], vocabs["src"][DefaultTokens.EOS]

    def search_batch(batch: Batch) -> int:
        src_bs = torch.full((len(batch.sources), len(batch.sources[0])), pad)
        for row, source in enumerate(batch.sources):
            src_bs[row, : len(source)] = torch.tensor([*source[:-1], eos])
        lengths = torch.tensor([len(source) for source in batch.sources])
        translator.min_length = translator.max_length = batch.length
        found = translator.predict_batch({"src": src_bs, "srclen": lengths}, attn_debug=False)
        return sum(len(best[0]) for best in found["predictions"])

    def search(batches: list[Batch]) -> int:
        return sum(search_batch(batch) for batch in batches)

    return search, sum(weight.numel() for weight in model.parameters())


if __name__ == "__main__":
    serve(start)
