"""Preparing: texts to a tokenizer and stores of examples, done once for the same texts and settings."""

import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import pyarrow as pa
import yaml
from rich.progress import Progress

from recurray.platform.config.loading import read_yaml, to_yaml
from recurray.platform.config.tree import DataConfig, RunConfig
from recurray.platform.corpora.readers import Pair, read_pairs, source_identity
from recurray.platform.data.cleaning import clean_lengths, clean_texts
from recurray.platform.data.hashing import digest
from recurray.platform.data.store import Store, StoreWriter
from recurray.platform.errors import UserError
from recurray.platform.tasks.registry import TASKS
from recurray.platform.tasks.task import Codec, Sequences, Task

FORMAT = 3
"""Raised when what is written for the same texts and settings changes."""

_BLOCK_CHARACTERS = 4_000_000
"""Of the pairs that are encoded in one call, about: their pieces are lists of Python's, which are large."""


@dataclass(frozen=True)
class Counts:
    """What became of the training pairs."""

    read: int
    """Pairs in the sources."""
    kept: int
    """Examples in the store."""
    dropped: dict[str, int]
    """Pairs left out, by reason."""
    src_pieces: int
    """Source pieces in the store."""
    tgt_pieces: int
    """Target pieces in the store."""


@dataclass(frozen=True)
class Prepared:
    """A prepared folder, and the task that it was prepared for."""

    folder: Path
    task: Task

    @property
    def train(self) -> Store:
        """Training examples."""
        return Store(self.folder / "train.arrow")

    @property
    def dev(self) -> Store:
        """Validation examples, in the order of `dev_texts`."""
        return Store(self.folder / "dev.arrow")

    @property
    def dev_texts(self) -> list[Pair]:
        """Validation texts as they were read."""
        table = pa.ipc.open_file(pa.memory_map(str(self.folder / "dev_texts.arrow"))).read_all()
        return [Pair(*texts) for texts in zip(table["src"].to_pylist(), table["tgt"].to_pylist(), strict=True)]

    @property
    def codec(self) -> Codec:
        """The codec that made the examples."""
        return self.task.load_codec(self.folder)

    @property
    def counts(self) -> Counts:
        """What became of the training pairs."""
        return Counts(**read_yaml(self.folder / "prepared.yaml")["counts"])


def identity(config: RunConfig) -> str:
    """What prepared data depends on, as 16 hexadecimal digits: the sources' content, the settings, the format."""
    sources = [source_identity(source) for source in (*config.data.train, config.data.dev)]
    data = config.data
    settings = [
        str(data.max_src_pieces),
        str(data.max_tgt_pieces),
        str(data.max_length_ratio),
        to_yaml(config.tokenizer),
    ]
    return digest([str(FORMAT), config.task, *settings, *sources])


def prepare(config: RunConfig) -> Prepared:
    """The prepared data of a run, made if it is not there yet.

    It is written aside and renamed when whole, so that a folder that is there is complete. Raises UserError for
    sources that cannot be read, texts that cannot fill the vocabulary, and when nothing is left to train on.
    """
    folder = Path(config.data.prepared) / identity(config)
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(prefix=".preparing-", dir=folder.parent))
        try:
            _write(config, aside)
            aside.chmod(0o755)  # mkdtemp lets nobody else read, but workers may be other users
            _publish(aside, folder)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    return Prepared(folder, TASKS[config.task]())


def _publish(aside: Path, folder: Path) -> None:
    try:
        aside.rename(folder)
    except OSError:
        if not folder.exists():  # else another process prepared the same at the same time
            raise


def _write(config: RunConfig, folder: Path) -> None:
    with Progress(transient=True) as progress:
        label = progress.add_task("training the tokenizer", total=None)
        codec = TASKS[config.task]().make_codec(clean_texts(_read_all(config.data), Counter()), config)
        codec.save(folder)
        progress.update(label, description="encoding")
        counts = _write_train(config.data, codec, folder)
    _write_dev(config.data, codec, folder)
    (folder / "prepared.yaml").write_text(yaml.safe_dump({"counts": asdict(counts)}, sort_keys=False))


def _read_all(data: DataConfig) -> Iterator[Pair]:
    for source in data.train:
        yield from read_pairs(source)


def _write_train(data: DataConfig, codec: Codec, folder: Path) -> Counts:
    dropped: Counter[str] = Counter()
    kept = src_pieces = tgt_pieces = 0
    with StoreWriter(folder / "train.arrow", codec.src_type, codec.tgt_type) as writer:
        for pairs in _blocks(clean_texts(_read_all(data), dropped)):
            for src, tgt in _encode(pairs, codec):
                reason = clean_lengths(len(src), len(tgt), data)
                if reason is not None:
                    dropped[reason] += 1
                    continue
                writer.append(src, tgt)
                kept, src_pieces, tgt_pieces = kept + 1, src_pieces + len(src), tgt_pieces + len(tgt)
    if not kept:
        raise UserError(
            f"data.train holds no pair to train on: {dropped.total()} were read, left out: {dict(dropped)}."
        )
    return Counts(kept + dropped.total(), kept, dict(dropped), src_pieces, tgt_pieces)


def _write_dev(data: DataConfig, codec: Codec, folder: Path) -> None:
    pairs = [Pair(*map(_printable, pair)) for pair in read_pairs(data.dev)]
    if not pairs:
        raise UserError("data.dev holds no pair to validate on.")
    with StoreWriter(folder / "dev.arrow", codec.src_type, codec.tgt_type) as writer:
        for src, tgt in _encode(pairs, codec):
            writer.append(src, tgt)
    table = pa.table({"src": [pair.src for pair in pairs], "tgt": [pair.tgt for pair in pairs]})
    with pa.ipc.new_file(folder / "dev_texts.arrow", table.schema) as file:
        file.write_table(table)


def _printable(text: str) -> str:
    """Invalid bytes, which readers pass on as lone surrogates, as the replacement character."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _encode(pairs: list[Pair], codec: Codec) -> Iterable[Sequences]:
    return codec.encode(pairs, os.cpu_count() or 1)


def _blocks(pairs: Iterator[Pair]) -> Iterator[list[Pair]]:
    block: list[Pair] = []
    characters = 0
    for pair in pairs:
        block.append(pair)
        characters += len(pair.src) + len(pair.tgt)
        if characters >= _BLOCK_CHARACTERS:
            yield block
            block, characters = [], 0
    if block:
        yield block
