"""`training.precision`: a real training in bfloat16 beside one in float32, and GPUs that lack it."""

import copy
import statistics
from pathlib import Path

import pytest
import torch
from tests.few_updates import train_in_process

from recurray.platform.config.loading import load_config
from recurray.platform.config.tree import RunConfig
from recurray.platform.data.preparing import prepare
from recurray.platform.errors import UserError
from recurray.platform.training.learner import Learner
from recurray.platform.training.precision import check_precision

UPDATES, LAST = 40, 10
NEAR = 0.005
"""How far a training's loss in bfloat16 may be from that in float32, as a share of it."""

pytestmark = pytest.mark.usefixtures("process_group")


@pytest.fixture(autouse=True)
def in_the_workplace(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workplace)


def config_in(recipe: Path, precision: str) -> RunConfig:
    return load_config(recipe, [f"training.precision={precision}"])


def test_a_loss_falls_in_bfloat16_as_it_falls_in_float32(tiny_recipe: Path) -> None:
    exact, low = (
        train_in_process(config_in(tiny_recipe, precision), UPDATES).losses for precision in ("float32", "bfloat16")
    )
    assert low != exact
    assert low == pytest.approx(exact, rel=NEAR)
    assert statistics.mean(low[-LAST:]) < 0.8 * low[0]
    assert statistics.mean(low[-LAST:]) == pytest.approx(statistics.mean(exact[-LAST:]), rel=NEAR)


def test_weights_gradients_and_optimizer_are_float32_in_either_precision(tiny_recipe: Path) -> None:
    config = config_in(tiny_recipe, "bfloat16")
    learner = Learner(config, prepare(config), torch.device("cpu"))
    learner.begin(None)
    for update, _ in learner.updates(2):
        learner.learn(update)
    state = learner.state()
    kept = [
        *state["network"].values(),
        *(part for parts in state["optimizer"]["state"].values() for part in parts.values()),
        *(parameter.grad for parameter in learner.network.parameters()),
    ]
    assert {tensor.dtype for tensor in kept} == {torch.float32}


def test_a_run_that_goes_on_in_bfloat16_has_the_losses_of_an_unbroken_one(tiny_recipe: Path) -> None:
    config = config_in(tiny_recipe, "bfloat16")
    unbroken = train_in_process(config, 6).losses
    first, second = (Learner(config, prepare(config), torch.device("cpu")) for _ in range(2))
    first.begin(None)
    before = [first.learn(update).result.loss for update, _ in first.updates(3)]
    second.begin(copy.deepcopy(first.state()))
    after = [second.learn(update).result.loss for update, _ in second.updates(6)]
    assert [*before, *after] == unbroken


def test_a_gpu_that_only_imitates_bfloat16_is_named_before_any_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Tesla T4")
    with pytest.raises(UserError, match=r"training\.precision=bfloat16 .* Tesla T4 .* training\.precision=float32"):
        check_precision("bfloat16", torch.device("cuda"))
    check_precision("float32", torch.device("cuda"))
    check_precision("bfloat16", torch.device("cpu"))


def test_a_precision_that_there_is_not_is_refused(tiny_recipe: Path) -> None:
    with pytest.raises(UserError, match=r"training\.precision"):
        config_in(tiny_recipe, "float16")
