"""Marian through pymarian: a Transformer, or with `rnn` as second argument its own LSTM network, in float32.

Marian ends a batch at a multiple of its widest source, which a call sets, so a call has one batch. Its own threads take
whole batches of a call; in their place each thread is a process that takes one batch after the other.
"""

import multiprocessing
import random
import sys
import tempfile
from pathlib import Path

import numpy as np
import pymarian
from protocol import Batch, Job, Search, serve

TRANSFORMER = {
    "type": "transformer",
    "enc_depth": 2,
    "dec_depth": 2,
    "transformer_heads": 4,
    "transformer_dim_ffn": 896,
}
RNN = {
    "type": "s2s",
    "dim_rnn": 256,
    "enc_cell": "lstm",
    "dec_cell": "lstm",
    "enc_depth": 1,
    "dec_depth": 1,
    "dec_cell_base_depth": 2,
}
END, UNKNOWN = "</s>", "<unk>"


_translators: list[pymarian.Translator] = []
"""The one of this process."""


def load(model: str, vocab: str, beam: int) -> None:
    """Makes this process's translator."""
    translator = pymarian.Translator(
        models=model, vocabs=[vocab] * 2, beam_size=beam, normalize=1.0, cpu_threads=1, workspace=512, quiet=True
    )
    _translators.append(translator)


def search_batch(batch: Batch) -> int:
    """The pieces that come out."""
    lines = [" ".join(f"p{piece}" for piece in source[:-1]) for source in batch.sources]
    factor = (batch.length - 0.5) / len(batch.sources[0])  # Marian rounds up
    options = {"mini-batch": len(lines), "max-length-factor": factor}
    return sum(len(line.split()) for line in _translators[0].translate(lines, **options))


def start(job: Job) -> tuple[Search, int]:
    """A model after one update on noise, the score of whose end is out of reach."""
    place = tempfile.TemporaryDirectory(prefix="recurray-marian-")
    folder = Path(place.name)
    names = job.names()
    names += [f"special{number}" for number in range(job.vocab - len(names) - 2)]
    vocab = folder / "vocab.yml"
    vocab.write_text("".join(f'"{name}": {number}\n' for number, name in enumerate([END, UNKNOWN, *names])))
    model, parameters = make_model(folder, vocab, names)
    arguments = (str(model), str(vocab), job.beam)
    if job.threads == 1:
        load(*arguments)
        return lambda batches: sum(map(search_batch, batches)), parameters
    pool = multiprocessing.get_context("spawn").Pool(job.threads, load, arguments)

    def search(batches: list[Batch]) -> int:
        assert place  # the processes read from it
        return sum(pool.imap_unordered(search_batch, batches))

    return search, parameters


def make_model(folder: Path, vocab: Path, names: list[str]) -> tuple[Path, int]:
    """The model's file and its size."""
    noise = folder / "noise"
    noise.write_text("".join(" ".join(random.choices(names, k=12)) + "\n" for _ in range(64)))
    shape = RNN if "rnn" in sys.argv[2:] else TRANSFORMER
    trainer = pymarian.Trainer(
        model=str(folder / "trained.npz"),
        train_sets=[str(noise)] * 2,
        vocabs=[str(vocab)] * 2,
        dim_emb=256,
        tied_embeddings_all=True,
        **shape,
        after="1u",
        mini_batch=32,
        cpu_threads=1,
        workspace=512,
        seed=1,
        quiet=True,
    )
    trainer.train()
    with np.load(folder / "trained.npz") as arrays:
        weights = dict(arrays)
    (bias,) = {"decoder_ff_logit_out_b", "decoder_ff_logit_l2_b"} & set(weights)
    weights[bias][0, 0] = -1e4
    np.savez(folder / "model.npz", **weights)
    sizes = (array.size for name, array in weights.items() if not name.startswith("special:"))
    return folder / "model.npz", sum(sizes)


if __name__ == "__main__":
    serve(start)
