"""Which cluster a command means, and what it says when that one cannot be reached."""

import socket
from pathlib import Path

import pytest

from recurray.cluster.connect import Cluster, find_cluster, jobs_api
from recurray.cluster.errors import ClusterError


@pytest.fixture(autouse=True)
def no_cluster(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RECURRAY_HOME", str(tmp_path))
    for variable in ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS"):
        monkeypatch.delenv(variable, raising=False)


def test_without_any_cluster_the_error_says_how_to_get_one() -> None:
    with pytest.raises(ClusterError, match="recurray cluster up"):
        find_cluster()


def test_address_option_wins_over_the_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "http://variable:8265")
    assert find_cluster("http://option:8265/") == Cluster("http://option:8265")
    assert find_cluster() == Cluster("http://variable:8265")


def test_address_of_another_kind_is_refused_and_its_origin_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    with pytest.raises(ClusterError, match=r"RAY_ADDRESS is 10\.0\.0\.1:6379"):
        find_cluster()


def test_unreachable_cluster_is_one_sentence_with_its_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "http://somewhere.invalid:8265")
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{closed.getsockname()[1]}"
        with (
            pytest.raises(ClusterError, match=f"no Jobs API answers at {address}") as raised,
            jobs_api(Cluster(address)),
        ):
            pass
    assert "\n" not in str(raised.value)
