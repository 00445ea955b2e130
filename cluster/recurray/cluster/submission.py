"""Jobs on a Ray cluster through its Jobs API: submit one with our code, follow its log, take its exit status.

The code travels as the wheel, unpacked. Ray installs a .whl in `py_modules` with pip, which fetches its dependencies:
gigabytes of torch and Ray that the nodes have already. A folder in `py_modules` is only put on PYTHONPATH, before what
the node has installed. It is not a zip on PYTHONPATH, because recipes are read from the package as files.
"""

import asyncio
import shlex
import shutil
import sys
import tempfile
import time
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recurray.cluster.connect import Cluster, jobs_api

if TYPE_CHECKING:
    from ray.job_submission import JobDetails, JobSubmissionClient

STOP_SECONDS = 30
"""Between SIGTERM and SIGKILL to a job that is stopped; Ray's 3 are too few to write a checkpoint."""


def submit(cluster: Cluster, command: Sequence[str], wheel: Path, files: Sequence[Path] = ()) -> str:
    """Submits `command` and returns the job's id without waiting for it to start; ClusterError if that fails.

    On the local cluster the job, with all its workers, runs in the caller's current directory, so that relative paths
    mean what they mean here. On another it runs in a directory of its own that holds copies of `files`.
    """
    with tempfile.TemporaryDirectory() as scratch, jobs_api(cluster) as client:
        environment = _code(wheel, Path(scratch) / "code")
        if cluster.is_local:
            environment["working_dir"] = f"local://{Path.cwd()}"
        elif files:
            environment["working_dir"] = str(_copies(files, Path(scratch) / "files"))
        return client.submit_job(entrypoint=shlex.join(command), runtime_env=environment)


def follow(cluster: Cluster, job: str) -> int:
    """Copies the job's log to stdout until the job ends, and returns its exit status; ClusterError for an unknown job.

    A job that was stopped or killed has 128 plus the signal, as in a shell; one that could not start has 1, and why
    goes to stderr.
    """
    with jobs_api(cluster) as client:
        client.get_job_info(job)  # the log of an unknown job is an empty one
        asyncio.run(_copy_log(client, job))
        ended = _wait_until_ended(client, job)
    if ended.driver_exit_code is None and ended.status == "FAILED":
        print(ended.message, file=sys.stderr)
    return exit_status(ended)


def stop(cluster: Cluster, job: str) -> bool:
    """Stops a job and returns when it has ended: True, or False if it had ended before; ClusterError if unknown."""
    with jobs_api(cluster) as client:
        running = not client.get_job_info(job).status.is_terminal()
        if running:
            client.stop_job(job)
            _wait_until_ended(client, job)
        return running


def job_details(cluster: Cluster, job: str) -> "JobDetails":
    """What the cluster knows about a job; ClusterError if it knows none of that id."""
    with jobs_api(cluster) as client:
        return client.get_job_info(job)


def submitted_jobs(cluster: Cluster) -> "list[JobDetails]":
    """The jobs that were submitted to the cluster since it is up, oldest first."""
    with jobs_api(cluster) as client:
        jobs = [job for job in client.list_jobs() if job.submission_id is not None]
    return sorted(jobs, key=lambda job: job.start_time or 0)


def exit_status(ended: "JobDetails") -> int:
    """The exit status of a job that has ended, as a shell would tell it."""
    if ended.status == "STOPPED":
        return 128 + 15
    code = ended.driver_exit_code
    if code is None:
        return 0 if ended.status == "SUCCEEDED" else 1
    return 128 - code if code < 0 else code


def _code(wheel: Path, into: Path) -> dict[str, Any]:
    """The runtime environment with the wheel's packages, and its dist-info, which tells a job the version it runs."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(into)
    return {
        "py_modules": [str(path) for path in sorted(into.iterdir())],
        "env_vars": {"RAY_JOB_STOP_WAIT_TIME_S": str(STOP_SECONDS)},
    }


def _copies(files: Sequence[Path], into: Path) -> Path:
    into.mkdir()
    for file in files:
        shutil.copy(file, into)
    return into


async def _copy_log(client: "JobSubmissionClient", job: str) -> None:
    async for lines in client.tail_job_logs(job):
        sys.stdout.write(lines)
        sys.stdout.flush()


def _wait_until_ended(client: "JobSubmissionClient", job: str) -> "JobDetails":
    while not (details := client.get_job_info(job)).status.is_terminal():
        time.sleep(0.2)
    return details
