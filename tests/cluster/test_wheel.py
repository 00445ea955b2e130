"""The wheel holds all that a job needs, from a checkout and from a regular install alike."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from recurray.cluster.wheel import build_wheel

ROOMS = ("cluster", "jobs", "models", "platform")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(tmp_path_factory.mktemp("wheel"))


def install(wheel: Path, into: Path) -> Path:
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(into)]
    subprocess.run([*pip, str(wheel)], check=True)
    return into


def contents(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist() if not name.endswith("/RECORD")}


def test_wheel_of_a_checkout_holds_the_four_rooms_and_the_recipes(wheel: Path) -> None:
    names = contents(wheel)
    for room in ROOMS:
        assert f"recurray/{room}/__init__.py" in names
    assert any(name.startswith("recurray/jobs/recipes/") and name.endswith(".yaml") for name in names)


def test_command_line_answers_from_the_unpacked_wheel_alone(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    no_site_packages = [sys.executable, "-S", "-m", "recurray.jobs", "--help"]
    answer = subprocess.run(
        no_site_packages, env={"PYTHONPATH": str(tmp_path)}, cwd="/", capture_output=True, text=True
    )
    assert (answer.returncode, answer.stderr) == (0, "")
    assert "usage: recurray COMMAND" in answer.stdout


def test_wheel_of_a_regular_install_is_the_wheel_that_was_installed(wheel: Path, tmp_path: Path) -> None:
    installed = install(wheel, tmp_path / "installed")
    program = (
        "import sys; from pathlib import Path; from recurray.cluster.wheel import build_wheel, __file__ as source\n"
        "assert source.startswith(sys.argv[1]), source\n"
        "print(build_wheel(Path(sys.argv[2])))"
    )
    (tmp_path / "again").mkdir()
    built = subprocess.run(
        [sys.executable, "-c", program, str(installed), str(tmp_path / "again")],
        env={"PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        check=True,
    )
    again = Path(built.stdout.strip())
    assert again.name == wheel.name
    assert contents(again) == contents(wheel)
    install(again, tmp_path / "reinstalled")
