"""Label-smoothed cross-entropy as a sum over target pieces, without a whole batch of log-probabilities in memory.

Under autocast the products with the output weights are made in its type. Softmaxes and sums are in single precision or
better, and so are the gradients of weights and biases.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from recurray.models.precision import product_dtype, without_autocast

CHUNK_ROWS = 1024
"""Target pieces whose scores over the vocabulary are in memory at once."""


class LossSums(NamedTuple):
    """Sums over target pieces, in nats; divide them once, by the pieces of the whole update."""

    loss: Tensor
    """Label-smoothed cross-entropy: the one that is differentiated."""
    nll: Tensor
    """Negative log-likelihood, which perplexity is made of; carries no gradient."""


def cross_entropy_sums(
    states_nd: Tensor, weight_vd: Tensor, bias_v: Tensor, targets_n: Tensor, smoothing: float
) -> LossSums:
    """Cross-entropy of softmax(states weightᵀ + bias) against (1-ε) one-hot + ε uniform (Szegedy et al. 2016).

    `states_nd` (N, D), `weight_vd` (V, D), `bias_v` (V,), `targets_n` (N,) int64, `smoothing` ε in [0, 1).
    """
    products = product_dtype(states_nd)
    with without_autocast(states_nd):
        loss, nll = _chunked_cross_entropy(states_nd, weight_vd, bias_v, targets_n, smoothing, products)
    return LossSums(loss, nll)


class _ChunkedCrossEntropy(torch.autograd.Function):
    """With z the scores, loss = log Σ exp z - (1-ε) z_y - ε mean z, and ∂loss/∂z = softmax z - (1-ε) 1_y - ε/V.

    The gradient is made in the forward pass, chunk by chunk, while the scores are at hand: three products in all,
    as few as there can be, and no score is computed or kept twice.
    """

    @staticmethod
    def forward(
        ctx: Any,
        states_nd: Tensor,
        weight_vd: Tensor,
        bias_v: Tensor,
        targets_n: Tensor,
        smoothing: float,
        products: torch.dtype,
    ) -> tuple[Tensor, Tensor]:
        wants_grad = any(tensor.requires_grad for tensor in (states_nd, weight_vd, bias_v))
        states_nd, narrow_vd, narrow_v = (tensor.to(products) for tensor in (states_nd, weight_vd, bias_v))
        grads = [torch.zeros_like(tensor) for tensor in (states_nd, weight_vd, bias_v)] if wants_grad else []
        loss, nll = (torch.zeros((), dtype=_exact(products), device=states_nd.device) for _ in range(2))
        for begin in range(0, states_nd.shape[0], CHUNK_ROWS):
            chunk = slice(begin, begin + CHUNK_ROWS)
            scores_nv = _scores(states_nd[chunk], narrow_vd, narrow_v)
            chunk_loss, chunk_nll, log_z_n = _sums(scores_nv, targets_n[chunk], smoothing)
            loss, nll = loss + chunk_loss, nll + chunk_nll
            if wants_grad:
                grad_nv = _score_gradient(scores_nv, log_z_n, targets_n[chunk], smoothing)
                grads[2].add_(grad_nv.sum(dim=0))
                grad_nv = grad_nv.to(products)
                torch.mm(grad_nv, narrow_vd, out=grads[0][chunk])
                _add_product(grads[1], grad_nv.t(), states_nd[chunk])
        ctx.save_for_backward(*grads)
        ctx.mark_non_differentiable(nll)
        return loss, nll

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        states, weight, bias = (grad * upstream[0] for grad in ctx.saved_tensors)
        return states, weight, bias, None, None, None


_chunked_cross_entropy: Callable[..., tuple[Tensor, Tensor]] = _ChunkedCrossEntropy.apply


def _exact(dtype: torch.dtype) -> torch.dtype:
    return torch.promote_types(dtype, torch.float32)


def _scores(states_nd: Tensor, weight_vd: Tensor, bias_v: Tensor) -> Tensor:
    """(N, V) in single precision or better, a product of what may be less."""
    scores_nv = torch.addmm(bias_v, states_nd, weight_vd.t())
    return scores_nv.to(_exact(scores_nv.dtype))


def _add_product(total_md: Tensor, one_mn: Tensor, other_nd: Tensor) -> None:
    """Adds a product to what may be of a higher precision than the two."""
    if one_mn.dtype == total_md.dtype:
        total_md.addmm_(one_mn, other_nd)
    else:
        total_md += one_mn @ other_nd


def _sums(scores_nv: Tensor, targets_n: Tensor, smoothing: float) -> tuple[Tensor, Tensor, Tensor]:
    log_z_n, nll_n, uniform_n = _rows(scores_nv, targets_n)
    return ((1 - smoothing) * nll_n + smoothing * uniform_n).sum(), nll_n.sum(), log_z_n


def _score_gradient(scores_nv: Tensor, log_z_n: Tensor, targets_n: Tensor, smoothing: float) -> Tensor:
    """∂loss/∂scores, written over the scores."""
    grad_nv = scores_nv.sub_(log_z_n[:, None]).exp_()
    grad_nv.sub_(smoothing / scores_nv.shape[1])
    rows = torch.arange(len(targets_n), device=targets_n.device)
    grad_nv[rows, targets_n] -= 1 - smoothing
    return grad_nv


def cross_entropy_rows(
    states_nd: Tensor, weight_vd: Tensor, bias_v: Tensor, targets_n: Tensor
) -> tuple[Tensor, Tensor]:
    """For each row its negative log-likelihood and its cross-entropy against the uniform distribution, (N,) each.

    Arguments as those of `cross_entropy_sums`, for losses that weigh each row in its own way. No scores are kept: the
    backward pass makes them again, chunk by chunk.
    """
    products = product_dtype(states_nd)
    with without_autocast(states_nd):
        return _chunked_rows(states_nd, weight_vd, bias_v, targets_n, products)


class _ChunkedRows(torch.autograd.Function):
    """With z the scores, nll = log Σ exp z - z_y and uniform = log Σ exp z - mean z."""

    @staticmethod
    def forward(
        ctx: Any, states_nd: Tensor, weight_vd: Tensor, bias_v: Tensor, targets_n: Tensor, products: torch.dtype
    ) -> tuple[Tensor, Tensor]:
        found = []
        ctx.products = products
        ctx.save_for_backward(states_nd, weight_vd, bias_v, targets_n)
        states_nd, weight_vd, bias_v = (tensor.to(products) for tensor in (states_nd, weight_vd, bias_v))
        for begin in range(0, max(1, len(states_nd)), CHUNK_ROWS):
            chunk = slice(begin, begin + CHUNK_ROWS)
            found.append(_rows(_scores(states_nd[chunk], weight_vd, bias_v), targets_n[chunk])[1:])
        nll, uniform = zip(*found, strict=True)
        return torch.cat(nll), torch.cat(uniform)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        states_nd, weight_vd, bias_v, targets_n = ctx.saved_tensors
        weight_grad, bias_grad = torch.zeros_like(weight_vd), torch.zeros_like(bias_v)
        states_nd, weight_vd, bias_v = (tensor.to(ctx.products) for tensor in (states_nd, weight_vd, bias_v))
        states_grad = torch.zeros_like(states_nd)
        for begin in range(0, len(states_nd), CHUNK_ROWS):
            chunk = slice(begin, begin + CHUNK_ROWS)
            nll_n, uniform_n = upstream[0][chunk], upstream[1][chunk]
            scores_nv = _scores(states_nd[chunk], weight_vd, bias_v)
            grad_nv = scores_nv.softmax(dim=-1) * (nll_n + uniform_n)[:, None]
            grad_nv -= uniform_n[:, None] / scores_nv.shape[1]
            grad_nv.scatter_add_(1, targets_n[chunk, None], -nll_n[:, None])
            bias_grad += grad_nv.sum(dim=0)
            grad_nv = grad_nv.to(ctx.products)
            torch.mm(grad_nv, weight_vd, out=states_grad[chunk])
            _add_product(weight_grad, grad_nv.t(), states_nd[chunk])
        return states_grad, weight_grad, bias_grad, None, None


_chunked_rows: Callable[..., tuple[Tensor, Tensor]] = _ChunkedRows.apply


def _rows(scores_nv: Tensor, targets_n: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """log Σ exp z, negative log-likelihood and cross-entropy against the uniform distribution of each row, (N,)."""
    log_z_n = scores_nv.logsumexp(dim=-1)
    return log_z_n, log_z_n - scores_nv.gather(1, targets_n[:, None])[:, 0], log_z_n - scores_nv.mean(dim=-1)
