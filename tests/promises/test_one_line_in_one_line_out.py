"""Promise 4: a batch job gives one record for each record, in order, whatever the input holds."""

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from recurray.jobs.translate import translate
from recurray.platform.config.search import SearchConfig
from recurray.platform.inference.records import CONTROL, EMPTY, INVALID, SPLIT
from recurray.platform.inference.translator import Translator

DATA = Path(__file__).parents[1] / "data"
GREEDY = SearchConfig(beam_size=1)
HOSTILE: dict[str, list[bytes]] = {
    EMPTY: [b"", b"   ", b"\t", "\u00a0\u3000".encode()],
    CONTROL: [
        "Turn\u2028on".encode(),
        "Turn\u0085off".encode(),
        b"Page\x0cbreak",
        b"Null\x00byte",
        "Next\u2029part".encode(),
        b"Vertical\x0btab",
        b"Lone\rreturn",
    ],
    INVALID: [b"\xff\xfe broken", b"cut \xe2\x82", b"\xc3\x28"],
    SPLIT: [b"The device is not available. " * 350, b"x" * 10_000, "🙂".encode() * 2_500],
    "nothing": ["emoji 🙂 here".encode(), "שלום עולם".encode(), b"carriage return\r\n"[:-1], "…".encode()],
}


def hostile_lines() -> tuple[list[bytes], dict[str, set[int]]]:
    """2,000 lines in a seeded order, real ones between the hostile, and the record numbers of each kind."""
    random_ = random.Random(11)
    real = [line for line in (DATA / "test.en").read_bytes().splitlines() if len(line) < 100]  # no need to split
    kinds = [
        (kind, line) for kind, lines in HOSTILE.items() for line in lines for _ in range(2 if kind == SPLIT else 40)
    ]
    lines = [*kinds, *(("nothing", random_.choice(real)) for _ in range(2_000 - len(kinds)))]
    random_.shuffle(lines)
    numbers: dict[str, set[int]] = {}
    for number, (kind, _) in enumerate(lines, 1):
        numbers.setdefault(kind, set()).add(number)
    return [line for _, line in lines], numbers


@pytest.fixture(scope="module")
def job(tiny_model: Path, ray_cluster: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hostile")
    (folder / "input.txt").write_bytes(b"\n".join(hostile_lines()[0]) + b"\n")
    translate(tiny_model, folder / "input.txt", folder / "output.txt", GREEDY, workers=2)
    return folder


def test_2000_hostile_lines_give_2000_lines(job: Path) -> None:
    assert (job / "output.txt").read_bytes().count(b"\n") == 2_000
    assert len((job / "output.txt").read_text().splitlines()) == 2_000  # no other line separator has come in


def test_the_report_names_what_was_done_to_which_lines(job: Path) -> None:
    numbers = hostile_lines()[1]
    notes = json.loads((job / "output.txt.report.json").read_text())["notes"]
    assert {kind: set(records) for kind, records in notes.items()} == {
        kind: records for kind, records in numbers.items() if kind != "nothing"
    }


def test_what_cannot_be_translated_is_left_empty_and_nothing_else_is(job: Path) -> None:
    numbers = hostile_lines()[1]
    output = (job / "output.txt").read_text().split("\n")[:-1]
    empty = {number for number, line in enumerate(output, 1) if not line}
    assert numbers[EMPTY] | numbers[INVALID] <= empty


def test_lines_keep_their_order(job: Path, tiny_model: Path) -> None:
    lines, numbers = hostile_lines()
    harmless = sorted(numbers["nothing"])[:100]
    texts = [lines[number - 1].decode().removesuffix("\r") for number in harmless]
    output = (job / "output.txt").read_text().split("\n")
    assert [output[number - 1] for number in harmless] == Translator.from_pretrained(tiny_model).translate(
        texts, GREEDY
    )


def test_the_filter_gives_what_the_job_gives(job: Path, tiny_model: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "recurray.jobs", "translate", str(tiny_model), "--beam", "1"],
        input=(job / "input.txt").read_bytes(),
        capture_output=True,
        check=True,
    )
    assert result.stdout == (job / "output.txt").read_bytes()
    assert INVALID.encode() in result.stderr


def test_a_job_that_was_killed_does_no_finished_shard_twice(
    job: Path, tiny_model: Path, tmp_path: Path, ray_cluster: None
) -> None:
    source, output = job / "input.txt", tmp_path / "output.txt"
    full = translate(tiny_model, source, output, GREEDY, workers=2)
    first = output.read_bytes()
    parts = tmp_path / "output.txt.parts"
    subprocess.run(
        [sys.executable, "-c", _KILLED_JOB, str(tiny_model), str(source), str(output)],
        check=False,
        env={key: value for key, value in os.environ.items() if key != "RAY_ADDRESS"},
    )
    done = list(parts.glob("part-*"))
    assert 0 < len(done) < 4
    output.unlink()
    again = translate(tiny_model, source, output, GREEDY, workers=2)
    assert output.read_bytes() == first
    assert full.shards_done_before == 0
    assert again.shards_done_before >= len(done)  # its actor may have finished one more before Ray ended it
    assert not parts.exists()


_KILLED_JOB = """
import os, signal, sys
from pathlib import Path
from recurray.platform.config.search import SearchConfig
from recurray.platform.inference.batch_job import predict_file
from recurray.platform.inference.translator import Translator
from recurray.platform.ray_session import ray_session

def die_after_one_shard(done, total):
    if done:
        os.kill(os.getpid(), signal.SIGKILL)

model, source, output = map(Path, sys.argv[1:])
with ray_session(2):
    predict_file(Translator, str(model), source, output, search=SearchConfig(beam_size=1), workers=1, threads=1,
                   on_progress=die_after_one_shard)
"""
