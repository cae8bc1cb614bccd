"""The handshake of a session: who asks, for what, and how it is refused.

It is refused before the connection becomes a WebSocket, so that the client gets the status and the
body that every error has.
"""

from __future__ import annotations

import hmac
import re
from typing import Any, Final
from urllib.parse import parse_qsl

import msgspec
from litestar.types import Scope

from core.agents import DEFAULT_AGENTS
from core.conversation.audio_frames import encoding_of
from core.conversation.configuring import checked
from core.conversation.journal_records import read_head
from core.conversation.journal_store import Seen, digest_of
from core.conversation.registry import Connection
from core.conversation.state import SessionConfig
from core.errors import InvalidRequest, KeyInUrl, SessionInUse, StoreError, TokenInvalid
from core.session_tokens import SessionTokens, TokenGrant
from core.text.languages import AUTO
from gateway.auth import Principal
from gateway.edge import Edge
from gateway.errors import PathNotFound
from gateway.messages_session import SESSION_ID_PATTERN

SUBPROTOCOL: Final = "seiketsu"
TOKEN_PROTOCOL: Final = "seiketsu.token."  # noqa: S105 - a name, no token
RESUME_PROTOCOL: Final = "seiketsu.resume."
_SESSION_ID: Final = re.compile(SESSION_ID_PATTERN)
DEFAULT_AGENT: Final = DEFAULT_AGENTS[0].id
_KEY_NAMES: Final = frozenset(
    {"key", "api_key", "apikey", "api-key", "xi-api-key", "xi_api_key", "authorization"}
)
_KEY_HEADERS: Final = frozenset({b"authorization", b"xi-api-key"})
_PARAMETERS: Final = frozenset(
    {
        *("voice_agent_id", "language", "format", "audio_encoding", "token"),
        *("resume_token", "last_sequence"),
    }
)
_MAX_SEQUENCE: Final = 2**31


class Opening(msgspec.Struct, frozen=True):
    """A session that may be opened."""

    principal: Principal
    session_id: str
    config: SessionConfig
    subprotocol: str | None
    resume_token: str | None = None
    """Takes over what there is of the session."""
    last_sequence: int = 0
    """Of the last event that its client received."""
    expired: bool = False
    """It was to be taken over, and nothing is left of it."""
    beside: Connection | None = None
    """Has that name in this process, and is silent or gives it up."""
    token: str | None = None
    """A session token, to be used up once there is room for the session: who is refused for load
    may come back with it."""


async def open_session(edge: Edge, scope: Scope) -> Opening:
    """Decide about a handshake.

    Raises:
        RequestError, AccessError: it is refused.
        SessionInUse: another has the name.
        StoreError: it brings a token of any kind, and the state database does not answer.
    """
    if not is_session_path(scope):
        raise PathNotFound()
    asked = _query(scope["query_string"])
    headers = dict(scope["headers"])
    offered: list[str] = list(scope.get("subprotocols", []))  # type: ignore[call-overload]
    session_id = scope["path"].strip("/")
    if not _SESSION_ID.fullmatch(session_id):
        raise InvalidRequest("A session id is 1 to 128 letters, digits, `_`, `.`, `:` or `-`.")
    token = _token(asked.get("token"), offered, TOKEN_PROTOCOL)
    resume_token = _token(asked.get("resume_token"), offered, RESUME_PROTOCOL)
    last_sequence = _last_sequence(asked)
    if token is None:
        principal = edge.gate.admit(headers)
        grant = None
    else:
        by_headers = not edge.gate.has_keys or not _KEY_HEADERS.isdisjoint(headers)
        other = edge.gate.admit(headers) if by_headers else None
        grant = await SessionTokens(edge.runtime.state).look(token)
        _check_grant(grant, asked, session_id, other)
        principal = Principal(grant.tenant, grant.key_id)
    agent = asked.get("voice_agent_id") or (grant and grant.voice_agent_id) or DEFAULT_AGENT
    language = asked.get("language") or (grant and grant.language) or AUTO
    config = SessionConfig(
        voice_agent_id=agent,
        language=language,
        format=asked.get("format", "mp3"),
        audio_encoding=encoding_of(asked.get("audio_encoding", "hex")),
        voice_agent_fixed=grant is not None and grant.voice_agent_id is not None,
        language_fixed=grant is not None and grant.language not in (None, AUTO),
    )
    lost = await _lost(edge, principal, session_id, resume_token)
    beside = None
    if lost is None:
        beside = await _silent(edge, principal.tenant, session_id)
        config = await checked(edge.runtime.service, principal.tenant, config)
    else:
        if config.voice_agent_fixed and config.voice_agent_id != lost.voice_agent_id:
            raise TokenInvalid("The token was given for another voice agent.")
        if config.language_fixed and config.language != lost.language:
            raise TokenInvalid("The token was given for another language.")
        config = _with_flags(lost, config)
    opening = Opening(
        principal=principal,
        session_id=session_id,
        config=config,
        subprotocol=SUBPROTOCOL if SUBPROTOCOL in offered else None,
        resume_token=None if lost is None else resume_token,
        last_sequence=last_sequence,
        expired=resume_token is not None and lost is None,
        beside=beside,
        token=token,
    )
    held = edge.sessions.named(principal.tenant, session_id)
    taken = None if opening.resume_token is None else held
    edge.sessions.require_room(principal.key_id, instead_of=taken)
    return opening


async def redeem(edge: Edge, opening: Opening) -> None:
    """Use up the token that it was opened with.

    Raises:
        TokenInvalid: another was quicker.
        StoreError: the state database does not answer.
    """
    if opening.token is not None:
        await SessionTokens(edge.runtime.state).redeem(opening.token)


def fixed(config: SessionConfig, opening: Opening) -> SessionConfig:
    """What is used in a session that was taken over: what was decided about, where the one who
    opens it may not choose."""
    found = _with_flags(config, opening.config)
    if found.voice_agent_fixed:
        found = msgspec.structs.replace(found, voice_agent_id=opening.config.voice_agent_id)
    if found.language_fixed:
        found = msgspec.structs.replace(found, language=opening.config.language)
    return found


def _with_flags(config: SessionConfig, other: SessionConfig) -> SessionConfig:
    return msgspec.structs.replace(
        config,
        voice_agent_fixed=config.voice_agent_fixed or other.voice_agent_fixed,
        language_fixed=config.language_fixed or other.language_fixed,
    )


def is_session_path(scope: Scope) -> bool:
    """Whether the path below the mount is one of ours: a mount gets what only begins like it."""
    return scope["path"].startswith("/")


async def known(edge: Edge, tenant: str, agent: str, language: str) -> str:
    """The language as one of ours or `auto`, after a look whether the agent exists and speaks it.

    Raises:
        UnknownAgent, UnsupportedLanguage: it does not.
        InvalidRequest: one of them is too long to be a name.
    """
    found = await checked(edge.runtime.service, tenant, SessionConfig(agent, language))
    return found.language


def _query(query: bytes) -> dict[str, str]:
    try:
        pairs = parse_qsl(query.decode("ascii"), keep_blank_values=True, max_num_fields=16)
    except ValueError as error:
        raise InvalidRequest("The query cannot be read.") from error
    names = [name for name, _ in pairs]
    if any(name.lower() in _KEY_NAMES for name in names):
        raise KeyInUrl()
    if len(set(names)) != len(names) or not _PARAMETERS.issuperset(names):
        raise InvalidRequest(f"The query may hold, once each: {', '.join(sorted(_PARAMETERS))}.")
    return dict(pairs)


def _token(token: str | None, offered: list[str], prefix: str) -> str | None:
    for name in offered:
        if name.startswith(prefix):
            token = token or name.removeprefix(prefix)
            if SUBPROTOCOL not in offered:
                raise InvalidRequest(
                    f"Offer the subprotocol `{SUBPROTOCOL}` beside the one with the token."
                )
    return token


def _last_sequence(asked: dict[str, str]) -> int:
    text = asked.get("last_sequence", "0")
    if not (text.isascii() and text.isdigit() and len(text) <= 10) or int(text) > _MAX_SEQUENCE:
        raise InvalidRequest("`last_sequence` is the number of an event: 0 where none came.")
    return int(text)


async def _lost(
    edge: Edge, principal: Principal, session_id: str, resume_token: str | None
) -> SessionConfig | None:
    """What is used in the session that is to be taken over; None: a new one begins.

    Raises:
        SessionInUse: there is a session of that name, and the token is not its last one.
        StoreError: it cannot be looked for.
    """
    journals = edge.journals
    if resume_token is None:
        if not journals.well:
            return None
        try:
            seen = await journals.look(principal.tenant, session_id, wait=True)
        except StoreError:
            return None  # it goes on, and cannot be regained for now
    else:
        seen = await _opened(edge, principal, session_id, resume_token)
    if seen is None:
        return None
    in_use = SessionInUse(retry_after_s=seen.lives_s)
    if resume_token is None or not seen.opens_with(resume_token):
        raise in_use
    try:
        head = read_head(seen.head)
    except msgspec.MsgspecError:
        raise in_use from None
    if head.key_id != principal.key_id:
        raise in_use
    return head.config


async def _opened(edge: Edge, principal: Principal, session_id: str, token: str) -> Seen | None:
    """The journal that a token is to open. Where there is none yet since its session has streamed
    nothing, whoever holds that session here gives it up to the token."""
    held = edge.sessions.named(principal.tenant, session_id)
    journal = None if held is None or held.key_id != principal.key_id else held.journal
    while True:
        if journal is not None:
            await journal.settled()
        begun = journal is not None and journal.active
        seen = await edge.journals.look(principal.tenant, session_id)
        if seen is not None or journal is None:
            return seen
        if journal.active == begun:
            break
    if hmac.compare_digest(journal.hold.digest, digest_of(token)):
        journal.fence()
    return None


async def _silent(edge: Edge, tenant: str, session_id: str) -> Connection | None:
    """Who has that name in this process, where that is no reason to refuse another: its client does
    not answer, or it gives the session up. Of other processes only journals are known.

    Raises:
        SessionInUse: its client is there.
    """
    held = edge.sessions.named(tenant, session_id)
    if held is None or (held.journal is not None and held.journal.fenced):
        return held
    if held.is_there is None or await held.is_there():
        raise SessionInUse()
    return held


def _check_grant(
    grant: TokenGrant, asked: dict[str, str], session_id: str, other: Principal | None
) -> None:
    """Refuse what the token was not given for: a page's visitor holds it, not the page's owner.

    Raises:
        TokenInvalid: another session, agent, language or tenant is asked for.
    """
    if grant.session_id != session_id:
        raise TokenInvalid("The token was given for another session id.")
    if grant.voice_agent_id not in (None, asked.get("voice_agent_id", grant.voice_agent_id)):
        raise TokenInvalid("The token was given for another voice agent.")
    if grant.language not in (None, AUTO, asked.get("language", grant.language)):
        raise TokenInvalid("The token was given for another language.")
    if other is not None and grant.tenant != other.tenant:
        raise TokenInvalid()


def accept_event(opening: Opening) -> Any:
    """The ASGI event that makes the connection a WebSocket."""
    return {"type": "websocket.accept", "subprotocol": opening.subprotocol, "headers": []}
