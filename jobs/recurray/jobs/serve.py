"""Serve a model over HTTP on Ray: texts in, translations or summaries out, with limits and a token."""

import argparse
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from recurray.cluster.auth import create_token, read_token
from recurray.cluster.local import home
from recurray.platform.errors import UserError

if TYPE_CHECKING:
    from recurray.platform.inference.door import Terms

TOKEN_VARIABLE = "RECURRAY_SERVE_TOKEN"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `recurray serve`."""
    parser.add_argument("model", help="a saved model's folder, such as runs/demo/model, or its URI")
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on; 0.0.0.0 for all (default: %(default)s)"
    )
    parser.add_argument("--port", type=int, default=8000, help="(default: %(default)s)")
    parser.add_argument("--workers", type=int, default=2, help="replicas of the model (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads a replica (default: %(default)s)")
    parser.add_argument(
        "--max-requests",
        type=int,
        default=64,
        help="requests in flight; more are refused with 429 (default: %(default)s)",
    )
    parser.add_argument(
        "--max-bytes",
        type=int,
        default=10**6,
        help="size of a request; more is refused with 413 (default: %(default)s)",
    )
    token = parser.add_mutually_exclusive_group()
    token.add_argument(
        "--token-file",
        type=Path,
        help=f"file with the token that requests must carry (default: what {TOKEN_VARIABLE} holds, else a token that "
        "is made once and kept in ~/.recurray/serve/token)",
    )
    token.add_argument("--no-token", action="store_true", help="answer whoever reaches the port")


def run(arguments: argparse.Namespace) -> int:
    """`recurray serve`."""
    for option in ("port", "workers", "threads", "max_requests", "max_bytes"):
        if getattr(arguments, option) < 1:
            raise UserError(f"--{option.replace('_', '-')} {getattr(arguments, option)}: expected 1 or more.")
    token, origin = (None, "no token is needed") if arguments.no_token else find_token(arguments.token_file)

    from recurray.platform.inference.door import Terms, digest_of

    terms = Terms(arguments.max_requests, arguments.max_bytes, None if token is None else digest_of(token))
    print(f"starting; {origin}", flush=True)
    serve(
        arguments.model,
        terms,
        host=arguments.host,
        port=arguments.port,
        workers=arguments.workers,
        threads=arguments.threads,
    )
    return 0


def find_token(file: Path | None) -> tuple[str, str]:
    """The token that requests must carry, and a sentence that says where it lies; UserError for a file without one."""
    if file is None and (token := os.environ.pop(TOKEN_VARIABLE, "")):  # Ray's processes need not inherit it
        return token, f"the token is what {TOKEN_VARIABLE} holds"
    path = file or home() / "serve" / "token"
    if file is None and not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        create_token(path)
    return read_token(path), f"the token lies in {path}"


def serve(model: str | Path, terms: "Terms", *, host: str, port: int, workers: int, threads: int) -> None:
    """Serves a saved model until SIGINT or SIGTERM; requests in flight are answered before it returns.

    UserError for a model that will not do, and where the address or the cluster's Ray Serve is taken.
    """
    from recurray.platform.inference.serving import application, check_address, running, service_of
    from recurray.platform.ray_session import ray_session
    from recurray.platform.signals import stops_on_signals
    from recurray.platform.storage import absolute_place

    place = absolute_place(model)
    service = service_of(place)
    service.kind.from_pretrained(place)  # a damaged model is named before anything is started
    app = application(place, service, workers, threads, terms)
    if "RAY_ADDRESS" not in os.environ:  # else it is the head node that listens
        check_address(host, port)
    asked = threading.Event()
    with (
        ray_session(workers * threads),
        stops_on_signals(asked.set, "stopping when the requests in flight are answered"),
        running(app, host, port),
    ):
        print(f"serving http://{host}:{port}{service.path}", flush=True)
        asked.wait()
