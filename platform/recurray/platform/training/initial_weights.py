"""Weights that a run starts from: another model's, with the vocabulary mapped by piece, and pretrained word vectors.

They are made once, on the driver, and lie in the run's folder, where every worker reads them.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

import torch
from safetensors.torch import load_model, save_model
from torch import Tensor, nn

from recurray.models import Seq2Seq
from recurray.platform.config.tree import RunConfig
from recurray.platform.data.preparing import Prepared
from recurray.platform.errors import UserError
from recurray.platform.saved_model import load
from recurray.platform.tasks.text import TextCodec

INITIAL_FILE = "initial.safetensors"

_BY_PIECE = {"src_embedding.weight", "tgt_embedding.weight", "output.weight", "output.bias"}
"""Parameters of `Seq2Seq` with a row for each piece."""


def write_initial_weights(config: RunConfig, prepared: Prepared, folder: Path) -> list[str]:
    """Writes what the run starts from, if its configuration names anything; returns what was taken and what is new.

    Raises UserError for a model or a file of vectors that does not fit.
    """
    training = config.training
    if not (training.init_from or training.src_vectors or training.tgt_vectors):
        return []
    torch.manual_seed(config.seed)
    network, codec = prepared.task.build_network(config.model, prepared.codec), prepared.codec
    if not isinstance(network, Seq2Seq) or not isinstance(codec, TextCodec):
        raise UserError("training.init_from and vectors are for tasks from text to text.")
    pieces = codec.tokenizer.pieces()
    told = _take_model(network, pieces, training.init_from) if training.init_from else []
    sides = ((training.src_vectors, network.src_embedding), (training.tgt_vectors, network.tgt_embedding))
    told += [_take_vectors(embedding.weight, pieces, Path(path)) for path, embedding in sides if path]
    save_model(network, str(folder / INITIAL_FILE))
    return told


def read_initial_weights(network: nn.Module, folder: Path) -> None:
    """Loads what the run starts from, if there is anything."""
    if (folder / INITIAL_FILE).exists():
        load_model(network, folder / INITIAL_FILE)


def _take_model(network: Seq2Seq, pieces: list[str], place: str) -> list[str]:
    """Copies what another model has by the same name and shape, rows of the vocabulary by their pieces."""
    other = load(place)
    if not isinstance(other.codec, TextCodec):
        raise UserError(f"training.init_from: {place} is no model of texts.")
    row_of = {piece: row for row, piece in enumerate(other.codec.tokenizer.pieces())}
    rows = [(row, row_of[piece]) for row, piece in enumerate(pieces) if piece in row_of]
    given, new = other.network.state_dict(), []
    for name, weight in network.state_dict().items():
        if not _copy(weight, given.get(name), rows if name in _BY_PIECE else None):
            new.append(name)
    taken = len(network.state_dict()) - len(new)
    return [
        f"from {place}: {taken} of {taken + len(new)} tensors, {len(rows):,} of {len(pieces):,} pieces",
        *(f"  new: {name}" for name in new),
    ]


def _copy(weight: Tensor, given: Tensor | None, rows: list[tuple[int, int]] | None) -> bool:
    """Copies a tensor, or the given rows of it, in place; false where the shapes do not agree."""
    if given is None or given.shape[1:] != weight.shape[1:] or (rows is None and given.shape != weight.shape):
        return False
    if rows is None:
        weight.copy_(given)
    else:
        own, theirs = torch.tensor(rows, dtype=torch.int64).view(-1, 2).unbind(dim=1)
        weight[own] = given[theirs]
    return True


@torch.no_grad()
def _take_vectors(weight_vd: Tensor, pieces: list[str], path: Path) -> str:
    """Starts the rows of pieces that are whole words from a file's vectors, brought to the rows' own deviation."""
    row_of = {piece.removeprefix("▁"): row for row, piece in enumerate(pieces) if piece.startswith("▁")}
    found = dict(read_vectors(path, row_of, weight_vd.shape[1]))
    if found:
        vectors_nd = torch.stack(list(found.values()))
        weight_vd[[row_of[word] for word in found]] = vectors_nd * (weight_vd.std() / vectors_nd.std())
    return f"from {path}: vectors of {len(found):,} of {len(pieces):,} pieces"


def read_vectors(path: Path, wanted: Iterable[str], dim: int) -> Iterator[tuple[str, Tensor]]:
    """The vectors (dim,) of the wanted words in a text file of word2vec or fastText: a word and its numbers a line.

    A first line of two numbers, words and units, is passed over. UserError names the line that does not fit.
    """
    words = set(wanted)
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                word, *numbers = line.rstrip().split(" ")
                if number == 1 and len(numbers) == 1:
                    continue
                if len(numbers) != dim:
                    raise UserError(
                        f"{path} line {number} has {len(numbers)} numbers but model.embedding_dim is {dim}; set "
                        "model.embedding_dim to the vectors' size, or name another file."
                    )
                if word in words:
                    yield word, torch.tensor([float(value) for value in numbers])
    except FileNotFoundError:
        raise UserError(f"{path} does not exist; expected word vectors in the text format of word2vec.") from None
    except (UnicodeDecodeError, ValueError) as fault:
        raise UserError(f"{path} is no text file of word vectors ({fault}).") from None
