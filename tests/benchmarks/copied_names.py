"""Names that a summarizer copied from its documents though no training text holds them.

python -m tests.benchmarks.copied_names [RUN]
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from recurray.platform.config.loading import load_config
from recurray.platform.config.tree import RunConfig
from recurray.platform.corpora.readers import read_pairs
from recurray.platform.data.tokenizer import Tokenizer

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{7,}")
_SHOWN = 8


def copied_names(config: RunConfig) -> Iterator[tuple[int, str, str]]:
    """Line, name and summary, for each name in a test summary and its document but in no training text."""
    known = {
        name for source in config.data.train for pair in read_pairs(source) for name in _NAME.findall(" ".join(pair))
    }
    test = Path(config.folder) / "test"
    files = [(test / name).read_text(encoding="utf-8").split("\n") for name in ("source.txt", "hypotheses.txt")]
    for line, (document, summary) in enumerate(zip(*files, strict=True), 1):
        for name in sorted({*_NAME.findall(summary)} & {*_NAME.findall(document)} - known):
            yield line, name, summary


def main(run: str) -> None:
    """Prints how many there are, and some of them with their pieces."""
    config = load_config(Path("runs") / run / "config.yaml")
    tokenizer = Tokenizer.load(Path(config.folder) / "model")
    found = [(line, name, summary, tokenizer.encode([name])[0]) for line, name, summary in copied_names(config)]
    pieces = tokenizer.pieces()
    print(f"{len(found)} names of 8 letters or more that no training text holds were copied, such as:")
    for line, name, summary, numbers in found[:_SHOWN]:
        print(f"  line {line}: {name} ({' '.join(pieces[number] for number in numbers[:-1])}) in: {summary}")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "demo-summarize")
