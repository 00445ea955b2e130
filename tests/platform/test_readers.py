import json
from pathlib import Path
from typing import Any

import datasets
import pytest
from pydantic import TypeAdapter

from recurray.platform.corpora.readers import Pair, read_pairs, source_identity
from recurray.platform.corpora.sources import Source
from recurray.platform.csv_reading import LONGEST_FIELD
from recurray.platform.errors import UserError


def source(**values: Any) -> Source:
    parsed: Source = TypeAdapter(Source).validate_python({key: _text(value) for key, value in values.items()})
    return parsed


def _text(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else value


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def complaint(found: Source) -> str:
    with pytest.raises(UserError) as caught:
        list(read_pairs(found))
    return str(caught.value)


@pytest.fixture
def texts(tmp_path: Path) -> dict[str, Path]:
    return {"src": write(tmp_path / "a.en", b"one\ntwo\n"), "tgt": write(tmp_path / "a.de", b"eins\nzwei\n")}


def test_parallel_text_is_paired_line_by_line(texts: dict[str, Path]) -> None:
    assert list(read_pairs(source(kind="text", **texts))) == [Pair("one", "eins"), Pair("two", "zwei")]


def test_only_a_newline_ends_a_line_and_a_last_line_may_lack_it(texts: dict[str, Path]) -> None:
    write(texts["src"], "one\u2028still one\x0cand one\r\ntwo".encode())
    assert [pair.src for pair in read_pairs(source(kind="text", **texts))] == ["one\u2028still one\x0cand one", "two"]


def test_parallel_files_of_different_length_are_refused_with_both_counts(texts: dict[str, Path]) -> None:
    write(texts["tgt"], b"eins\nzwei\ndrei\n")
    message = complaint(source(kind="text", **texts))
    assert f"{texts['src']} has 2 lines" in message
    assert f"{texts['tgt']} has 3" in message


def test_a_missing_file_is_named(tmp_path: Path, texts: dict[str, Path]) -> None:
    assert "none.en does not exist" in complaint(source(kind="text", src=tmp_path / "none.en", tgt=texts["tgt"]))


def test_invalid_utf8_is_passed_on_for_cleaning_to_count(texts: dict[str, Path]) -> None:
    write(texts["src"], b"one\n\xff\n")
    pairs = list(read_pairs(source(kind="text", **texts)))
    assert pairs[1].src.encode("utf-8", "surrogateescape") == b"\xff"


def test_tsv_takes_the_columns_asked_for(tmp_path: Path) -> None:
    table = write(tmp_path / "t.tsv", b'1\t"one\teins\n2\ttwo\tzwei\n')
    pairs = list(read_pairs(source(kind="tsv", path=table, src_column=1, tgt_column=2)))
    assert pairs == [Pair('"one', "eins"), Pair("two", "zwei")]


def test_csv_quotes_are_read_as_csv_quotes(tmp_path: Path) -> None:
    table = write(tmp_path / "t.csv", b'"one, or 1",eins\r\n')
    assert list(read_pairs(source(kind="tsv", path=table))) == [Pair("one, or 1", "eins")]


def test_a_row_with_too_few_columns_names_the_file_and_the_line(tmp_path: Path) -> None:
    table = write(tmp_path / "t.tsv", b"one\teins\ntwo\n")
    assert f"{table} line 2 has 1 columns" in complaint(source(kind="tsv", path=table))


def test_a_csv_row_is_named_by_its_line_though_a_quoted_field_held_two(tmp_path: Path) -> None:
    table = write(tmp_path / "t.csv", b'"one\nor 1",eins\ntwo\n')
    assert f"{table} line 3 has 1 columns" in complaint(source(kind="tsv", path=table))


@pytest.mark.parametrize("content", [b"one\rtwo,eins\rzwei\n", b"one," + b"x" * (LONGEST_FIELD + 1) + b"\n"])
def test_a_broken_csv_names_the_file_and_the_line(tmp_path: Path, content: bytes) -> None:
    table = write(tmp_path / "t.csv", content)
    assert f"{table} line 1 is not CSV" in complaint(source(kind="tsv", path=table))


def test_a_lone_surrogate_that_json_spells_is_passed_on_as_invalid_bytes_are(tmp_path: Path) -> None:
    rows = write(tmp_path / "r.jsonl", rb'{"src": "a \ud800", "tgt": "\ud83d\ude00"}' + b"\n")
    (pair,) = read_pairs(source(kind="jsonl", path=rows))
    assert pair.src.encode("utf-8", "surrogateescape") == b"a \xed\xa0\x80"
    assert pair.tgt == "\U0001f600"


def test_jsonl_takes_dotted_fields(tmp_path: Path) -> None:
    rows = write(tmp_path / "r.jsonl", json.dumps({"translation": {"en": "one", "de": "eins"}}).encode() + b"\n")
    found = source(kind="jsonl", path=rows, src_field="translation.en", tgt_field="translation.de")
    assert list(read_pairs(found)) == [Pair("one", "eins")]


def test_a_broken_json_line_names_the_file_and_the_line(tmp_path: Path) -> None:
    rows = write(tmp_path / "r.jsonl", b'{"src": "a", "tgt": "b"}\n{"src": \n')
    assert f"{rows} line 2 is not a JSON object" in complaint(source(kind="jsonl", path=rows))


def test_a_missing_field_names_the_nearest(tmp_path: Path) -> None:
    rows = write(tmp_path / "r.jsonl", b'{"source": "a", "tgt": "b"}\n')
    message = complaint(source(kind="jsonl", path=rows, src_field="sorce"))
    assert "line 1 has no field sorce; did you mean source?" in message


@pytest.fixture
def data_set(tmp_path: Path) -> Path:
    rows = [{"translation": {"en": "one", "de": "eins"}}, {"translation": {"en": "two", "de": "zwei"}}]
    folder = tmp_path / "set"
    datasets.DatasetDict({"train": datasets.Dataset.from_list(rows)}).save_to_disk(folder)
    return folder


def hf(name: Path | str, **changes: str) -> Source:
    return source(
        **{"kind": "hf", "name": name, "src_field": "translation.en", "tgt_field": "translation.de"} | changes
    )


def test_a_data_set_on_disk_is_read(data_set: Path) -> None:
    assert list(read_pairs(hf(data_set))) == [Pair("one", "eins"), Pair("two", "zwei")]


def test_a_split_that_a_data_set_lacks_is_named_with_those_it_has(data_set: Path) -> None:
    assert "has no split dev; it has train" in complaint(hf(data_set, split="dev"))


def test_a_folder_of_one_split_is_not_taken_for_another(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    datasets.Dataset.from_list([{"translation": {"en": "one", "de": "eins"}}]).save_to_disk(folder)
    assert list(read_pairs(hf(folder))) == [Pair("one", "eins")]
    assert "has no split dev; it has train" in complaint(hf(folder, split="dev"))


def test_a_field_that_a_data_set_lacks_is_named(data_set: Path) -> None:
    assert "has no field translation.fr; it has" in complaint(hf(data_set, src_field="translation.fr"))


def test_the_identity_of_a_source_follows_its_content(texts: dict[str, Path]) -> None:
    found = source(kind="text", **texts)
    before = source_identity(found)
    assert source_identity(found) == before
    write(texts["src"], b"one\nTWO\n")
    assert source_identity(found) != before


def test_the_identity_of_a_data_set_is_the_same_from_read_to_read(data_set: Path) -> None:
    assert source_identity(hf(data_set)) == source_identity(hf(data_set))
