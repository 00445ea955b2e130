"""One more piece for every hypothesis: the best of all extensions of a source, or one drawn for each."""

from collections.abc import Callable
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from recurray.models.dropout import BITS_32, GOLDEN_RATIO, mix32
from recurray.models.pieces import EOS, PAD
from recurray.models.search.beams import NEVER, Beams, History, take_hypotheses
from recurray.models.search.options import Sampling, SearchOptions

_CHUNK = 64
"""Pieces of the vocabulary of which only the best is looked at first."""
_LEAST = 1e-30
"""Coverage below this is none: its logarithm must be finite."""


def extend(beams: Beams, log_probs_bkv: Tensor, weights_bks: Tensor | None, options: SearchOptions) -> Tensor:
    """Adds a piece to every hypothesis; returns (B, K) the hypotheses that the live ones came from.

    `weights_bks` are the attention's weights of this step, needed for alignments and for the coverage penalty.
    """
    beams.lengths_b = beams.lengths_b + 1
    if weights_bks is not None and options.coverage_penalty:
        beams.covered_bks = beams.covered_bks + weights_bks
    if weights_bks is None:
        places_bk = torch.zeros_like(beams.scores_bk, dtype=torch.int64)
    else:
        places_bk = weights_bks.argmax(dim=-1)
    if options.sampling:
        return _draw(beams, log_probs_bkv, places_bk, options, options.sampling)
    return _keep_best(beams, log_probs_bkv, places_bk, options)


def _keep_best(beams: Beams, log_probs_bkv: Tensor, places_bk: Tensor, options: SearchOptions) -> Tensor:
    size = options.beam_size
    # Of 2K candidates at most K end here, so that K live ones are left.
    choose = best_of_each_bank if beams.forced_bf.shape[1] else best_extensions
    scores_bc, parents_bc, pieces_bc = choose(beams, log_probs_bkv, 2 * size)
    log_probs_bc = log_probs_bkv.flatten(1).gather(1, parents_bc * log_probs_bkv.shape[2] + pieces_bc)
    candidates = _Candidates(scores_bc, parents_bc, pieces_bc, log_probs_bc, places_bk.gather(1, parents_bc))
    ends_bc = pieces_bc == EOS
    finished_bk = ends_bc[:, :size] & (scores_bc[:, :size] > NEVER)
    if finished_bk.any():
        _keep_finished(beams, candidates.first(size), finished_bk, options)
    live = candidates.take(ends_bc.byte().argsort(dim=1, stable=True)[:, :size])
    beams.scores_bk = live.scores_bc
    beams.live, beams.covered_bks = live.histories(beams), take_hypotheses(beams.covered_bks, live.parents_bc)
    return live.parents_bc


@dataclass(frozen=True)
class _Candidates:
    """C extensions of each source's hypotheses by a piece, each (B, C)."""

    scores_bc: Tensor
    parents_bc: Tensor
    pieces_bc: Tensor
    log_probs_bc: Tensor
    """Of the piece."""
    places_bc: Tensor
    """What the piece attends to most."""

    def _each(self, change: Callable[[Tensor], Tensor]) -> "_Candidates":
        return _Candidates(*(change(getattr(self, field.name)) for field in fields(self)))

    def first(self, count: int) -> "_Candidates":
        """The first of each source."""
        return self._each(lambda part_bc: part_bc[:, :count])

    def take(self, chosen_bk: Tensor) -> "_Candidates":
        """These of each source."""
        return self._each(lambda part_bc: part_bc.gather(1, chosen_bk))

    def histories(self, beams: Beams) -> History:
        """Of each candidate, its piece among them."""
        history = beams.live.take(self.parents_bc)
        history.write(beams.lengths_b, self.pieces_bc, self.log_probs_bc, self.places_bc)
        return history


def best_extensions(beams: Beams, log_probs_bkv: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """The `count` best sums of a hypothesis's score and a piece's, with their hypotheses and pieces, (B, count) each.

    What is among the best is in one of the `count` chunks of the vocabulary with the best maxima, so only those are
    gone through: to sort out all of K × V scores would take as long as a layer of the decoder.
    """
    scores_bk = beams.scores_bk
    size, vocab = log_probs_bkv.shape[1:]
    chunks = -(-vocab // _CHUNK)
    if chunks * size <= count:
        flat_bc = (scores_bk[:, :, None] + log_probs_bkv).flatten(1)
        found_bc, index_bc = flat_bc.topk(count, dim=1)
        return found_bc, index_bc // vocab, index_bc % vocab
    chosen_bn = (_chunk_maxima(log_probs_bkv) + scores_bk[:, :, None]).flatten(1).topk(count, dim=1).indices
    parents_bn, chunks_bn = chosen_bn // chunks, chosen_bn % chunks
    pieces_bnw = (chunks_bn * _CHUNK)[:, :, None] + torch.arange(_CHUNK, device=chosen_bn.device)
    places_bnw = parents_bn[:, :, None] * vocab + pieces_bnw.clamp_max(vocab - 1)
    log_probs_bnw = log_probs_bkv.flatten(1).gather(1, places_bnw.flatten(1)).view_as(places_bnw)
    totals_bnw = log_probs_bnw + scores_bk.gather(1, parents_bn)[:, :, None]
    found_bc, index_bc = totals_bnw.masked_fill_(pieces_bnw >= vocab, NEVER).flatten(1).topk(count, dim=1)
    pieces_bc = pieces_bnw.flatten(1).gather(1, index_bc).clamp_max(vocab - 1)
    return found_bc, parents_bn.gather(1, index_bc // _CHUNK), pieces_bc


def best_of_each_bank(beams: Beams, log_probs_bkv: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """The same where pieces are forced: extensions that hold as many of them compete only with each other.

    They are put in banks by that number; the best of each bank comes first, the fullest bank before the others, then
    the second of each, and so on (after Post & Vilar 2018, section 3).
    """
    missing_bkf = beams.missing_bkf
    forced_bkf = beams.forced_bf[:, None].expand_as(missing_bkf)
    forced_log_probs_bkf = log_probs_bkv.gather(2, forced_bkf).masked_fill(~missing_bkf, NEVER)
    others_bkv = log_probs_bkv.scatter(2, forced_bkf.where(missing_bkf, PAD), NEVER)
    others_bkn, other_pieces_bkn = others_bkv.topk(min(count, others_bkv.shape[2]), dim=2)
    pieces_bkm = torch.cat((forced_bkf, other_pieces_bkn), dim=2)
    totals_bkm = torch.cat((forced_log_probs_bkf, others_bkn), dim=2) + beams.scores_bk[:, :, None]
    lacking_bkm = missing_bkf.sum(dim=2, keepdim=True).repeat(1, 1, pieces_bkm.shape[2])
    lacking_bkm[:, :, : forced_bkf.shape[2]] -= missing_bkf.long()
    by_total_bm = totals_bkm.flatten(1).argsort(dim=1, descending=True, stable=True)
    lacking_bm, totals_bm = (part.flatten(1).gather(1, by_total_bm) for part in (lacking_bkm, totals_bkm))
    turns_bm = _ranks_within(lacking_bm) * (forced_bkf.shape[2] + 1) + lacking_bm
    order_bc = turns_bm.masked_fill(totals_bm == NEVER, turns_bm.numel()).argsort(dim=1, stable=True)[:, :count]
    chosen_bc = by_total_bm.gather(1, order_bc)
    return totals_bm.gather(1, order_bc), chosen_bc // pieces_bkm.shape[2], pieces_bkm.flatten(1).gather(1, chosen_bc)


def _ranks_within(banks_bm: Tensor) -> Tensor:
    """(B, M) how many stand before each in its own bank."""
    one_hot_bmn = banks_bm[:, :, None] == torch.arange(int(banks_bm.max()) + 1, device=banks_bm.device)
    return one_hot_bmn.cumsum(dim=1).gather(2, banks_bm[:, :, None])[:, :, 0] - 1


def _chunk_maxima(log_probs_bkv: Tensor) -> Tensor:
    """(B, K, chunks) the best of each chunk; the last may be a shorter one."""
    batch, size, vocab = log_probs_bkv.shape
    whole, rest = vocab // _CHUNK * _CHUNK, vocab % _CHUNK
    maxima_bkc = log_probs_bkv[:, :, :whole].view(batch, size, -1, _CHUNK).amax(dim=-1)
    if not rest:
        return maxima_bkc
    return torch.cat((maxima_bkc, log_probs_bkv[:, :, whole:].amax(dim=-1, keepdim=True)), dim=-1)


def _draw(beams: Beams, log_probs_bkv: Tensor, places_bk: Tensor, options: SearchOptions, sampling: Sampling) -> Tensor:
    """A piece for each hypothesis by the largest score + Gumbel noise (Gumbel 1954; Kool et al. 2019, section 2.3)."""
    left_bkv = _narrowed(log_probs_bkv.double() / sampling.temperature, sampling)
    pieces_bk = (left_bkv + _gumbel(beams, left_bkv.shape, sampling.seed)).argmax(dim=-1)
    log_probs_bk = log_probs_bkv.gather(2, pieces_bk[:, :, None])[:, :, 0]
    beams.scores_bk = beams.scores_bk + log_probs_bk
    beams.live.write(beams.lengths_b, pieces_bk, log_probs_bk, places_bk)
    ends_bk = (pieces_bk == EOS) & (beams.scores_bk > NEVER)
    final_bk = final_scores(beams, beams.scores_bk, beams.covered_bks, options)
    beams.done_scores_bk = torch.where(ends_bk, final_bk, beams.done_scores_bk)
    beams.done = beams.done.replaced(ends_bk, beams.live)
    beams.scores_bk = beams.scores_bk.masked_fill(ends_bk, NEVER)
    return torch.arange(places_bk.shape[1], device=places_bk.device).expand_as(places_bk)


def _narrowed(scores_bkv: Tensor, sampling: Sampling) -> Tensor:
    """-inf for what top-k, and then top-p, leave out."""
    if sampling.top_k is not None and sampling.top_k < scores_bkv.shape[2]:
        least_bk1 = scores_bkv.topk(sampling.top_k, dim=-1).values[..., -1:]
        scores_bkv = scores_bkv.masked_fill(scores_bkv < least_bk1, NEVER)
    if sampling.top_p is not None:
        sorted_bkv, order_bkv = scores_bkv.softmax(dim=-1).sort(dim=-1, descending=True, stable=True)
        before_bkv = sorted_bkv.cumsum(dim=-1) - sorted_bkv
        left_out_bkv = torch.zeros_like(before_bkv, dtype=torch.bool)
        left_out_bkv.scatter_(2, order_bkv, before_bkv >= sampling.top_p)
        scores_bkv = scores_bkv.masked_fill(left_out_bkv, NEVER)
    return scores_bkv


def _gumbel(beams: Beams, shape: torch.Size, seed: int) -> Tensor:
    """(B, K, V) noise in double precision: a hash of the seed, the source, the sample, the position and the piece."""
    row_bk = mix32(beams.hashes_b ^ mix32(torch.tensor(seed & BITS_32)))[:, None]
    row_bk = mix32(row_bk ^ (torch.arange(shape[1], device=row_bk.device) + 1))
    row_bk = mix32(row_bk ^ beams.lengths_b[:, None])
    piece_v = torch.arange(shape[2], device=row_bk.device) * GOLDEN_RATIO
    uniform_bkv = (mix32((row_bk[:, :, None] + piece_v) & BITS_32).double() + 0.5) / 2**32
    return -(-uniform_bkv.log()).log()


def _keep_finished(beams: Beams, first: _Candidates, finished_bk: Tensor, options: SearchOptions) -> None:
    """Puts the finished ones of the first K candidates among the best K finished so far."""
    covered_bks = take_hypotheses(beams.covered_bks, first.parents_bc)
    final_bk = final_scores(beams, first.scores_bc, covered_bks, options).masked_fill(~finished_bk, NEVER)
    both = History.join((beams.done, first.histories(beams)), 1)
    beams.done_scores_bk, kept_bk = torch.cat((beams.done_scores_bk, final_bk), dim=1).topk(options.beam_size, dim=1)
    beams.done = both.take(kept_bk)


def final_scores(beams: Beams, scores_bk: Tensor, covered_bks: Tensor, options: SearchOptions) -> Tensor:
    """(B, K): the score of hypotheses of the present length that end here (Wu et al. 2016, equation 14)."""
    final_bk = scores_bk / length_penalty(beams.lengths_b, options.length_penalty)[:, None]
    if not options.coverage_penalty:
        return final_bk
    own_bs = torch.arange(covered_bks.shape[2], device=covered_bks.device) < beams.states_b[:, None]
    log_shares_bks = covered_bks.clamp(_LEAST, 1.0).log() * own_bs[:, None]
    return final_bk + options.coverage_penalty * log_shares_bks.sum(dim=-1)


def length_penalty(lengths_b: Tensor, alpha: float) -> Tensor:
    """((5 + n) / 6)^α for n pieces, EOS among them."""
    return ((5.0 + lengths_b) / 6.0) ** alpha


def are_done(beams: Beams, options: SearchOptions) -> Tensor:
    """(B,) bool; for α ≥ 0 the most that a live hypothesis can score is what it has, at the greatest length."""
    at_end_b = beams.lengths_b >= beams.max_lengths_b
    if options.sampling:
        return at_end_b | (beams.scores_bk == NEVER).all(dim=1)
    full_b = beams.done_scores_bk[:, -1] > NEVER
    most_b = beams.scores_bk.amax(dim=1) / length_penalty(beams.max_lengths_b, options.length_penalty)
    return at_end_b | full_b | (most_b <= beams.done_scores_bk[:, options.n_best - 1])
