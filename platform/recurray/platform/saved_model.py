"""A saved model: a folder with `model.safetensors`, `config.yaml`, the codec's files and `README.md`, its card."""

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError, model_validator
from safetensors import SafetensorError
from safetensors.torch import load_model, save_model
from torch import nn
from torch.overrides import TorchFunctionMode

from recurray.platform.config.extensions import load_extensions_of
from recurray.platform.config.loading import read_yaml, to_yaml
from recurray.platform.config.model import ModelConfig
from recurray.platform.config.search import SearchConfig
from recurray.platform.config.section import PositiveInt, Section
from recurray.platform.config.tree import RunConfig, TaskName
from recurray.platform.data.hashing import digest, file_digest
from recurray.platform.errors import UserError
from recurray.platform.storage import local_folder
from recurray.platform.tasks.registry import TASKS
from recurray.platform.tasks.task import Codec, Task

WEIGHTS_FILE, CONFIG_FILE, CARD_FILE = "model.safetensors", "config.yaml", "README.md"


class SavedConfig(Section):
    """What a saved model's `config.yaml` holds."""

    task: TaskName
    """What it does."""
    extensions: tuple[str, ...]
    """Modules that must be importable for it to be loaded."""
    src_lang: str | None
    """The source language's code."""
    tgt_lang: str | None
    """The target language's code."""
    max_src_pieces: PositiveInt
    """The longest source that it was trained on."""
    model: ModelConfig
    """The network's shape."""
    search: SearchConfig
    """How it is searched by default."""

    _load_extensions = model_validator(mode="before")(load_extensions_of)

    @classmethod
    def of(cls, run: RunConfig) -> "SavedConfig":
        """That of a run's model."""
        return cls(
            task=run.task,
            extensions=run.extensions,
            src_lang=run.data.src_lang,
            tgt_lang=run.data.tgt_lang,
            max_src_pieces=run.data.max_src_pieces,
            model=run.model,
            search=run.search,
        )


@dataclass(frozen=True)
class SavedModel:
    """A saved model, loaded."""

    task: Task
    network: nn.Module
    codec: Codec
    config: SavedConfig


def save(folder: Path, model: SavedModel, card: str) -> None:
    """Writes the folder aside and puts it in the place of the one before; OSError leaves that as it was."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        _save_weights(model.network, aside / WEIGHTS_FILE)
        (aside / CONFIG_FILE).write_text(to_yaml(model.config), encoding="utf-8")
        (aside / CARD_FILE).write_text(card, encoding="utf-8")
        model.codec.save(aside)
        aside.chmod(0o755)
        if folder.exists():
            folder.rename(aside / "before")
        aside.rename(folder)
        shutil.rmtree(folder / "before", ignore_errors=True)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _save_weights(network: nn.Module, path: Path) -> None:
    try:
        save_model(network, str(path))
    except SafetensorError as fault:  # what its library makes of every fault, a full disk's too
        raise OSError(f"{path}: {fault}") from fault


def load_config(place: str | Path) -> SavedConfig:
    """The configuration of a saved model; UserError where the folder is none."""
    with local_folder(place) as folder:
        return _read_config(folder, place)


def load_codec(place: str | Path) -> Codec:
    """The codec of a saved model; UserError where the folder is none."""
    with local_folder(place) as folder:
        return TASKS[_read_config(folder, place).task]().load_codec(folder)


def load(place: str | Path) -> SavedModel:
    """Loads a saved model from a path or a URI on the CPU; nothing is unpickled.

    Raises UserError that names the file at fault where the folder is no saved model or a damaged one.
    """
    with local_folder(place) as folder:
        config = _read_config(folder, place)
        task = TASKS[config.task]()
        codec = task.load_codec(folder)
        with _NoOrthogonalStart():
            network = task.build_network(config.model, codec)
        try:
            load_model(network, folder / WEIGHTS_FILE)
        except (SafetensorError, RuntimeError) as fault:
            reason = " ".join(str(fault).split())
            raise UserError(
                f"{place}/{WEIGHTS_FILE} is damaged or of another shape than {CONFIG_FILE} ({reason})."
            ) from None
    return SavedModel(task, network.eval(), codec, config)


class _NoOrthogonalStart(TorchFunctionMode):
    """Leaves out the decompositions of orthogonal initial weights, which take longer than to load the real ones."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is torch.linalg.qr:
            return args[0], args[0]
        return func(*args, **(kwargs or {}))


def model_identity(place: str | Path) -> str:
    """An identity of a saved model's content, its card apart."""
    with local_folder(place) as folder:
        files = sorted(path for path in folder.iterdir() if path.is_file() and path.name != CARD_FILE)
        return digest(part for path in files for part in (path.name, file_digest(path)))


def _read_config(folder: Path, place: str | Path) -> SavedConfig:
    for name in (WEIGHTS_FILE, CONFIG_FILE):
        if not (folder / name).is_file():
            raise UserError(f"{place} is not a saved model: it has no {name}; a run's model lies in runs/NAME/model.")
    try:
        return SavedConfig.model_validate(read_yaml(folder / CONFIG_FILE))
    except ValidationError as fault:
        where = ".".join(map(str, fault.errors()[0]["loc"]))
        raise UserError(f"{place}/{CONFIG_FILE}: `{where}`: {fault.errors()[0]['msg']}.") from None
