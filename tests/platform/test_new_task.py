"""A task from outside the package through the whole engine: a module in the working directory that a recipe names."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.few_updates import train_in_process
from tests.models.samples import alone, assert_same

from recurray.jobs import evaluate, report
from recurray.jobs.cli import main
from recurray.platform import saved_model
from recurray.platform.config.loading import load_config
from recurray.platform.data.batches import make_batch
from recurray.platform.data.preparing import prepare
from recurray.platform.errors import UserError

STEPS = 40

RECIPE = f"""
name: series
task: forecasting
extensions: [forecasting, r2, convolution]
data:
  train: [{{kind: text, src: train.past, tgt: train.future}}]
  dev: {{kind: text, src: dev.past, tgt: dev.future}}
model:
  embedding_dim: 8
  encoder: [{{kind: gru, hidden_dim: 16}}, {{kind: convolution, width: 3}}]
  dropout: 0.0
training:
  steps: {STEPS}
  batch_tokens: 96
  learning_rate: {{peak: 0.02, warmup_steps: 5}}
  validate_every: 20
checkpoints: {{every: 15}}
resources: {{workers: 1}}
wandb: {{mode: offline}}
"""

BOTH_RUNS = """
from recurray.jobs.cli import main
from recurray.platform.ray_session import ray_session

with ray_session(cpus=1):
    print(main(["train", "recipe.yaml", "task=dies_once", "extensions=[troubles, r2, convolution]"]))
    print(main(["train", "recipe.yaml", "name=misfit", "task=fits_nothing", "extensions=[troubles, r2, convolution]"]))
"""


def write_series(folder: Path, split: str, count: int, seed: int) -> None:
    """Lines, three to six numbers of each to be followed by one or two more."""
    random = np.random.default_rng(seed)
    with (folder / f"{split}.past").open("w") as past, (folder / f"{split}.future").open("w") as future:
        for _ in range(count):
            seen, asked = random.integers(3, 7), random.integers(1, 3)
            numbers = random.uniform(-1, 1) + random.uniform(-0.3, 0.3) * np.arange(seen + asked)
            past.write(" ".join(f"{number:.3f}" for number in numbers[:seen]) + "\n")
            future.write(" ".join(f"{number:.3f}" for number in numbers[seen:]) + "\n")


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> "subprocess.CompletedProcess[str]":
    """Both runs, in a process and a Ray of their own; `args[-1]` is the folder that they ran in."""
    folder = tmp_path_factory.mktemp("forecasting")
    write_series(folder, "train", count=400, seed=1)
    write_series(folder, "dev", count=50, seed=2)
    for extension in Path(__file__).with_name("extensions").glob("*.py"):
        shutil.copy(extension, folder)
    (folder / "recipe.yaml").write_text(RECIPE)
    environment = {key: value for key, value in os.environ.items() if key != "RAY_ADDRESS"}
    command = [sys.executable, "-P", "-c", BOTH_RUNS, str(folder)]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture
def run(ran: "subprocess.CompletedProcess[str]", monkeypatch: pytest.MonkeyPatch) -> Path:
    """The finished run's folder, with the working directory where it was trained."""
    assert ran.stdout.split()[-1] == "2", ran.stdout + ran.stderr
    monkeypatch.setattr(sys, "path", [*sys.path])  # the working directory is put there
    monkeypatch.chdir(ran.args[-1])
    return Path("runs/series")


def rows(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def dev_forecasts(run: Path) -> list[str]:
    """What the saved model makes of the dev set."""
    model = saved_model.load(run / "model")
    prepared = prepare(load_config(run / "config.yaml"))
    src = make_batch(prepared.dev, np.arange(len(prepared.dev))).src
    return model.task.predict(model.network, model.codec, src, model.config.search)


def best_row(run: Path) -> dict[str, Any]:
    return max((row for row in rows(run) if "dev/r2" in row), key=lambda row: row["dev/r2"])


def test_its_losses_are_those_of_an_unbroken_training_though_its_worker_was_killed(
    run: Path, process_group: None
) -> None:
    assert Path("died").exists()
    assert [row["step"] for row in rows(run)] == list(range(1, STEPS + 1))
    unbroken = train_in_process(load_config(run / "config.yaml"), STEPS).losses
    assert [row["loss"] for row in rows(run)] == pytest.approx(unbroken, rel=1e-5)


def test_validations_log_its_own_score_and_no_perplexity(run: Path) -> None:
    validations = [row for row in rows(run) if "dev/loss" in row]
    assert [row["step"] for row in validations] == [20, 40]
    assert validations[-1]["dev/r2"] > 50
    assert not [key for row in rows(run) for key in row if "perplexity" in key]


def test_its_saved_model_loads_again_and_predicts_what_was_logged(run: Path, tmp_path: Path) -> None:
    found = dev_forecasts(run)
    best = best_row(run)
    samples = [json.loads(line) for line in (run / "samples.jsonl").read_text().splitlines()]
    assert [sample["hyp"] for sample in samples if sample["step"] == best["step"]] == found[:8]
    (tmp_path / "hyp").write_text("".join(line + "\n" for line in found))
    scores = evaluate(tmp_path / "hyp", [Path("dev.future")], task="forecasting")
    assert scores["r2"]["score"] == pytest.approx(best["dev/r2"])


def test_a_forecast_is_the_same_alone_and_in_a_padded_batch(run: Path) -> None:
    network = saved_model.load(run / "model").network
    batch = make_batch(prepare(load_config(run / "config.yaml")).dev, np.arange(50))
    with torch.inference_mode():
        each = [network(alone(batch.src, row), alone(batch.tgt, row)).loss for row in range(50)]
        assert_same([network(batch.src, batch.tgt).loss], [torch.stack(each).sum()], tolerance=1e-5)


def test_a_damaged_model_names_the_codecs_file(run: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(run / "model", tmp_path / "model"))
    (copy / "horizon.txt").write_text("two")
    with pytest.raises(UserError, match=r"horizon\.txt is missing or damaged"):
        saved_model.load(copy)


def test_a_finished_run_is_not_trained_again(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", str(run / "config.yaml")]) == 0
    assert "run series is trained" in capsys.readouterr().out


def test_the_report_and_the_card_show_its_score_and_nothing_of_texts(run: Path) -> None:
    page, card = report(run).read_text(), (run / "model" / "README.md").read_text()
    assert f"<dt>best dev r2</dt><dd>{best_row(run)['dev/r2']:.1f}</dd>" in page
    assert "dev/r2" in page
    assert f"| dev/r2 | {best_row(run)['dev/r2']:.3f} |" in card
    assert "Perplexity" not in page
    assert "unigram pieces" not in card


def test_a_network_that_cannot_be_built_ends_in_one_sentence(
    ran: "subprocess.CompletedProcess[str]",
) -> None:
    assert ran.stdout.split()[-1] == "2"
    assert ran.stderr.splitlines()[-1] == "recurray train: model: a round network needs a round codec."
    assert "Traceback" not in ran.stderr
