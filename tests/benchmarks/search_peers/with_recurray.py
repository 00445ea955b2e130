"""recurray's `Translator.translate`; with `int8` and a shortlist's text as arguments, in 8 bits and with that."""

import sys
from pathlib import Path

import torch
from protocol import Batch, Job, Search, serve

from recurray.models import EOS, Seq2Seq
from recurray.platform import Translator
from recurray.platform.inference.records import read_lines
from recurray.platform.saved_model import load
from recurray.platform.tasks.shortlist import Shortlist
from recurray.platform.tasks.text import tokenizer_of


def start(job: Job) -> tuple[Search, int]:
    """The model of the job, whose hypotheses do not end by themselves where lengths are forced."""
    saved = load(Path(job.model))
    network = saved.network
    assert isinstance(network, Seq2Seq)
    network.output.bias.data[EOS] = -1e4
    parameters = sum(weight.numel() for weight in network.parameters())
    options = sys.argv[2:]
    texts = [line for path in options[1:] for line in read_lines(Path(path))]
    shortlist = Shortlist.of_texts(texts, tokenizer_of(saved.codec)) if texts else None
    translator = Translator(saved, torch.device("cpu"), int8="int8" in options, shortlist=shortlist)
    own = translator.search.model_copy(update={"beam_size": job.beam})

    def search(batches: list[Batch]) -> int:
        for batch in batches:
            forced = own.model_copy(update={"max_length": batch.length, "max_length_factor": 100.0})
            translator.translate(batch.texts, forced)
        return sum(len(batch.texts) * batch.length for batch in batches)

    return search, parameters


if __name__ == "__main__":
    serve(start)
