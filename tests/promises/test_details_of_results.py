"""What is told of a result beside its text: the n best with scores, pieces and places, in any format with fields."""

import csv
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.conftest import DATA

from recurray.jobs.cli import main
from recurray.platform import Translator
from recurray.platform.config.search import SearchConfig

pytestmark = pytest.mark.usefixtures("ray_cluster")

OPTIONS = ["--beam", "4", "--n-best", "3", "--alignments", "--max-length", "12", "--details", "--workers", "1"]


@pytest.fixture(scope="module")
def lines() -> list[str]:
    texts = (DATA / "test.en").read_text(encoding="utf-8").split("\n")
    short = [text for text in texts if len(text) < 60][:20]  # a long one is split
    return [*short, " ", 'with "quotes", commas\tand a tab']


@pytest.fixture(scope="module")
def expected(tiny_model: Path, lines: list[str]) -> list[list[dict[str, Any]]]:
    search = SearchConfig(beam_size=4, n_best=3, alignments=True, max_length=12)
    found = Translator.from_pretrained(tiny_model).find([line.replace("\t", " ") for line in lines], search)
    found[20] = []  # a blank line has no results
    return [[result.to_json() for result in results] for results in found]


def assert_details(rows: list[tuple[str, list[dict[str, Any]]]], expected: list[list[dict[str, Any]]]) -> None:
    for (text, details), wanted in zip(rows, expected, strict=True):
        assert text == (wanted[0]["text"] if wanted else "")
        assert [each["text"] for each in details] == [each["text"] for each in wanted]
        assert [each["pieces"] for each in details] == [each["pieces"] for each in wanted]
        assert [each["places"] for each in details] == [each["places"] for each in wanted]
        for one, other in zip(details, wanted, strict=True):
            assert one["score"] == pytest.approx(other["score"], abs=1e-4)
            assert len(one["log_probs"]) == len(one["pieces"]) + 1 == len(one["places"])
        assert [each["score"] for each in details] == sorted((each["score"] for each in details), reverse=True)


def test_json_lines_hold_the_n_best_as_json(
    tiny_model: Path, lines: list[str], expected: list[list[dict[str, Any]]], tmp_path: Path
) -> None:
    source, output = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_text("".join(json.dumps({"src": line}) + "\n" for line in lines), encoding="utf-8")
    assert main(["translate", str(tiny_model), "--input", str(source), "--output", str(output), *OPTIONS]) == 0
    rows = [json.loads(line) for line in output.read_text(encoding="utf-8").split("\n")[:-1]]
    assert_details([(row["translation"], row["translation_details"]) for row in rows], expected)


def test_each_result_holds_the_pieces_that_are_forced(
    tiny_model: Path, lines: list[str], expected: list[list[dict[str, Any]]], tmp_path: Path
) -> None:
    source, output = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_text("".join(json.dumps({"src": line}) + "\n" for line in lines), encoding="utf-8")
    forced = ["▁und", "s"]
    pieces = [option for piece in forced for option in ("--force", piece)]
    assert main(["translate", str(tiny_model), "--input", str(source), "--output", str(output), *OPTIONS, *pieces]) == 0
    rows = [json.loads(line)["translation_details"] for line in output.read_text().split("\n")[:-1]]
    assert [bool(row) for row in rows] == [bool(row) for row in expected]
    assert all({*forced} <= {*result["pieces"]} for row in rows for result in row)


def test_csv_and_parquet_hold_the_n_best_in_a_column_of_text(
    tiny_model: Path, lines: list[str], expected: list[list[dict[str, Any]]], tmp_path: Path
) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    with (folder / "a.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("src",), *((line,) for line in lines)])
    pq.write_table(pa.table({"src": lines}), folder / "b.parquet")
    assert main(["translate", str(tiny_model), "--input", str(folder), "--output", str(out), *OPTIONS]) == 0
    with (out / "a.csv").open(newline="", encoding="utf-8") as file:
        read = [(row["translation"], json.loads(row["translation_details"])) for row in csv.DictReader(file)]
    assert_details(read, expected)
    table = pq.read_table(out / "b.parquet").to_pylist()
    assert_details([(row["translation"], json.loads(row["translation_details"])) for row in table], expected)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--n-best", "2"], "--n-best and --alignments show in the details alone; add --details"),
        (["--details"], "in.txt is text, which has no room for --details; give the records as JSON lines"),
        (
            ["--beam", "2", "--n-best", "3"],
            "n_best is at most beam_size, which is 2; give --beam, --n-best, --forbid and --force that go together",
        ),
        (
            ["--beam", "2", "--force", "▁a", "--force", "s"],
            "forced pieces (2) are searched, not drawn, and must be fewer",
        ),
        (["--sample", "1", "--force", "▁a"], "forced pieces (1) are searched, not drawn"),
        (["--force", "▁a", "--forbid", "▁a"], "`▁a` is forced, and forbidden or forced once more"),
        (
            ["--force", "none such"],
            "`none such` is no piece of the model's vocabulary that could be forbidden or forced",
        ),
        (["--int8", "--bfloat16"], "--int8 is for CPUs and in place of --bfloat16"),
        (["--gpu"], "and 0 GPUs but 2 and 2 were asked for"),
        (["--beam", "0"], "--beam 0: Input should be greater than 0"),
        (["--top-k", "5"], "--temperature, --top-k and --top-p are for drawn results; add --sample SEED"),
        (["--sample", "1", "--top-p", "7"], "--top-p 7.0: Input should be less than or equal to 1"),
    ],
)
def test_options_that_do_not_go_together_are_named(
    tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    source = tmp_path / "in.txt"
    source.write_text("a line\n")
    more = ["--details"] if "--beam" in options else []
    command = ["translate", str(tiny_model), "--input", str(source), "--output", str(tmp_path / "out.txt")]
    assert main([*command, *options, *more]) == 2
    assert message in capsys.readouterr().err
