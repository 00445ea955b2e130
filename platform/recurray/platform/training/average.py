"""Averages of weights: over the updates of a run, as they are made, and over checkpoints afterwards."""

import copy
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn


class MovingAverage:
    """An exponential moving average of a network's weights, itself a network that can be validated and saved.

    With w_n the weights after n updates that were not skipped, a_0 = w_0 and a_n = d_n a_{n-1} + (1 - d_n) w_n, where
    d_n = min(decay, (1 + n) / (10 + n)): the start is forgotten sooner than with `decay` alone, as in Marian and in
    TensorFlow's averages with `num_updates`.

    Args:
        network: with its initial weights.
        decay: share of the average that an update keeps, in the end.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.network = copy.deepcopy(network).requires_grad_(False)
        self._decay = decay
        for module in self.network.modules():
            if isinstance(module, nn.RNNBase):
                module.flatten_parameters()  # a copy's weights lie apart, and cuDNN wants them in one piece

    @torch.no_grad()
    def update(self, network: nn.Module, updates: int) -> None:
        """Takes in the network's weights after `updates` updates that were not skipped."""
        share = 1.0 - min(self._decay, (1 + updates) / (10 + updates))
        for average, weight in zip(self.network.parameters(), network.parameters(), strict=True):
            average.lerp_(weight, share)
        for copied, buffer in zip(self.network.buffers(), network.buffers(), strict=True):
            copied.copy_(buffer)


def mean_of(states: Iterable[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """The mean of state dicts of one network, tensor by tensor; of whole numbers, the last state's.

    Sums are made in double precision, one state after the other, so that no two need be in memory at once. Raises
    ValueError where there is no state, or where their names differ.
    """
    sums: dict[str, Tensor] = {}
    last: Mapping[str, Tensor] = {}
    count = 0
    for state in states:
        if sums and sums.keys() != state.keys():
            raise ValueError(f"states of one network have the same names, but not {sorted(sums.keys() ^ state.keys())}")
        sums = {name: tensor.double() + sums.get(name, 0.0) for name, tensor in state.items()}
        last, count = state, count + 1
    if not count:
        raise ValueError("there is no state to make a mean of")
    return {
        name: (sums[name] / count).to(tensor.dtype) if tensor.is_floating_point() else tensor
        for name, tensor in last.items()
    }
