"""Export: a saved model of texts as two programs that run without recurray, checked equal to the model."""

import json
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from recurray.models import BOS, EOS, PAD, UNK, Padded, Seq2Seq
from recurray.models.products.int8 import Int8Linear
from recurray.models.products.replacing import replace_products
from recurray.models.programs import StartProgram, StepProgram, obstacle, tensors_that_stay
from recurray.platform import exported_model
from recurray.platform.data.tokenizer import TOKENIZER_FILE
from recurray.platform.errors import UserError
from recurray.platform.saved_model import CARD_FILE, SavedModel, load
from recurray.platform.tasks.text import LENGTH_MORE, TextCodec

START_FILE, STEP_FILE, INTERFACE_FILE, SCRIPT_FILE = "start.pt", "step.pt", "interface.json", "run.py"
TOLERANCE = 1e-4
"""The most that a log-probability of a program may differ from the model's."""

_load: Callable[[Path], nn.Module] = torch.jit.load
_trace: Callable[..., torch.jit.ScriptModule] = torch.jit.trace

_TRACED = (5, 9, 4)
"""Sources' lengths of the batch on which programs are traced."""
_CHECKED = ((1,), (17,), (3, 40, 1, 8, 21))
"""Sources' lengths of the batches on which programs and model are compared."""
_STEPS = 8
"""Pieces of each target of these."""


@dataclass(frozen=True)
class Exported:
    """What was written."""

    largest_difference: float
    """Of a log-probability, between the programs as read from the folder and the model."""
    megabytes: float
    """The folder's size."""


def export(place: str | Path, output: Path, *, int8: bool) -> Exported:
    """Writes the programs of the model at `place`, a folder or a URI, with what they need to the folder `output`.

    With `int8` weights are rounded to 8 bits, as for search. Raises UserError where the model is none or no program can
    be made of it, and where `output` holds something else than an exported model.
    """
    if output.exists() and not (output / START_FILE).is_file():
        raise UserError(f"--output {output} is there and is no exported model; name another folder.")
    model = load(place)
    network, codec = model.network, model.codec
    if not isinstance(codec, TextCodec) or not isinstance(network, Seq2Seq):
        raise UserError(f"{place} is a model of {model.config.task}, and only models of texts can be exported.")
    if reason := obstacle(network):
        raise UserError(f"{place} cannot be exported: {reason}.")
    if int8:
        replace_products(network, Int8Linear)
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{output.name}-", dir=output.parent) as place_aside:
        aside = Path(place_aside, "exported")
        aside.mkdir()
        stay = write_programs(network, aside)
        codec.save(aside)
        (aside / INTERFACE_FILE).write_text(json.dumps(_interface(model, stay), indent=2) + "\n", encoding="utf-8")
        (aside / CARD_FILE).write_text(_card(place, int8), encoding="utf-8")
        shutil.copy(exported_model.__file__, aside / SCRIPT_FILE)
        difference = largest_difference(network, aside)
        if difference > TOLERANCE:
            raise RuntimeError(f"the programs of {place} differ from it by {difference:.1e}")
        if output.exists():
            shutil.rmtree(output)
        aside.rename(output)
    return Exported(difference, sum(path.stat().st_size for path in output.iterdir()) / 1e6)


def largest_difference(network: Seq2Seq, folder: Path) -> float:
    """Of a log-probability in the first steps, between the folder's programs and the model, on random pieces."""
    start, step = (_load(folder / name) for name in (START_FILE, STEP_FILE))
    generator, vocab_size = torch.Generator().manual_seed(1), network.tgt_embedding.num_embeddings
    found = []
    for lengths in _CHECKED:
        src = _random_sources(lengths, vocab_size, generator)
        pieces_tn = torch.randint(EOS + 1, vocab_size, (_STEPS, len(lengths)), generator=generator)
        pieces_tn[0] = BOS
        with torch.inference_mode():
            both = zip(_model_steps(network, src, pieces_tn), _program_steps(start, step, src, pieces_tn), strict=True)
            found += [(ours_nv - theirs_nv).abs().max() for ours_nv, theirs_nv in both]
    return float(torch.stack(found).nan_to_num(nan=torch.inf).max())


def _model_steps(network: Seq2Seq, src: Padded, pieces_tn: Tensor) -> Iterator[Tensor]:
    state = network.start(src)
    for pieces_n in pieces_tn:
        log_probs_nkv, state = network.step(pieces_n[:, None], state)
        yield log_probs_nkv[:, 0]


def _program_steps(start: nn.Module, step: nn.Module, src: Padded, pieces_tn: Tensor) -> Iterator[Tensor]:
    state: Sequence[Tensor] = start(src.values, src.lengths)
    for pieces_n in pieces_tn:
        log_probs_nv, *changed = step(pieces_n, src.values, src.lengths, state)
        state = [*state[: len(state) - len(changed)], *changed]
        yield log_probs_nv


def write_programs(network: Seq2Seq, folder: Path) -> int:
    """Both; returns how many of the state's tensors stay as they are from piece to piece."""
    src = _random_sources(_TRACED, network.tgt_embedding.num_embeddings, torch.Generator().manual_seed(1))
    stay = tensors_that_stay(network, src)
    start, step = StartProgram(network), StepProgram(network, stay)
    with torch.no_grad():
        _save(start, (src.values, src.lengths), folder / START_FILE)
        first = (torch.full_like(src.lengths, BOS), src.values, src.lengths, list(start(src.values, src.lengths)))
        _save(step, first, folder / STEP_FILE)
    return stay


def _save(program: nn.Module, call: tuple[Any, ...], path: Path) -> None:
    """Traces a program, and keeps of its weights those that it uses.

    It warns that TorchScript is deprecated, but what should follow it, `torch.export`, unrolls an LSTM for one length
    of its input; and of sizes that may have become constants, which the comparison with the model would show.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.freeze(_trace(program.eval(), call, check_trace=False), optimize_numerics=False), path)


def _random_sources(lengths: Sequence[int], vocab_size: int, generator: torch.Generator) -> Padded:
    src_ns = torch.randint(EOS + 1, vocab_size, (len(lengths), max(lengths)), generator=generator)
    for row, length in zip(src_ns, lengths, strict=True):
        row[length - 1], row[length:] = EOS, PAD
    return Padded(src_ns, torch.tensor(lengths))


def _interface(model: SavedModel, stay: int) -> dict[str, Any]:
    """What a caller of the programs must know, and cannot see from them."""
    search = model.config.search
    return {
        "task": model.config.task,
        "pieces": {"pad": PAD, "unk": UNK, "bos": BOS, "eos": EOS},
        "state_tensors_that_stay": stay,
        "max_length": {"factor": search.max_length_factor, "more": LENGTH_MORE, "most": search.max_length},
    }


def _card(place: str | Path, int8: bool) -> str:
    weights = "rounded to 8 bits" if int8 else "in single precision"
    return f"""# {place} as programs

Two programs of TorchScript, made by `recurray export` with PyTorch {torch.__version__} and weights {weights}.
They run without recurray, for batches of any size and sources of any length. A row of a batch is a source with one
hypothesis; a search with a beam gives each hypothesis a row, and reorders all tensors of the state by
`index_select(0, rows)`.

- `{START_FILE}`: (N, S) int64 source pieces, each source ending in EOS and padded behind it, and (N,) int64 lengths →
  the tensors of a state.
- `{STEP_FILE}`: (N,) int64 last pieces of the targets, BOS at first, the sources and the lengths as before, and the
  list of the state's tensors → (N, V) log-probabilities of the next piece, and the state's tensors that have changed.
- `{INTERFACE_FILE}`: the numbers of the pieces with a meaning of their own, how many tensors of a state, its first
  ones, stay as they are, and how long a result may be.
- `{TOKENIZER_FILE}`: the SentencePiece vocabulary.
- `{SCRIPT_FILE}`: all of it in use, with a beam of one: `python {SCRIPT_FILE} < sources.txt > results.txt`.
"""
