"""A real local cluster: its token, its jobs and its end."""

import importlib
import json
import os
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from recurray.cluster import local
from recurray.cluster.auth import ray_environment, read_token
from recurray.cluster.connect import Cluster, find_cluster
from recurray.cluster.errors import ClusterError
from recurray.cluster.local import LocalCluster, free_ports
from recurray.cluster.processes import Leader, end_session, members
from recurray.cluster.submission import follow, job_details, stop, submit, submitted_jobs
from recurray.cluster.wheel import build_wheel

PROBE = """
import os, sys, ray, recurray.jobs.cli
from importlib.metadata import version
ray.init(log_to_driver=False)
def where():
    import recurray.cluster.errors
    return os.getcwd(), os.environ["RAY_AUTH_MODE"], recurray.cluster.errors.__file__
print("driver", os.getcwd(), recurray.jobs.cli.__file__, version("recurray"))
print("worker", *ray.get(ray.remote(where).remote()))
print("cpus", int(ray.cluster_resources()["CPU"]))
print("argument", sys.argv[1])
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        path = tmp_path_factory.mktemp("home")
        patch.setenv("RECURRAY_HOME", str(path))
        for variable in ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS"):
            patch.delenv(variable, raising=False)
        yield path


@pytest.fixture(scope="module")
def another_ray(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """A head node that is not ours, and its GCS port; it is there first, so that the cluster has to stand beside it."""
    gcs, client, agent = free_ports(3)
    temp_dir = tmp_path_factory.mktemp("ray")
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", "--num-cpus=1"]
    command += [f"--port={gcs}", f"--ray-client-server-port={client}", f"--dashboard-agent-listen-port={agent}"]
    command += ["--include-dashboard=false", "--object-store-memory=100000000", f"--temp-dir={temp_dir}"]
    environment = os.environ | {"RAY_AUTH_MODE": "disabled", "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0"}
    process = subprocess.Popen(command, env=environment, start_new_session=True)
    head = Leader.of(process.pid)
    try:
        wait_until_started(process, temp_dir)
        yield process, gcs
    finally:
        end_session(head, grace=30)
        process.wait()


@pytest.fixture(scope="module")
def started(home: Path, another_ray: object) -> Iterator[LocalCluster]:
    yield local.up(num_cpus=2)
    local.down()  # again, where a test before the one that ends it has failed


@pytest.fixture(scope="module")
def cluster(started: LocalCluster) -> Cluster:
    return find_cluster()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(tmp_path_factory.mktemp("wheel"))


def test_jobs_api_answers_401_without_the_token_and_403_with_a_wrong_one(started: LocalCluster) -> None:
    jobs = f"{started.address}/api/jobs/"
    assert requests.get(jobs, timeout=10).status_code == 401
    assert requests.get(jobs, headers={"Authorization": "Bearer wrong"}, timeout=10).status_code == 403


def test_refused_token_is_one_sentence_that_names_the_variable(started: LocalCluster) -> None:
    with pytest.raises(ClusterError, match="RAY_AUTH_TOKEN_PATH") as raised:
        submitted_jobs(Cluster(started.address))
    assert "\n" not in str(raised.value)


def test_token_is_readable_by_its_owner_only_and_on_no_command_line(started: LocalCluster) -> None:
    assert stat.S_IMODE(started.token_path.stat().st_mode) == 0o600
    token = read_token(started.token_path)
    assert not any(token in " ".join(command_line(process)) for process in members(started.head))


def test_cluster_listens_on_loopback_only(started: LocalCluster) -> None:
    listening = {
        connection.laddr.ip.removeprefix("::ffff:")
        for process in members(started.head)
        for connection in process.net_connections(kind="inet")
        if connection.status == "LISTEN"
    }
    assert listening == {"127.0.0.1"}


def test_second_up_is_refused_with_the_address(started: LocalCluster) -> None:
    with pytest.raises(ClusterError, match=started.address):
        local.up()


def test_job_runs_the_shipped_code_in_the_callers_directory_with_the_token(
    cluster: Cluster,
    wheel: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    directory = tmp_path / "with a space"
    directory.mkdir()
    (directory / "probe.py").write_text(PROBE)
    monkeypatch.chdir(directory)
    job = submit(cluster, ["python", "probe.py", "two words; $HOME"], wheel)
    assert follow(cluster, job) == 0
    log = capsys.readouterr().out
    told = {line.split(" ", 1)[0]: line for line in log.splitlines()}
    assert told["driver"].startswith(f"driver {directory} ")
    assert told["worker"].startswith(f"worker {directory} token ")
    assert "py_modules_files" in told["driver"]
    assert "py_modules_files" in told["worker"]
    assert told["cpus"] == "cpus 2"
    assert told["argument"] == "argument two words; $HOME"
    assert cluster.token_path is not None
    assert read_token(cluster.token_path) not in log + str(job_details(cluster, job))


def test_a_driver_of_ones_own_reaches_the_cluster_with_its_environment(started: LocalCluster) -> None:
    driver = "import ray, sys; ray.init(sys.argv[1], log_to_driver=False); print(int(ray.cluster_resources()['CPU']))"
    command = [sys.executable, "-c", driver, started.gcs_address]
    answer = subprocess.run(command, env=os.environ | started.environment, capture_output=True, text=True, timeout=60)
    assert answer.stdout == "2\n", answer.stderr


def test_exit_status_of_a_failed_job_comes_back(cluster: Cluster, wheel: Path) -> None:
    assert follow(cluster, submit(cluster, ["sh", "-c", "exit 3"], wheel)) == 3


def test_stopped_job_has_the_status_of_sigterm_and_is_listed(cluster: Cluster, wheel: Path) -> None:
    job = submit(cluster, ["sleep", "600"], wheel)
    assert stop(cluster, job)
    assert follow(cluster, job) == 143
    assert not stop(cluster, job)
    assert submitted_jobs(cluster)[-1].submission_id == job


def test_recipe_travels_to_a_cluster_that_is_named_by_rays_own_variables(
    started: LocalCluster, tiny_recipe: Path, tmp_path: Path
) -> None:
    named = {"RECURRAY_HOME": str(tmp_path), "RAY_ADDRESS": started.address, **ray_environment(started.token_path)}
    command = [
        sys.executable,
        "-m",
        "recurray.jobs",
        "submit",
        "train",
        str(tiny_recipe),
        "name=here",
        "--print-config",
    ]
    answer = subprocess.run(command, env=os.environ | named, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
    assert f"train {tiny_recipe.name} name=here --print-config" in answer.stdout
    assert "\nname: here\n" in answer.stdout


def test_unknown_job_is_named(cluster: Cluster) -> None:
    with pytest.raises(ClusterError, match="no-such-job"):
        follow(cluster, "no-such-job")


def test_down_touches_no_process_that_was_given_the_heads_pid(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RECURRAY_HOME", str(tmp_path))
    bystander = subprocess.Popen(["sleep", "600"], start_new_session=True)
    try:
        record = {
            "head": {"pid": bystander.pid, "started": Leader.of(bystander.pid).started - 3600},
            "address": "http://127.0.0.1:1",
            "gcs_address": "127.0.0.1:2",
            "token_path": str(tmp_path / "token"),
            "temp_dir": str(tmp_path / "temp"),
        }
        local.folder().mkdir()
        (local.folder() / "cluster.json").write_text(json.dumps(record))
        assert local.down() is None
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_down_ends_all_its_own_processes_and_no_other_ray(
    started: LocalCluster, cluster: Cluster, wheel: Path, another_ray: tuple[subprocess.Popen[bytes], int]
) -> None:
    submit(cluster, ["python", "-c", "import time; time.sleep(600)", "this job"], wheel)
    own = wait_for_driver(started.head, "this job")

    assert local.down() == started
    assert not any(process.is_running() and process.status() != "zombie" for process in own)
    assert not started.temp_dir.exists()
    assert not started.token_path.exists()
    assert local.status() is None
    other, gcs_port = another_ray
    assert other.poll() is None
    socket.create_connection(("127.0.0.1", gcs_port), timeout=10).close()


def wait_until_started(process: subprocess.Popen[bytes], temp_dir: Path) -> None:
    """Returns when `ray start` has written the node's address, which it does last."""
    while not (temp_dir / "ray_current_cluster").exists():
        assert process.poll() is None, f"the other Ray ended with {process.returncode}"
        time.sleep(0.1)


def wait_for_driver(head: Leader, argument: str) -> set[Any]:
    """The cluster's processes, once a job's driver with this argument is one of them."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        own = members(head)
        if any(argument in command_line(process) for process in own):
            return own
        time.sleep(0.1)
    raise AssertionError(f"no process of the cluster has the argument {argument!r}")


def command_line(process: Any) -> list[str]:
    """Its words; none if it has ended since it was listed."""
    psutil = importlib.import_module("psutil")  # Ray's copy, on the path since Ray was imported
    try:
        return list(process.cmdline())
    except psutil.NoSuchProcess:
        return []
