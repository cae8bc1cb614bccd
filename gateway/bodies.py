"""What ordinary routes read of a request: who asks, its JSON body, conditions on entity tags."""

from __future__ import annotations

import re
from typing import Any, Final, TypeVar

import msgspec
from litestar import Request

from core.agent_store import Expected
from core.errors import InvalidRequest
from gateway.auth import Principal
from gateway.edge import Edge
from gateway.http import ClientGone, read_body, require_json
from gateway.messages import decode

T = TypeVar("T")

_TAG: Final = re.compile(r'\s*(?:W/)?"(?:[\x21\x23-\x7e]*)"\s*')
_OURS: Final = re.compile(r'"([0-9]{1,15})"')
_MAX_CONDITION_CHARS: Final = 1024

AnyRequest = Request[Any, Any, Any]


def caller(edge: Edge, request: AnyRequest) -> Principal:
    """Who asks; the route's guard has let them in already."""
    return edge.gate.admit(dict(request.scope["headers"]))


async def json_body(request: AnyRequest, decoder: msgspec.json.Decoder[T], max_bytes: int) -> T:
    """The request's body, decoded.

    Raises:
        UnsupportedMediaType: it does not say it is JSON, or is compressed.
        BodyTooLarge: it is larger than `max_bytes`.
        InvalidRequest: it is not JSON, or a field is missing, unknown or of the wrong type.
    """
    headers = dict(request.scope["headers"])
    require_json(headers)
    try:
        body = await read_body(request.receive, headers, max_bytes)
    except ClientGone as error:
        raise InvalidRequest("The body broke off.") from error
    return decode(decoder, body)


def etag_of(revision: int) -> str:
    """The entity tag of a revision."""
    return f'"{revision}"'


def expected_of(request: AnyRequest) -> Expected:
    """What `If-Match` and `If-None-Match` want a write to find.

    Raises:
        InvalidRequest: one of them cannot be read, or both are there.
    """
    if_match = request.headers.get("if-match")
    if_none_match = request.headers.get("if-none-match")
    if if_none_match is not None:
        if if_none_match.strip() != "*" or if_match is not None:
            raise InvalidRequest("A write takes either `If-Match` or `If-None-Match: *`.")
        return "absent"
    if if_match is None:
        return None
    if if_match.strip() == "*":
        return "present"
    tags = if_match[:_MAX_CONDITION_CHARS].split(",")
    if not all(_TAG.fullmatch(tag) for tag in tags):
        raise InvalidRequest('`If-Match` is `*` or an entity tag in quotes, such as `"3"`.')
    # A weak tag or one that is not ours matches nothing.
    return frozenset(int(found[1]) for tag in tags if (found := _OURS.fullmatch(tag.strip())))


def not_modified(request: AnyRequest, revision: int) -> bool:
    """Whether `If-None-Match` says that the caller has this revision."""
    sent = request.headers.get("if-none-match", "")[:_MAX_CONDITION_CHARS]
    tags = {tag.strip().removeprefix("W/") for tag in sent.split(",")}
    return "*" in tags or etag_of(revision) in tags
