"""The vendor's errors: statuses, types, codes and body shapes, by code name.

Statuses are the observed ones where observation and documentation differ (a well-formed wrong key
is 400, spent credits are 401, a missing field is 422). Some answers have older shapes, as they are
still met: `legacy` has only status and message, `plain` a bare string, `fields` FastAPI's list.
"""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec

Shape = Literal["envelope", "legacy", "plain", "fields"]


class ErrorKind(msgspec.Struct, frozen=True):
    """How one code is answered."""

    http_status: int
    type: str
    message: str
    shape: Shape = "envelope"
    code: str | None = None
    """The code in the body where it differs from the name."""


def _kind(
    http_status: int, type_: str, message: str, shape: Shape = "envelope", code: str | None = None
) -> ErrorKind:
    return ErrorKind(http_status, type_, message, shape, code)


_BAD = "validation_error"
_AUTH = "authentication_error"
_LOAD = "rate_limit_error"

ERRORS: Final[dict[str, ErrorKind]] = {
    "invalid_api_key": _kind(400, _AUTH, "Invalid API key."),
    "unauthorized": _kind(401, _AUTH, "The API key is malformed."),
    "missing_api_key": _kind(401, _AUTH, "No API key was provided."),
    "legacy_invalid_api_key": _kind(401, _AUTH, "Invalid API key", "legacy", "invalid_api_key"),
    "missing_permissions": _kind(
        401, _AUTH, "The API key you used is missing the permission to execute this operation."
    ),
    "insufficient_credits": _kind(402, "payment_required", "Insufficient credits."),
    "quota_exceeded": _kind(401, "invalid_request", "This request exceeds your quota."),
    "voice_not_found": _kind(404, "not_found", "A voice with that id was not found."),
    "model_not_found": _kind(400, "not_found", "A model with that id was not found."),
    "unsupported_model": _kind(400, _BAD, "This model does not support this endpoint."),
    "subscription_required": _kind(
        403, "authorization_error", "Your subscription does not include this output format."
    ),
    "only_for_creator+": _kind(
        403, "authorization_error", "This voice is available for creator and above.", "legacy"
    ),
    "text_too_long": _kind(400, _BAD, "The text is too long for this model."),
    "max_character_limit_exceeded": _kind(
        400, _BAD, "This request's text has too many characters.", "legacy"
    ),
    "invalid_parameters": _kind(400, _BAD, "A parameter is invalid."),
    "invalid_output_format": _kind(400, _BAD, "The output format is not known."),
    "invalid_voice_settings": _kind(400, _BAD, "A voice setting is out of range."),
    "missing_required_field": _kind(400, _BAD, "A required field is missing."),
    "malformed_json": _kind(400, _BAD, "The request body is not valid JSON."),
    "unprocessable": _kind(422, _BAD, "Field required", "fields"),
    "concurrent_limit_exceeded": _kind(
        429, _LOAD, "Too many concurrent requests: your plan's limit is reached."
    ),
    "too_many_concurrent_requests": _kind(429, _LOAD, "Too many concurrent requests.", "legacy"),
    "rate_limit_exceeded": _kind(429, _LOAD, "Too many requests."),
    "system_busy": _kind(429, _LOAD, "The system is experiencing heavy traffic."),
    "internal_error": _kind(500, "api_error", "An internal error occurred."),
    "plain_error": _kind(500, "api_error", "Internal Server Error", "plain"),
    "service_unavailable": _kind(503, "api_error", "The service is unavailable."),
    "maintenance": _kind(503, "api_error", "The service is under maintenance."),
}


class Refusal(Exception):
    """An answer with one of the codes of `ERRORS`."""

    def __init__(
        self,
        code: str,
        message: str | None = None,
        *,
        param: str | None = None,
        http_status: int | None = None,
    ) -> None:
        kind = ERRORS[code]
        self.code = code
        self.kind = kind
        self.message = message or kind.message
        self.param = param
        self.http_status = http_status or kind.http_status
        super().__init__(self.message)

    def body(self, request_id: str) -> dict[str, Any]:
        """The JSON of the answer; `request_id` is 32 hex digits."""
        named = self.kind.code or self.code
        match self.kind.shape:
            case "plain":
                return {"detail": self.message}
            case "legacy":
                return {"detail": {"status": named, "message": self.message}}
            case "fields":
                return {"detail": [field("text", self.message, "missing")]}
        detail: dict[str, Any] = {
            "type": self.kind.type,
            "code": named,
            "message": self.message,
            "status": named,
            "request_id": request_id,
        }
        if self.param is not None:
            detail["param"] = self.param
        return {"detail": detail}


class Unprocessable(Exception):
    """A 422 with FastAPI's list of fields."""

    def __init__(self, *fields: dict[str, Any]) -> None:
        self.fields = fields
        super().__init__("unprocessable")


def field(name: str | int, message: str, kind: str, *, where: str = "body") -> dict[str, Any]:
    """One entry of a 422 answer."""
    return {"loc": [where, name], "msg": message, "type": kind}
