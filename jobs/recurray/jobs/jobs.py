"""List, follow and stop the jobs that were submitted to a Ray cluster."""

import argparse
import time
from typing import TYPE_CHECKING

from recurray.cluster.connect import Cluster, find_cluster

if TYPE_CHECKING:
    from ray.job_submission import JobDetails


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `recurray jobs`."""
    parser.add_argument(
        "--address", metavar="URL", help="the cluster's Jobs API (default: RAY_ADDRESS, else the local cluster)"
    )
    actions = parser.add_subparsers(dest="action", required=True)
    actions.add_parser("list", help="one line per job")
    for action, what in (
        ("status", "how a job stands"),
        ("logs", "print a job's log, and follow it to the job's end"),
        ("stop", "stop a job and wait for its end"),
    ):
        actions.add_parser(action, help=what).add_argument("id", help="the job's id, as `recurray jobs list` shows it")


def run(arguments: argparse.Namespace) -> int:
    """`recurray jobs`."""
    from recurray.cluster import submission

    cluster = find_cluster(arguments.address)
    if arguments.action == "list":
        _list(cluster)
    elif arguments.action == "status":
        print(_description(submission.job_details(cluster, arguments.id)))
    elif arguments.action == "logs":
        submission.follow(cluster, arguments.id)
    elif submission.stop(cluster, arguments.id):
        print(f"job {arguments.id} is stopped")
    else:
        print(f"job {arguments.id} had ended before")
    return 0


def _list(cluster: Cluster) -> None:
    from recurray.cluster.submission import submitted_jobs

    for job in submitted_jobs(cluster):
        print(f"{job.submission_id}  {job.status.value:<9}  {_start(job)}  {_seconds(job):>7} s  {job.entrypoint}")


def _description(job: "JobDetails") -> str:
    lines = [f"job       {job.submission_id}", f"command   {job.entrypoint}", f"status    {job.status.value}"]
    lines += [f"started   {_start(job)}", f"ran       {_seconds(job)} s"]
    if job.status.is_terminal():
        from recurray.cluster.submission import exit_status

        lines.append(f"exited    {exit_status(job)}")
    return "\n".join(lines)


def _start(job: "JobDetails") -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime((job.start_time or 0) / 1000))


def _seconds(job: "JobDetails") -> int:
    """How long the job has run; Ray tells times in milliseconds."""
    end = job.end_time / 1000 if job.end_time else time.time()
    return round(end - (job.start_time or 0) / 1000)
