"""Each format of a batch job: what goes in comes out as it was, with the result beside it; what is broken is named."""

import csv
import gzip
import io
import json
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import fs

from recurray.platform.errors import UserError
from recurray.platform.inference.files import FilePair, pair_files, stored
from recurray.platform.inference.formats.format import Columns
from recurray.platform.inference.records import (
    BROKEN,
    COLUMNS,
    INVALID,
    NO_FIELD,
    NO_TEXT,
    TAKEN,
    Notes,
    Source,
    Unreadable,
    readable,
)
from recurray.platform.inference.shards import Table, checked_sources
from recurray.platform.storage import written_whole

COMPRESSIONS = ("", ".gz", ".zst")


def write(path: Path, content: bytes) -> None:
    with written_whole(fs.LocalFileSystem(), str(path), stored(str(path), "--input").compression) as sink:
        sink.write(content)


def read(path: Path) -> bytes:
    with stored(str(path), "--input").lines() as lines:
        return lines.read()


def table(pair: FilePair, field: str | None = None, output_field: str = "translation") -> Table:
    columns = Columns(pair.format.field(pair.source, field, [output_field]), (output_field,))
    return Table(pair, columns, pair.format.count(pair.source, columns))


def upper(sources: Iterator[Source]) -> Iterator[tuple[str]]:
    return ((readable(source, record, Notes()).upper(),) for record, source in enumerate(sources, 1))


def convert(source: Path, output: Path, field: str | None = None) -> list[Source]:
    """Puts each record's text in capitals beside it; returns what was read."""
    (pair,) = pair_files(str(source), str(output))
    read = table(pair, field)
    sources = list(checked_sources(read))
    assert len(sources) == read.records
    with written_whole(pair.output.files, pair.output.path, pair.output.compression) as sink:
        pair.format.write(pair.source, read.columns, upper(iter(sources)), sink)
    return sources


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_text_keeps_every_line(compression: str, tmp_path: Path) -> None:
    write(tmp_path / f"in.txt{compression}", "one\n\ntwo\u2028b\x0bc\rd\r\nlast".encode())
    convert(tmp_path / f"in.txt{compression}", tmp_path / f"out.txt{compression}")
    assert read(tmp_path / f"out.txt{compression}") == b"ONE\n\nTWO B C D\nLAST\n"


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_json_lines_keep_all_else_byte_for_byte(compression: str, tmp_path: Path) -> None:
    lines = [
        b'{"id":  1.50, "src": "one", "more": {"b": [1, null], "a": 2}}',
        b'{"n": 12345678901234567890123, "src":"two\\u0041","src2":""} ',
        '{"größe": 1e400, "src": "ü\u2028x"}'.encode(),
        b'{"src": "three", "digits": ' + b"7" * 5_000 + b"}",
    ]
    write(tmp_path / f"in.jsonl{compression}", b"\n".join(lines))
    convert(tmp_path / f"in.jsonl{compression}", tmp_path / f"out.jsonl{compression}")
    output = read(tmp_path / f"out.jsonl{compression}").split(b"\n")
    assert output.pop() == b""
    texts = ["ONE", "TWOA", "Ü X", "THREE"]
    wanted = [
        line.rstrip()[:-1] + f', "translation": "{text}"}}'.encode() for line, text in zip(lines, texts, strict=True)
    ]
    assert output == wanted


def test_every_bad_json_line_is_one_record(tmp_path: Path) -> None:
    bad = {
        b'{"src": "cut': BROKEN,
        b'["src"]': BROKEN,
        b"": BROKEN,
        b"[" * 20_000: BROKEN,
        b'{"src": "\xff"}': INVALID,
        b'{"text": "other"}': NO_FIELD,
        b'{"src": null}': NO_TEXT,
        b'{"src": 5}': NO_TEXT,
        b'{"src": ["x"]}': NO_TEXT,
        b'{"src": "x", "translation": "y"}': TAKEN,
    }
    write(tmp_path / "in.jsonl", b'{"src": "good"}\n' * 100 + b"\n".join(bad) + b"\n{}\n")
    sources = convert(tmp_path / "in.jsonl", tmp_path / "out.jsonl")
    reasons = [source.reason for source in sources[100:] if isinstance(source, Unreadable)]
    assert reasons == [*bad.values(), NO_FIELD]
    records = [json.loads(line) for line in (tmp_path / "out.jsonl").read_bytes().decode().split("\n")[:-1]]
    assert len(records) == 111
    assert records[100] == {"broken_line": '{"src": "cut', "translation": ""}
    assert records[104] == {"broken_line": '{"src": "\\xff"}', "translation": ""}
    assert records[105] == {"text": "other", "translation": ""}
    assert records[109] == {"src": "x", "translation": "y"}
    assert records[110] == {"translation": ""}


def test_a_lone_surrogate_in_json_is_invalid(tmp_path: Path) -> None:
    write(tmp_path / "in.jsonl", b'{"src": "\\ud800 half"}\n')
    (source,) = convert(tmp_path / "in.jsonl", tmp_path / "out.jsonl")
    notes = Notes()
    assert readable(source, 1, notes) == ""
    assert notes.records == {INVALID: [1]}


def test_a_json_field_may_lie_within_another(tmp_path: Path) -> None:
    write(tmp_path / "in.jsonl", b'{"a": {"b": "deep"}}\n')
    convert(tmp_path / "in.jsonl", tmp_path / "out.jsonl", "a.b")
    assert json.loads((tmp_path / "out.jsonl").read_bytes())["translation"] == "DEEP"


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_csv_keeps_quotes_line_breaks_and_returns(compression: str, tmp_path: Path) -> None:
    rows = [
        ["id", "src", "note"],
        ["1", "plain", 'say "hi", you'],
        ["2", "two\nlines, quoted", ""],
        ["3", "two\r\nlines", "x\u2028y"],
        ["4", "", "nul\x00"],
        ["5", "a,b", "é"],
    ]
    content = io.StringIO()
    csv.writer(content).writerows(rows)
    written = content.getvalue().encode() + b"6,lone\rreturn,z\r\n"  # not a row's end
    write(tmp_path / f"in.csv{compression}", written)
    sources = convert(tmp_path / f"in.csv{compression}", tmp_path / f"out.csv{compression}")
    assert sources == [b"plain", b"two\nlines, quoted", b"two\r\nlines", b"", b"a,b", b"lone\rreturn"]
    output = read(tmp_path / f"out.csv{compression}")
    assert output.startswith(b'id,src,note,translation\r\n1,plain,"say ""hi"", you",PLAIN\r\n')
    found = list(csv.reader(io.StringIO(output.decode().replace("lone\r", "lone "), newline="")))
    results = ["translation", "PLAIN", "TWO LINES, QUOTED", "TWO LINES", "", "A,B", "LONE RETURN"]
    assert [row[:-1] for row in found[:6]] == rows
    assert [row[-1] for row in found] == results


def test_a_csv_row_of_another_width_is_one_record(tmp_path: Path) -> None:
    write(tmp_path / "in.csv", b"\xef\xbb\xbfsrc,b,c\nshort\n\nlong,2,3,4\n\xff,2,3\ngood,2,3")
    sources = convert(tmp_path / "in.csv", tmp_path / "out.csv")
    assert sources == [*[Unreadable(COLUMNS)] * 3, b"\xff", b"good"]
    assert (tmp_path / "out.csv").read_bytes() == (
        b"\xef\xbb\xbfsrc,b,c,translation\nshort,,,\n,,,\nlong,2,3,4,\n\xff,2,3,\ngood,2,3,GOOD\n"
    )


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_tsv_has_no_quotes(compression: str, tmp_path: Path) -> None:
    write(tmp_path / f"in.tsv{compression}", b'id\tsrc\n1\t"open\n2\ta\rb\r\n3\n')
    convert(tmp_path / f"in.tsv{compression}", tmp_path / f"out.tsv{compression}")
    assert read(tmp_path / f"out.tsv{compression}") == (
        b'id\tsrc\ttranslation\n1\t"open\t"OPEN\n2\ta\rb\tA B\r\n3\t\t\n'
    )


def test_a_number_names_a_column_where_no_line_does(tmp_path: Path) -> None:
    write(tmp_path / "in.tsv", b"eins\tone\nzwei\ttwo\n")
    convert(tmp_path / "in.tsv", tmp_path / "out.tsv", "1")
    assert (tmp_path / "out.tsv").read_bytes() == b"eins\tone\tONE\nzwei\ttwo\tTWO\n"


SCHEMA = pa.schema(
    [
        pa.field("id", pa.int8(), nullable=False, metadata={"unit": "none"}),
        pa.field("when", pa.timestamp("us", "UTC")),
        pa.field("src", pa.string()),
        pa.field("kind", pa.dictionary(pa.int8(), pa.string())),
        pa.field("list", pa.list_(pa.struct([("a", pa.float32())]))),
        pa.field("raw", pa.binary()),
    ],
    metadata={"made by": "a test"},
)


def parquet_table() -> pa.Table:
    rows = [
        {"id": row, "when": row * 10**12, "src": text, "kind": "ab"[row % 2], "list": [{"a": 0.5}], "raw": b"\xff"}
        for row, text in enumerate(["one", None, "", "zwei ü"])
    ]
    return pa.Table.from_pylist(rows, schema=SCHEMA)


@pytest.mark.parametrize("codec", ["zstd", "snappy", "none"])
def test_parquet_keeps_types_and_metadata(codec: str, tmp_path: Path) -> None:
    pq.write_table(parquet_table(), tmp_path / "in.parquet", compression=codec, row_group_size=3)
    sources = convert(tmp_path / "in.parquet", tmp_path / "out.parquet")
    assert sources == [b"one", Unreadable(NO_TEXT), b"", "zwei ü".encode()]
    output = pq.read_table(tmp_path / "out.parquet")
    wanted = pq.read_table(tmp_path / "in.parquet").append_column("translation", [["ONE", "", "", "ZWEI Ü"]])
    assert wanted.schema.field("kind").type == SCHEMA.field("kind").type
    assert output.schema.equals(wanted.schema, check_metadata=True)
    assert output.equals(wanted)


@pytest.mark.parametrize("kind", [pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())])
def test_parquet_has_many_types_of_text(kind: pa.DataType, tmp_path: Path) -> None:
    column = (
        pa.array(["one", "two", "one"]).dictionary_encode() if pa.types.is_dictionary(kind) else ["one", "two", "one"]
    )
    pq.write_table(
        pa.table({"text": pa.array(column, kind) if isinstance(column, list) else column}), tmp_path / "a.parquet"
    )
    convert(tmp_path / "a.parquet", tmp_path / "b.parquet")
    output = pq.read_table(tmp_path / "b.parquet")
    assert output.column("translation").to_pylist() == ["ONE", "TWO", "ONE"]
    assert output.schema.field("text").type == kind


def test_text_that_is_not_utf8_in_parquet_is_one_record(tmp_path: Path) -> None:
    broken = pa.array([b"fine", b"\xff"]).view(pa.string())
    pq.write_table(pa.table({"src": broken}), tmp_path / "in.parquet")
    assert convert(tmp_path / "in.parquet", tmp_path / "out.parquet") == [b"fine", b"\xff"]
    assert pq.ParquetFile(tmp_path / "out.parquet").read().column("src").cast(pa.binary()).to_pylist()[1] == b"\xff"


@pytest.mark.parametrize(
    ("name", "content", "field", "message"),
    [
        ("a.csv", b"id,title\n1,x\n", None, r"a.csv has no field src, source, text or document; .*--field: id, title"),
        ("a.csv", b"id,title\n1,x\n", "titel", r"a.csv has no field titel; .*: id, title"),
        ("a.csv", b"id,title\n1,x\n", "2", r"a.csv has no column 2; its columns are 0 to 1"),
        ("a.csv", b"", None, r"a.csv is empty"),
        ("a.tsv", b"src\ttranslation\n", None, r"a.tsv has a field translation already; .*--output-field"),
        ("a.jsonl", b'{"a": "x", "b": 1}\n', None, r"a.jsonl has no field src.*: a, b"),
        ("a.jsonl", b'{"a": {"b": "x"}, "c": 0}\n', "a.c", r"a.jsonl has no field a.c; .*: a, c"),
        ("a.txt", b"x\n", "src", r"a.txt is text"),
    ],
)
def test_a_field_that_is_not_there_is_answered_with_those_that_are(
    name: str, content: bytes, field: str | None, message: str, tmp_path: Path
) -> None:
    write(tmp_path / name, content)
    with pytest.raises(UserError, match=message):
        convert(tmp_path / name, tmp_path / f"out-{name}", field)


def test_a_parquet_column_that_is_no_text_is_refused(tmp_path: Path) -> None:
    pq.write_table(parquet_table(), tmp_path / "in.parquet")
    with pytest.raises(UserError, match=r"in.parquet has no text in its field id, which is int8"):
        convert(tmp_path / "in.parquet", tmp_path / "out.parquet", "id")


def test_a_gzip_that_ends_too_early_is_named_with_the_record_before(tmp_path: Path) -> None:
    lines = b"".join(b"line %d of many\n" % number for number in range(200_000))
    (tmp_path / "in.txt.gz").write_bytes(gzip.compress(lines)[:-5_000])
    (pair,) = pair_files(str(tmp_path / "in.txt.gz"), str(tmp_path / "out.txt.gz"))
    with pytest.raises(UserError, match=r"in.txt.gz is damaged after record 1\d\d,\d\d\d \("):
        list(checked_sources(Table(pair, Columns("", ""), 0)))


FILES = ("b.txt", "a.jsonl", "deep/c.csv", ".hidden.txt", "_SUCCESS")


@pytest.fixture(params=["path", "file://", "memory://"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A folder with files in it, as a path or a URI."""
    where = {"path": str(tmp_path / "in"), "file://": f"file://{tmp_path}/in", "memory://": f"memory://{tmp_path}/in"}
    for name in FILES:
        file = stored(f"{where[request.param]}/{name}", "--input")
        file.files.create_dir(file.path.rpartition("/")[0])
        with written_whole(file.files, file.path) as sink:
            sink.write(b"x\n")
    return where[request.param]


def test_a_folder_becomes_a_folder_of_the_same_names(place: str) -> None:
    out = place.removesuffix("in") + "out"
    pairs = pair_files(place, out)
    assert [pair.name for pair in pairs] == ["a.jsonl", "b.txt", "deep/c.csv"]
    assert [pair.output.place for pair in pairs] == [f"{out}/a.jsonl", f"{out}/b.txt", f"{out}/deep/c.csv"]
    assert [len(list(pair.source.lines())) for pair in pairs] == [1, 1, 1]


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("*.txt", ["b.txt"]),
        ("[ab].*", ["a.jsonl", "b.txt"]),
        ("*/*.csv", ["deep/c.csv"]),
        ("**/*.*", ["a.jsonl", "b.txt", "deep/c.csv"]),
    ],
)
def test_a_glob_finds_what_a_shell_would(pattern: str, names: list[str], place: str) -> None:
    assert [pair.name for pair in pair_files(f"{place}/{pattern}", f"{place}-out")] == names


def test_a_question_mark_stands_for_one_letter_in_a_path(tmp_path: Path) -> None:
    for name in ("a.txt", "ab.txt"):
        (tmp_path / name).touch()
    assert [pair.name for pair in pair_files(f"{tmp_path}/?.txt", f"{tmp_path}/out")] == ["a.txt"]


@pytest.mark.parametrize(
    ("source", "output", "message"),
    [
        ("in/none.txt", "out.txt", r"in/none.txt does not exist"),
        ("in/*.xml", "out", r"in/\*.xml matches no file"),
        ("in/b.txt", "in/b.txt", r"in/b.txt is input and output"),
        ("in/b.txt", "out.csv", r"in/b.txt is text, so .*out.csv would be CSV"),
        ("in/b.txt", "in", r"in is a folder, but .*in/b.txt is a file"),
        ("in", "in/out", r"in/out lies within the input"),
        ("in", "in/b.txt", r"lies within|is a file"),
        ("nosuch://x/y", "out", r"--input: nosuch://x/y is no address that is known"),
    ],
)
def test_files_that_do_not_go_together_are_named(source: str, output: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "b.txt").write_bytes(b"x\n")
    places = [name if "://" in name else str(tmp_path / name) for name in (source, output)]
    with pytest.raises(UserError, match=message):
        pair_files(*places)


def test_a_folder_with_a_file_of_no_known_ending_asks_for_a_glob(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "test.en").write_bytes(b"x\n")
    with pytest.raises(UserError, match=r"test.en has none of the endings .* by a glob"):
        pair_files(str(tmp_path / "in"), str(tmp_path / "out"))
    assert [pair.name for pair in pair_files(str(tmp_path / "in" / "*"), str(tmp_path / "out"))] == ["test.en"]
