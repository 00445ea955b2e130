"""Corpora that recurray can make: what one is, how it is split, and how it is written."""

import hashlib
import json
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import yaml

CORPUS_FILE = "corpus.yaml"
SPLITS = ("train", "dev", "test")

_DEV_PERMILLE, _TEST_PERMILLE = 40, 60
_RULE = "by a hash of the source text, case and spaces apart: 4 % dev, 6 % test, so that no source is in two splits"


@dataclass(frozen=True)
class Row:
    """A pair, with where it was found."""

    src: str
    tgt: str
    where: str


@dataclass
class Corpus:
    """A corpus as it is made: its rows come one by one, and what is left out is counted as they come."""

    name: str
    source: str
    """Where the texts come from, with the version."""
    licence: str
    """Of the texts."""
    languages: tuple[str, str] | None
    """Source and target, written as parallel text files; None is documents, written as JSON lines."""
    rows: Iterable[Row]
    """The rows that are kept."""
    dropped: Counter[str] = field(default_factory=Counter)
    """Rows that were left out, by reason; complete when `rows` is used up."""


def split_of(src: str) -> str:
    """The split that a source text belongs to."""
    text = " ".join(src.casefold().split())
    share = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") % 1000
    if share < _DEV_PERMILLE:
        return "dev"
    return "test" if share < _DEV_PERMILLE + _TEST_PERMILLE else "train"


def write_corpus(corpus: Corpus, folder: Path, command: str) -> dict[str, Any]:
    """Writes the splits and `corpus.yaml`, whole or not at all; returns what `corpus.yaml` says."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        counts = _write_splits(corpus, aside)
        summary = {
            "name": corpus.name,
            "source": corpus.source,
            "licence": corpus.licence,
            "pair": "-".join(corpus.languages) if corpus.languages else None,
            "rows": counts,
            "dropped": dict(corpus.dropped),
            "split": _RULE,
            "command": command,
        }
        (aside / CORPUS_FILE).write_text(yaml.safe_dump(summary, sort_keys=False, width=120), encoding="utf-8")
        aside.chmod(0o755)
        aside.rename(folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return summary


def _write_splits(corpus: Corpus, folder: Path) -> dict[str, int]:
    endings = corpus.languages or ("jsonl",)
    counts = dict.fromkeys(SPLITS, 0)
    with ExitStack() as stack:
        files = {
            split: [stack.enter_context((folder / f"{split}.{end}").open("w", encoding="utf-8")) for end in endings]
            for split in SPLITS
        }
        for row in corpus.rows:
            split = split_of(row.src)
            counts[split] += 1
            texts = (row.src, row.tgt) if corpus.languages else (json.dumps(asdict(row), ensure_ascii=False),)
            for file, text in zip(files[split], texts, strict=True):
                file.write(text + "\n")
    return counts
