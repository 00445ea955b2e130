import json
from pathlib import Path
from typing import Any

import pytest
from tests.wandb_file import logged_rows

from recurray.platform.config.tree import RunConfig, WandbConfig
from recurray.platform.tracking.run_log import RunLog, finish_log, read_rows


@pytest.fixture
def config(tiny_config: RunConfig) -> RunConfig:
    return tiny_config.model_copy(update={"wandb": WandbConfig(mode="offline")})


def row(step: int) -> dict[str, Any]:
    return {"step": step, "loss": 1.0 / step, "grad_norm": None if step == 2 else 0.5}


def test_a_step_that_is_logged_twice_stands_once_in_the_file_and_in_wandb(tmp_path: Path, config: RunConfig) -> None:
    log = RunLog(tmp_path, config)
    for step in (1, 2, 2, 1, 3):
        log.log(row(step), [])
    log.close()
    assert [each["step"] for each in read_rows(tmp_path / "metrics.jsonl")] == [1, 2, 3]
    assert [each["step"] for each in logged_rows(tmp_path)] == [1, 2, 3]


def test_the_file_and_wandb_hold_the_same_figures(tmp_path: Path, config: RunConfig) -> None:
    log = RunLog(tmp_path, config)
    log.log(row(1), [{"src": "a", "ref": "b", "hyp": "c"}])
    log.log(row(2), [])
    log.close()
    for ours, theirs in zip(read_rows(tmp_path / "metrics.jsonl"), logged_rows(tmp_path), strict=True):
        assert {key: theirs.get(key) for key in ours} == ours
    assert logged_rows(tmp_path)[0]["samples._type"] == "table-file"


def test_a_log_that_is_opened_again_after_a_kill_goes_on_without_gap_double_or_torn_row(
    tmp_path: Path, config: RunConfig
) -> None:
    before = RunLog(tmp_path, config)
    for step in (1, 2):
        before.log(row(step), [{"src": "a", "ref": "b", "hyp": "c"}])
    before.close()
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 3, "lo')
    after = RunLog(tmp_path, config)
    assert after.last_step() == 2
    for step in (2, 3):
        after.log(row(step), [])
    after.close()
    assert [each["step"] for each in read_rows(tmp_path / "metrics.jsonl")] == [1, 2, 3]
    assert [each["step"] for each in logged_rows(tmp_path)] == [1, 2, 3]
    assert len((tmp_path / "samples.jsonl").read_text().splitlines()) == 2


def test_a_kill_between_the_last_row_and_the_end_of_its_wandb_file_is_made_good(
    tmp_path: Path, config: RunConfig
) -> None:
    log = RunLog(tmp_path, config)
    for step in (1, 2, 3):
        log.log(row(step), [])
    log.close()
    (written,) = (tmp_path / "wandb").glob("offline-run-*/run-*.wandb")
    whole = written.read_bytes()
    finish_log(tmp_path, config)
    assert written.read_bytes() == whole  # which is left alone
    written.write_bytes(b"")
    (tmp_path / "wandb" / "finished").unlink()  # as long as a log is open, it is not there
    finish_log(tmp_path, config)
    assert [each["step"] for each in logged_rows(tmp_path)] == [1, 2, 3]


def test_a_log_is_not_finished_while_it_is_open(tmp_path: Path, config: RunConfig) -> None:
    finished = tmp_path / "wandb" / "finished"
    for _ in range(2):
        log = RunLog(tmp_path, config)
        assert not finished.exists()
        log.close()
        assert finished.exists()


def test_rows_are_json_that_any_reader_takes(tmp_path: Path, config: RunConfig) -> None:
    log = RunLog(tmp_path, config)
    log.log(row(2), [])
    log.close()
    (line,) = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert json.loads(line, parse_constant=pytest.fail)["grad_norm"] is None
