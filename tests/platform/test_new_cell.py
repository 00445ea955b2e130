from pathlib import Path

import torch
from tests.few_updates import train_in_process
from tests.models.samples import alone, assert_same, random_lines
from torch import Tensor, nn

from recurray.models.cells.stepped import State, SteppedCell
from recurray.models.registry import CELLS
from recurray.platform.config.loading import load_config


@CELLS.register("mgu")
class MGU(SteppedCell):
    """f = σ(W x + U h), h' = (1 - f) ⊙ h + f ⊙ tanh(V x + R (f ⊙ h)), with biases (Zhou et al. 2016)."""

    def __init__(self, input_dim: int, hidden_dim: int) -> None:
        super().__init__(input_dim, hidden_dim)
        self.inputs = nn.Linear(input_dim, 2 * hidden_dim)
        self.forget, self.renew = (nn.Linear(hidden_dim, hidden_dim, bias=False) for _ in range(2))

    def project(self, values: Tensor) -> Tensor:
        return self.inputs(values)

    def advance(self, projected: Tensor, state: State) -> State:
        forget, renew = projected.chunk(2, dim=-1)
        f = torch.sigmoid(forget + self.forget(state[0]))
        return (torch.lerp(state[0], torch.tanh(renew + self.renew(f * state[0])), f),)


def test_a_cell_named_in_a_recipe_learns_and_never_reads_padding(
    tiny_recipe: Path, workplace: Path, process_group: None
) -> None:
    names = ["model.encoder.0.kind=mgu", "model.decoder.cell=mgu", f"data.prepared={workplace}/data/prepared"]
    trained = train_in_process(load_config(tiny_recipe, names), updates=10)
    assert trained.losses[-1] < trained.losses[0] - 0.5
    src, tgt = random_lines([5, 2], 600, seed=1), random_lines([3, 6], 600, seed=2)
    each = sum(trained.network(alone(src, row), alone(tgt, row)).loss for row in range(2))
    assert_same([trained.network(src, tgt).loss], [each], tolerance=1e-5)
