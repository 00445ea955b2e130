"""Promise 4: a batch job gives one record for each record, in order, whatever the input holds."""

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest
from tests.faults.batch_jobs import numbered_lines

from recurray.jobs.translate import translate
from recurray.platform.config.search import SearchConfig
from recurray.platform.inference.records import CONTROL, EMPTY, INVALID, NOTHING, SPLIT
from recurray.platform.inference.shards import SHARD_RECORDS
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
    assert {kind: set(note["first_records"]["input.txt"]) for kind, note in notes.items()} == {
        kind: records for kind, records in numbers.items() if kind != "nothing"
    }
    assert all(note["count"] == len(numbers[kind]) for kind, note in notes.items())


def test_what_cannot_be_translated_is_left_empty_and_nothing_else_is(job: Path) -> None:
    numbers = hostile_lines()[1]
    output = (job / "output.txt").read_text().split("\n")[:-1]
    empty = {number for number, line in enumerate(output, 1) if not line}
    assert numbers[EMPTY] | numbers[INVALID] <= empty


def test_texts_that_the_model_makes_nothing_of_are_counted(tiny_model: Path, ray_cluster: None, tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_text("Good morning\n\nHello\n")
    nothing = SearchConfig(beam_size=1, max_length=1)  # which is the end
    report = translate(tiny_model, tmp_path / "in.txt", tmp_path / "out.txt", nothing, workers=1)
    assert (tmp_path / "out.txt").read_text() == "\n\n\n"
    assert report.notes[NOTHING] == {"count": 2, "first_records": {"in.txt": [1, 3]}}
    assert report.notes[EMPTY] == {"count": 1, "first_records": {"in.txt": [2]}}


def test_lines_keep_their_order(job: Path, tiny_model: Path) -> None:
    lines, numbers = hostile_lines()
    harmless = sorted(numbers["nothing"])[:100]
    texts = [lines[number - 1].decode().removesuffix("\r") for number in harmless]
    output = (job / "output.txt").read_text().split("\n")
    assert [output[number - 1] for number in harmless] == Translator.from_pretrained(tiny_model).translate(
        texts, GREEDY
    )


@pytest.mark.parametrize("beam_size", [1, 4])
def test_one_two_and_four_actors_give_what_batches_of_1_16_and_256_lines_give(
    tiny_model: Path, ray_cluster: None, tmp_path: Path, beam_size: int
) -> None:
    lines = list(numbered_lines(DATA / "test.en", 4 * SHARD_RECORDS))
    search = SearchConfig(beam_size=beam_size, max_length=8)
    (tmp_path / "in.txt").write_text("".join(line + "\n" for line in lines))
    for workers in (1, 2, 4):
        translate(tiny_model, tmp_path / "in.txt", tmp_path / f"{workers}.txt", search, workers=workers)
    one, two, four = ((tmp_path / f"{workers}.txt").read_text() for workers in (1, 2, 4))
    assert one == two == four
    translator, some = Translator.from_pretrained(tiny_model), [line for line in lines if len(line) < 100][:300]
    results = dict(zip(lines, one.split("\n")[:-1], strict=True))
    for size in (1, 16, 256):
        batches = (translator.translate(some[begin : begin + size], search) for begin in range(0, len(some), size))
        assert [text for batch in batches for text in batch] == [results[line] for line in some]


def test_the_filter_gives_what_the_job_gives(job: Path, tiny_model: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "recurray.jobs", "translate", str(tiny_model), "--beam", "1"],
        input=(job / "input.txt").read_bytes(),
        capture_output=True,
        check=True,
    )
    assert result.stdout == (job / "output.txt").read_bytes()
    assert INVALID.encode() in result.stderr


def test_the_filter_answers_each_line_before_the_next(tiny_model: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "recurray.jobs", "translate", str(tiny_model), "--beam", "1", "--interactive"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    for line in ("Turn on\n", "\n", "Turn off\n"):
        process.stdin.write(line)
        process.stdin.flush()
        assert process.stdout.readline().endswith("\n")  # would wait for ever, were the answer held back
    process.stdin.close()
    assert process.wait() == 0
    process.stdout.close()


def test_the_filter_loads_no_ray(tiny_model: Path) -> None:
    code = (
        "import sys\n"
        "from recurray.jobs.cli import main\n"
        f"main(['translate', {str(tiny_model)!r}])\n"
        "print([name for name in ('ray', 'pandas', 'datasets', 'wandb', 'sacrebleu') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], input="Turn on\n", capture_output=True, text=True, check=True)
    assert result.stdout.endswith("\n[]\n")


def test_the_filter_stops_at_a_bad_line_when_told_to(tiny_model: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "recurray.jobs", "translate", str(tiny_model), "--beam", "1", "--on-error", "stop"],
        input=b"Turn on\n\nbad \xff\nTurn off\n",
        capture_output=True,
        check=False,
    )
    assert result.returncode == 2
    assert result.stdout.count(b"\n") == 2
    assert result.stderr.decode().startswith("recurray translate: stdin line 3: invalid UTF-8; ")
