"""`recurray average`: the mean of a real run's checkpoints, and what it refuses."""

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from recurray.jobs.average import average
from recurray.jobs.cli import main
from recurray.jobs.train import train
from recurray.platform.config.loading import load_config
from recurray.platform.errors import UserError
from recurray.platform.inference.translator import Translator

SETTINGS = [
    "name=averaged",
    "resources.workers=1",
    "training.steps=20",
    "training.validate_every=20",
    "training.ema_decay=0.9",
    "checkpoints={every: 5, keep_last: 4}",
]


@pytest.fixture(scope="module")
def trained(tiny_recipe: Path, workplace: Path, ray_cluster: None) -> Path:
    """The folder of a run with a moving average and checkpoints at steps 5, 10, 15 and 20."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(workplace)
        config = load_config(tiny_recipe, SETTINGS)
        assert train(config) == 0
    return workplace / config.folder


@pytest.fixture
def copy(trained: Path, tmp_path: Path) -> Path:
    """The run again, to be damaged."""
    return Path(shutil.copytree(trained, tmp_path / "copy"))


def checkpoint(run: Path, step: int, part: str) -> dict[str, Tensor]:
    state = torch.load(run / "checkpoints" / f"step-{step:08}" / "state.pt", weights_only=True)
    weights: dict[str, Tensor] = state[part]
    return weights


def assert_mean(model: Path, states: list[dict[str, Tensor]]) -> None:
    saved = load_file(model / "model.safetensors")
    assert saved
    for name, weight in saved.items():
        mean = torch.stack([state[name].double() for state in states]).mean(dim=0)
        torch.testing.assert_close(weight.double(), mean, atol=1e-7, rtol=1e-6)


def test_a_run_with_a_moving_average_saves_it_and_not_the_weights_themselves(trained: Path) -> None:
    saved = load_file(trained / "model" / "model.safetensors")
    kept, raw = checkpoint(trained, 20, "average"), checkpoint(trained, 20, "network")
    assert all(torch.equal(weight, kept[name]) for name, weight in saved.items())
    assert not any(torch.equal(weight, raw[name]) for name, weight in saved.items())


def test_the_last_checkpoints_make_a_model_that_translates_and_says_what_it_is(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "deep" / "mean"
    assert main(["average", str(trained), "--last", "3", "--output", str(output)]) == 0
    assert f"{output}: the mean of the weights at steps 10, 15, 20" in capsys.readouterr().out
    assert_mean(output, [checkpoint(trained, step, "average") for step in (10, 15, 20)])
    assert isinstance(Translator.from_pretrained(output).translate(["Hello"])[0], str)
    card = (output / "README.md").read_text()
    assert card.startswith("# averaged: mean of the weights at steps 10, 15, 20\n")
    assert "has not been validated" in card


def test_a_run_without_a_moving_average_is_averaged_by_its_weights(tiny_run: Path, tmp_path: Path) -> None:
    assert average(tiny_run, tmp_path / "mean", "last", 2) == [80, 100]
    assert_mean(tmp_path / "mean", [checkpoint(tiny_run, step, "network") for step in (80, 100)])


def test_the_best_checkpoints_are_those_that_a_validation_came_before(trained: Path, tmp_path: Path) -> None:
    assert average(trained, tmp_path / "mean", "best", 1) == [20]
    assert_mean(tmp_path / "mean", [checkpoint(trained, 20, "average")])


def test_a_model_that_was_averaged_before_is_replaced(trained: Path, tmp_path: Path) -> None:
    average(trained, tmp_path / "mean", "last", 1)
    assert average(trained, tmp_path / "mean", "last", 4) == [5, 10, 15, 20]
    assert_mean(tmp_path / "mean", [checkpoint(trained, step, "average") for step in (5, 10, 15, 20)])


@pytest.mark.parametrize(
    ("option", "sentences"),
    [
        (["--last", "9"], ["holds 4 checkpoints, fewer than --last 9", "checkpoints.keep_last=9 (it is 4)"]),
        (["--best", "2"], ["holds 1 checkpoints with a validation before them", "checkpoints.keep_best=2 (it is 0)"]),
        (["--last", "0"], ["--last 0 is no number of checkpoints"]),
        (["--best", "-1"], ["--best -1 is no number of checkpoints"]),
    ],
)
def test_more_checkpoints_than_were_kept_are_refused_with_the_key_to_set(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], option: list[str], sentences: list[str]
) -> None:
    assert main(["average", str(trained), *option, "--output", str(tmp_path / "mean")]) == 2
    complaint = capsys.readouterr().err
    assert all(sentence in complaint for sentence in sentences), complaint
    assert not (tmp_path / "mean").exists()


def test_a_damaged_checkpoint_is_named_and_nothing_is_written(copy: Path, tmp_path: Path) -> None:
    state = copy / "checkpoints" / "step-00000015" / "state.pt"
    content = bytearray(state.read_bytes())
    content[len(content) // 2] ^= 1
    state.write_bytes(content)
    with pytest.raises(UserError, match=r"step-00000015/state\.pt differs from its checksum"):
        average(copy, tmp_path / "mean", "last", 2)
    assert not (tmp_path / "mean").exists()


def test_a_folder_that_is_no_model_is_not_written_over(copy: Path, tmp_path: Path) -> None:
    before = sorted(copy.rglob("*"))
    with pytest.raises(UserError, match="is there and is no saved model"):
        average(copy, copy, "last", 1)
    with pytest.raises(UserError, match="is the run's best model"):
        average(copy, copy / "model", "last", 1)
    assert sorted(copy.rglob("*")) == before


def test_a_run_that_is_not_there_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["average", "no-such-run", "--last", "2", "--output", str(tmp_path / "mean")]) == 2
    assert "runs/no-such-run/config.yaml does not exist" in capsys.readouterr().err
