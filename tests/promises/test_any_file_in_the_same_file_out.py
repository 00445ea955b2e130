"""Promise 4 in every format, and with what is damaged, by the real job; mostly a stand-in takes the model's place."""

import csv
import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.capitals import Capitals
from tests.fuzz import fuzzed_lines

from recurray.jobs.cli import main
from recurray.jobs.text_files import run_batch_job
from recurray.platform.config.search import SearchConfig
from recurray.platform.errors import UserError
from recurray.platform.inference.batch_job import BatchJob, JobReport
from recurray.platform.inference.records import BROKEN, EMPTY, INVALID, LISTED, NO_TEXT, Notes, readable
from recurray.platform.inference.shards import SHARD_RECORDS
from recurray.platform.inference.translator import Translator
from recurray.platform.saved_model import load_codec
from recurray.platform.storage import file_system_of
from recurray.platform.tasks.shortlist import Shortlist
from recurray.platform.tasks.text import tokenizer_of

pytestmark = pytest.mark.usefixtures("ray_cluster")
TEXTS = [f"text {number}, of many" for number in range(2_000)]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "weights").touch()
    return tmp_path / "model"


def run(model: Path, source: Path | str, output: Path | str, **options: Any) -> JobReport:
    job = {"kind": Capitals, "output_field": "translation", "search": SearchConfig(), "workers": 1, **options}
    return run_batch_job(BatchJob(model=str(model), source=str(source), output=str(output), **job))


def test_a_folder_of_every_format_becomes_a_folder(model: Path, tmp_path: Path) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    (folder / "deep").mkdir(parents=True)
    (folder / "a.txt").write_text("\n".join(TEXTS))
    with gzip.open(folder / "b.jsonl.gz", "wt") as file:
        file.writelines(json.dumps({"id": number, "src": text}) + "\n" for number, text in enumerate(TEXTS))
    with (folder / "deep" / "c.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("id", "src"), *enumerate(TEXTS)])
    pq.write_table(pa.table({"src": TEXTS, "id": range(len(TEXTS))}), folder / "d.parquet")
    (folder / "empty.txt").touch()
    report = run(model, folder, out, workers=2)
    capitals = [text.upper() for text in TEXTS]
    assert (out / "a.txt").read_text().split("\n") == [*capitals, ""]
    with gzip.open(out / "b.jsonl.gz", "rt") as file:
        assert [json.loads(line)["translation"] for line in file] == capitals
    with (out / "deep" / "c.csv").open(newline="") as file:
        assert [row["translation"] for row in csv.DictReader(file)] == capitals
    assert pq.read_table(out / "d.parquet").column("translation").to_pylist() == capitals
    assert (out / "empty.txt").read_bytes() == b""
    assert {name: file["field"] for name, file in report.files.items()} == {
        "a.txt": None,
        "b.jsonl.gz": "src",
        "d.parquet": "src",
        "deep/c.csv": "src",
        "empty.txt": None,
    }
    assert json.loads((tmp_path / "out.report.json").read_text())["records"] == 4 * len(TEXTS)
    assert not (tmp_path / "out.parts").exists()


def test_fuzzed_lines_give_as_many_records_and_a_report_that_is_right(model: Path, tmp_path: Path) -> None:
    lines = list(fuzzed_lines(5_000, seed=1))
    (tmp_path / "in.txt").write_bytes(b"\n".join(lines) + b"\n")
    report = run(model, tmp_path / "in.txt", tmp_path / "out.txt", workers=2)
    texts = assert_a_record_for_each_line(lines, report, tmp_path / "out.txt")
    assert [bool(line) for line in (tmp_path / "out.txt").read_text().split("\n")[:-1]] == [
        bool(text) for text in texts
    ]


@pytest.mark.slow
def test_fuzzed_lines_through_a_real_model_are_as_many(tiny_model: Path, tmp_path: Path) -> None:
    lines = list(fuzzed_lines(500, seed=2))
    (tmp_path / "in.txt").write_bytes(b"\n".join(lines) + b"\n")
    search = SearchConfig(beam_size=1, max_length=4)
    report = run(tiny_model, tmp_path / "in.txt", tmp_path / "out.txt", workers=2, kind=Translator, search=search)
    assert_a_record_for_each_line(lines, report, tmp_path / "out.txt")


def assert_a_record_for_each_line(lines: list[bytes], report: JobReport, output: Path) -> list[str]:
    """That the output has a line for each and the report tells what was done to which; what could be read of each."""
    written = output.read_bytes()
    assert report.records == written.count(b"\n") == len(written.decode().splitlines()) == len(lines)
    notes = Notes()
    texts = [readable(line, record, notes) for record, line in enumerate(lines, 1)]
    assert not any(line for line, text in zip(written.split(b"\n"), texts, strict=False) if not text)
    for reason, records in notes.records.items():
        assert report.notes[reason] == {"count": len(records), "first_records": {"in.txt": records[:LISTED]}}
    return texts


@pytest.mark.parametrize("place", ["memory://{}/out.txt", "file://{}/out.txt"])
def test_an_output_may_be_a_uri(place: str, model: Path, tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_text("one\ntwo\n")
    output = place.format(tmp_path)
    run(model, f"file://{tmp_path}/in.txt", output)
    files, path, _ = file_system_of(output, "--output")
    with files.open_input_stream(path) as file:
        assert file.read() == b"ONE\nTWO\n"
    assert [info.base_name for info in files.get_file_info([f"{path}.report.json"]) if info.is_file]


def test_what_cannot_be_read_stops_a_job_that_is_told_to_and_the_rest_is_kept(model: Path, tmp_path: Path) -> None:
    lines = [json.dumps({"src": text}) for text in TEXTS]
    lines[1_500] = '{"src": 7}'
    (tmp_path / "in.jsonl").write_text("\n".join(lines))
    with pytest.raises(UserError, match=r"in.jsonl record 1,501: no text in the field; .*--on-error skip"):
        run(model, tmp_path / "in.jsonl", tmp_path / "out.jsonl", on_error="stop")
    assert len(list((tmp_path / "out.jsonl.parts").glob("part-*"))) == 2
    report = run(model, tmp_path / "in.jsonl", tmp_path / "out.jsonl", on_error="skip")
    assert report.parts_done_before == 2
    assert report.notes == {NO_TEXT: {"count": 1, "first_records": {"in.jsonl": [1_501]}}}


def test_an_empty_line_stops_nothing(model: Path, tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_text("one\n\ntwo\n")
    assert run(model, tmp_path / "in.txt", tmp_path / "out.txt", on_error="stop").notes[EMPTY]["count"] == 1


def test_a_parquet_file_that_is_damaged_in_the_middle_keeps_what_was_done(model: Path, tmp_path: Path) -> None:
    texts = [f"text {number * 7_919 % 1_000_003}" for number in range(20 * SHARD_RECORDS)]
    pq.write_table(pa.table({"src": texts}), tmp_path / "in.parquet", row_group_size=2 * SHARD_RECORDS)
    content = bytearray((tmp_path / "in.parquet").read_bytes())
    middle = pq.ParquetFile(tmp_path / "in.parquet").metadata.row_group(5).column(0).data_page_offset
    content[middle : middle + 64] = b"\xff" * 64
    (tmp_path / "in.parquet").write_bytes(content)
    with pytest.raises(
        UserError, match=r"in.parquet is damaged after record 5,120 .*; what was done .* lies in .*parts"
    ):
        run(model, tmp_path / "in.parquet", tmp_path / "out.parquet")
    assert len(list((tmp_path / "out.parquet.parts").glob("part-*"))) == 10


@pytest.mark.parametrize(("name", "content"), [("a.txt.gz", gzip.compress(b"x\n" * 999)[:-9]), ("a.parquet", b"PAR1")])
def test_a_file_that_is_not_whole_is_named_before_any_work(
    name: str, content: bytes, model: Path, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=rf"{name} cannot be read as .*; put a whole file in its place"):
        run(model, tmp_path / name, tmp_path / f"out-{name}")


def test_parts_of_another_job_are_never_joined(model: Path, tmp_path: Path) -> None:
    source, output = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_text('{"src": "good"}\n' * SHARD_RECORDS + "{\n")
    with pytest.raises(UserError, match=f"record 513: {BROKEN.partition(',')[0]}"):
        run(model, source, output, on_error="stop")
    with pytest.raises(UserError, match=r"out.jsonl.parts holds parts of a job with another search; delete it"):
        run(model, source, output, search=SearchConfig(beam_size=1))
    with pytest.raises(UserError, match=r"out.jsonl.parts holds parts of a job with another shortlist; delete it"):
        run(model, source, output, shortlist=Shortlist([7, 9]))
    (model / "weights").write_text("others")
    source.write_text('{"src": "other"}\n')
    with pytest.raises(UserError, match=r"holds parts of a job with another input and another model"):
        run(model, source, output)


def test_a_job_tells_how_many_pieces_its_results_were_made_of(tiny_model: Path, tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_text("Good morning\nBye\n")
    (tmp_path / "words.txt").write_text("Guten Morgen\nBis bald\n")
    shortlist = tmp_path / "words.txt"
    command = ["translate", str(tiny_model), "--input", str(tmp_path / "in.txt"), "--shortlist", str(shortlist)]
    assert main([*command, "--output", str(tmp_path / "out.txt"), "--min-length", "4", "--max-length", "8"]) == 0
    report = json.loads((tmp_path / "out.txt.report.json").read_text())
    tokenizer = tokenizer_of(load_codec(tiny_model))
    pieces = Shortlist.of_texts(["Guten Morgen", "Bis bald"], tokenizer).pieces
    assert report["shortlist"] == len(pieces) < 30
    results = (tmp_path / "out.txt").read_text().split("\n")[:-1]
    assert all({*line} <= {*"Guten Morgen Bis bald"} for line in results)
    assert all(results)


def test_no_more_record_numbers_are_listed_than_said_but_all_are_counted(model: Path, tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_bytes(b"\xff\n" * 2_500)
    report = run(model, tmp_path / "in.txt", tmp_path / "out.txt")
    assert report.notes[INVALID] == {"count": 2_500, "first_records": {"in.txt": list(range(1, report.listed + 1))}}
