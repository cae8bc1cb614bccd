"""`POST /sessions`: a token that opens one WebSocket session, for clients without headers."""

from __future__ import annotations

import secrets
from typing import Any, Final
from urllib.parse import urlencode

import msgspec
from litestar import Request
from litestar.handlers import HTTPRouteHandler, post
from litestar.openapi.datastructures import ResponseSpec
from litestar.status_codes import HTTP_200_OK

from core.session_tokens import TOKEN_TTL_S, SessionTokens, TokenGrant
from core.text.languages import AUTO
from gateway.edge import Edge
from gateway.errors import ErrorBody
from gateway.handshake import DEFAULT_AGENT, known
from gateway.http import read_body, require_json
from gateway.messages import decode
from gateway.messages_session import SessionReply, SessionRequest

_REFUSALS: Final = {
    400: "The body is not valid",
    401: "No key, or not one of this gateway's",
    403: "Without keys: not from this computer",
    404: "No such voice agent",
    413: "The body is too large",
    415: "The body is not JSON",
    422: "The agent does not speak that language",
    503: "The state database does not answer",
}

_decoder = msgspec.json.Decoder(SessionRequest)


def sessions_route(edge: Edge) -> HTTPRouteHandler:
    """`POST /sessions`."""

    @post(
        "/sessions",
        operation_id="openSession",
        tags=["Sessions"],
        summary="Get a token for a WebSocket session",
        description="For browsers, whose WebSockets carry no headers. A token lives 60 seconds and "
        "opens one session; with a key in the headers none is needed.",
        status_code=HTTP_200_OK,
        guards=[edge.gate.guard],
        security=[{"bearer": []}, {"xiApiKey": []}, {}],
        responses={
            code: ResponseSpec(ErrorBody, description=text) for code, text in _REFUSALS.items()
        },
    )
    async def open_session(request: Request[Any, Any, Any]) -> SessionReply:
        headers = dict(request.scope["headers"])
        principal = edge.gate.admit(headers)
        require_json(headers)
        limit = edge.settings.gateway.max_body_bytes
        asked = decode(_decoder, await read_body(request.receive, headers, limit))
        agent = asked.voice_agent_id or DEFAULT_AGENT
        language = await known(edge, principal.tenant, agent, asked.language or AUTO)
        session_id = asked.session_id or "session_" + secrets.token_hex(12)
        token = await SessionTokens(edge.runtime.state).issue(
            TokenGrant(principal.tenant, principal.key_id, session_id, agent, language)
        )
        scheme = "wss" if request.scope["scheme"] == "https" else "ws"
        host = headers.get(b"host", b"").decode("latin-1")
        query = urlencode({"voice_agent_id": agent, "language": language, "token": token})
        path = f"/api/v1/voice/streaming/stream/{session_id}"
        return SessionReply(session_id, token, TOKEN_TTL_S, f"{scheme}://{host}{path}?{query}")

    return open_session
