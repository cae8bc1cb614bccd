"""`GET /audio/{id}`: finished audio by its signed link, which is the right to read it."""

from __future__ import annotations

import re
import time
from typing import Annotated, Any, Final

from litestar import Request, Response
from litestar.handlers import HTTPRouteHandler, get, route
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import PathParameter

from core.audio.formats import resolve
from core.results import AudioLink
from gateway.edge import Edge
from gateway.errors import ErrorBody, RangeNotSatisfiable, error_reply, new_request_id

AUDIO_PREFIX: Final = "/api/v1/voice/audio/"
MAX_AGE_S: Final = 300
_ONE_RANGE: Final = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")
_NOT_TAG: Final = re.compile(r"[^A-Za-z0-9._-]")

AudioId = Annotated[
    str, PathParameter(description="The last part of `audio_url`.", max_length=1024)
]
_RESPONSES: Final = {
    200: ResponseSpec(bytes, description="The audio", media_type="audio/mpeg"),
    206: ResponseSpec(bytes, description="The asked range of it", media_type="audio/mpeg"),
    304: ResponseSpec(None, description="The caller has it already", generate_examples=False),
    404: ResponseSpec(ErrorBody, description="Unknown, forged, or past its time"),
    416: ResponseSpec(ErrorBody, description="The range lies outside of the audio"),
    503: ResponseSpec(ErrorBody, description="The result store does not answer"),
}


def audio_path(audio_id: str) -> str:
    """The path of a signed id."""
    return AUDIO_PREFIX + audio_id


def audio_routes(edge: Edge) -> list[HTTPRouteHandler]:
    """Reading results, whole or in part."""

    @get(
        "/audio/{audio_id:str}",
        name="get_audio",
        operation_id="getAudio",
        tags=["Speech"],
        summary="The audio of an earlier reply",
        description="No key is needed: the signed link is the right to read. `ETag` with "
        "`If-None-Match`, single `Range`s and `If-Range` are understood.",
        responses=_RESPONSES,
    )
    async def get_audio(request: Request[Any, Any, Any], audio_id: AudioId) -> Response[bytes]:
        return await _read(edge, request, audio_id, whole_only=False)

    @route("/audio/{audio_id:str}", http_method="HEAD", name="head_audio", include_in_schema=False)
    async def head_audio(request: Request[Any, Any, Any], audio_id: AudioId) -> Response[Any]:
        return await _read(edge, request, audio_id, whole_only=True)

    return [get_audio, head_audio]


async def _read(
    edge: Edge, request: Request[Any, Any, Any], audio_id: str, *, whole_only: bool
) -> Response[bytes]:
    results = edge.runtime.results
    link = await results.open(audio_id)
    headers = _link_headers(link)
    if _matches(request.headers.get("if-none-match"), link.etag):
        return Response(b"", status_code=304, headers=headers)
    stored = await results.fetch(link)
    media_type = resolve(stored.output_format, 0).content_type
    size = len(stored.audio)
    span = None
    asked = request.headers.get("range")
    if asked is not None and not whole_only:
        if_range = request.headers.get("if-range")
        if if_range is None or if_range.strip() == link.etag:
            try:
                span = _span(asked, size)
            except RangeNotSatisfiable as error:
                return _unsatisfiable(error, size)
    if span is None:
        return Response(stored.audio, headers=headers, media_type=media_type)
    first, last = span
    headers["content-range"] = f"bytes {first}-{last}/{size}"
    return Response(
        stored.audio[first : last + 1], status_code=206, headers=headers, media_type=media_type
    )


def _link_headers(link: AudioLink) -> dict[str, str]:
    left_s = max(0, link.expires_unix_s - int(time.time()))
    return {
        "etag": link.etag,
        "accept-ranges": "bytes",
        "cache-control": f"max-age={min(MAX_AGE_S, left_s)}",
        "cache-tag": "agent-" + _NOT_TAG.sub("_", link.agent_id),
        "x-content-type-options": "nosniff",
    }


def _matches(if_none_match: str | None, etag: str) -> bool:
    if if_none_match is None:
        return False
    tags = [tag.strip().removeprefix("W/") for tag in if_none_match.split(",")]
    return "*" in tags or etag in tags


def _span(asked: str, size: int) -> tuple[int, int] | None:
    """First and last byte of a single range; None for anything else, which means the whole.

    Raises:
        RangeNotSatisfiable: the range begins behind the end, or is empty.
    """
    found = _ONE_RANGE.fullmatch(asked.strip())
    if found is None or not (found[1] or found[2]):
        return None
    if not found[1]:
        length = min(int(found[2]), size)
        if length == 0:
            raise RangeNotSatisfiable()
        return size - length, size - 1
    first = int(found[1])
    last = min(int(found[2]), size - 1) if found[2] else size - 1
    if found[2] and int(found[2]) < first:
        return None
    if first >= size:
        raise RangeNotSatisfiable()
    return first, last


def _unsatisfiable(error: RangeNotSatisfiable, size: int) -> Response[bytes]:
    request_id = new_request_id()
    status, _, body = error_reply(error, request_id)
    headers = {
        "content-range": f"bytes */{size}",
        "cache-control": "no-store",
        "x-request-id": request_id,
    }
    return Response(body, status_code=status, headers=headers, media_type="application/json")
