"""A Ray cluster on this machine: one head node with token authentication, bound to loopback, beside any other Ray.

What is known about it lies in `~/.recurray/cluster`, or in `cluster` of the folder that RECURRAY_HOME names: the token,
the head's log, and `cluster.json` with the head process and the addresses.
"""

import fcntl
import json
import os
import shutil
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from recurray.cluster.auth import authorization, create_token, ray_environment, read_token
from recurray.cluster.errors import ClusterError
from recurray.cluster.processes import Leader, end_session

LOOPBACK = "127.0.0.1"
OBJECT_STORE_BYTES = 512 * 2**20
START_SECONDS = 60.0
END_SECONDS = 15.0


@dataclass(frozen=True)
class LocalCluster:
    """The local cluster: its head process, the Jobs API's URL, the address for `ray.init`, its token and its files."""

    head: Leader
    address: str
    gcs_address: str
    token_path: Path
    temp_dir: Path

    @property
    def environment(self) -> dict[str, str]:
        """The variables with which a driver or a command of Ray's reaches it."""
        return _reaching(self.token_path)


def up(num_cpus: int | None = None) -> LocalCluster:
    """Starts the cluster with `num_cpus` CPUs (all of the machine's if None) and returns when its Jobs API answers.

    ClusterError if it is up already, or if the head ends or does not answer within a minute.
    """
    with _alone():
        there = status()
        if there is not None:
            raise ClusterError(f"the local cluster is already up at {there.address}; `recurray cluster down` ends it.")
        _remove_files()
        cluster = _start_head(num_cpus)
        try:
            _wait_until_ready(cluster)
        except BaseException:
            _end(cluster)
            raise
        return cluster


def down() -> LocalCluster | None:
    """Ends the processes of the local cluster, no others, and removes its files; the cluster ended, None if none was.

    A running job ends with it. If the head had been killed, the few processes that outlived it end by themselves:
    Ray's agents stop about a minute after they lose the head.
    """
    with _alone():
        cluster = status()
        if cluster is None:
            _remove_files()
        else:
            _end(cluster)
        return cluster


def status() -> LocalCluster | None:
    """The local cluster if its head runs, else None."""
    cluster = _recorded()
    return cluster if cluster is not None and cluster.head.is_alive() else None


def folder() -> Path:
    """Where the local cluster's state lies."""
    return home() / "cluster"


def home() -> Path:
    """Where what belongs to this machine's user lies, such as tokens: `~/.recurray`, or what RECURRAY_HOME names."""
    return Path(os.environ.get("RECURRAY_HOME", Path.home() / ".recurray")).resolve()


def _start_head(num_cpus: int | None) -> LocalCluster:
    # /tmp, whatever TMPDIR says: Ray's sockets lie in it and a unix socket's path has about 100 characters.
    temp_dir = Path(tempfile.mkdtemp(prefix="rr-", dir="/tmp"))
    gcs, dashboard, client, agent = free_ports(4)
    token_path = folder() / "token"
    create_token(token_path)
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block"]
    command += [f"--node-ip-address={LOOPBACK}", f"--dashboard-host={LOOPBACK}", f"--temp-dir={temp_dir}"]
    command += [f"--port={gcs}", f"--dashboard-port={dashboard}", f"--ray-client-server-port={client}"]
    command += [f"--dashboard-agent-listen-port={agent}", "--min-worker-port=0", "--max-worker-port=0"]
    command += [f"--object-store-memory={OBJECT_STORE_BYTES}"]
    if num_cpus is not None:
        command += [f"--num-cpus={num_cpus}"]
    with _log_path().open("wb") as log:
        head = subprocess.Popen(
            command,
            env=_head_environment(token_path),
            cwd=temp_dir,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    cluster = LocalCluster(
        Leader.of(head.pid), f"http://{LOOPBACK}:{dashboard}", f"{LOOPBACK}:{gcs}", token_path, temp_dir
    )
    _record(cluster)
    return cluster


def _head_environment(token_path: Path) -> dict[str, str]:
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS", "RAY_AUTH_TOKEN")  # another cluster's
    }
    return environment | {
        **_reaching(token_path),
        # So that `python` in a job is this one, its virtual environment activated or not.
        "PATH": sysconfig.get_path("scripts") + os.pathsep + os.environ.get("PATH", os.defpath),
        "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0",  # there is no other node that work could move to
        "RAY_USAGE_STATS_ENABLED": "0",
    }


def _reaching(token_path: Path) -> dict[str, str]:
    # Ray replaces a loopback node address by the machine's, and then listens on every interface, or looks for the head
    # there, unless clusters of several machines are ruled out; this is the name that the switch has on every system.
    return {**ray_environment(token_path), "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}


def _wait_until_ready(cluster: LocalCluster) -> None:
    import requests

    header = authorization(read_token(cluster.token_path))
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            if requests.get(f"{cluster.address}/api/jobs/", headers=header, timeout=5).ok:
                return
        except requests.RequestException:
            pass  # nothing listens there yet
        if not cluster.head.is_alive():
            raise ClusterError(f"the head node ended while it started: {_last_log_line()} (all of it: {_log_path()}).")
        if time.monotonic() > deadline:
            raise ClusterError(f"the head node did not answer within {START_SECONDS:.0f} s; see {_log_path()}.")
        time.sleep(0.1)


def _end(cluster: LocalCluster) -> None:
    end_session(cluster.head, END_SECONDS)
    _remove_files()


def free_ports(count: int) -> list[int]:
    """Ports that were free a moment ago; held together, so that they differ."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind((LOOPBACK, 0))
        return [one.getsockname()[1] for one in sockets]


@contextmanager
def _alone() -> Iterator[None]:
    """Keeps two commands from starting or ending the cluster at the same time."""
    folder().mkdir(mode=0o700, parents=True, exist_ok=True)
    with (folder() / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ClusterError("another `recurray cluster` command is at work; try again when it has ended.") from None
        yield


def _record_path() -> Path:
    return folder() / "cluster.json"


def _log_path() -> Path:
    return folder() / "head.log"


def _last_log_line() -> str:
    lines = _log_path().read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1] if lines else "it said nothing"


def _record(cluster: LocalCluster) -> None:
    _record_path().write_text(json.dumps(asdict(cluster), default=str, indent=1) + "\n", encoding="utf-8")


def _recorded() -> LocalCluster | None:
    path = _record_path()
    if not path.is_file():
        return None
    fields: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return LocalCluster(
        head=Leader(**fields["head"]),
        address=fields["address"],
        gcs_address=fields["gcs_address"],
        token_path=Path(fields["token_path"]),
        temp_dir=Path(fields["temp_dir"]),
    )


def _remove_files() -> None:
    """Removes the files of a cluster that has ended; its log stays for whoever wonders why it did."""
    cluster = _recorded()
    if cluster is not None and cluster.temp_dir.is_dir():
        shutil.rmtree(cluster.temp_dir)
    _record_path().unlink(missing_ok=True)
    (folder() / "token").unlink(missing_ok=True)
