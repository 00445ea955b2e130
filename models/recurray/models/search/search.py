"""Greedy and beam search and sampling, over any number of sources; greedy is a beam of one."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from recurray.models.padded import Padded, cat_padded
from recurray.models.search.beams import Beams
from recurray.models.search.extension import are_done, extend
from recurray.models.search.options import Hypothesis, Room, SearchOptions, Source
from recurray.models.search.rules import restrict
from recurray.models.seq2seq import SearchState, Seq2Seq

REFILL_SHARE = 0.25
"""New sources are taken in once this share of the room is free: to take in one by one would be dear."""


@dataclass
class _Searched:
    """The sources that are searched at present."""

    beams: Beams
    state: SearchState

    @property
    def longest(self) -> int:
        """Padded pieces of a source."""
        return self.state.src.values.shape[1]

    def join(self, model: Seq2Seq, other: "_Searched") -> "_Searched":
        """With the other's sources behind its own."""
        return _Searched(Beams.join((self.beams, other.beams)), model.join((self.state, other.state)))


@torch.inference_mode()
def search_targets(
    model: Seq2Seq, sources: Sequence[Source], options: SearchOptions, *, room: Room, device: torch.device
) -> list[list[Hypothesis]]:
    """The best targets of each source, at most `options.n_best`, in the order of the sources.

    A hypothesis of n pieces, EOS among them, scores log-probability / ((5 + n) / 6)^α + β Σ_s log min(Σ_t a_ts, 1) with
    the attention a (Wu et al. 2016, equation 14). It is kept as finished where it ends among the best `beam_size`
    extensions of its source; the best `beam_size` that do not end go on. Where pieces are forced, the best of each bank
    of extensions with as many of them come in turn. A source is done when it has `beam_size`
    finished hypotheses, or when no live one can come to score more than the n-th best finished one, or at its own
    greatest length. Nothing of this looks at other sources.

    Sources that are done leave the batch and those that wait take their place, in their order, as many as there is room
    for. So sources of like length should stand beside each other, the short ones first.
    """
    waiting = deque(range(len(sources)))
    found: list[list[Hypothesis]] = [[] for _ in sources]
    searched: _Searched | None = None
    while waiting or searched:
        if admitted := _admitted(sources, waiting, searched, options, room):
            new = _begin(model, sources, admitted, options, device)
            searched = new if searched is None else searched.join(model, new)
        assert searched is not None  # an empty room takes in one source at least
        searched = _advance(model, searched, options, found)
    return found


def _admitted(
    sources: Sequence[Source], waiting: deque[int], searched: _Searched | None, options: SearchOptions, room: Room
) -> list[int]:
    """Takes those that the room has place for off the waiting ones."""
    present = 0 if searched is None else len(searched.beams.numbers_b)
    longest = 0 if searched is None else searched.longest
    admitted: list[int] = []
    for number in waiting:
        longest, count = max(longest, len(sources[number].pieces)), present + len(admitted)
        if count and not room.has(count + 1, longest, options):
            break
        admitted.append(number)
    if len(admitted) < REFILL_SHARE * present:
        return []
    for _ in admitted:
        waiting.popleft()
    return admitted


def _begin(
    model: Seq2Seq, sources: Sequence[Source], numbers: Sequence[int], options: SearchOptions, device: torch.device
) -> _Searched:
    own = [sources[number] for number in numbers]
    src = Padded(
        cat_padded([torch.tensor(source.pieces)[None] for source in own]).to(device),
        torch.tensor([len(source.pieces) for source in own], device=device),
    )
    start = model.start(src)
    rows = torch.arange(len(own), device=device)
    state = start.select(None, rows.repeat_interleave(options.hypotheses))
    return _Searched(Beams.begin(numbers, own, options, start.decoder.memories[0].keys.lengths), state)


def _advance(
    model: Seq2Seq, searched: _Searched, options: SearchOptions, found: list[list[Hypothesis]]
) -> _Searched | None:
    """One more piece for every hypothesis; what is left of the search, if anything."""
    beams = searched.beams
    log_probs_bkv, state = model.step(beams.last_bk, searched.state)
    restrict(log_probs_bkv, beams, forbidden=options.forbidden, no_repeat_ngram=options.no_repeat_ngram)
    sees = options.alignments or options.coverage_penalty > 0
    parents_bk = extend(beams, log_probs_bkv, state.weights_bks if sees else None, options)
    done_b = are_done(beams, options)
    hypotheses_bk = parents_bk + parents_bk.shape[1] * torch.arange(len(parents_bk), device=done_b.device)[:, None]
    if not done_b.any():  # as at most steps
        return _Searched(beams, state.select(None, hypotheses_bk.flatten()))
    for row, number in zip(done_b.nonzero()[:, 0].tolist(), beams.numbers_b[done_b].tolist(), strict=True):
        found[number] = beams.best(row, options.n_best, options.alignments)
    rows = (~done_b).nonzero()[:, 0]
    return _Searched(beams.select(rows), state.select(rows, hypotheses_bk[rows].flatten())) if len(rows) else None
