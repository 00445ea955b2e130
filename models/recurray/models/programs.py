"""Search in two programs of plain tensors, as TorchScript takes them: sources to a state, and one piece more of each.

Each row is a source with one hypothesis; who keeps several of a source gives each a row of its own.
"""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn.functional import pad

from recurray.models.attention.attention import Memory
from recurray.models.attention.self_attention import SelfAttention
from recurray.models.cells.stepped import SteppedCell
from recurray.models.decoders.decoder import DecoderState
from recurray.models.padded import Padded
from recurray.models.seq2seq import SearchState, Seq2Seq

State = tuple[Tensor, ...]
"""Three tensors of each memory of the sources, which stay, then what changes with a piece; each (N, …)."""

_MEMORY_TENSORS = 3
_EMPTY_PLACES = 2
"""Places of no piece in a past that has none yet: without a place, a Transformer's step takes another way."""


class StartProgram(nn.Module):
    """(N, S) source pieces, each source ending in EOS, and (N,) their lengths → the state before the first piece."""

    def __init__(self, model: Seq2Seq) -> None:
        super().__init__()
        self.model = model

    def forward(self, src_ns: Tensor, lengths_n: Tensor) -> State:
        """All of it."""
        state = self.model.start(Padded(src_ns, lengths_n)).decoder
        stay = [part for each in state.memories for part in (each.keys.values, each.keys.lengths, each.values_bsd)]
        return (*stay, *(_with_places(row) for row in state.rows))


class StepProgram(nn.Module):
    """(N,) the last piece of each target, BOS at first → (N, V) log-probabilities of the next, and what has changed.

    It also takes the sources and their lengths, and the state, of which the first `stay` tensors are not given back.
    """

    def __init__(self, model: Seq2Seq, stay: int) -> None:
        super().__init__()
        self.model = model
        self._stay = stay

    def forward(self, pieces_n: Tensor, src_ns: Tensor, lengths_n: Tensor, state: Sequence[Tensor]) -> State:
        """Log-probabilities first, then the rest."""
        firsts = range(0, self._stay, _MEMORY_TENSORS)
        memories = tuple(
            Memory(Padded(keys, lengths), values)
            for keys, lengths, values in (state[first : first + _MEMORY_TENSORS] for first in firsts)
        )
        before = SearchState(Padded(src_ns, lengths_n), DecoderState(memories, tuple(state[self._stay :])))
        log_probs_n1v, after = self.model.step(pieces_n[:, None], before)
        return (log_probs_n1v[:, 0], *after.decoder.rows)


def tensors_that_stay(model: Seq2Seq, src: Padded) -> int:
    """How many of a state's tensors are the same from piece to piece."""
    return _MEMORY_TENSORS * len(model.start(src).decoder.memories)


def obstacle(model: Seq2Seq) -> str | None:
    """Why no program of any source's length can be made of a model, if none can: a reason that ends no sentence."""
    for module in model.encoder.modules():
        if isinstance(module, SteppedCell):
            kind = type(module).__name__
            return (
                f"its encoder's {kind} goes from step to step in Python, and only lstm, gru, rnn and transformer do not"
            )
        if isinstance(module, SelfAttention) and module.window is not None:
            return "its encoder's attention has a window, whose chunks a program cannot count for every length"
    return None


def _with_places(row: Tensor) -> Tensor:
    """Zeros, which are no hypothesis's own, in front of a past without places; all else as it is."""
    sides = [side for size in reversed(row.shape) for side in ((_EMPTY_PLACES if size == 0 else 0), 0)]
    return pad(row, sides) if any(sides) else row
