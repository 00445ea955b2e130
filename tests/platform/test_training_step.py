from pathlib import Path

import pytest
import torch

from recurray.models import Padded, Seq2Seq
from recurray.platform.config.model import ModelConfig
from recurray.platform.config.training import ScheduleConfig
from recurray.platform.data.batches import Batch
from recurray.platform.network import build_seq2seq
from recurray.platform.training.schedule import learning_rate
from recurray.platform.training.step import StepResult, TrainStep, Update

SHAPE = {
    "embedding_dim": 8,
    "encoder": [{"kind": "lstm", "hidden_dim": 8}],
    "attention": {"heads": 1},
    "decoder": {"kind": "recurrent", "hidden_dim": 8, "layers": 1},
    "dropout": 0.0,
}


def network() -> Seq2Seq:
    torch.manual_seed(1)
    return build_seq2seq(ModelConfig.model_validate(SHAPE), vocab_size=30)


def update(rows: int) -> Update:
    torch.manual_seed(2)
    side = Padded(torch.randint(4, 30, (rows, 6)), torch.full((rows,), 6))
    batch = Batch(side, side, torch.arange(rows))
    return Update(number=1, tokens=6 * rows, micro_batches=[batch], padding_share=0.0)


def step(model: Seq2Seq, clip_norm: float = 1e9) -> StepResult:
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    return TrainStep(model, optimizer, seed=1, label_smoothing=0.0, clip_norm=clip_norm)(update(5))


def test_loss_and_gradient_are_means_over_target_pieces(process_group: None) -> None:
    reference, model = network(), network()
    side = update(5).micro_batches[0]
    mean = reference(side.src, side.tgt).loss / 30
    mean.backward()
    result = step(model)
    assert result.loss == pytest.approx(mean.item(), rel=1e-6)
    for before, after in zip(reference.parameters(), model.parameters(), strict=True):
        assert before.grad is not None
        torch.testing.assert_close(before - before.grad, after)


def test_a_long_gradient_is_clipped_to_the_norm(process_group: None) -> None:
    before, model = network(), network()
    result = step(model, clip_norm=0.01)
    assert result.grad_norm > 0.01
    moved = torch.cat([(a - b).flatten() for a, b in zip(before.parameters(), model.parameters(), strict=True)])
    assert moved.detach().norm().item() == pytest.approx(0.01, rel=1e-3)


def test_a_loss_that_is_not_finite_leaves_the_weights_alone(process_group: None) -> None:
    model = network()
    with torch.no_grad():
        model.output.bias[7] = float("nan")
    before = [parameter.clone() for parameter in model.parameters()]
    assert step(model).skipped
    for old, new in zip(before, model.parameters(), strict=True):
        torch.testing.assert_close(old, new, equal_nan=True)


@pytest.mark.parametrize("decay", ["inverse_sqrt", "cosine"])
def test_the_learning_rate_rises_to_its_peak_and_falls(decay: str) -> None:
    schedule = ScheduleConfig.model_validate({"peak": 0.1, "warmup_steps": 10, "decay": decay})
    rates = [learning_rate(number, 100, schedule) for number in range(1, 101)]
    assert rates[4] == pytest.approx(0.05)
    assert rates[9] == max(rates) == pytest.approx(0.1)
    assert rates[9:] == sorted(rates[9:], reverse=True)
    last = {"inverse_sqrt": 0.1 * (10 / 100) ** 0.5, "cosine": 0.0}[decay]
    assert rates[-1] == pytest.approx(last, abs=1e-12)


def test_a_run_whose_updates_are_all_skipped_is_given_up_with_the_reason(
    tiny_recipe: Path,
    workplace: Path,
    ray_cluster: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from recurray.jobs.cli import main

    monkeypatch.chdir(workplace)
    settings = ["name=diverges", "training.learning_rate.peak=1e30", "training.max_skipped=3", "resources.workers=1"]
    assert main(["train", str(tiny_recipe), *settings]) == 1
    assert "3 updates in a row had a non-finite loss or gradient" in capsys.readouterr().err
