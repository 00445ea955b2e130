"""The search by its definition: one source at a time, with lists and loops, and no state kept between pieces."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from heapq import nlargest

import torch
from tests.models import equations
from tests.models.samples import alone
from torch import Tensor

from recurray.models import BOS, EOS, Hypothesis, Padded, SearchOptions, Seq2Seq, Source
from recurray.models.decoders.decoder import Decoded
from recurray.models.pointer import PointerOutput

Next = tuple[list[float], list[float]]
"""Log-probabilities of the pieces that may follow, and the weights of the encoder's states."""

Follow = Callable[[Sequence[tuple[int, ...]]], list[Next]]
"""What follows each of some prefixes of one length."""

LEAST_COVERAGE = 1e-30


@dataclass(frozen=True)
class Plain:
    """A hypothesis; its last piece may be EOS."""

    pieces: tuple[int, ...] = ()
    log_probs: tuple[float, ...] = ()
    weights: tuple[list[float], ...] = ()

    @property
    def total(self) -> float:
        return sum(self.log_probs)

    def extended(self, piece: int, following: Next) -> "Plain":
        log_probs, weights = following
        return Plain((*self.pieces, piece), (*self.log_probs, log_probs[piece]), (*self.weights, weights))

    def score(self, options: SearchOptions) -> float:
        """Wu et al. 2016, equation 14."""
        score = self.total / math.pow((5 + len(self.pieces)) / 6, options.length_penalty)
        if options.coverage_penalty:
            seen = [min(max(sum(column), LEAST_COVERAGE), 1.0) for column in zip(*self.weights, strict=True)]
            score += options.coverage_penalty * sum(math.log(share) for share in seen)
        return score

    def finished(self, options: SearchOptions) -> Hypothesis:
        places = [weights.index(max(weights)) for weights in self.weights]
        return Hypothesis(
            list(self.pieces[:-1]), self.score(options), list(self.log_probs), places if options.alignments else None
        )


def teacher_forced(model: Seq2Seq, src: Padded, row: int) -> Follow:
    """What follows prefixes of a source's target, by one pass over the whole prefixes, each by its written equation."""
    line = alone(src, row)
    start = model.decoder.start(model.encode(line))

    def following(prefixes: Sequence[tuple[int, ...]]) -> list[Next]:
        embedded = model.tgt_embedding(torch.tensor([[BOS, *prefix] for prefix in prefixes]))
        same = torch.zeros(len(prefixes), dtype=torch.int64)
        decoded = model.decoder(embedded, start.select(same, same), None)
        weights_ks = decoded.attended.weights_bts[:, -1]
        return [
            (_next_piece(model, line, decoded, embedded, row).log().tolist(), weights.tolist())
            for row, weights in enumerate(weights_ks)
        ]

    return following


def _next_piece(model: Seq2Seq, line: Padded, decoded: Decoded, embedded: Tensor, row: int) -> Tensor:
    """Probabilities of the piece after the last."""
    output, readout = model.output, decoded.readouts_bte[row, -1]
    if not isinstance(output, PointerOutput):
        return equations.vocabulary(output, readout)
    told = decoded.attended.contexts_btd[row, -1], decoded.outputs_btd[row, -1], embedded[row, -1]
    return equations.pointer(output, readout, told, decoded.attended.weights_bts[row, -1], line.values[0].tolist())


def allowed(prefix: tuple[int, ...], vocab: int, source: Source, options: SearchOptions) -> Sequence[int]:
    """The pieces that may follow a prefix."""
    if len(prefix) < min(len(source.prefix), source.max_length - 1):
        return [source.prefix[len(prefix)]]
    length = len(prefix) + 1
    missing = missing_from(prefix, source)
    if length == source.max_length:
        return [] if missing else [EOS]
    pieces = [piece for piece in range(EOS + 1, vocab) if piece not in options.forbidden]
    if size := options.no_repeat_ngram:
        before = {prefix[begin : begin + size] for begin in range(len(prefix) - size + 1)}
        ending = prefix[len(prefix) - size + 1 :]
        pieces = [piece for piece in pieces if len(prefix) < size or (*ending, piece) not in before]
    if length + len(missing) >= source.max_length and missing:
        pieces = [piece for piece in pieces if piece in missing]
    return pieces if length < source.min_length or missing else [EOS, *pieces]


def missing_from(prefix: tuple[int, ...], source: Source) -> list[int]:
    """The forced pieces that a prefix does not hold."""
    return [piece for piece in source.forced if piece not in prefix]


def in_turn(candidates: Sequence[Plain], source: Source) -> list[Plain]:
    """By their log-probabilities, or with forced pieces the best of each bank, the second of each, and so on."""
    seen: dict[int, int] = {}
    turns = []
    for one in sorted(candidates, key=lambda one: one.total, reverse=True):
        bank = len(missing_from(one.pieces, source))
        seen[bank] = seen.get(bank, -1) + 1
        turns.append((seen[bank], bank, one))
    return [one for _, _, one in sorted(turns, key=lambda turn: turn[:2])]


def likeliest(count: int, log_probs: list[float], pieces: Sequence[int], source: Source) -> set[int]:
    """The likeliest of the pieces beside the forced ones, and those."""
    others = [piece for piece in pieces if piece not in source.forced]
    forced = [piece for piece in pieces if piece in source.forced]
    return {*nlargest(count, others, key=log_probs.__getitem__), *forced}


def plain_beam_search(follow: Follow, vocab: int, source: Source, options: SearchOptions) -> list[Hypothesis]:
    """The definition of `search_targets`."""
    size = options.beam_size
    live, finished = [Plain()], list[Plain]()
    for length in range(1, source.max_length + 1):
        extended = [
            one.extended(piece, following)
            for one, following in zip(live, follow([one.pieces for one in live]), strict=True)
            # No other piece of this hypothesis can be among the best of all, or of those in its bank.
            for piece in likeliest(2 * size, following[0], allowed(one.pieces, vocab, source, options), source)
        ]
        candidates = in_turn(extended, source)
        finished += [one for one in candidates[:size] if one.pieces[-1] == EOS]
        finished.sort(key=lambda one: one.score(options), reverse=True)
        finished = finished[:size]
        live = [one for one in candidates[: 2 * size] if one.pieces[-1] != EOS][:size]
        if len(finished) == size or not live:
            break
        most = max(one.total for one in live) / math.pow((5 + source.max_length) / 6, options.length_penalty)
        if len(finished) >= options.n_best and most <= finished[options.n_best - 1].score(options):
            break
        assert length < source.max_length
    return [one.finished(options) for one in finished[: options.n_best]]
