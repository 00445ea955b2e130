"""The pointer-generator: what follows is either made from the vocabulary or copied from a place in the source."""

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from recurray.models.decoders.decoder import Decoded
from recurray.models.loss import LossSums, cross_entropy_rows
from recurray.models.output import VocabularyOutput
from recurray.models.padded import Padded
from recurray.models.precision import widened

LEAST_SHARE = 1e-30
"""Attention below this is none: its logarithm must be finite."""


class PointerOutput(VocabularyOutput):
    """P(y) = g P_vocabulary(y) + (1 - g) Σ_{s: src_s = y} a_s (See et al. 2017, equations 8 and 9).

    g = σ(w [context; decoder state; decoder input] + b). Copying goes by place: whatever piece stands in the source can
    be had, also one that the vocabulary's softmax never gives. The loss is -log P(y), label-smoothed on the side of the
    vocabulary only, and with coverage it has λ Σ_s min(a_ts, c_ts) for each target piece (equation 13) beside it.
    Source and target share one vocabulary, and the encoder must keep the source's length.
    """

    def __init__(
        self, weight_vd: Tensor, *, context_dim: int, decoder_dim: int, input_dim: int, coverage_weight: float
    ) -> None:
        super().__init__(weight_vd)
        self._coverage_weight = coverage_weight
        self.gate = nn.Linear(context_dim + decoder_dim + input_dim, 1)
        nn.init.xavier_uniform_(self.gate.weight)
        nn.init.zeros_(self.gate.bias)

    def losses(self, decoded: Decoded, embedded_bte: Tensor, src: Padded, tgt: Padded, smoothing: float) -> LossSums:
        """Sums over the targets' own pieces; the negative log-likelihood is of the mixture, without coverage."""
        own_bt = tgt.mask_bt
        nll_n, uniform_n = cross_entropy_rows(decoded.readouts_bte[own_bt], self.weight, self.bias, tgt.values[own_bt])
        same_bts = tgt.values[:, :, None] == src.values[:, None, :]
        copied_n = (decoded.attended.weights_bts * same_bts).sum(dim=-1)[own_bt]
        gate_n = self._gate(decoded, embedded_bte)[own_bt]
        mixture_nll_n = -torch.logaddexp(logsigmoid(gate_n) - nll_n, logsigmoid(-gate_n) + _log(copied_n))
        loss = (1 - smoothing) * mixture_nll_n.sum() + smoothing * uniform_n.sum()
        if decoded.attended.overlap_bt is not None:
            loss = loss + self._coverage_weight * decoded.attended.overlap_bt[own_bt].sum()
        return LossSums(loss, mixture_nll_n.sum().detach())

    def log_probs(self, decoded: Decoded, embedded_bke: Tensor, src: Padded) -> Tensor:
        """(B, K, V) of the mixture."""
        made_bkv = super().log_probs(decoded, embedded_bke, src)
        weights_bks = decoded.attended.weights_bts.to(made_bkv.dtype)
        places_bks = src.values[:, None, :].expand_as(weights_bks)
        copied_bkv = torch.zeros_like(made_bkv).scatter_add(2, places_bks, weights_bks)
        gate_bk1 = self._gate(decoded, embedded_bke)[..., None].to(made_bkv.dtype)
        return torch.logaddexp(logsigmoid(gate_bk1) + made_bkv, logsigmoid(-gate_bk1) + _log(copied_bkv))

    def _gate(self, decoded: Decoded, embedded_bte: Tensor) -> Tensor:
        """(B, T) the logit of g."""
        told_btd = torch.cat((decoded.attended.contexts_btd, decoded.outputs_btd, embedded_bte), dim=-1)
        return widened(self.gate(told_btd))[..., 0]


def _log(shares: Tensor) -> Tensor:
    return shares.clamp_min(LEAST_SHARE).log()
