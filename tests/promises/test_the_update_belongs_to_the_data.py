"""Promise 2: one update's gradient, however it is cut, and one loss curve, however many workers."""

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from recurray.jobs.train import train
from recurray.platform.config.loading import load_config
from recurray.platform.config.tree import RunConfig
from recurray.platform.data.preparing import Prepared, prepare
from recurray.platform.training.feed import Feed
from recurray.platform.training.step import TrainStep
from recurray.platform.training.verifying import cuts_of, verify


@pytest.fixture(scope="module")
def prepared(tiny_config: RunConfig, workplace: Path) -> Prepared:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(workplace)
        there = prepare(tiny_config)
    return Prepared(workplace / there.folder, there.task)


def changed(config: RunConfig, section: str, **values: object) -> RunConfig:
    return config.model_copy(update={section: getattr(config, section).model_copy(update=values)})


def gradient(config: RunConfig, prepared: Prepared, workers: int, step: int) -> tuple[float, list[Tensor]]:
    """Loss and gradient of one update, the shares of `workers` workers added up as the all-reduce adds them."""
    torch.manual_seed(config.seed)
    network = prepared.task.build_network(config.model, prepared.codec)
    still = torch.optim.SGD(network.parameters(), lr=0.0)
    train_step = TrainStep(network, still, seed=config.seed, label_smoothing=0.1, clip_norm=1e9)
    loss, total = 0.0, [torch.zeros_like(parameter) for parameter in network.parameters()]
    for rank in range(workers):
        feed = Feed(prepared.train, config, rank=rank, workers=workers, device=torch.device("cpu"))
        ((update, _),) = feed.updates(step, step)
        result = train_step(update)
        loss += result.loss
        for sums, parameter in zip(total, network.parameters(), strict=True):
            assert parameter.grad is not None
            sums += parameter.grad
    return loss, total


@pytest.mark.parametrize("workers", [1, 2, 4, 64])
@pytest.mark.parametrize("micro_batch_tokens", [64, 512, 100_000])
def test_the_gradient_is_the_same_for_any_workers_and_micro_batches_with_dropout_on(
    tiny_config: RunConfig, prepared: Prepared, process_group: None, workers: int, micro_batch_tokens: int
) -> None:
    loss, whole = gradient(tiny_config, prepared, 1, step=3)
    config = changed(tiny_config, "resources", micro_batch_tokens=micro_batch_tokens)
    cut_loss, cut = gradient(config, prepared, workers, step=3)
    assert cut_loss == pytest.approx(loss, rel=1e-5)
    assert max(float((a - b).abs().max() / b.abs().max()) for a, b in zip(cut, whole, strict=True)) < 1e-5


def test_a_runs_config_trained_again_by_one_worker_gives_the_losses_of_two_over_50_steps_with_dropout_on(
    tiny_run: Path, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(workplace)
    alone = load_config(tiny_run / "config.yaml", ["name=one-worker", "resources.workers=1"])
    assert train(alone) == 0
    two, one = (
        [json.loads(line)["loss"] for line in (folder / "metrics.jsonl").open()][:50]
        for folder in (tiny_run, workplace / alone.folder)
    )
    differences = [abs(a - b) / abs(b) for a, b in zip(two, one, strict=True)]
    print(f"largest relative difference of the loss over 50 steps: {max(differences):.1e}")
    assert differences[0] < 1e-5
    assert max(differences) < 1e-4


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_workers_micro_batches_segments_and_kills_leave_no_trace_in_gradients_and_losses(
    tiny_config: RunConfig, prepared: Prepared, ray_cluster: None, tmp_path: Path
) -> None:
    cuts = cuts_of(tiny_config, prepared, steps=12)
    assert len(cuts) >= 12
    found = list(verify(tiny_config, prepared, cuts, 12, tmp_path))
    for verified in found:
        print(f"{verified.cut.name}: gradient {verified.gradient:.1e}, losses {verified.losses:.1e}")
    assert [verified.cut.name for verified in found if not verified.holds] == []
    assert any(verified.losses > 0 for verified in found)  # or it is one run that is compared with itself
