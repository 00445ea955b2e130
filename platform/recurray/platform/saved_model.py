"""A saved model: a folder with `model.safetensors`, `config.yaml`, `tokenizer.model` and `README.md`, its card."""

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_model, save_model

from recurray.models import Seq2Seq
from recurray.platform.config.loading import read_yaml, to_yaml
from recurray.platform.config.tree import ModelConfig, PositiveInt, SearchConfig, Section
from recurray.platform.data.hashing import digest, file_digest
from recurray.platform.data.tokenizer import TOKENIZER_FILE, Tokenizer
from recurray.platform.errors import UserError

WEIGHTS_FILE, CONFIG_FILE, CARD_FILE = "model.safetensors", "config.yaml", "README.md"


class SavedConfig(Section):
    """What a saved model's `config.yaml` holds."""

    src_lang: str
    """The source language's code."""
    tgt_lang: str
    """The target language's code."""
    max_pieces: PositiveInt
    """The most pieces a side that it was trained on; longer texts are translated in parts."""
    model: ModelConfig
    """The network's shape."""
    search: SearchConfig
    """How it is searched by default."""


@dataclass(frozen=True)
class SavedModel:
    """A saved model, loaded."""

    network: Seq2Seq
    tokenizer: Tokenizer
    config: SavedConfig


def build_network(config: ModelConfig, vocab_size: int) -> Seq2Seq:
    """A network with new weights, made from PyTorch's global generator."""
    return Seq2Seq(vocab_size, **config.model_dump())


def save(folder: Path, model: SavedModel, card: str) -> None:
    """Writes the folder aside and puts it in the place of the one before."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        save_model(model.network, str(aside / WEIGHTS_FILE))
        (aside / CONFIG_FILE).write_text(to_yaml(model.config), encoding="utf-8")
        (aside / CARD_FILE).write_text(card, encoding="utf-8")
        model.tokenizer.save(aside)
        aside.chmod(0o755)
        if folder.exists():
            folder.rename(aside / "before")
        aside.rename(folder)
        shutil.rmtree(folder / "before", ignore_errors=True)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def load_config(folder: Path) -> SavedConfig:
    """The configuration of a saved model; UserError where the folder is none."""
    for name in (WEIGHTS_FILE, CONFIG_FILE, TOKENIZER_FILE):
        if not (folder / name).is_file():
            raise UserError(f"{folder} is not a saved model: it has no {name}; a run's model lies in runs/NAME/model.")
    try:
        return SavedConfig.model_validate(read_yaml(folder / CONFIG_FILE))
    except ValidationError as fault:
        where = ".".join(map(str, fault.errors()[0]["loc"]))
        raise UserError(f"{folder / CONFIG_FILE}: `{where}`: {fault.errors()[0]['msg']}.") from None


def load(folder: Path) -> SavedModel:
    """Loads a saved model on the CPU; nothing is unpickled.

    Raises UserError that names the file at fault where the folder is no saved model or a damaged one.
    """
    config = load_config(folder)
    try:
        tokenizer = Tokenizer.load(folder)
    except RuntimeError as fault:
        raise UserError(f"{folder / TOKENIZER_FILE} is damaged or no SentencePiece model ({fault}).") from None
    network = build_network(config.model, tokenizer.vocab_size)
    try:
        load_model(network, folder / WEIGHTS_FILE)
    except (SafetensorError, RuntimeError) as fault:
        reason = " ".join(str(fault).split())
        raise UserError(
            f"{folder / WEIGHTS_FILE} is damaged or of another shape than config.yaml ({reason})."
        ) from None
    return SavedModel(network.eval(), tokenizer, config)


def model_identity(folder: Path) -> str:
    """An identity of a saved model's content, its card apart."""
    return digest(file_digest(folder / name) for name in (WEIGHTS_FILE, CONFIG_FILE, TOKENIZER_FILE))
