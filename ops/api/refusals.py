"""Errors as answers: each is a JSON object with one sentence, never a stack trace."""

import re
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import psycopg
import structlog
from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException
from litestar.openapi.datastructures import ResponseSpec

from ...contracts.errors import NothingFound, ServerAway, SetupError, UsageError, first_line
from ...db.tables.jobs import JobConflict
from ...db.tables.runs import OtherAsked, RunAlive
from .answers import Refusal
from .live.event_hub import TooManyClients

log = structlog.get_logger()

Handler = Callable[[Request[Any, Any, Any], Any], Response[Refusal]]

WRITE = (400, 401, 413, 415, 422, 503)  # the refusals of each call that changes something

_WHY = {
    400: "the request cannot be read",
    401: "X-API-Key is missing or wrong",
    404: "nothing has this name",
    409: "another run is active (`run_id` names it), or another job has this id, or the job has ended, or the key was "
    "used for another request",
    413: "the body is larger than 64 KiB",
    415: "the body is not application/json",
    422: "a value names something that does not exist, or is out of bounds",
    503: "a server does not answer",
}


_PLAINLY = (  # people read these on the page
    (re.compile(r"Expected `str` of length <= (\d+)"), r"longer than \1 characters"),
    (re.compile(r"Expected `str` of length >= 1\b"), "empty"),
    (re.compile(r"Expected `str` matching regex \S+"), "has a character that is not allowed"),
    (re.compile(r"Invalid RFC3339 encoded datetime"), "not a time such as 2025-11-21T14:31:00Z"),
    (re.compile(r"Invalid RFC3339 encoded date"), "not a day such as 2025-11-21"),
)
# Litestar names a fault by our function's parameter; the caller knows it by another name.
_NAMES = {"start": "from", "end": "to", "idempotency_key": "Idempotency-Key", "data": "the body"}


def refusals(*codes: int) -> dict[int, ResponseSpec]:
    """Describe the refusals of a call for the OpenAPI document."""
    return {code: ResponseSpec(Refusal, generate_examples=False, description=_WHY[code]) for code in sorted(codes)}


def refuse(code: int, message: str, **more: Any) -> Response[Refusal]:
    """Make the answer of a refused call."""
    return Response(Refusal(message=message, **more), status_code=code, media_type="application/json")


def _wrong(request: Request[Any, Any, Any], error: ValidationException) -> Response[Refusal]:  # noqa: ARG001  # Litestar's
    faults = error.extra if isinstance(error.extra, list) else []
    # If any field is wrong and an optional body is missing, Litestar also reports the body, with only its name as text.
    said = [f"{_name_of(one)}: {one['message']}" for one in faults if one["message"] != "'data'"]
    return refuse(422, _plainly("; ".join(said) or error.detail))


def _name_of(fault: Mapping[str, str]) -> str:
    key = fault.get("key", "data")
    return _NAMES.get(key, key)


def _plainly(message: str) -> str:
    for found, words in _PLAINLY:
        message = found.sub(words, message)
    return message


def _http(request: Request[Any, Any, Any], error: HTTPException) -> Response[Refusal]:  # noqa: ARG001
    answer = refuse(error.status_code, error.detail)
    answer.headers.update(error.headers or {})
    return answer


def _alive(request: Request[Any, Any, Any], error: RunAlive) -> Response[Refusal]:  # noqa: ARG001
    return refuse(
        409, f"run {error.run_id} is active, and only one may be: see GET /api/processing/status", run_id=error.run_id
    )


def _away(request: Request[Any, Any, Any], error: Exception) -> Response[Refusal]:  # noqa: ARG001
    answer = refuse(503, first_line(error))
    answer.headers["Retry-After"] = "1"
    return answer


def _of_database(request: Request[Any, Any, Any], error: psycopg.Error) -> Response[Refusal]:
    if isinstance(error, psycopg.DataError):
        return refuse(422, first_line(error))
    log.error("PostgreSQL refuses a statement", path=request.url.path, why=first_line(error))
    return refuse(503, f"PostgreSQL refuses a statement: {first_line(error)}")


def _too_deep(request: Request[Any, Any, Any], error: RecursionError) -> Response[Refusal]:  # noqa: ARG001
    return refuse(400, "the body is nested too deeply")


def _ours(request: Request[Any, Any, Any], error: Exception) -> Response[Refusal]:
    log.error("request failed", path=request.url.path, exc_info=error)
    return refuse(500, "internal error: the server's log has the details")


def _said(code: int) -> Handler:
    return lambda _, error: refuse(code, str(error))


HANDLERS: dict[int | type[Exception], Any] = {
    ValidationException: _wrong,
    HTTPException: _http,
    msgspec.ValidationError: _said(422),
    UsageError: _said(422),
    TooManyClients: _said(503),
    NothingFound: _said(404),
    RunAlive: _alive,
    OtherAsked: _said(409),
    JobConflict: _said(409),
    ServerAway: _away,
    SetupError: _away,
    psycopg.Error: _of_database,
    RecursionError: _too_deep,  # nothing here calls itself but the JSON decoder
    Exception: _ours,
}
