"""A Marian-architecture Transformer of Hugging Face's transformers, by `generate`."""

import torch
from protocol import Batch, Job, Search, serve
from transformers import MarianConfig, MarianMTModel


def start(job: Job) -> tuple[Search, int]:
    """Two layers a side of 256 units."""
    torch.manual_seed(1)
    layers = {"encoder_layers": 2, "encoder_attention_heads": 4, "encoder_ffn_dim": 896}
    config = MarianConfig(
        vocab_size=job.vocab,
        d_model=256,
        **layers,
        **{name.replace("encoder", "decoder"): value for name, value in layers.items()},
        pad_token_id=job.pad,
        bos_token_id=job.bos,
        eos_token_id=job.eos,
        decoder_start_token_id=job.bos,
        forced_eos_token_id=None,
    )
    model = MarianMTModel(config).eval()

    def search_batch(batch: Batch) -> int:
        src_bs = torch.full((len(batch.sources), len(batch.sources[0])), job.pad)
        for row, source in enumerate(batch.sources):
            src_bs[row, : len(source)] = torch.tensor(source)
        found_bt = model.generate(
            input_ids=src_bs,
            attention_mask=(src_bs != job.pad).long(),
            num_beams=job.beam,
            do_sample=False,
            min_new_tokens=batch.length,
            max_new_tokens=batch.length,
        )
        return found_bt[:, 1:].numel()

    def search(batches: list[Batch]) -> int:
        with torch.inference_mode():
            return sum(search_batch(batch) for batch in batches)

    return search, sum(weight.numel() for weight in model.parameters() if weight.requires_grad)


if __name__ == "__main__":
    serve(start)
