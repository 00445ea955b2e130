"""Exported programs: the model's own numbers without recurray, for every family of which programs can be made."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tests.promises.test_padding_in_the_whole_family import build

from recurray.jobs.cli import main
from recurray.models import Seq2Seq
from recurray.models.products.int8 import Int8Linear
from recurray.models.products.replacing import replace_products
from recurray.models.programs import obstacle
from recurray.platform.errors import UserError
from recurray.platform.exporting import export, largest_difference, write_programs
from recurray.platform.inference.translator import Translator
from recurray.platform.saved_model import load

LINES = ["Hello Berlin", "Good morning", "", "The capital of France is Paris", "Bye"]
FAMILIES = [
    ("lstm", "additive", "lstm", None),
    ("gru", "local", "gru", None),
    ("pyramid", "dot", "input feeding", None),
    ("transformer over lstm", "multi_head", "transformer", None),
    ("gated columns", "general", "lstm", None),
    ("rnn", "additive", "lstm", "coverage"),
    ("sinusoidal transformer", "multi_head", "transformer", "copying"),
]
WITHOUT_RECURRAY = "import runpy, sys; sys.modules['recurray'] = None; runpy.run_path(sys.argv[1], run_name='__main__')"


@pytest.mark.parametrize("parts", FAMILIES, ids=str)
def test_programs_give_the_models_log_probabilities_for_other_sizes_than_were_traced(
    parts: tuple[str, str, str, str | None], tmp_path: Path
) -> None:
    network = build(*parts).eval()
    write_programs(network, tmp_path)
    assert largest_difference(network, tmp_path) < 1e-5


def test_programs_in_8_bits_give_what_search_in_8_bits_gives(tmp_path: Path) -> None:
    network = build("lstm", "multi_head", "lstm", None).eval()
    write_programs(network, tmp_path)
    replace_products(network, Int8Linear)
    assert largest_difference(network, tmp_path) > 1e-4
    write_programs(network, tmp_path)
    assert largest_difference(network, tmp_path) < 1e-5


def test_a_program_that_differs_from_the_model_is_found_out(tmp_path: Path) -> None:
    network = build("lstm", "additive", "lstm", None).eval()
    write_programs(network, tmp_path)
    with torch.no_grad():
        network.output.bias[7] += 0.01
    assert largest_difference(network, tmp_path) > 1e-3


@pytest.mark.parametrize("encoder", ["peephole", "lnlstm", "windowed transformer"])
def test_a_model_that_would_be_traced_for_one_length_alone_is_refused(encoder: str) -> None:
    assert obstacle(build(encoder, "additive", "lstm", None)) is not None


@pytest.mark.parametrize("options", [[], ["--int8"]], ids=["float", "int8"])
def test_the_folders_script_gives_without_recurray_what_greedy_search_gives(
    options: list[str], tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "exported"
    assert main(["export", str(tiny_model), "--output", str(folder), *options]) == 0
    assert str(folder) in capsys.readouterr().out
    command = [sys.executable, "-I", "-c", WITHOUT_RECURRAY, str(folder / "run.py")]
    done = subprocess.run(command, input="\n".join(LINES) + "\n", capture_output=True, text=True, check=True)
    model = Translator.from_pretrained(tiny_model, int8=bool(options))
    expected = iter(model.predict([line for line in LINES if line], model.search.greedy()))
    assert done.stdout.split("\n")[:-1] == [next(expected) if line else "" for line in LINES]
    assert done.stderr == ""


def test_programs_hold_only_the_weights_that_they_use(tiny_model: Path, tmp_path: Path) -> None:
    export(tiny_model, tmp_path / "exported", int8=False)
    network = load(tiny_model).network
    assert isinstance(network, Seq2Seq)
    encoder, decoder = (
        4 * sum(parameter.numel() for parameter in part.parameters()) for part in (network.encoder, network.decoder)
    )
    whole = 4 * sum(parameter.numel() for parameter in network.parameters())
    assert (tmp_path / "exported" / "start.pt").stat().st_size < whole - decoder / 2
    assert (tmp_path / "exported" / "step.pt").stat().st_size < whole - encoder / 2


def test_an_export_takes_an_earlier_ones_place_and_no_other_folders(tiny_model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "exported"
    for int8 in (False, True):
        export(tiny_model, folder, int8=int8)
    assert json.loads((folder / "interface.json").read_text())["task"] == "translation"
    (tmp_path / "thesis").mkdir()
    with pytest.raises(UserError, match="thesis is there and is no exported model"):
        export(tiny_model, tmp_path / "thesis", int8=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["exported", "thesis"]


def test_a_folder_that_is_no_model_is_a_mistake_in_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(tmp_path), "--output", str(tmp_path / "exported")]) == 2
    assert "is not a saved model" in capsys.readouterr().err
