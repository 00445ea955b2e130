"""Serving a model of texts: a Ray Serve application of one door, which HTTP requests come to, and the model's replicas.

A replica joins the texts of all requests that wait into batches; a text's result is the same in any of them.
"""

import asyncio
import logging
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from ray import serve

from recurray.platform.errors import UserError
from recurray.platform.freed_memory import keep_freed_memory
from recurray.platform.inference.door import Door, Terms
from recurray.platform.inference.predicting import predict_records
from recurray.platform.inference.records import Notes
from recurray.platform.inference.summarizer import Summarizer
from recurray.platform.inference.text_model import TextModel
from recurray.platform.inference.translator import Translator
from recurray.platform.saved_model import load_config, model_identity

BATCH_TEXTS = 256
"""Texts that a replica takes at once, at the most."""

REFUSALS = 1000
"""Requests that the door can have in hand beside those in flight, so that it refuses them at once."""

REQUEST_SECONDS = 300.0
"""The longest that a request may take, its way here included; then it is given up and answered with 408."""

DRAIN_SECONDS = 0.1
"""How often a replica that is to end looks whether it is done."""

_NAME = "recurray"

_shutdown: Callable[[], None] = serve.shutdown


@dataclass(frozen=True)
class Service:
    """What models of one task are served as."""

    kind: type[TextModel]
    path: str
    """Where texts are posted."""
    results: str
    """The key of the results in an answer."""


SERVICES = {
    Translator.task: Service(Translator, "/translate", "translations"),
    Summarizer.task: Service(Summarizer, "/summarize", "summaries"),
}


def service_of(model: str) -> Service:
    """What a saved model is served as; UserError where there is no such model, or its task cannot be served."""
    task = load_config(model).task
    if task not in SERVICES:
        raise UserError(f"the model was trained for {task}; what can be served is {' and '.join(SERVICES)}.")
    return SERVICES[task]


def application(model: str, service: Service, workers: int, threads: int, terms: Terms) -> serve.Application:
    """The application for a saved model, which `workers` replicas of `threads` CPUs each can read."""
    calls = (
        terms.max_requests + REFUSALS
    )  # it is the door that counts; nothing may wait for a place before or behind it
    replicas = serve.deployment(
        num_replicas=workers,
        max_ongoing_requests=calls,
        ray_actor_options={"num_cpus": threads},
        graceful_shutdown_wait_loop_s=DRAIN_SECONDS,
    )(Replica)
    door = serve.deployment(
        max_ongoing_requests=calls,
        ray_actor_options={"num_cpus": 0},
        graceful_shutdown_wait_loop_s=DRAIN_SECONDS,
    )(serve.ingress()(Door))
    about = {"task": service.kind.task, "model": model_identity(model), "workers": workers}
    return door.bind(replicas.bind(service.kind, model, threads), service.path, service.results, terms, about)


class Replica:
    """A process with the model in it."""

    def __init__(self, kind: type[TextModel], model: str, threads: int) -> None:
        torch.set_num_threads(threads)
        keep_freed_memory()
        self._model = kind.from_pretrained(model, "cuda" if torch.cuda.is_available() else "cpu")

    async def predict(self, texts: list[str]) -> list[str]:
        """One result a text, in order."""
        return list(await asyncio.gather(*map(self._predict_one, texts)))

    async def is_ready(self) -> bool:
        """Answers at once, also while texts are at work: that is in another thread."""
        return True

    @serve.batch(max_batch_size=BATCH_TEXTS)
    async def _predict_one(self, texts: list[str]) -> list[str]:
        lines = [text.encode() for text in texts]
        found = await asyncio.to_thread(predict_records, self._model, lines, 1, None, Notes())
        return [result for (result,) in found]


@contextmanager
def running(app: serve.Application, host: str, port: int) -> Iterator[None]:
    """Ray Serve with this application alone, listening at an address of the head node; ready within the block.

    At the block's end the requests in flight are answered first. UserError where the cluster has a Ray Serve already.
    """
    logging.getLogger("ray.serve").setLevel(logging.ERROR)
    if serve.status().proxies:
        raise UserError("Ray Serve runs on this cluster already; end it with `serve shutdown`, or use another cluster.")
    serve.start("HeadOnly", {"host": host, "port": port, "request_timeout_s": REQUEST_SECONDS})
    try:
        door = serve.run(app, name=_NAME)
        yield
        door.close.remote().result()
    finally:
        serve.delete(_NAME)
        if "RAY_ADDRESS" in os.environ:  # the embedded Ray ends as a whole, and says less about it
            _shutdown()


def check_address(host: str, port: int) -> None:
    """UserError where this machine cannot listen there: Ray Serve would try again and again."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        with socket.create_server((host, port), family=family):
            pass
    except OSError as fault:
        raise UserError(
            f"--host {host} --port {port}: cannot listen there ({fault.strerror}); choose others."
        ) from None
