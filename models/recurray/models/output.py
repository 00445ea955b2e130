"""The output: readouts to scores of the vocabulary, as loss sums in training and as log-probabilities in search."""

import torch
from torch import Tensor, nn

from recurray.models.decoders.decoder import Decoded
from recurray.models.loss import LossSums, cross_entropy_sums
from recurray.models.padded import Padded


class VocabularyOutput(nn.Module):
    """softmax(W r + b) over the vocabulary, with `weight_vd` (V, D) an embedding's matrix or a matrix of its own."""

    def __init__(self, weight_vd: Tensor) -> None:
        super().__init__()
        self.weight = weight_vd
        self.bias = nn.Parameter(torch.zeros(len(weight_vd)))
        self.product: nn.Module | None = None
        """What search makes W r + b with, if it is another product."""

    def losses(self, decoded: Decoded, embedded_bte: Tensor, src: Padded, tgt: Padded, smoothing: float) -> LossSums:
        """Sums over the targets' own pieces; `embedded_bte` are the decoder's inputs."""
        own_bt = tgt.mask_bt
        return cross_entropy_sums(decoded.readouts_bte[own_bt], self.weight, self.bias, tgt.values[own_bt], smoothing)

    def log_probs(self, decoded: Decoded, embedded_bke: Tensor, src: Padded) -> Tensor:
        """(B, K, V) log-probabilities of the piece that follows, in single precision or better."""
        scores_bkv = self._scores(decoded.readouts_bte)
        return scores_bkv.to(torch.promote_types(scores_bkv.dtype, torch.float32)).log_softmax(dim=-1)

    def _scores(self, readouts: Tensor) -> Tensor:
        if self.product is None:
            return nn.functional.linear(readouts, self.weight, self.bias)
        scores: Tensor = self.product(readouts)
        return scores
