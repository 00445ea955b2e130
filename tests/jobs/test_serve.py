"""A real `recurray serve` with the tiny model, over HTTP."""

import http.client
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import requests
from tests.faults.kills import wait_until

from recurray.cluster.local import free_ports
from recurray.jobs.cli import main
from recurray.jobs.serve import TOKEN_VARIABLE, find_token
from recurray.platform.inference.translator import Translator

TOKEN = "a-token-of-the-tests"
MAX_REQUESTS, MAX_BYTES = 8, 1_000_000
TEST_SET = Path(__file__).parents[1] / "data" / "test.en"
LINES = [line for line in TEST_SET.read_text().splitlines() if len(line) < 100]  # none that is split

wait_a_minute = partial(wait_until, seconds=0.05, at_most=60)


@dataclass(frozen=True)
class Server:
    process: subprocess.Popen[bytes]
    port: int
    log: Path

    def get_health(self) -> requests.Response:
        return requests.get(f"http://127.0.0.1:{self.port}/health", timeout=30)

    def health(self) -> dict[str, Any]:
        return dict(self.get_health().json())

    def post(self, body: object, token: str | None = TOKEN, path: str = "translate") -> requests.Response:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return requests.post(f"http://127.0.0.1:{self.port}/{path}", data=data, headers=headers, timeout=60)


@pytest.fixture(scope="module")
def server(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    port, log = free_ports(1)[0], tmp_path_factory.mktemp("serve") / "log"
    command = [sys.executable, "-m", "recurray.jobs", "serve", str(tiny_model), f"--port={port}", "--workers=2"]
    command += [f"--max-requests={MAX_REQUESTS}", f"--max-bytes={MAX_BYTES}"]
    environment = {key: value for key, value in os.environ.items() if key != "RAY_ADDRESS"} | {TOKEN_VARIABLE: TOKEN}
    with log.open("wb") as file:
        process = subprocess.Popen(command, env=environment, stdout=file, stderr=subprocess.STDOUT)
    server = Server(process, port, log)
    try:
        wait_until(lambda: "\nserving http" in log.read_text() or process.poll() is not None, 0.05, at_most=300)
        assert process.poll() is None, log.read_text()
        yield server
    finally:
        process.terminate()
        process.wait(timeout=60)


@pytest.fixture(scope="module")
def translator(tiny_model: Path) -> Translator:
    return Translator.from_pretrained(tiny_model)


def test_texts_come_back_in_order_one_for_each_whatever_they_hold(server: Server, translator: Translator) -> None:
    texts = [LINES[0], "", " \t ", "Turn\non\u2028the\x00light", "The device is not available. " * 60, LINES[1]]
    answer = server.post({"texts": texts})
    assert answer.status_code == 200
    results = answer.json()["translations"]
    assert len(results) == len(texts)
    assert [results[0], results[3], results[5]] == translator.translate([LINES[0], "Turn on the light", LINES[1]])
    assert results[1:3] == ["", ""]
    assert server.post({"texts": []}).json() == {"translations": []}


def test_health_names_the_model_and_needs_no_token(server: Server, tiny_model: Path) -> None:
    from recurray.platform.saved_model import model_identity

    answer = server.get_health()
    assert answer.status_code == 200
    assert answer.json()["status"] == "ready"
    assert answer.json()["model"] == model_identity(tiny_model)


def test_a_flood_of_200_requests_is_answered_or_refused_and_none_is_lost(
    server: Server, translator: Translator
) -> None:
    before = Counter(server.health()["answers"])
    start = threading.Barrier(200)

    def request(number: int) -> requests.Response:
        start.wait()
        return server.post({"texts": LINES[number : number + 5]})

    with ThreadPoolExecutor(200) as pool:
        answers = list(pool.map(request, range(200)))
    statuses = Counter(answer.status_code for answer in answers)
    assert set(statuses) == {200, 429}
    assert statuses[200] >= MAX_REQUESTS
    alone = translator.translate(LINES[:205])
    for number, answer in enumerate(answers):
        if answer.status_code == 200:
            assert answer.json() == {"translations": alone[number : number + 5]}
        else:
            assert answer.headers["Retry-After"] == "1"
            assert "8 requests are in flight" in answer.json()["error"]
    health = server.health()
    assert health["in_flight"] == 0
    assert Counter(health["answers"]) - before == {str(status): count for status, count in statuses.items()}


def test_one_request_more_than_allowed_is_refused_and_those_in_flight_are_not(server: Server) -> None:
    waiting = [Unfinished(server.port) for _ in range(MAX_REQUESTS)]
    wait_a_minute(lambda: server.health()["in_flight"] == MAX_REQUESTS)
    assert server.post({"texts": ["x"]}).status_code == 429
    assert [request.finish() for request in waiting] == [200] * MAX_REQUESTS
    assert server.post({"texts": ["x"]}).status_code == 200


def test_without_the_token_there_is_no_translation(server: Server) -> None:
    for token in (None, "", "wrong", TOKEN + "x", "ä".encode().decode("latin-1")):
        answer = server.post({"texts": ["x"]}, token)
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert "token" in answer.json()["error"]


def test_rays_processes_and_the_log_do_not_hold_the_token(server: Server) -> None:
    importlib.import_module("ray")  # it has a copy of psutil, and puts it on the path
    psutil = importlib.import_module("psutil")
    children = psutil.Process(server.process.pid).children(recursive=True)
    held = [f"{child.cmdline()} {child.environ()}" for child in children if child.status() != "zombie"]
    assert any("ServeReplica" in each for each in held)
    assert TOKEN not in str(held)
    assert TOKEN not in server.log.read_text()


def test_a_body_of_5_mb_is_refused_before_it_is_sent(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.sendall(head(5_000_000))
        assert connection.recv(100).startswith(b"HTTP/1.1 413")


def test_a_body_of_5_mb_that_does_not_tell_its_size_is_refused(server: Server) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    body = (b"x" * 100_000 for _ in range(50))
    answer = requests.post(f"http://127.0.0.1:{server.port}/translate", data=body, headers=headers, timeout=30)
    assert answer.status_code == 413
    assert "1,000,000 bytes" in answer.json()["error"]


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (b"{", "Invalid JSON"),
        (b"\xff", "Invalid JSON"),
        (b"[" * 100_000, "Invalid JSON"),
        ({"text": []}, "`texts`"),
        ({"texts": "x"}, "`texts`"),
        ({"texts": ["x", 1]}, "`texts.1`"),
        ({"texts": ["x"], "beam": 4}, "`beam`"),
    ],
)
def test_a_bad_body_is_answered_with_a_sentence_that_names_the_key(server: Server, body: object, named: str) -> None:
    answer = server.post(body)
    assert answer.status_code == 400
    assert named in answer.json()["error"]


def test_a_wrong_path_or_method_is_answered_with_the_right_ones(server: Server) -> None:
    elsewhere = server.post({"texts": ["x"]}, path="summarize")
    assert elsewhere.status_code == 404
    assert "POST texts to /translate" in elsewhere.json()["error"]
    assert requests.get(f"http://127.0.0.1:{server.port}/translate", timeout=30).status_code == 405


def test_an_address_that_is_taken_is_named(
    server: Server, tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["serve", str(tiny_model), f"--port={server.port}", "--no-token"]) == 2
    assert f"--port {server.port}" in capsys.readouterr().err


def test_sigterm_ends_the_server_when_the_requests_in_flight_are_answered(server: Server) -> None:
    waiting = [Unfinished(server.port) for _ in range(MAX_REQUESTS)]
    wait_a_minute(lambda: server.health()["in_flight"] == MAX_REQUESTS)
    server.process.send_signal(signal.SIGTERM)
    wait_a_minute(lambda: server.health()["status"] == "closing")
    assert server.get_health().status_code == 503
    assert server.post({"texts": ["x"]}).status_code == 503
    assert [request.finish() for request in waiting] == [200] * MAX_REQUESTS
    assert server.process.wait(timeout=60) == 0
    assert "Traceback" not in server.log.read_text()


def test_a_token_is_made_once_and_only_its_owner_may_read_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECURRAY_HOME", str(tmp_path))
    monkeypatch.delenv(TOKEN_VARIABLE, raising=False)
    token, _ = find_token(None)
    assert len(token) == 64
    assert find_token(None)[0] == token
    assert (tmp_path / "serve" / "token").stat().st_mode & 0o777 == 0o600


def test_a_token_file_that_is_not_there_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "x", "--token-file", str(tmp_path / "none")]) == 2
    assert f"{tmp_path / 'none'} holds no token" in capsys.readouterr().err


class Unfinished:
    """A request whose body's last byte is not sent yet."""

    def __init__(self, port: int) -> None:
        body = json.dumps({"texts": LINES[:3]}).encode()
        self._last = body[-1:]
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self._connection.connect()
        self._connection.sock.sendall(head(len(body)) + body[:-1])

    def finish(self) -> int:
        """Sends the last byte and returns the answer's status, when all of it has come."""
        self._connection.sock.sendall(self._last)
        with http.client.HTTPResponse(self._connection.sock) as answer:
            answer.begin()
            if answer.status == 200:
                assert len(json.loads(answer.read())["translations"]) == 3
        self._connection.close()
        return answer.status


def head(size: int) -> bytes:
    """The head of a request with a body of so many bytes."""
    lines = ["POST /translate HTTP/1.1", "Host: 127.0.0.1", f"Authorization: Bearer {TOKEN}", f"Content-Length: {size}"]
    return "".join(line + "\r\n" for line in [*lines, ""]).encode()
