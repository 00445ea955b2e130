"""The batch job: the files' shards through a pool of Ray Data actors, joined in the order of the records.

A task reads shards in a stream, actors run the model over them, the driver writes each one's part and in the end puts
the results beside the records, reading the files in a stream once more. Nothing holds a whole file.
"""

import json
import pickle
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import ray
import ray.data
import torch
from ray.data import DataContext

from recurray.platform.config.search import SearchConfig
from recurray.platform.data.hashing import digest
from recurray.platform.errors import UserError
from recurray.platform.freed_memory import keep_freed_memory
from recurray.platform.inference.files import FilePair, pair_files, stored
from recurray.platform.inference.formats.format import DAMAGES, Columns, Found
from recurray.platform.inference.parts import Part, PartCounts, PartKey, Parts
from recurray.platform.inference.predicting import predict_details, predict_records
from recurray.platform.inference.progress import JobProgress
from recurray.platform.inference.records import LISTED, Notes, Tally
from recurray.platform.inference.shards import SHARD_BYTES, SHARD_RECORDS, Shard, ShardSource, Table
from recurray.platform.inference.text_model import TextModel
from recurray.platform.saved_model import model_identity
from recurray.platform.storage import absolute_place, reason_of, written_whole
from recurray.platform.tasks.shortlist import Shortlist

_ON_THE_WAY_BYTES = 1 << 28
"""Of shards and parts between the reading task, the actors and the driver; reading waits when there are more."""


@dataclass(frozen=True)
class BatchJob:
    """What is run over what, and how."""

    kind: type[TextModel]
    model: str
    """A folder or a URI that the actors can read."""
    source: str
    """A file, a folder, a glob, or a URI of one."""
    output: str
    """A file, or a folder where the source is several."""
    search: SearchConfig
    output_field: str
    field: str | None = None
    """The field that is read; one of the usual names where none is given."""
    on_error: Literal["skip", "stop"] = "skip"
    """What a record that cannot be read does: its result stays empty, or the job ends."""
    workers: int = 2
    """Actors."""
    threads: int = 1
    """CPUs of each."""
    gpu: bool = False
    """Whether each has a GPU."""
    details_field: str | None = None
    """Where the details of the results go, if they are wanted."""
    int8: bool = False
    """Whether weights are rounded to 8 bits; on CPUs."""
    bfloat16: bool = False
    """Whether products are computed in bfloat16; on GPUs."""
    shortlist: Shortlist | None = None
    """The pieces that results are made of, if not all."""

    @property
    def outputs(self) -> tuple[str, ...]:
        """The fields that are added to each record."""
        return (self.output_field,) if self.details_field is None else (self.output_field, self.details_field)


@dataclass(frozen=True)
class JobReport:
    """What a batch job did, as it stands in `OUTPUT.report.json`."""

    records: int
    """Records in the input, and in the output."""
    seconds: float
    """Wall time of this run of the job."""
    parts_done_before: int
    """Parts that an earlier, killed run had finished."""
    records_done_before: int
    """The records in them."""
    model: str
    """The model's identity."""
    search: dict[str, Any]
    """The search's settings."""
    int8: bool
    """Whether weights were rounded to 8 bits."""
    bfloat16: bool
    """Whether products were computed in bfloat16."""
    shortlist: int | None
    """How many pieces results were made of, if not all."""
    files: dict[str, dict[str, Any]]
    """Records, and the field that was read, of each input file."""
    notes: dict[str, Any]
    """What was done to how many records, and the numbers of the first `listed` of each reason, counted from 1."""
    listed: int = LISTED
    """Record numbers of each reason that are listed at the most; the counts are of all."""


def run_job(job: BatchJob, on_progress: Callable[[JobProgress], object]) -> tuple[JobReport, Tally]:
    """Runs it on the Ray session that there is, and tells `on_progress` how far it is.

    Raises UserError where files will not do, where one is damaged or a record may not be skipped (the parts are kept),
    or where parts of another job for the same output lie beside it.
    """
    began = time.monotonic()
    tables = [_survey(pair, job) for pair in pair_files(job.source, job.output)]
    parts = Parts(stored(job.output, "--output"))
    manifest = _manifest(job, tables)
    parts.claim(manifest)
    done = parts.done()
    progress = JobProgress(sum(table.records for table in tables))
    for key, part in done.items():
        _check(job, tables, key, part)
        progress = progress.plus(part.records, part.failures)
    on_progress(progress)
    fault = ""
    for row in _run(job, ShardSource(tables, done.keys()), progress.total - progress.done):
        if row["fault"]:
            fault = row["fault"]  # parts that are on their way are waited for
            continue
        key, part = PartKey(int(row["file"]), int(row["shard"])), Part.from_bytes(row["part"]).counts()
        _check(job, tables, key, part)
        parts.write(key, row["part"])
        progress = progress.plus(part.records, part.failures)
        on_progress(progress)
    if fault:
        raise UserError(f"{fault}; what was done before it lies in {parts.place}.")
    return _finish(job, tables, parts, list(done.values()), manifest["model"], began)


class _Runner:
    """One actor of the pool."""

    def __init__(self, job: BatchJob) -> None:
        torch.set_num_threads(job.threads)
        keep_freed_memory()
        self._model = job.kind.from_pretrained(
            job.model,
            "cuda" if job.gpu else "cpu",
            int8=job.int8,
            bfloat16=job.bfloat16,
            shortlist=job.shortlist,
        )
        self._search, self._details = job.search, job.details_field is not None

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Runs one shard; the row that comes back holds its part. A row with a fault is passed on."""
        if row["fault"]:
            return {"file": 0, "shard": 0, "part": b"", "fault": row["fault"]}
        shard: Shard = pickle.loads(row["shard"])
        notes = Notes()
        predict = predict_details if self._details else predict_records
        results = predict(self._model, shard.sources, shard.first_record, self._search, notes)
        return {
            "file": shard.key.file,
            "shard": shard.key.shard,
            "part": Part([*results], notes).to_bytes(),
            "fault": "",
        }


def _run(job: BatchJob, source: ShardSource, records: int) -> Iterator[dict[str, Any]]:
    """Runs the pool over the shards of so many records; yields each one's part as soon as it is done."""
    if not records:
        return
    warnings.filterwarnings("ignore", "The minimum number of concurrent actors")  # an input of few shards is no fault
    context = DataContext.get_current().copy()
    context.enable_progress_bars = False
    context.target_max_block_size = 1  # so that each shard is a block, and goes to an actor by itself
    limits = ray.data.ExecutionResources.for_limits(object_store_memory=_ON_THE_WAY_BYTES)
    context.execution_options.resource_limits = limits
    here = {"ray.io/node-id": ray.get_runtime_context().get_node_id()}
    runner: Any = _Runner
    with DataContext.current(context):
        shards = ray.data.read_datasource(source, override_num_blocks=1, num_cpus=0, label_selector=here)
        pool = ray.data.ActorPoolStrategy(size=min(job.workers, records))
        done = shards.map(
            runner,
            fn_constructor_args=(replace(job, model=absolute_place(job.model)),),
            compute=pool,
            num_cpus=job.threads,
        )
        yield from done.iter_rows()


def _survey(pair: FilePair, job: BatchJob) -> Table:
    """What there is to know of a file before it is read in shards."""
    try:
        columns = Columns(pair.format.field(pair.source, job.field, job.outputs), job.outputs)
        return Table(pair, columns, pair.format.count(pair.source, columns))
    except DAMAGES as fault:
        raise UserError(
            f"{pair.source.place} cannot be read as {pair.format.name} ({reason_of(fault)}); put a whole file in its "
            "place."
        ) from None


def _manifest(job: BatchJob, tables: Sequence[Table]) -> dict[str, Any]:
    """What must be the same for parts to be of one job."""
    return {
        "input": digest(word for table in tables for word in (table.pair.name, table.pair.source.digest())),
        "model": model_identity(job.model),
        "search": job.search.model_dump(mode="json"),
        "int8": job.int8,
        "bfloat16": job.bfloat16,
        "shortlist": None if job.shortlist is None else digest(map(str, job.shortlist.pieces)),
        "field": sorted({table.columns.field for table in tables}),
        "output field": list(job.outputs),
        "size of parts": [SHARD_RECORDS, SHARD_BYTES],
    }


def _check(job: BatchJob, tables: Sequence[Table], key: PartKey, part: PartCounts) -> None:
    """UserError where a record could not be read and may not be skipped."""
    if job.on_error == "stop" and part.first_failure:
        record, reason = part.first_failure
        raise UserError(
            f"{tables[key.file].pair.source.place} record {record:,}: {reason.partition(',')[0]}; mend it, or leave "
            "such records empty with --on-error skip."
        )


def _finish(
    job: BatchJob, tables: Sequence[Table], parts: Parts, before: Sequence[PartCounts], model: str, began: float
) -> tuple[JobReport, Tally]:
    """Joins the parts, writes the report, which names the model by its identity, and removes the parts."""
    tally = Tally()
    for file, table in enumerate(tables):
        _join(table, parts, file, tally)
    report = JobReport(
        records=sum(table.records for table in tables),
        seconds=round(time.monotonic() - began, 2),
        parts_done_before=len(before),
        records_done_before=sum(part.records for part in before),
        model=model,
        search=job.search.model_dump(mode="json"),
        int8=job.int8,
        bfloat16=job.bfloat16,
        shortlist=None if job.shortlist is None else len(job.shortlist.pieces),
        files={t.pair.name: {"records": t.records, "field": t.columns.field or None} for t in tables},
        notes=tally.to_json(),
    )
    output = stored(job.output, "--output")
    with written_whole(output.files, f"{output.path}.report.json") as file:
        file.write(json.dumps(asdict(report), indent=2, ensure_ascii=False).encode() + b"\n")
    parts.remove()
    return report, tally


def _join(table: Table, parts: Parts, file: int, tally: Tally) -> None:
    """Puts the results of a file beside its records; the output is there when it is whole."""
    pair = table.pair
    output = pair.output
    try:
        output.files.create_dir(output.path.rpartition("/")[0])
        with written_whole(output.files, output.path, output.compression) as sink:
            pair.format.write(pair.source, table.columns, _results(parts.of_file(file), pair.name, tally), sink)
    except DAMAGES as fault:
        raise UserError(
            f"{output.place} cannot be joined ({reason_of(fault)}); see that {pair.source.place} is whole and there is "
            f"room, and run the command again, for the results are kept in {parts.place}."
        ) from None
    except ValueError:
        raise UserError(
            f"{pair.source.place} has changed while the job ran: it has not as many records as there are results; "
            f"delete {parts.place} and run the command again."
        ) from None


def _results(parts: Iterator[Part], file: str, tally: Tally) -> Iterator[Found]:
    """The results of a file's parts, of which the notes are counted."""
    for part in parts:
        tally.add(file, part.notes)
        yield from part.results
