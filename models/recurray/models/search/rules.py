"""Which pieces may come next: the log-probabilities of the others become -inf."""

from collections.abc import Sequence

import torch
from torch import Tensor

from recurray.models.pieces import BOS, EOS, PAD, UNK
from recurray.models.search.beams import NEVER, Beams


def restrict(log_probs_bkv: Tensor, beams: Beams, *, forbidden: Sequence[int], no_repeat_ngram: int) -> None:
    """Applies every rule in place, (B, K, V). A forced prefix goes before all other rules, EOS at the end before most.

    Where rules leave nothing, every piece has -inf, and the hypothesis comes to nothing.
    """
    lengths_b = beams.lengths_b + 1  # with the piece that comes
    wanted_b = _next_of_prefix(beams)
    forced_b = wanted_b != PAD
    wanted_bk1 = wanted_b[:, None, None].expand(-1, log_probs_bkv.shape[1], 1)
    kept_bk1 = log_probs_bkv.gather(2, wanted_bk1)
    never = torch.tensor([PAD, UNK, BOS, *forbidden], device=log_probs_bkv.device)
    log_probs_bkv.index_fill_(2, never, NEVER)
    if no_repeat_ngram:
        _forbid_repeats(log_probs_bkv, beams, no_repeat_ngram)
    log_probs_bkv[:, :, EOS].masked_fill_((lengths_b < beams.min_lengths_b)[:, None], NEVER)
    if beams.forced_bf.shape[1]:
        _keep_places_for_forced(log_probs_bkv, beams, lengths_b)
    ends_b = lengths_b >= beams.max_lengths_b
    if ends_b.any():
        eos_bk = log_probs_bkv[:, :, EOS].clone()
        log_probs_bkv.masked_fill_(ends_b[:, None, None], NEVER)
        log_probs_bkv[:, :, EOS] = eos_bk
    if forced_b.any():
        log_probs_bkv.masked_fill_(forced_b[:, None, None], NEVER)
        log_probs_bkv.scatter_(2, wanted_bk1, torch.where(forced_b[:, None, None], kept_bk1, NEVER))


def _keep_places_for_forced(log_probs_bkv: Tensor, beams: Beams, lengths_b: Tensor) -> None:
    """No EOS before every forced piece is there, and none but those where no more places are left before EOS."""
    missing_bkf = beams.missing_bkf
    count_bk = missing_bkf.sum(dim=-1)
    log_probs_bkv[:, :, EOS].masked_fill_(count_bk > 0, NEVER)
    filled_bk = (count_bk > 0) & (lengths_b[:, None] + count_bk >= beams.max_lengths_b[:, None])
    if filled_bk.any():
        forced_bkf = beams.forced_bf[:, None].expand_as(missing_bkf)
        kept_bkv = torch.zeros_like(log_probs_bkv, dtype=torch.bool).scatter_(2, forced_bkf, missing_bkf)
        log_probs_bkv.masked_fill_(filled_bk[:, :, None] & ~kept_bkv, NEVER)


def _next_of_prefix(beams: Beams) -> Tensor:
    """(B,) the next piece of each source's targets where it is given, else PAD."""
    room = beams.prefixes_bp.shape[1]
    if not room:
        return torch.full_like(beams.lengths_b, PAD)
    wanted_b = beams.prefixes_bp.gather(1, beams.lengths_b.clamp_max(room - 1)[:, None])[:, 0]
    return wanted_b.masked_fill(beams.lengths_b >= room, PAD)


def _forbid_repeats(log_probs_bkv: Tensor, beams: Beams, size: int) -> None:
    """Forbids the piece that would end a sequence of `size` pieces for the second time."""
    targets_bkt = beams.live.pieces_bkt[:, :, 1:]
    if targets_bkt.shape[2] < size:
        return
    windows_bkwn = targets_bkt.unfold(2, size, 1)
    begins = torch.arange(windows_bkwn.shape[2], device=targets_bkt.device)
    written_bw = begins + size <= beams.lengths_b[:, None]
    last = torch.arange(1 - size, 0, device=targets_bkt.device)
    index_bn = (beams.lengths_b[:, None] + last).clamp_min(0)
    ending_bkn = targets_bkt.gather(2, index_bn[:, None].expand(-1, targets_bkt.shape[1], -1))
    same_bkw = (windows_bkwn[..., :-1] == ending_bkn[:, :, None]).all(dim=-1) & written_bw[:, None]
    log_probs_bkv.scatter_(2, windows_bkwn[..., -1].masked_fill(~same_bkw, PAD), NEVER)
