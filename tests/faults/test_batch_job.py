"""Promise 4 under kills: a job that lost actors and its driver gives what one process gives, and does no part twice."""

import json
from pathlib import Path

import pytest
from tests.faults.batch_jobs import Victim, assert_same_lines, in_sequence, job_with_kills, numbered_lines

DATA = Path(__file__).parents[1] / "data"
VICTIMS: list[Victim] = ["an actor", "the driver", "an actor", "the driver", "an actor"]


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_a_job_killed_five_times_gives_what_one_process_gives(tiny_model: Path, tmp_path: Path) -> None:
    source, output = tmp_path / "in.txt", tmp_path / "out.txt"
    source.write_text("".join(line + "\n" for line in numbered_lines(DATA / "test.en", 15_000)))
    watch = job_with_kills("translator", tiny_model, source, output, 15_000, VICTIMS)
    assert_same_lines(output, in_sequence("translator", tiny_model, source))
    report = json.loads((tmp_path / "out.txt.report.json").read_text())
    assert report["parts_done_before"] >= 2 * 30 // 3 - 1  # those before the second driver was killed
    assert not watch.parts.exists()
