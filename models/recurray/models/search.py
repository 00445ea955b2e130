"""Greedy and beam search, for a batch of sources at once; greedy is a beam of one."""

from dataclasses import dataclass

import torch
from torch import Tensor

from recurray.models.padded import Padded
from recurray.models.pieces import BOS, EOS, PAD, UNK
from recurray.models.seq2seq import SearchState, Seq2Seq

_NEVER = float("-inf")


@dataclass(frozen=True)
class Hypothesis:
    """One found target."""

    pieces: list[int]
    """Piece numbers, without BOS and EOS."""
    score: float
    """Log-probability divided by the length penalty."""


@dataclass
class _Beams:
    """The live and the finished hypotheses of the B sources still searched, each with K places."""

    sources: Tensor  # (B,) the number of each source in the batch
    max_lengths: Tensor  # (B,)
    pieces: Tensor  # (B, K, t) live hypotheses, BOS first
    scores: Tensor  # (B, K) their log-probabilities
    done_pieces: Tensor  # (B, K, t) finished ones, EOS and then padding at the end
    done_scores: Tensor  # (B, K) with the length penalty, -inf where there is none yet; descending

    def select(self, rows: Tensor) -> "_Beams":
        return _Beams(
            self.sources[rows],
            self.max_lengths[rows],
            self.pieces[rows],
            self.scores[rows],
            self.done_pieces[rows],
            self.done_scores[rows],
        )


@torch.inference_mode()
def beam_search(
    model: Seq2Seq, src: Padded, *, beam_size: int, length_penalty: float, max_lengths: Tensor
) -> list[Hypothesis]:
    """The best hypothesis of each source, in order.

    A hypothesis of n pieces, EOS among them, scores its log-probability / ((5 + n) / 6)^α with α `length_penalty` (Wu
    et al. 2016, equation 14). It is kept as finished where it ends among the best `beam_size` extensions of its source;
    the best `beam_size` that do not end go on. A source is done when it has `beam_size` finished hypotheses, or when no
    live one can come to score more than the best finished one, or at its own maximum length: `max_lengths` (B,) int64
    ≥ 1, in pieces with EOS. Nothing of this looks at other sources, and a source that is done leaves the batch.
    """
    state = model.start(src)
    beams = _first_beams(src, beam_size, max_lengths)
    state = _repeat_hypotheses(state, beam_size)
    best: list[Hypothesis] = [Hypothesis([], _NEVER)] * len(src.lengths)
    while len(beams.sources):
        log_probs_bkv, state = model.step(beams.pieces[:, :, -1], state)
        parents_bk = _extend(beams, log_probs_bkv, length_penalty)
        done_b = _is_done(beams, length_penalty)
        _take_best(beams, done_b, best)
        rows = (~done_b).nonzero()[:, 0]
        hypotheses = (parents_bk + beam_size * torch.arange(len(parents_bk), device=rows.device)[:, None])[rows]
        state = state.select(rows, hypotheses.flatten())
        beams = beams.select(rows)
    return best


def _first_beams(src: Padded, beam_size: int, max_lengths: Tensor) -> _Beams:
    batch, device = len(src.lengths), src.lengths.device
    scores_bk = torch.full((batch, beam_size), _NEVER, device=device)
    scores_bk[:, 0] = 0.0  # the others are copies of the first and must not be extended too
    begin_bk1 = torch.full((batch, beam_size, 1), BOS, device=device)
    none_yet_bk = torch.full_like(scores_bk, _NEVER)
    return _Beams(
        torch.arange(batch, device=device), max_lengths.to(device), begin_bk1, scores_bk, begin_bk1, none_yet_bk
    )


def _repeat_hypotheses(state: SearchState, beam_size: int) -> SearchState:
    sources = torch.arange(len(state.src.lengths), device=state.src.lengths.device)
    return state.select(sources, sources.repeat_interleave(beam_size))


def _extend(beams: _Beams, log_probs_bkv: Tensor, length_penalty: float) -> Tensor:
    """Adds a piece to every hypothesis in place; returns (B, K) the hypotheses that the live ones came from."""
    _, size, vocab = log_probs_bkv.shape
    length = beams.pieces.shape[2]  # of the hypothesis with its next piece: BOS does not count
    log_probs_bkv[:, :, [PAD, UNK, BOS]] = _NEVER
    ending_bv = (beams.max_lengths <= length)[:, None] & (torch.arange(vocab, device=log_probs_bkv.device) != EOS)
    totals_bkv = (beams.scores[:, :, None] + log_probs_bkv).masked_fill(ending_bv[:, None, :], _NEVER)
    # Of 2K candidates at most K end here, so that K live ones are left.
    scores_bc, flat_bc = totals_bkv.flatten(1).topk(2 * size, dim=1)
    parents_bc, pieces_bc = flat_bc // vocab, flat_bc % vocab
    extended_bct = torch.cat((_rows(beams.pieces, parents_bc), pieces_bc[:, :, None]), dim=2)
    ends_bc = pieces_bc == EOS
    _keep_finished(beams, extended_bct[:, :size], scores_bc[:, :size], ends_bc[:, :size], length, length_penalty)
    beams.scores, live_bk = scores_bc.masked_fill(ends_bc, _NEVER).topk(size, dim=1)
    beams.pieces = _rows(extended_bct, live_bk)
    return parents_bc.gather(1, live_bk)


def _keep_finished(
    beams: _Beams, extended_bkt: Tensor, scores_bk: Tensor, ends_bk: Tensor, length: int, length_penalty: float
) -> None:
    finished_bk = (scores_bk / _penalty(length, length_penalty)).masked_fill(~ends_bk, _NEVER)
    padding = torch.full_like(beams.done_pieces[:, :, :1], PAD)
    done_bkt = torch.cat((beams.done_pieces, padding), dim=2)
    both_bct = torch.cat((done_bkt, extended_bkt), dim=1)
    beams.done_scores, kept_bk = torch.cat((beams.done_scores, finished_bk), dim=1).topk(scores_bk.shape[1], dim=1)
    beams.done_pieces = _rows(both_bct, kept_bk)


def _is_done(beams: _Beams, length_penalty: float) -> Tensor:
    """(B,) bool; for α ≥ 0 the most that a live hypothesis can score is what it has, at the greatest length."""
    at_end_b = beams.max_lengths < beams.pieces.shape[2]  # BOS does not count
    full_b = beams.done_scores[:, -1] > _NEVER
    most_b = beams.scores[:, 0] / _penalty(beams.max_lengths, length_penalty)
    return full_b | (most_b <= beams.done_scores[:, 0]) | at_end_b


def _take_best(beams: _Beams, done_b: Tensor, best: list[Hypothesis]) -> None:
    rows = done_b.nonzero()[:, 0]
    sources, scores = beams.sources[rows].tolist(), beams.done_scores[rows, 0].tolist()
    for source, score, pieces in zip(sources, scores, beams.done_pieces[rows, 0, 1:].tolist(), strict=True):
        best[source] = Hypothesis(pieces[: pieces.index(EOS)], score)


def _penalty(length: int | Tensor, alpha: float) -> float | Tensor:
    return ((5.0 + length) / 6.0) ** alpha


def _rows(values_bct: Tensor, rows_bk: Tensor) -> Tensor:
    return values_bct.gather(1, rows_bk[:, :, None].expand(-1, -1, values_bct.shape[2]))
