"""What a client of a session sends, taken one message after the other."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

from msgspec import UNSET, UnsetType

from core.conversation.commands import Command, command_id_of, decode_command
from core.errors import InvalidRequest, SeiketsuError

MAX_BAD_MESSAGES: Final = 20
"""Messages in a row that cannot be read; then the session is closed."""


class Reading:
    """Hands commands to `handle`, and what is none to `refuse`."""

    __slots__ = ("_bad", "_handle", "_refuse")

    def __init__(
        self,
        handle: Callable[[Command], Awaitable[None]],
        refuse: Callable[[SeiketsuError, str | UnsetType], Awaitable[None]],
    ) -> None:
        self._handle = handle
        self._refuse = refuse
        self._bad = 0

    async def take(self, message: Any) -> bool:
        """Carry an ASGI message out; False where too many could not be read.

        Raises:
            ClientLost: the client cannot be reached any more.
        """
        text = message.get("text")
        try:
            if text is None:
                raise InvalidRequest("Commands are JSON in text frames; this frame is binary.")
            command = decode_command(text)
        except InvalidRequest as error:
            self._bad += 1
            await self._refuse(error, UNSET if text is None else command_id_of(text))
            return self._bad < MAX_BAD_MESSAGES
        self._bad = 0
        await self._handle(command)
        return True
