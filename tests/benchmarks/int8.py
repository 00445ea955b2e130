"""Weights of 8 bits, and a shortlist beside them, against single precision: speed, BLEU, and lines that differ alone.

The shortlist is of the training targets' pieces. All search the demo's test set on one thread, in turn; a ratio is
taken in each round, since a shared machine's speed drifts. It needs `runs/demo/model` and the demo's corpus, which
`make demo` leaves.

    python -m tests.benchmarks.int8 [ROUNDS]
"""

import statistics
import sys
import time
from pathlib import Path

import torch

from recurray.jobs.recipes import find_recipe
from recurray.platform import Translator
from recurray.platform.config.loading import load_config
from recurray.platform.corpora.readers import read_pairs
from recurray.platform.evaluation.scores import scores_of
from recurray.platform.inference.records import read_lines
from recurray.platform.saved_model import load_codec
from recurray.platform.tasks.shortlist import Shortlist
from recurray.platform.tasks.text import tokenizer_of

MODEL = "runs/demo/model"
SHORTLIST = Path("data/homeassistant-en-de/train.de")
ALONE = 100
"""Lines that are also translated one by one."""


def main(rounds: int) -> None:
    """Prints lines a second of each round, then what both found."""
    torch.set_num_threads(1)
    test = load_config(find_recipe("demo")).data.test
    assert test is not None
    pairs = list(read_pairs(test))
    sources, references = [pair.src for pair in pairs], [pair.tgt for pair in pairs]
    shortlist = Shortlist.of_texts(read_lines(SHORTLIST), tokenizer_of(load_codec(MODEL)))
    translators = {
        "float32": Translator.from_pretrained(MODEL),
        "8 bits": Translator.from_pretrained(MODEL, int8=True),
        "8 bits and shortlist": Translator.from_pretrained(MODEL, int8=True, shortlist=shortlist),
    }
    seconds: dict[str, list[float]] = {name: [] for name in translators}
    found: dict[str, list[str]] = {}
    for turn in range(1, rounds + 1):
        for name, translator in translators.items():
            began = time.perf_counter()
            found[name] = translator.translate(sources)
            seconds[name].append(time.perf_counter() - began)
        speeds = "  ".join(f"{name} {len(sources) / times[-1]:.1f}" for name, times in seconds.items())
        print(f"round {turn}: lines a second at beam {translator.search.beam_size}: {speeds}", flush=True)
    for name, translator in translators.items():
        ratios = [slow / fast for slow, fast in zip(seconds["float32"], seconds[name], strict=True)]
        print(f"{name}: {statistics.median(ratios):.2f} times as fast as float32")
        (score,) = scores_of(["bleu"], found[name], references).values()
        alone = [translator.translate([source])[0] for source in sources[:ALONE]]
        differ = sum(one != other for one, other in zip(alone, found[name], strict=False))
        print(f"{name}: BLEU {score.score:.2f} {score.signature}; {differ} of {ALONE} lines differ when alone")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
