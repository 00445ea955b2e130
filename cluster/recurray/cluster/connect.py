"""Which cluster is meant, and a client of its Jobs API."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from recurray.cluster import local
from recurray.cluster.auth import authorization, read_token
from recurray.cluster.errors import ClusterError

if TYPE_CHECKING:
    from ray.job_submission import JobSubmissionClient

ADDRESS_VARIABLES = ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS")
ANSWER_SECONDS = 10.0


@dataclass(frozen=True)
class Cluster:
    """A cluster's Jobs API; `token_path` is the local cluster's, for others Ray's own variables give the token."""

    address: str
    token_path: Path | None = None

    @property
    def is_local(self) -> bool:
        """Whether it is the cluster of `recurray cluster up`, whose node sees the files of this machine."""
        return self.token_path is not None


def find_cluster(address: str | None = None) -> Cluster:
    """The cluster at `address`, else at RAY_API_SERVER_ADDRESS, else at RAY_ADDRESS, else the local one.

    ClusterError if there is none, or if the address is not that of a Jobs API.
    """
    named = [("--address", address), *((name, os.environ.get(name)) for name in ADDRESS_VARIABLES)]
    origin, url = next(((origin, value) for origin, value in named if value), ("", None))
    up = local.status()
    if url is not None and not url.startswith(("http://", "https://")):
        raise ClusterError(
            f"{origin} is {url}, but jobs go through the Jobs API: give its URL, such as http://HOST:8265."
        )
    if up is not None and url in (None, up.address, up.address + "/"):
        return Cluster(up.address, up.token_path)
    if url is None:
        raise ClusterError(
            "no cluster was named and no local one is up; start one with `recurray cluster up`, or give --address or "
            "RAY_ADDRESS."
        )
    return Cluster(url.rstrip("/"))


@contextmanager
def jobs_api(cluster: Cluster) -> Iterator["JobSubmissionClient"]:
    """A client of the cluster's Jobs API; within the block what the API refuses is raised as a ClusterError."""
    import aiohttp
    import requests
    from ray.exceptions import AuthenticationError

    try:
        yield _client(cluster)
    except AuthenticationError:
        raise ClusterError(
            f"the cluster at {cluster.address} refused the token; set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN_PATH to "
            "the file of its token."
        ) from None
    except (ConnectionError, requests.RequestException, aiohttp.ClientError) as failure:
        raise ClusterError(
            f"no Jobs API answers at {cluster.address} ({_first_line(failure)}); see that the cluster is up and the "
            "address is right."
        ) from failure
    except RuntimeError as refusal:  # the one exception that Ray's client has for every other answer
        raise ClusterError(f"the cluster at {cluster.address} answered: {_first_line(refusal)}") from refusal


def _client(cluster: Cluster) -> "JobSubmissionClient":
    from ray.job_submission import JobSubmissionClient

    for module in ("job.sdk", "dashboard_sdk"):  # they tell of every upload and closed socket
        logging.getLogger(f"ray.dashboard.modules.{module}").setLevel(logging.WARNING)
    logging.getLogger("ray._private.runtime_env.packaging").setLevel(logging.WARNING)
    _see_that_it_answers(cluster.address)
    headers = authorization(read_token(cluster.token_path)) if cluster.token_path is not None else None
    with _only_address(cluster.address):
        return JobSubmissionClient(cluster.address, headers=headers)


def _see_that_it_answers(address: str) -> None:
    """Raises requests.RequestException if nothing does; Ray's client would wait for minutes at a silent address."""
    import requests

    requests.get(f"{address}/api/version", timeout=ANSWER_SECONDS)


@contextmanager
def _only_address(address: str) -> Iterator[None]:
    """Makes Ray's client take `address`: it prefers its variables to the address that it is given."""
    variable = ADDRESS_VARIABLES[0]
    before = os.environ.get(variable)
    os.environ[variable] = address
    try:
        yield
    finally:
        if before is None:
            del os.environ[variable]
        else:
            os.environ[variable] = before


def _first_line(failure: Exception) -> str:
    return (str(failure) or type(failure).__name__).splitlines()[0]
