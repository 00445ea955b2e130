"""The door of a served model: it reads HTTP requests, refuses what must not come in, and counts."""

import asyncio
import hashlib
import hmac
import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from ray.exceptions import RayActorError, RayTaskError
from ray.serve.exceptions import DeploymentUnavailableError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

HEALTH_SECONDS = 5.0
"""How soon a replica must answer to be called ready."""

_SOON = {"Retry-After": "1"}
_GONE = (RayActorError, DeploymentUnavailableError)

_log = logging.getLogger("ray.serve")


@dataclass(frozen=True)
class Terms:
    """On what terms a request is let in."""

    max_requests: int
    """Requests in flight, at the most."""
    max_bytes: int
    """Bytes of a request's body, at the most."""
    token_digest: bytes | None
    """SHA-256 of the token that requests must carry; None lets in whoever reaches the port."""


def digest_of(token: str) -> bytes:
    """SHA-256 of a token; the token itself would lie in the cluster's memory."""
    return hashlib.sha256(token.encode()).digest()


class Texts(BaseModel):
    """The body of a request."""

    model_config = ConfigDict(extra="forbid", strict=True)

    texts: Annotated[list[str], Field(fail_fast=True)]


class Door:
    """The one process that HTTP requests come to.

    `replicas` is their handle, `path` where texts are posted, `results` the key of their results in an answer, and
    `about` what the health page says of the model.
    """

    def __init__(self, replicas: Any, path: str, results: str, terms: Terms, about: dict[str, Any]) -> None:
        self._replicas = replicas
        self._path = path
        self._results = results
        self._terms = terms
        self._about = about
        self._answers: Counter[int] = Counter()
        self._texts = 0
        self._in_flight = 0
        self._closed = False
        self._idle = asyncio.Event()
        self._idle.set()

    def __serve_build_asgi_app__(self) -> Starlette:
        """What Ray Serve lets answer."""
        routes = [Route(self._path, self._post, methods=["POST"]), Route("/health", self._health)]
        return Starlette(routes=routes, exception_handlers={HTTPException: self._nothing_here})

    async def close(self) -> None:
        """Refuses all requests from now on, and returns when those in flight are answered."""
        self._closed = True
        await self._idle.wait()

    async def _post(self, request: Request) -> JSONResponse:
        try:
            answer = JSONResponse({self._results: await self._answer(request)})
        except HTTPException as refused:
            answer = JSONResponse({"error": refused.detail}, refused.status_code, refused.headers)
        self._answers[answer.status_code] += 1
        return answer

    async def _answer(self, request: Request) -> list[str]:
        self._check_token(request)
        self._check_size(int(request.headers.get("content-length", 0)))
        with self._place():
            texts = _texts(await self._body(request))
            results = await self._predict(texts)
        self._texts += len(texts)
        return results

    async def _health(self, request: Request) -> JSONResponse:
        status = "closing" if self._closed else await self._status_of_replicas()
        counts = {"answers": dict(sorted(self._answers.items())), "texts": self._texts, "in_flight": self._in_flight}
        return JSONResponse({"status": status} | self._about | counts, 200 if status == "ready" else 503)

    def _nothing_here(self, request: Request, fault: Exception) -> JSONResponse:
        """What a wrong path or method is answered."""
        assert isinstance(fault, HTTPException)
        message = f"there is no {request.method} {request.url.path}; POST texts to {self._path}, or GET /health."
        return JSONResponse({"error": message}, fault.status_code, fault.headers)

    async def _status_of_replicas(self) -> str:
        try:
            async with asyncio.timeout(HEALTH_SECONDS):
                await self._replicas.is_ready.remote()
        except (TimeoutError, *_GONE):
            return "no worker answers"
        return "ready"

    def _check_token(self, request: Request) -> None:
        expected = self._terms.token_digest
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        known = expected is None or (scheme.lower() == "bearer" and hmac.compare_digest(digest_of(token), expected))
        if not known:
            message = "the token is missing or wrong; send the header `Authorization: Bearer TOKEN`."
            raise HTTPException(401, message, {"WWW-Authenticate": "Bearer"})

    def _check_size(self, size: int) -> None:
        if size > self._terms.max_bytes:
            message = f"the body has more than {self._terms.max_bytes:,} bytes; send fewer texts in a request."
            raise HTTPException(413, message)

    @contextmanager
    def _place(self) -> Iterator[None]:
        """A place among the requests in flight.

        Ray Serve's own limits count a request when its body has been read, and not exactly where many come at once.
        """
        if self._closed:
            raise HTTPException(503, "the server is stopping; send the request to another.", _SOON)
        if self._in_flight >= self._terms.max_requests:
            message = f"{self._terms.max_requests} requests are in flight, and no more are taken; try again soon."
            raise HTTPException(429, message, _SOON)
        self._in_flight += 1
        self._idle.clear()
        try:
            yield
        finally:
            self._in_flight -= 1
            if not self._in_flight:
                self._idle.set()

    async def _body(self, request: Request) -> bytes:
        """All of the body; one that does not tell its size is read as far as the limit."""
        body = bytearray()
        async for part in request.stream():
            body += part
            self._check_size(len(body))
        return bytes(body)

    async def _predict(self, texts: list[str]) -> list[str]:
        try:
            results: list[str] = await self._replicas.predict.remote(texts)
        except _GONE:
            raise HTTPException(503, "the worker that had the request has ended; send it again.", _SOON) from None
        except RayTaskError:
            _log.exception("the model failed")
            raise HTTPException(500, "the model failed on these texts; the server's log says why.") from None
        return results


def _texts(body: bytes) -> list[str]:
    try:
        return Texts.model_validate_json(body).texts
    except ValidationError as fault:
        first = fault.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        what = f"`{where}`: {first['msg']}" if where else first["msg"]
        raise HTTPException(400, f'{what}; expected {{"texts": ["one", "another"]}}.') from None
