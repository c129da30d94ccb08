"""The service over HTTP. Annotations are looked at while it runs, so that they are no texts in this file."""

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final

from cuvee.errors import CuveeError, Fault, InputError, ResourceError, UsageError
from cuvee.serving.metrics import Metrics
from cuvee.serving.service import Service
from cuvee.serving.wire import as_json, is_token, not_allowed, said_of, status_of

Step = Callable[[bytes], dict[str, Any]]

_BUSY: Final = "try again in a second"
_GONE: Final = 499
"""What is counted, and told to nobody, where a client went before its request was there."""
_log = logging.getLogger("cuvee.serving")


class _Desk:
    """Takes requests in, as many as the limits say, and hands them to threads."""

    def __init__(self, service: Service, metrics: Metrics) -> None:
        self.service = service
        self.metrics = metrics
        self._limits = service.limits
        self._under_way = 0
        self._readers = ThreadPoolExecutor(service.limits.threads, "cuvee-predict")
        self._writer = ThreadPoolExecutor(1, "cuvee-change")

    async def take(self, request: Any, path: str, step: Step, *, changes: bool = False, body: bool = True) -> Any:
        """Answer one request, or say what is wrong with it."""
        began = time.perf_counter()
        status, rows, said, headers = 500, 0, b"", {}
        self._under_way += 1
        self.metrics.began(self._under_way)
        try:
            said, rows = await self._answer(request, step, changes=changes, body=body)
            status = 200
        except CuveeError as error:
            status, said = status_of(error), as_json(said_of(error))
            if status == 429:
                headers["Retry-After"] = "1"
            if status == 403 and changes and self.service.token is not None and not self._may(request):
                status, headers["WWW-Authenticate"] = 401, "Bearer"
        except Exception as error:  # a fault of ours: told without its inner parts, which the log has
            if _is_gone(error):
                status = _GONE
            else:
                _log.exception("a request to %s failed", path)
            fault = Fault("member-failed", f"the service failed: {type(error).__name__}")
            said = as_json(said_of(InputError(fault)))
        finally:
            self._under_way -= 1
            self.metrics.began(self._under_way)
            self.metrics.answered(path, status, time.perf_counter() - began, rows)
        return _response(said, status, headers)

    async def _answer(self, request: Any, step: Step, *, changes: bool, body: bool) -> tuple[bytes, int]:
        """The answer as JSON, made by the thread that made the answer, and its rows."""
        if self._under_way > self._limits.at_once:
            message = f"the service answers {self._limits.at_once:,} requests at a time"
            raise ResourceError(Fault("busy", message, hint=_BUSY))
        if changes:
            self._check_may(request)
        raw = await self._body(request) if body else b""
        pool = self._writer if changes else self._readers
        return await asyncio.get_running_loop().run_in_executor(pool, _said, step, raw)

    async def _body(self, request: Any) -> bytes:
        """The body, no more of it than is allowed.

        Raises:
            InputError: `too-large`; `bad-data`: it did not come in time.
        """
        most, found = self._limits.max_bytes, bytearray()
        length = request.headers.get("content-length", "")
        if length.isdecimal() and (len(length) > 18 or int(length) > most):
            raise _too_large(most)
        try:
            async with asyncio.timeout(self._limits.read_seconds):
                async for piece in request.stream():
                    found += piece
                    if len(found) > most:
                        raise _too_large(most)
        except TimeoutError:
            message = f"the body should come within {self._limits.read_seconds:g} seconds"
            raise InputError(Fault("bad-data", message)) from None
        return bytes(found)

    def _may(self, request: Any) -> bool:
        token = self.service.token
        return token is not None and is_token(request.headers.get("authorization"), token)

    def _check_may(self, request: Any) -> None:
        if self.service.token is None:
            raise not_allowed("members cannot be changed: the service has no token", "start it with --token-file FILE")
        if not self._may(request):
            hint = "send the header `Authorization: Bearer TOKEN`"
            raise not_allowed("members can only be changed by who bears the token", hint)

    def close(self) -> None:
        """Let the answers under way finish."""
        self._readers.shutdown()
        self._writer.shutdown()


def _said(step: Step, raw: bytes) -> tuple[bytes, int]:
    said = step(raw)
    return as_json(said), said.get("rows", 0)


def make_application(service: Service) -> Any:
    """The application of a service, for uvicorn or any other server of ASGI.

    Raises:
        UsageError: `missing-extra`: FastAPI is not installed.
    """
    try:
        from fastapi import FastAPI
    except ImportError as error:
        message = "the service needs FastAPI, which is not installed"
        raise UsageError(Fault("missing-extra", message, hint="pip install 'cuvee[serve]'")) from error
    from contextlib import asynccontextmanager

    metrics = Metrics(service)
    desk = _Desk(service, metrics)

    @asynccontextmanager
    async def life(_: FastAPI) -> Any:
        yield
        desk.close()

    app = FastAPI(title="Cuvee", lifespan=life, docs_url=None, redoc_url=None)

    _add_faults(app)
    _add_questions(app, desk)
    _add_changes(app, desk)
    _add_states(app, service, metrics)
    return app


def _add_faults(app: Any) -> None:
    """Paths and methods that there are not are told as every other fault is."""
    from starlette.exceptions import HTTPException

    async def told(request: Any, error: HTTPException) -> Any:
        what = f"{request.method} {request.url.path}"
        message = f"there is no {what:.200}: {error.detail}"
        hint = "POST /predict and /explain; GET, POST and DELETE /members; GET /health, /ready and /metrics"
        said = said_of(UsageError(Fault("bad-argument", message, hint=hint)))
        return _response(as_json(said), error.status_code, dict(error.headers or {}))

    app.add_exception_handler(HTTPException, told)


def _add_questions(app: Any, desk: _Desk) -> None:
    from fastapi import Request

    service = desk.service

    async def predict(request: Request) -> Any:
        return await desk.take(request, "/predict", service.predict)

    async def explain(request: Request) -> Any:
        return await desk.take(request, "/explain", service.explain)

    async def members(request: Request) -> Any:
        return await desk.take(request, "/members", lambda _: service.members(), body=False)

    app.add_api_route("/predict", predict, methods=["POST"])
    app.add_api_route("/explain", explain, methods=["POST"])
    app.add_api_route("/members", members, methods=["GET"])


def _add_changes(app: Any, desk: _Desk) -> None:
    from fastapi import Request

    async def add(request: Request) -> Any:
        return await desk.take(request, "/members", desk.service.add, changes=True)

    async def remove(request: Request, name: str) -> Any:
        step = partial(_removed, desk.service, name)
        return await desk.take(request, "/members/{name}", step, changes=True, body=False)

    app.add_api_route("/members", add, methods=["POST"])
    app.add_api_route("/members/{name:path}", remove, methods=["DELETE"])


def _add_states(app: Any, service: Service, metrics: Metrics) -> None:
    from fastapi import Response

    async def health() -> Any:
        return _response(as_json({"status": "ok"}), 200, {})

    async def ready() -> Any:
        is_ready = service.is_ready
        return _response(as_json({"ready": is_ready}), 200 if is_ready else 503, {})

    async def measured() -> Any:
        return Response(metrics.text(), media_type=metrics.content_type)

    app.add_api_route("/health", health, methods=["GET"])
    app.add_api_route("/ready", ready, methods=["GET"])
    app.add_api_route("/metrics", measured, methods=["GET"])


def _is_gone(error: Exception) -> bool:
    from starlette.requests import ClientDisconnect

    return isinstance(error, ClientDisconnect)


def _removed(service: Service, name: str, _: bytes) -> dict[str, Any]:
    return service.remove(name)


def _too_large(most: int) -> InputError:
    message = f"the body of a request has at most {most:,} bytes"
    return InputError(Fault("too-large", message, hint="send the rows in several requests"))


def _response(said: bytes, status: int, headers: dict[str, str]) -> Any:
    from fastapi import Response

    return Response(said, status, headers, "application/json")
