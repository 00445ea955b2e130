"""Checkpoints: every bit of one is checked, the last whole one is always there, and storage may fail for a while."""

import io
import os
import pickle
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from recurray.jobs.train import train
from recurray.platform import storage
from recurray.platform.config.loading import load_config
from recurray.platform.config.tree import RunConfig
from recurray.platform.errors import UserError
from recurray.platform.training.checkpoint_store import CheckpointStore, DamagedError
from recurray.platform.training.checkpoints import Checkpoints, kept
from recurray.platform.training.claiming import bring_newest
from recurray.platform.training.manifest import FORMAT, FileRecord, Manifest, checksum, read_manifest

State = dict[str, Any]


def state_of(step: int) -> State:
    """What a learner's state is made of: mappings, lists, tensors and numbers."""
    weights = torch.randn(4, 3, generator=torch.Generator().manual_seed(step))
    return {
        "network": {"weight": weights},
        "optimizer": {"state": {0: {"step": torch.tensor(float(step)), "exp_avg": weights * 2}}, "param_groups": [{}]},
        "progress": {"step": step, "best": None, "recent_losses": [1.5, 2.5]},
    }


def equal(one: State, other: State) -> bool:
    return torch.equal(one["network"]["weight"], other["network"]["weight"]) and one["progress"] == other["progress"]


@pytest.fixture(params=["a disk", "storage without rename"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> CheckpointStore:
    """Three checkpoints, of steps 20, 40 and 60, at `tmp_path / "store"`."""
    place = str(tmp_path / "store")
    store = CheckpointStore(place if request.param == "a disk" else f"fsspec+file://{place}")
    store.open()
    for step in (20, 40, 60):
        store.write(step, None, {"name": "tiny"}, state_of(step))
    return store


@pytest.fixture
def newest(store: CheckpointStore, tmp_path: Path) -> Path:
    return tmp_path / "store" / "step-00000060"


def test_a_checkpoint_comes_back_in_every_bit(store: CheckpointStore) -> None:
    assert store.steps() == [20, 40, 60]
    for step in store.steps():
        assert equal(store.read(step).state, state_of(step))
    found, notes = store.newest_whole()
    assert found is not None
    assert found.manifest.step == 60
    assert notes == []


def test_a_flipped_bit_anywhere_in_the_state_is_found(store: CheckpointStore, newest: Path) -> None:
    content = (newest / "state.pt").read_bytes()
    for place in range(len(content)):
        flipped = bytearray(content)
        flipped[place] ^= 1 << place % 8
        (newest / "state.pt").write_bytes(flipped)
        with pytest.raises(DamagedError, match=r"step-00000060/state.pt differs from its checksum"):
            store.read(60)


def test_a_flipped_bit_anywhere_in_the_manifest_is_found_or_changes_nothing(
    store: CheckpointStore, newest: Path
) -> None:
    content = (newest / "manifest.json").read_bytes()
    manifest = store.manifest(60)
    messages = []
    for place in range(len(content)):
        flipped = bytearray(content)
        flipped[place] ^= 1 << place % 8
        (newest / "manifest.json").write_bytes(flipped)
        try:
            assert store.manifest(60) == manifest  # a blank that became another
        except DamagedError as fault:
            messages.append(str(fault))
    assert set(messages) == {f"{store.place}/step-00000060/manifest.json differs from its checksum"}
    assert len(messages) > 0.9 * len(content)


def truncate(newest: Path) -> None:
    content = (newest / "state.pt").read_bytes()
    (newest / "state.pt").write_bytes(content[:-1])


def lose_the_state(newest: Path) -> None:
    (newest / "state.pt").unlink()


class Foreign:
    """What would make a folder if it were unpickled."""

    def __init__(self, newest: Path) -> None:
        self._folder = newest.parents[1] / "pickle-was-run"

    def __reduce__(self) -> tuple[Callable[[str], object], tuple[str]]:
        return os.mkdir, (str(self._folder),)


def put_a_foreign_pickle(newest: Path) -> None:
    put(newest, pickle.dumps(Foreign(newest), protocol=2))


def put_a_foreign_object(newest: Path) -> None:
    content = io.BytesIO()
    torch.save(state_of(60) | {"progress": Foreign(newest)}, content)
    put(newest, content.getvalue())


def put(newest: Path, content: bytes) -> None:
    """Puts a state in the place of another, with a manifest that agrees."""
    (newest / "state.pt").write_bytes(content)
    manifest = read_manifest((newest / "manifest.json").read_bytes(), "manifest.json")
    record = {"state.pt": FileRecord(size=len(content), blake2b=checksum(content))}
    (newest / "manifest.json").write_bytes(manifest.model_copy(update={"files": record}).content())


def empty(newest: Path) -> None:
    for path in newest.iterdir():
        path.unlink()


def put_another_json(newest: Path) -> None:
    (newest / "manifest.json").write_text("[]")


DAMAGES = {
    truncate: r"step-00000060/state.pt has [\d,]+ bytes instead of [\d,]+; ",
    lose_the_state: r"step-00000060/state.pt is missing; ",
    put_a_foreign_pickle: r"step-00000060/state.pt holds more than tensors",
    put_a_foreign_object: r"step-00000060/state.pt holds more than tensors",
    empty: r"step-00000060/manifest.json is missing",
    put_another_json: r"step-00000060/manifest.json differs from its checksum; ",
}


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_a_damaged_checkpoint_is_named_and_the_one_before_it_is_used(
    store: CheckpointStore, newest: Path, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    damage(newest)
    found, notes = store.newest_whole()
    assert found is not None
    assert found.manifest.step == 40
    assert equal(found.state, state_of(40))
    assert len(notes) == 1
    assert re.search(DAMAGES[damage], notes[0])
    assert notes[0].endswith("; the checkpoint of step 40 is used instead")
    assert not (tmp_path / "pickle-was-run").exists()


def test_a_half_written_checkpoint_does_not_count_and_goes_with_the_next_write(tmp_path: Path) -> None:
    store = CheckpointStore(str(tmp_path / "store"))
    store.open()
    store.write(20, None, {}, state_of(20))
    shutil.copytree(tmp_path / "store" / "step-00000020", tmp_path / "store" / ".writing-step-00000040")
    found, notes = store.newest_whole()
    assert found is not None
    assert found.manifest.step == 20
    assert notes == [
        f"{tmp_path}/store/.writing-step-00000040 was never finished; the checkpoint of step 20 is used instead"
    ]
    store.write(30, None, {}, state_of(30))
    assert sorted(os.listdir(tmp_path / "store")) == [".recurray-checkpoints", "step-00000020", "step-00000030"]


def test_a_kill_while_the_first_was_written_lets_the_run_begin_again(tmp_path: Path) -> None:
    disk, remote = CheckpointStore(str(tmp_path / "a")), CheckpointStore(f"fsspec+file://{tmp_path}/b")
    for store, half in ((disk, tmp_path / "a" / ".writing-step-00000020"), (remote, tmp_path / "b" / "step-00000020")):
        store.open()
        half.mkdir()
        (half / "state.pt").write_bytes(b"PK")
        found, notes = store.newest_whole()
        assert found is None
        assert len(notes) == 1
        assert "was never finished" in notes[0]


def test_a_store_where_none_is_whole_says_so_and_names_each(store: CheckpointStore, newest: Path) -> None:
    for folder in newest.parent.glob("step-*"):
        truncate(folder)
    with pytest.raises(UserError, match=r"none of the checkpoints in .* is whole: .*60/.*; .*40/.*; .*20/.*--fresh"):
        store.newest_whole()


def test_a_format_of_a_later_version_is_refused_and_not_passed_over(store: CheckpointStore, newest: Path) -> None:
    manifest = store.manifest(60).model_copy(update={"format": FORMAT + 1})
    (newest / "manifest.json").write_bytes(manifest.content())
    with pytest.raises(UserError, match=rf"has format {FORMAT + 1} and this version of recurray reads {FORMAT}"):
        store.newest_whole()


def test_a_damaged_checkpoint_is_replaced_when_its_step_comes_again(store: CheckpointStore, newest: Path) -> None:
    truncate(newest)
    store.write(60, 1.0, {}, state_of(60))
    assert equal(store.read(60).state, state_of(60))
    assert {path.name for path in newest.parent.iterdir()} == {
        ".recurray-checkpoints", "step-00000020", "step-00000040", "step-00000060",
    }  # fmt: skip


def manifest_of(step: int, score: float | None) -> Manifest:
    return Manifest(format=FORMAT, step=step, score=score, config={}, files={})


@pytest.mark.parametrize(
    ("keep_last", "keep_best", "expected"),
    [(1, 0, {60}), (2, 0, {50, 60}), (1, 1, {60, 30}), (1, 2, {60, 30, 40}), (1, 3, {60, 30, 40, 20}), (9, 9, None)],
)
def test_the_newest_and_the_best_are_kept_and_of_equals_the_one_nearest_its_validation(
    keep_last: int, keep_best: int, expected: set[int] | None
) -> None:
    scores = {10: None, 20: 3.0, 30: 7.0, 40: 7.0, 50: 1.0, 60: -2.0}
    found = [manifest_of(step, score) for step, score in scores.items()]
    assert kept(found, keep_last, keep_best) == (expected or scores.keys())


def checkpoints_of(store: CheckpointStore, tiny_config: RunConfig, told: list[str], **settings: int) -> Checkpoints:
    section = tiny_config.checkpoints.model_copy(update=settings)
    return Checkpoints(store, tiny_config.model_copy(update={"checkpoints": section}), told.append)


@pytest.mark.usefixtures("process_group")
class TestATrainingsCheckpoints:
    """What a worker does with them."""

    def test_the_newest_and_the_best_stay_and_what_is_damaged_ahead_goes(
        self, store: CheckpointStore, newest: Path, tiny_config: RunConfig
    ) -> None:
        truncate(newest)
        told: list[str] = []
        checkpoints = checkpoints_of(store, tiny_config, told, keep_last=2, keep_best=1)
        restored = checkpoints.restore()
        assert restored is not None
        assert restored.manifest.step == 40
        assert told[-1] == "going on from the checkpoint of step 40"
        for step, score in ((45, 5.0), (50, 9.0), (55, 1.0), (57, 2.0)):
            checkpoints.save(state_of(step), step, score, waits=True)
            assert store.steps()[-1] == step
        assert store.steps() == [50, 55, 57]

    def test_the_training_goes_on_during_an_outage_and_the_checkpoint_is_written_as_it_was(
        self, store: CheckpointStore, newest: Path, tiny_config: RunConfig
    ) -> None:
        told: list[str] = []
        checkpoints = checkpoints_of(store, tiny_config, told)
        state = state_of(80)
        newest.parent.rename(newest.parents[1] / "away")
        checkpoints.save(state, 80, None)
        state["network"]["weight"].zero_()  # the next update
        checkpoints.check()  # what is tried again is no fault yet
        (newest.parents[1] / "away").rename(newest.parent)
        checkpoints.check(waits=True)
        assert equal(store.read(80).state, state_of(80))
        assert ["cannot be written" in sentence and "trying again for" in sentence for sentence in told] == [True]

    def test_nothing_is_written_where_another_folder_stands_in_for_one_that_is_gone(
        self, store: CheckpointStore, newest: Path, tiny_config: RunConfig, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(storage, "PATIENCE_SECONDS", 0.0)
        newest.parent.rename(newest.parents[1] / "away")
        newest.parent.mkdir()  # as a mount point is when nothing is mounted there
        checkpoints = checkpoints_of(store, tiny_config, [])
        with pytest.raises(UserError, match="could not be read"):
            checkpoints.restore()
        with pytest.raises(UserError, match="could not be written"):
            checkpoints.save(state_of(80), 80, None, waits=True)
        assert os.listdir(newest.parent) == []

    def test_an_outage_that_lasts_ends_the_run_with_the_folder_and_the_last_good_step(
        self, store: CheckpointStore, newest: Path, tiny_config: RunConfig, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(storage, "PATIENCE_SECONDS", 0.5)
        checkpoints = checkpoints_of(store, tiny_config, [])
        checkpoints.restore()
        newest.parent.rename(newest.parents[1] / "away")
        checkpoints.save(state_of(80), 80, None)
        with pytest.raises(UserError) as mistake:
            checkpoints.save(state_of(100), 100, None)
        assert f"a checkpoint could not be written to {store.place}" in str(mistake.value)
        assert "the last good checkpoint is that of step 60, and intact" in str(mistake.value)
        (newest.parents[1] / "away").rename(newest.parent)
        found, notes = store.newest_whole()
        assert found is not None
        assert (found.manifest.step, notes) == (60, [])

    def test_closing_does_not_wait_for_an_outage_to_end(
        self, store: CheckpointStore, newest: Path, tiny_config: RunConfig
    ) -> None:
        checkpoints = checkpoints_of(store, tiny_config, [])
        newest.parent.rename(newest.parents[1] / "away")
        checkpoints.save(state_of(80), 80, None)
        checkpoints.close()  # at once, or the test runs into its time limit


def claimed(recipe: Path, place: Path | str, *settings: str) -> RunConfig:
    return load_config(recipe, ["name=claimed", f"checkpoints.folder={place}", *settings])


def test_checkpoints_of_another_run_are_not_gone_on_from_and_not_thrown_away(
    tiny_recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    store = CheckpointStore(str(tmp_path / "store"))
    store.open()
    store.write(20, None, claimed(tiny_recipe, store.place, "name=theirs").model_dump(mode="json"), state_of(20))
    with pytest.raises(UserError, match=r"store was begun with another configuration: name \(theirs, claimed\)"):
        train(claimed(tiny_recipe, "store"))
    with pytest.raises(UserError, match="holds the checkpoints of run theirs, which --fresh does not delete"):
        train(claimed(tiny_recipe, "store"), fresh=True)
    assert store.steps() == [20]


def test_a_folder_that_cannot_be_reached_is_named_before_anything_starts(
    tiny_recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for place in ("nosuch://bucket/run", "fsspec+nosuch://bucket/run"):
        with pytest.raises(UserError, match=r"checkpoints.folder: .*nosuch://bucket/run is no address that is known"):
            train(claimed(tiny_recipe, place))
    with pytest.raises(UserError, match=r"checkpoints.folder: an address with a password in it") as mistake:
        train(claimed(tiny_recipe, "s3://me:secret@bucket/run"))
    assert "secret@" not in str(mistake.value)
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"checkpoints.folder: .*file/below cannot be written"):
        CheckpointStore(str(tmp_path / "file" / "below")).open()


def test_another_folder_is_given_the_newest_whole_checkpoint_unless_it_has_it(
    store: CheckpointStore, newest: Path, tmp_path: Path
) -> None:
    truncate(newest)
    other = CheckpointStore(str(tmp_path / "other"))
    told = bring_newest(store, other)
    assert "step-00000060/state.pt has" in told[0]
    assert told[1] == f"the checkpoint of step 40 was copied from {store.place} to {tmp_path}/other"
    assert other.steps() == [40]
    assert equal(other.read(40).state, state_of(40))
    other.write(80, None, {}, state_of(80))
    assert bring_newest(store, other) == []
    assert other.steps() == [40, 80]
