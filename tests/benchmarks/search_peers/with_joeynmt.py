"""JoeyNMT: an LSTM encoder and decoder of the demo's sizes, by its `search`."""

from types import SimpleNamespace

import torch
from joeynmt.batch import Batch as JoeyBatch
from joeynmt.model import build_model
from joeynmt.search import search as joeynmt_search
from joeynmt.vocabulary import Vocabulary
from protocol import Batch, Job, Search, serve

SPECIALS = {"pad": "<pad>", "unk": "<unk>", "bos": "<s>", "eos": "</s>"}


def start(job: Job) -> tuple[Search, int]:
    """One bidirectional layer of 256 units a direction, and two layers of 256."""
    torch.manual_seed(1)
    # JoeyNMT has its special pieces in this order at the start of every vocabulary.
    numbers = {"unk_id": 0, "pad_id": 1, "bos_id": 2, "eos_id": 3}
    tokens = {f"{name}_token": token for name, token in SPECIALS.items()}
    vocab = Vocabulary(job.names(), SimpleNamespace(**tokens, **numbers, sep_token=None, sep_id=None, lang_tags=[]))
    embeddings = {"embedding_dim": 256}
    lstm = {"type": "recurrent", "rnn_type": "lstm", "hidden_size": 256, "embeddings": embeddings}
    config = {
        "tied_embeddings": True,
        "tied_softmax": True,
        "encoder": {**lstm, "num_layers": 1, "bidirectional": True},
        "decoder": {**lstm, "num_layers": 2, "attention": "luong", "input_feeding": False, "init_hidden": "bridge"},
    }
    model = build_model(config, vocab, vocab).eval()

    def search_batch(batch: Batch) -> int:
        lengths = torch.tensor([len(source) for source in batch.sources])
        src_bs = torch.full((len(batch.sources), len(batch.sources[0])), vocab.pad_index)
        for row, source in enumerate(batch.sources):
            src_bs[row, : len(source)] = torch.tensor([*source[:-1], vocab.eos_index])
        joey_batch = JoeyBatch(
            src=src_bs,
            src_length=lengths,
            src_prompt_mask=None,
            trg=None,
            trg_prompt_mask=None,
            indices=torch.arange(len(lengths)),
            device=src_bs.device,
            pad_index=vocab.pad_index,
            eos_index=vocab.eos_index,
            is_train=False,
        )
        found_bt, _, _ = joeynmt_search(
            model,
            joey_batch,
            max_output_length=batch.length,
            beam_size=job.beam,
            beam_alpha=1.0,
            min_output_length=batch.length,
        )
        return int(found_bt.size)

    def search(batches: list[Batch]) -> int:
        return sum(search_batch(batch) for batch in batches)

    return search, sum(weight.numel() for weight in model.parameters())


if __name__ == "__main__":
    serve(start)
