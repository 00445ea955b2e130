"""The batch job: a file's shards through a pool of Ray Data actors, joined in the file's order.

A shard's part is written aside and renamed, so a part that is there is whole: a job that was killed does no finished
shard twice when it is run again.
"""

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import ray.data
import torch

from recurray.platform.config.search import SearchConfig
from recurray.platform.data.hashing import file_digest
from recurray.platform.errors import UserError
from recurray.platform.inference.lines import predict_lines
from recurray.platform.inference.records import Notes, Shard, read_shard, shards
from recurray.platform.inference.text_model import TextModel
from recurray.platform.saved_model import model_identity

SHARD_LINES = 512
"""Lines that one actor takes at a time, and that are lost to a kill at the most."""

_MANIFEST = "manifest.json"


@dataclass(frozen=True)
class JobReport:
    """What a batch job did, as it stands in `OUTPUT.report.json`."""

    records: int
    """Records in the input, and in the output."""
    seconds: float
    """Wall time of this run of the job."""
    shards_done_before: int
    """Shards that an earlier, killed run had finished."""
    model: str
    """The model's identity."""
    search: dict[str, Any]
    """The search's settings."""
    notes: dict[str, list[int]]
    """Numbers of the records, counted from 1, that something was done to, by what was done."""


def predict_file(
    kind: type[TextModel],
    model: str,
    source: Path,
    output: Path,
    *,
    search: SearchConfig,
    workers: int,
    threads: int,
    on_progress: Callable[[int, int], None],
) -> JobReport:
    """Runs a model of a kind over `source`, line by line, into `output` with `workers` actors of `threads` CPUs each.

    `model` is a folder or a URI that the actors can read. `on_progress` is told the records that are done and those
    there are. Raises UserError where `source` is no file, or where parts of another job for `output` lie beside it.
    """
    began = time.monotonic()
    everything = list(shards(source, SHARD_LINES))
    parts = output.with_name(output.name + ".parts")
    manifest = {"input": file_digest(source), "model": model_identity(model), "search": search.model_dump()}
    _claim(parts, manifest)
    left = [shard for shard in everything if not _part(parts, shard.index).exists()]
    records = sum(shard.records for shard in everything)
    done = records - sum(shard.records for shard in left)
    on_progress(done, records)
    job = {"kind": kind, "model": model, "source": source.absolute(), "parts": parts.absolute(), "search": search}
    for lines in _run(left, job | {"threads": threads}, workers, threads):
        done += lines
        on_progress(done, records)
    notes = _join(parts, len(everything), output)
    report = JobReport(
        records=records,
        seconds=round(time.monotonic() - began, 2),
        shards_done_before=len(everything) - len(left),
        model=model_identity(model),
        search=search.model_dump(),
        notes=notes.records,
    )
    output.with_name(output.name + ".report.json").write_text(json.dumps(asdict(report), indent=2) + "\n")
    return report


class _ShardRunner:
    """One actor of the pool."""

    def __init__(
        self, kind: type[TextModel], model: str, source: Path, parts: Path, search: SearchConfig, threads: int
    ) -> None:
        torch.set_num_threads(threads)
        self._model = kind.from_pretrained(model, "cuda" if torch.cuda.is_available() else "cpu")
        self._source, self._parts, self._search = source, parts, search

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Runs one shard into its part; the row that comes back says how many records that were."""
        shard = Shard(**row)
        notes = Notes()
        lines = read_shard(self._source, shard)
        results = predict_lines(self._model, lines, shard.first_record, self._search, notes)
        part = json.dumps({"lines": results, "notes": notes.records}, ensure_ascii=False)
        _write_whole(_part(self._parts, shard.index), part)
        return {"records": shard.records}


def _run(left: list[Shard], job: dict[str, Any], workers: int, threads: int) -> Iterator[int]:
    """Runs the pool over the shards that are left; yields the records of each that is done."""
    if not left:
        return
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    rows = ray.data.from_items([asdict(shard) for shard in left], override_num_blocks=len(left))
    pool = ray.data.ActorPoolStrategy(size=min(workers, len(left)))
    runner: Any = _ShardRunner
    done = rows.map(runner, fn_constructor_kwargs=job, compute=pool, num_cpus=threads)
    for row in done.iter_rows():
        yield int(row["records"])


def _claim(parts: Path, manifest: dict[str, Any]) -> None:
    """Makes the folder of parts, or makes sure that the parts in it are this job's."""
    path = parts / _MANIFEST
    text = json.dumps(manifest, sort_keys=True)
    if path.exists() and path.read_text() != text:
        raise UserError(
            f"{parts} holds parts of a job with another input, model or search; delete it or name another output."
        )
    parts.mkdir(parents=True, exist_ok=True)
    _write_whole(path, text)


def _part(parts: Path, index: int) -> Path:
    return parts / f"part-{index:08}.json"


def _join(parts: Path, count: int, output: Path) -> Notes:
    """Puts the parts together in order and removes them; the output is there when it is whole."""
    notes = Notes()
    aside = output.with_name(f".{output.name}.joining")
    with aside.open("w", encoding="utf-8", newline="\n") as file:
        for index in range(count):
            part = json.loads(_part(parts, index).read_text(encoding="utf-8"))
            file.writelines(line + "\n" for line in part["lines"])
            notes.extend(Notes(part["notes"]))
    aside.rename(output)
    shutil.rmtree(parts)
    return notes


def _write_whole(path: Path, text: str) -> None:
    """Writes aside and renames, so that a file that is there is whole."""
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    aside.write_text(text, encoding="utf-8")
    aside.rename(path)
