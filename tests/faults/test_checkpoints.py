"""Promise 3 where storage fails: a damaged checkpoint, a full disk. A real training goes on with the same curve."""

import functools
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.conftest import TINY_RECIPE
from tests.faults.kills import DEADLINE_SECONDS, finish, kill_tree, rows, start

from recurray.jobs.train import train
from recurray.platform.config.loading import load_config
from recurray.platform.config.tree import RunConfig
from recurray.platform.training.checkpoint_store import CheckpointStore

NAMESPACES = [["unshare", "-rm"], ["unshare", "-m"], ["sudo", "-n", "unshare", "-m"]]
"""Ways to a private view of the mounts: as a user who may, as root, as one who may become root."""
TINY_DISK = 'mount -t tmpfs -o size="$1" tmpfs "$2" && cd "$2" && shift 2 && "$@"'


@functools.cache
def namespace() -> list[str]:
    """The first way that works here."""
    tried = []
    for way in NAMESPACES:
        if shutil.which(way[0]):
            result = subprocess.run(
                [*way, "sh", "-c", "mount -t tmpfs tmpfs /mnt"], capture_output=True, text=True, check=False
            )
            if result.returncode == 0:
                return way
            tried.append(f"{' '.join(way)}: {result.stderr.strip()}")
    raise AssertionError(f"no way to mount a disk that only this test sees: {tried}")


def on_a_tiny_disk(folder: Path, size: str, *command: str) -> str:
    """What a command prints in a folder that is a disk of so many bytes, which goes away with it."""
    process = subprocess.Popen(
        [*namespace(), "sh", "-c", TINY_DISK, "sh", size, str(folder), *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        return process.communicate(timeout=2 * DEADLINE_SECONDS)[0]
    except subprocess.TimeoutExpired:
        kill_tree(process.pid)
        raise


UNTIL_IT_IS_FULL = """
import errno, os, shutil, torch
from recurray.platform.training.checkpoint_store import CheckpointStore
store = CheckpointStore(os.getcwd() + "/store")
store.open()
state = {"network": torch.randn(50_000)}  # 200 kB
for step in range(1, 100):
    free = shutil.disk_usage(".").free
    try:
        store.write(step, None, {}, state)
    except OSError as fault:
        assert fault.errno == errno.ENOSPC, fault
        break
left = sorted(os.listdir("store"))
assert left == [".recurray-checkpoints", *(f"step-{whole:08}" for whole in range(1, step))], left
found, notes = store.newest_whole()
assert found.manifest.step == step - 1 and not notes
assert shutil.disk_usage(".").free == free  # what was begun takes no room
store.remove(1)
store.write(step, None, {}, state)
assert torch.equal(store.read(step).state["network"], state["network"])
print("full at step", step)
"""


def test_a_full_disk_leaves_the_checkpoints_before_whole_and_nothing_half_written(tmp_path: Path) -> None:
    output = on_a_tiny_disk(tmp_path, "1m", sys.executable, "-c", UNTIL_IT_IS_FULL)
    assert output == "full at step 6\n"


TRAINED_TWICE = """
"$@"
echo "status $?"
ls -A runs/full/checkpoints
mount -o remount,size=20m .
"$@"
echo "status $?"
cp runs/full/metrics.jsonl "$0"
"""


@pytest.mark.slow
@pytest.mark.timeout(900)  # three trainings
def test_a_training_on_a_full_disk_ends_with_the_last_good_step_and_goes_on_once_there_is_room(
    tiny_recipe: Path, tmp_path: Path
) -> None:
    unbroken, disk = tmp_path / "unbroken", tmp_path / "disk"
    unbroken.mkdir()
    finish(start(tiny_recipe, "full", unbroken, "wandb.mode=disabled"))
    disk.mkdir()
    prepared = f"data.prepared={unbroken / 'data' / 'prepared'}"
    shutil.copy(Path(__file__).parent / "extensions" / "impatient.py", tmp_path)
    command = [sys.executable, "-m", "recurray.jobs", "train", str(tiny_recipe), "name=full", prepared]
    settings = ["training.steps=80", "checkpoints.every=20", "training.validate_every=40", "wandb.mode=disabled"]
    (tmp_path / "logged").mkdir()
    output = on_a_tiny_disk(
        disk,
        "2200k",  # one checkpoint, of 1.4 MB, and the model
        *["env", f"PYTHONPATH={tmp_path}", "sh", "-c", TRAINED_TWICE, str(tmp_path / "logged" / "metrics.jsonl")],
        *[*command, *settings, "extensions=[impatient]"],
    )
    full, _, roomy = output.partition("status 2\n")
    assert f"checkpoints in {disk}/runs/full/checkpoints cannot be written (No space left on device); trying" in full
    assert f"a checkpoint could not be written to {disk}/runs/full/checkpoints for" in full
    assert "the last good checkpoint is that of step 20, and intact" in full
    assert "Traceback" not in full
    assert roomy.startswith(".recurray-checkpoints\nstep-00000020\n"), output  # and nothing half-written
    assert "going on from the checkpoint of step 20\n" in roomy
    assert roomy.endswith("status 0\n")
    logged, expected = rows(tmp_path / "logged"), rows(unbroken / "runs" / "full")
    assert [row["step"] for row in logged] == [row["step"] for row in expected]
    assert [row["loss"] for row in logged] == pytest.approx([row["loss"] for row in expected], rel=1e-5)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, ray_cluster: None) -> tuple[Path, RunConfig]:
    """The folder of a run of 40 steps on two workers with checkpoints of steps 20, 30 and 40, and its configuration."""
    folder = tmp_path_factory.mktemp("whole")
    (folder / "recipe.yaml").write_text(TINY_RECIPE)
    rhythm = ["training.steps=40", "training.validate_every=20", "checkpoints.every=10", "checkpoints.keep_last=3"]
    prepared = f"data.prepared={folder / 'prepared'}"
    config = load_config(folder / "recipe.yaml", ["name=whole", *rhythm, prepared, "wandb.mode=disabled"])
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert train(config) == 0
    return folder / config.folder, config


def damage(checkpoints: Path) -> Path:
    """Flips a bit of the newest one's state."""
    newest = checkpoints / "step-00000040" / "state.pt"
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.write_bytes(content)
    return newest


def make_the_best_one_before(checkpoint: Path) -> None:
    """Lets it say that a validation before it found what none after it will find."""
    store = CheckpointStore(str(checkpoint.parent))
    found = store.read(int(checkpoint.name.removeprefix("step-")))
    progress = found.state["progress"] | {"best": 1e6}
    store.write(found.manifest.step, None, found.manifest.config, found.state | {"progress": progress})


def with_folder(config: RunConfig, place: str) -> RunConfig:
    section = config.checkpoints.model_copy(update={"folder": place, "keep_last": 1})
    return config.model_copy(update={"checkpoints": section})


def assert_same_curve(run: Path, unbroken: Path, first: int) -> None:
    """That of the unbroken run from its step `first` on, and a model at its end."""
    assert (run / "model" / "model.safetensors").exists()
    logged, expected = rows(run), rows(unbroken)[first - 1 :]
    assert [row["step"] for row in logged] == list(range(first, 41))
    assert [row["loss"] for row in logged] == pytest.approx([row["loss"] for row in expected], rel=1e-6)
    assert logged[-1]["dev/loss"] == pytest.approx(expected[-1]["dev/loss"], rel=1e-6)


@pytest.mark.parametrize("elsewhere", [False, True], ids=["the same folder", "another storage"])
def test_a_training_goes_on_from_the_checkpoint_before_a_damaged_one_with_the_same_curve(
    whole: tuple[Path, RunConfig],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    elsewhere: bool,
) -> None:
    unbroken, config = whole
    run = tmp_path / config.folder
    shutil.copytree(unbroken, run)
    shutil.rmtree(run / "model")
    (run / "metrics.jsonl").write_text("".join((unbroken / "metrics.jsonl").read_text().splitlines(keepends=True)[:32]))
    newest = damage(run / "checkpoints")
    monkeypatch.chdir(tmp_path)
    assert train(with_folder(config, f"fsspec+file://{tmp_path}/elsewhere") if elsewhere else config) == 0
    told = capfd.readouterr().err
    assert f"{newest} differs from its checksum; the checkpoint of step 30 is used instead\n" in told
    assert "going on from the checkpoint of step 30\n" in told
    assert_same_curve(run, unbroken, first=1)
    left = {path.name for path in (tmp_path / "elsewhere" if elsewhere else run / "checkpoints").glob("step-*")}
    assert left == ({"step-00000040"} if elsewhere else {"step-00000020", "step-00000030", "step-00000040"})
    assert not (run / ".ray").exists()


def test_a_run_whose_folder_was_lost_goes_on_from_its_checkpoints(
    whole: tuple[Path, RunConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unbroken, config = whole
    shutil.copytree(unbroken / "checkpoints", tmp_path / "elsewhere")
    make_the_best_one_before(tmp_path / "elsewhere" / "step-00000030")
    damage(tmp_path / "elsewhere")
    monkeypatch.chdir(tmp_path)
    assert train(with_folder(config, "elsewhere")) == 0
    assert_same_curve(tmp_path / config.folder, unbroken, first=31)
