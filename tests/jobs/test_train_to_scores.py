"""The jobs on a finished tiny run: going on, mistakes, and the demo's way from a model to scores."""

import json
import shutil
from pathlib import Path

import pytest
from tests.wandb_file import logged_rows

from recurray.jobs.cli import main
from recurray.jobs.demo import demo
from recurray.jobs.evaluate import evaluate
from recurray.jobs.train import train
from recurray.platform.config.tree import RunConfig
from recurray.platform.errors import UserError
from recurray.platform.inference.translator import Translator


@pytest.fixture
def at_work(workplace: Path, tiny_run: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The tiny run's folder, with the working directory where it was trained."""
    monkeypatch.chdir(workplace)
    return tiny_run


def test_a_run_leaves_what_the_design_names(at_work: Path) -> None:
    names = {path.name for path in at_work.iterdir()}
    assert {"config.yaml", "metrics.jsonl", "samples.jsonl", "checkpoints", "model", "wandb"} <= names
    assert {path.name for path in (at_work / "model").iterdir()} == {
        "model.safetensors",
        "config.yaml",
        "tokenizer.model",
        "README.md",
    }


def test_metrics_and_wandb_hold_the_same_figures_for_each_step_once(at_work: Path) -> None:
    rows = [json.loads(line) for line in (at_work / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == list(range(1, 101))
    for ours, theirs in zip(rows, logged_rows(at_work), strict=True):
        assert {key: theirs[key] for key in ours} == ours


def test_every_example_is_used_once_an_epoch(at_work: Path, tiny_config: RunConfig) -> None:
    from recurray.platform.data.preparing import prepare

    rows = [json.loads(line) for line in (at_work / "metrics.jsonl").read_text().splitlines()]
    whole = {epoch for epoch in {row["epoch"] for row in rows} if epoch < rows[-1]["epoch"]}
    assert whole
    for epoch in whole:
        assert sum(row["tokens"] for row in rows if row["epoch"] == epoch) == prepare(tiny_config).counts.tgt_pieces


def test_a_finished_run_is_not_trained_again(
    at_work: Path, tiny_config: RunConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(tiny_config) == 0
    assert "run tiny is trained" in capsys.readouterr().out


def test_another_configuration_under_the_same_name_is_refused_with_the_keys_that_differ(
    at_work: Path, tiny_recipe: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", str(tiny_recipe), "model.dropout=0.5", "resources.workers=1"]) == 2
    message = capsys.readouterr().err
    assert "model.dropout (0.2, 0.5)" in message
    assert "workers" not in message
    assert "--fresh" in message


def test_print_config_prints_a_recipe_with_every_default_and_does_nothing(
    tiny_recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["train", str(tiny_recipe), "--print-config", "training.steps=7"]) == 0
    printed = capsys.readouterr().out
    assert "steps: 7" in printed
    assert "clip_norm: 1.0" in printed
    assert list(tmp_path.iterdir()) == []


def test_the_demo_goes_from_a_model_to_scores_and_a_report_and_does_nothing_twice(
    at_work: Path, tiny_config: RunConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    assert demo(tiny_config) == 0
    scores = json.loads((at_work / "test" / "scores.json").read_text())
    assert scores["lines"] == 500 == len((at_work / "test" / "hypotheses.txt").read_text().splitlines())
    screen = capsys.readouterr().out
    assert f"{scores['bleu']['score']:6.2f}  {scores['bleu']['signature']}" in screen
    assert (at_work / "report.html").exists()
    assert demo(tiny_config) == 0
    assert "translated" not in capsys.readouterr().out


def test_parallel_files_of_different_length_are_not_scored(tmp_path: Path) -> None:
    (tmp_path / "h").write_text("a\n")
    (tmp_path / "r").write_text("a\nb\n")
    with pytest.raises(UserError, match=r"has 1 lines but .* has 2"):
        evaluate(tmp_path / "h", [tmp_path / "r"])


def test_scores_are_sacrebleus_own(tmp_path: Path) -> None:
    import sacrebleu

    hypotheses, references = ["the door is open", "a window"], ["the door is open now", "the window"]
    (tmp_path / "h").write_text("".join(line + "\n" for line in hypotheses))
    (tmp_path / "r").write_text("".join(line + "\n" for line in references))
    scores = evaluate(tmp_path / "h", [tmp_path / "r"])
    assert scores["bleu"]["score"] == sacrebleu.corpus_bleu(hypotheses, [references]).score
    assert scores["chrf"]["score"] == sacrebleu.corpus_chrf(hypotheses, [references]).score
    assert scores["ter"]["score"] == sacrebleu.corpus_ter(hypotheses, [references]).score


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.model", "config.yaml"])
def test_a_damaged_model_names_the_file_at_fault(tiny_model: Path, tmp_path: Path, name: str) -> None:
    copy = Path(shutil.copytree(tiny_model, tmp_path / "model"))
    (copy / name).write_bytes(b"\x00damaged")
    with pytest.raises(UserError, match=name):
        Translator.from_pretrained(copy)


def test_a_folder_that_is_no_model_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["translate", str(tmp_path), "--input", "x", "--output", "y"]) == 2
    assert f"{tmp_path} is not a saved model" in capsys.readouterr().err


def test_an_input_that_is_not_there_is_named(
    tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing, output = tmp_path / "x", tmp_path / "y"
    assert main(["translate", str(tiny_model), "--input", str(missing), "--output", str(output)]) == 2
    assert f"{missing} does not exist" in capsys.readouterr().err
    assert not output.exists()


def test_input_without_output_is_refused(tiny_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["translate", str(tiny_model), "--input", "x"]) == 2
    assert "go together" in capsys.readouterr().err
