"""`recurray evaluate MODEL`, and scores that go to the run they belong to."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.platform.test_report import DEV, row
from tests.wandb_file import logged_rows, summary

from recurray.jobs.cli import main
from recurray.platform.config.loading import to_yaml
from recurray.platform.config.tree import RunConfig
from recurray.platform.inference.translator import Translator
from recurray.platform.tracking.run_log import RunLog

SOURCE, REFERENCES = (Path(__file__).parents[1] / "data" / f"dev.{language}" for language in ("en", "de"))
EXACT = """
from recurray.platform.evaluation.scores import METRICS, TASK_METRICS, Score

@METRICS.register("exact")
def exact(hypotheses, references):
    return Score(100 * sum(map(str.__eq__, hypotheses, references)) / len(references), "exact")

TASK_METRICS["translation"] += ("exact",)
"""


def assert_translated(model: Path, hypotheses: list[str]) -> None:
    """The hypotheses are the model's own, where its source is not so long that it is split."""
    translator = Translator.from_pretrained(model)
    sources = SOURCE.read_text().splitlines()
    assert translator.max_pieces is not None
    pieces = translator.count_pieces(sources)
    whole = [row for row in range(60) if pieces[row] <= translator.max_pieces]
    assert len(whole) > 50
    assert [hypotheses[row] for row in whole] == translator.translate([sources[row] for row in whole])


def test_a_model_is_run_and_scored_with_the_metrics_of_its_own_extensions(tiny_model: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_model, tmp_path / "model")
    config = tmp_path / "model" / "config.yaml"
    config.write_text(config.read_text().replace("extensions: []", "extensions: [exact_match]"))
    (tmp_path / "exact_match.py").write_text(EXACT)
    environment = {key: value for key, value in os.environ.items() if key != "RAY_ADDRESS"}
    words = ["--src", SOURCE, "--ref", REFERENCES, "--output", "out/scores.json", "model"]
    command = [sys.executable, "-P", "-m", "recurray.jobs", "evaluate", *words]
    ran = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr

    scores = json.loads((tmp_path / "out" / "scores.json").read_text())
    hypotheses = (tmp_path / "out" / "scores.hypotheses.txt").read_text().splitlines()
    assert_translated(tiny_model, hypotheses)
    assert list(scores) == ["bleu", "chrf", "ter", "exact", "by_length", "lines", "command"]
    assert scores["lines"] == 60
    assert scores["command"] == f"recurray evaluate model --src {SOURCE} --ref {REFERENCES}"
    assert f"chrf   {scores['chrf']['score']:6.2f}  nrefs:1|" in ran.stdout


def test_a_source_that_is_not_parallel_is_refused_before_the_model_is_run(
    tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "src").write_text("one\n")
    assert main(["evaluate", str(tiny_model), "--src", str(tmp_path / "src"), "--ref", str(REFERENCES)]) == 2
    captured = capsys.readouterr()
    assert f"src has 1 lines but {REFERENCES} has 60" in captured.err
    assert captured.out == ""


@pytest.fixture
def finished(tmp_path: Path, tiny_config: RunConfig) -> Path:
    """The folder of a run of three steps, with its offline W&B run."""
    folder = tmp_path / "runs" / "short"
    folder.mkdir(parents=True)
    config = tiny_config.model_copy(update={"training": tiny_config.training.model_copy(update={"steps": 3})})
    (folder / "config.yaml").write_text(to_yaml(config))
    log = RunLog(folder, config)
    for step in (1, 2, 3):
        log.log(row(step, **DEV), [{"src": "a", "ref": "b", "hyp": "c"}])
    log.close()
    return folder


def wandb_ids(folder: Path) -> list[str]:
    return [path.name.split("-")[-1] for path in (folder / "wandb").glob("offline-run-*")]


def test_scores_go_to_the_runs_own_wandb_run_and_report(
    finished: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before, rows = wandb_ids(finished), logged_rows(finished)
    monkeypatch.chdir(finished.parents[1])
    words = ["--hyp", str(SOURCE), "--ref", str(REFERENCES), "--log-to", "short"]
    for _ in range(2):
        assert main(["evaluate", *words]) == 0
    scores = json.loads((finished / "test" / "scores.json").read_text())
    assert wandb_ids(finished) == before
    assert [found["step"] for found in logged_rows(finished)] == [found["step"] for found in rows] == [1, 2, 3]
    found = summary(finished)
    for name in ("bleu", "chrf", "ter"):
        assert found[f"test/{name}"] == scores[name]["score"]
        assert found[f"test/{name} signature"] == scores[name]["signature"]
    assert found["test/lines"] == 60
    page = (finished / "report.html").read_text()
    assert f"<td class=number>{scores['bleu']['score']:.2f}</td>" in page
    longest = scores["by_length"][-1]
    assert f"<td class=number>{longest['shortest']} to {longest['longest']}</td>" in page
    assert re.search(r"logged to runs/short: .* runs/short/report\.html", capsys.readouterr().out)


def test_scores_are_still_in_the_wandb_run_when_its_log_is_opened_again(finished: Path, tiny_config: RunConfig) -> None:
    assert main(["evaluate", "--hyp", str(SOURCE), "--ref", str(REFERENCES), "--log-to", str(finished)]) == 0
    logged = summary(finished)["test/bleu"]
    RunLog(finished, tiny_config).close()
    assert summary(finished)["test/bleu"] == logged


def test_only_its_training_logs_to_a_run_that_is_not_finished(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = (finished / "metrics.jsonl").read_text().splitlines(keepends=True)
    (finished / "metrics.jsonl").write_text("".join(lines[:2]))
    before = list((finished / "wandb").rglob("*"))
    assert main(["evaluate", "--hyp", str(SOURCE), "--ref", str(REFERENCES), "--log-to", str(finished)]) == 2
    assert "stands at step 2 of 3, and only its training may log to it" in capsys.readouterr().err
    assert list((finished / "wandb").rglob("*")) == before
    assert not (finished / "test").exists()
