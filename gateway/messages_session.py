"""What `POST /sessions` takes and gives, as structs. The session's own messages are the core's
(`core.conversation.events`)."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

SESSION_ID_PATTERN = r"[A-Za-z0-9_.:-]{1,128}"


class SessionRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A session to be opened soon. Null counts as left out."""

    voice_agent_id: (
        Annotated[str, Meta(min_length=1, max_length=128, description="`agent_123` if left out.")]
        | None
    ) = None
    language: (
        Annotated[
            str,
            Meta(min_length=2, max_length=35, description="As in `POST /synthesize`; or `auto`."),
        ]
        | None
    ) = None
    session_id: (
        Annotated[
            str,
            Meta(
                pattern=f"^{SESSION_ID_PATTERN}$",
                description="Your own name for the session; made if left out.",
            ),
        ]
        | None
    ) = None


class SessionReply(msgspec.Struct, frozen=True):
    """A token, and where to use it."""

    session_id: str
    token: Annotated[
        str,
        Meta(
            description="Opens this session once: as `?token=`, or as the subprotocol "
            "`seiketsu.token.TOKEN` beside `seiketsu`."
        ),
    ]
    expires_in_s: int
    websocket_url: Annotated[
        str,
        Meta(
            description="With the token. Behind a proxy that ends TLS its scheme is `wss` instead."
        ),
    ]
