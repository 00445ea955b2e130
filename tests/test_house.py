"""The walls of the house: who may import whom, and what a command may load before it knows its job."""

import subprocess
import sys
from pathlib import Path

import pytest

from recurray.jobs.cli import COMMANDS

ROOT = Path(__file__).parents[1]
HEAVY = ("torch", "ray", "wandb", "datasets", "pandas", "pyarrow", "sentencepiece", "sacrebleu", "numpy")


def python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def test_no_room_imports_what_it_may_not() -> None:
    linter = Path(sys.executable).parent / "lint-imports"
    result = subprocess.run([linter], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout
    assert "3 kept, 0 broken" in result.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command_loads_nothing_heavy(command: str) -> None:
    result = python(
        "import sys\n"
        "from recurray.jobs.cli import main\n"
        "try:\n"
        f"    main(['{command}', '--help'])\n"
        "except SystemExit as end:\n"
        "    assert not end.code\n"
        f"print('loaded:', [name for name in {HEAVY} if name in sys.modules])"
    )
    assert result.stdout.endswith("loaded: []\n"), result.stdout + result.stderr


def test_a_mistake_in_a_recipe_is_answered_before_anything_heavy_is_loaded() -> None:
    result = python(
        "import sys\n"
        "from recurray.jobs.cli import main\n"
        "status = main(['train', 'demo', 'training.stps=3'])\n"
        f"print(status, [name for name in {HEAVY} if name in sys.modules])"
    )
    assert result.stdout == "2 []\n", result.stdout + result.stderr
    assert result.stderr.count("\n") == 1
    assert "did you mean `training.steps`?" in result.stderr


def test_a_command_that_is_none_names_the_nearest() -> None:
    result = python("from recurray.jobs.cli import main; raise SystemExit(main(['trian']))")
    assert result.returncode == 2
    assert "did you mean `train`?" in result.stderr
