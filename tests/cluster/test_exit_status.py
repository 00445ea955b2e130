"""The exit status of a job is the one that a shell would tell."""

import pytest
from ray.job_submission import JobDetails, JobStatus, JobType

from recurray.cluster.submission import exit_status


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (JobStatus.SUCCEEDED, 0, 0),
        (JobStatus.FAILED, 2, 2),
        (JobStatus.FAILED, -9, 137),  # killed
        (JobStatus.FAILED, None, 1),  # could not start
        (JobStatus.STOPPED, None, 143),
    ],
)
def test_end_of_a_job_becomes_its_exit_status(status: JobStatus, code: int | None, expected: int) -> None:
    ended = JobDetails(type=JobType.SUBMISSION, status=status, entrypoint="x", driver_exit_code=code)
    assert exit_status(ended) == expected
