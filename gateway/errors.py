"""One table: error code to HTTP status; and the one body in which every error reaches a caller."""

from __future__ import annotations

import math
import secrets
import traceback
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any, Final

import msgspec
import structlog
from litestar import Request, Response
from litestar.exceptions import HTTPException

from core.errors import (
    InvalidRequest,
    RequestError,
    SeiketsuError,
)


class PathNotFound(RequestError):
    """There is nothing at this path."""

    code = "not_found"
    action = "Check the path; `/docs` lists every one."


class MethodNotAllowed(RequestError):
    """This path does not take that method."""

    code = "method_not_allowed"
    action = "Use one of the methods in the `Allow` header."


class NotAcceptable(RequestError):
    """None of the audio types in the Accept header is made here."""

    code = "not_acceptable"
    action = "Accept one of the types that the message lists, or name a `format` in the body."


class UnsupportedMediaType(RequestError):
    """The request body is not JSON."""

    code = "unsupported_media_type"
    action = "Send `Content-Type: application/json` and an uncompressed UTF-8 body."


class RangeNotSatisfiable(RequestError):
    """The range lies outside of the audio."""

    code = "range_not_satisfiable"
    action = "Ask for a range inside the size that `Content-Range` names, or for the whole."


class RequestLate(RequestError):
    """The request was not there as a whole in time."""

    code = "request_late"
    action = "Send the whole request at once; SEIKETSU_REQUEST_TIMEOUT says how long it may take."
    retryable = True


class JobUnfinished(RequestError):
    """The job is unfinished, so that it cannot be removed."""

    code = "job_unfinished"
    action = "Cancel it first (`DELETE` without `remove`), or wait until it has ended."


class UpgradeRequired(RequestError):
    """This path is a WebSocket."""

    code = "upgrade_required"
    action = "Connect with a WebSocket client (`ws://` or `wss://`)."


STATUS: Final[dict[str, int]] = {
    "invalid_request": 400,
    "text_empty": 422,
    "text_too_long": 422,
    "unsupported_language": 422,
    "unsupported_format": 422,
    "body_too_large": 413,
    "frame_too_large": 413,
    "request_late": 408,
    "session_in_use": 409,
    "session_expired": 410,
    "taken_over": 409,
    "key_in_url": 400,
    "agent_not_found": 404,
    "agent_exists": 409,
    "agent_changed": 412,
    "too_many_agents": 409,
    "audio_not_found": 404,
    "job_not_found": 404,
    "job_ended": 409,
    "job_unfinished": 409,
    "too_many_texts": 422,
    "too_many_jobs": 429,
    "no_audio_room": 409,
    "audio_too_large": 422,
    "gave_up": 502,
    "not_found": 404,
    "method_not_allowed": 405,
    "not_acceptable": 406,
    "unsupported_media_type": 415,
    "range_not_satisfiable": 416,
    "upgrade_required": 426,
    "access_denied": 403,
    "key_required": 401,
    "key_invalid": 401,
    "token_invalid": 401,
    "origin_refused": 403,
    "busy": 503,
    "session_busy": 503,
    "client_too_slow": 503,
    "sessions_full": 503,
    "too_many_sessions": 429,
    "speech_failed": 502,
    "provider_failed": 502,
    "provider_unavailable": 502,
    "provider_busy": 503,
    "provider_rejected": 502,
    "provider_silent": 504,
    "bad_audio": 502,
    "stream_truncated": 502,
    "all_providers_failed": 502,
    "deadline_exceeded": 504,
    "store_unavailable": 503,
    "configuration_error": 500,
    "internal_error": 500,
}

Headers = list[tuple[bytes, bytes]]

_log = structlog.get_logger("seiketsu.gateway")


class ErrorDetail(msgspec.Struct, frozen=True):
    """What went wrong and what to do about it."""

    code: str
    """Stable; the table of the docs page lists every one."""
    message: str
    """A sentence for people."""
    action: str
    """What to do now, one sentence."""
    retryable: bool
    """Whether the same request may succeed when it is sent again unchanged."""
    request_id: str
    """Name this when you report the error."""


class ErrorBody(msgspec.Struct, frozen=True):
    """The body of every error reply."""

    error: ErrorDetail


class ErrorRow(msgspec.Struct, frozen=True):
    """One line of the table of error codes."""

    code: str
    status: int
    meaning: str
    action: str
    retryable: bool


_encoder = msgspec.json.Encoder()


def new_request_id() -> str:
    """A name for one request, unique over all processes."""
    return "req_" + secrets.token_hex(8)


def status_of(error: SeiketsuError) -> int:
    """The HTTP status of an error."""
    return STATUS.get(error.code, 500)


def error_types() -> Iterator[type[SeiketsuError]]:
    """Every error class of the core and the edge, the root first."""
    pending: list[type[SeiketsuError]] = [SeiketsuError]
    while pending:
        kind = pending.pop(0)
        if kind.__module__.partition(".")[0] in ("core", "gateway"):
            yield kind
        pending.extend(kind.__subclasses__())


def error_table() -> list[ErrorRow]:
    """Every code that a caller can meet, once, ordered by status and code."""
    rows: dict[str, ErrorRow] = {}
    for kind in error_types():
        # A subclass that shares its parent's code says more precisely what it means.
        meaning = (kind.__doc__ or kind.code).strip().splitlines()[0]
        if kind is SeiketsuError:
            meaning = "Something went wrong inside the gateway."
        rows[kind.code] = ErrorRow(
            kind.code, STATUS[kind.code], meaning, kind.action, kind.retryable
        )
    return sorted(rows.values(), key=lambda row: (row.status, row.code))


def error_reply(error: BaseException, request_id: str) -> tuple[int, Headers, bytes]:
    """Status, headers and body of an error; what is not ours is logged as `internal_error`.

    `Retry-After` is there when the error says when to come back, in whole seconds and at least 1.
    """
    if not isinstance(error, SeiketsuError):
        log_unexpected(error, request_id)
        error = SeiketsuError("Something went wrong inside the gateway.")
    status = status_of(error)
    detail = ErrorDetail(error.code, error.message, error.action, error.retryable, request_id)
    body = _encoder.encode(ErrorBody(detail))
    headers: Headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
        (b"x-request-id", request_id.encode()),
    ]
    if error.retry_after_s is not None:
        headers.append((b"retry-after", str(max(1, math.ceil(error.retry_after_s))).encode()))
    if status == HTTPStatus.UNAUTHORIZED:
        headers.append((b"www-authenticate", b"Bearer"))
    if status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        # The rest of the body is not read, so the connection cannot carry another request.
        headers.append((b"connection", b"close"))
    return status, headers, body


def log_unexpected(error: BaseException, request_id: str) -> None:
    """Log an error that nobody foresaw: its type and place; its message might quote a text."""
    frames = traceback.extract_tb(error.__traceback__)[-12:]
    _log.error(
        "unexpected_error",
        request_id=request_id,
        error_type=type(error).__name__,
        where=[f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames],
    )


def _from_litestar(error: HTTPException) -> BaseException:
    if error.status_code == HTTPStatus.NOT_FOUND:
        return PathNotFound()
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        return MethodNotAllowed()
    if HTTPStatus.BAD_REQUEST <= error.status_code < HTTPStatus.INTERNAL_SERVER_ERROR:
        return InvalidRequest("The request's path, query or headers cannot be read.")
    return error


def handle_exception(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """Litestar's exception handler for everything that leaves a route or the router."""
    allow = None
    shown: BaseException = error
    if isinstance(error, HTTPException):
        shown = _from_litestar(error)
        allow = (error.headers or {}).get("allow")
    status, headers, body = error_reply(shown, new_request_id())
    named = {
        name.decode(): value.decode()
        for name, value in headers
        if name not in (b"content-length", b"content-type")
    }
    if allow is not None:
        named["allow"] = allow
    return Response(body, status_code=status, headers=named, media_type="application/json")
