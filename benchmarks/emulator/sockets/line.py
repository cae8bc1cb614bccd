"""One open socket: reads messages, keeps the contexts, and ends as the vendor does."""

from __future__ import annotations

import asyncio
from typing import Final

from aiohttp import WSMsgType, web

from benchmarks.emulator.catalogue import VOICES
from benchmarks.emulator.errors import Refusal, Unprocessable
from benchmarks.emulator.faults import AT_HANDSHAKE
from benchmarks.emulator.sockets.asked import Message, SocketAsked, SocketError, read_message
from benchmarks.emulator.sockets.context import Context
from benchmarks.emulator.sockets.ending import Ends, ends_with
from benchmarks.emulator.sockets.log import SocketNote, open_context
from benchmarks.emulator.state import Emulator

MOST_CONTEXTS: Final = 5
_DEFAULT_CONTEXT: Final = "default"
"""The id in frames of a context that was opened without one; assumed."""
_ERROR_S: Final = 0.05
"""From the messages to the frame that refuses voice or key, as recorded."""
_CLOSED: Final = (WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED, WSMsgType.ERROR)


class Line:
    """`run` ends with an `Ends` that says how the socket is to be closed."""

    def __init__(
        self,
        emulator: Emulator,
        socket: web.WebSocketResponse,
        asked: SocketAsked,
        note: SocketNote,
        *,
        many: bool,
    ) -> None:
        """`many`: `multi-stream-input`, else the one with a single context."""
        self._emulator = emulator
        self._socket = socket
        self._asked = asked
        self._note = note
        self._many = many
        self._open: dict[str, Context] = {}
        """By id: contexts that take text."""
        self._finishing = False
        self._group = asyncio.TaskGroup()

    async def run(self) -> Ends:
        """Serve until something ends it; all its tasks have ended then."""
        try:
            async with self._group:
                await self._read()
        except* Ends as group:
            found = group.exceptions[0]
            while isinstance(found, BaseExceptionGroup):
                found = found.exceptions[0]
            assert isinstance(found, Ends)
            ends = found
        return ends

    async def _read(self) -> None:
        try:
            message = await self._receive()
            await self._admit(message)
            while True:
                await (self._take_of_many(message) if self._many else self._take(message))
                message = await self._receive()
        except (SocketError, Refusal) as error:
            raise ends_with(error) from None
        except Unprocessable as wrong:
            refused = SocketError("invalid_parameters", str(wrong.fields[0]["msg"]))
            raise ends_with(refused) from None

    async def _receive(self) -> Message:
        """The next message.

        Raises:
            SocketError: none came in time, or it is no message.
            Ends: the client is gone.
        """
        timeout_s = self._asked.inactivity_s
        try:
            async with asyncio.timeout(timeout_s):
                received = await self._socket.receive()
        except TimeoutError:
            raise SocketError(
                "input_timeout_exceeded",
                f"Have not received a new text input within the timeout of {timeout_s:.1f} "
                "seconds. Streaming input terminated.",
            ) from None
        if received.type in _CLOSED:
            raise Ends()
        self._note.messages += 1
        return read_message(received.data)

    async def _admit(self, first: Message) -> None:
        """Check key and voice, which the vendor does after the upgrade.

        Raises:
            SocketError: one of them is not good.
        """
        bearer = (first.authorization or "").removeprefix("Bearer ").strip()
        key = self._asked.key or first.key or first.key_ or bearer
        try:
            self._emulator.account.check_key(key)
            if self._asked.voice_id in VOICES:
                return
            missing = f"A voice with voice_id {self._asked.voice_id} does not exist."
            error = SocketError("voice_id_does_not_exist", missing)
        except Refusal as refusal:
            code = "invalid_api_key" if key else "authentication_required"
            error = SocketError(code, refusal.kind.message)
        if self._emulator.settings.latency != "none":
            await asyncio.sleep(_ERROR_S)
        raise error

    async def _take(self, message: Message) -> None:
        """A message of `stream-input`: an empty text without `flush` is the end of the text."""
        if self._finishing:
            return
        context = self._open.get(_DEFAULT_CONTEXT)
        if context is None:
            context = self._open_context(_DEFAULT_CONTEXT, message)
        else:
            context.check(message)
        await context.take(message)
        if message.text == "" and not message.flush:
            await self._finish()

    async def _take_of_many(self, message: Message) -> None:
        """A message of `multi-stream-input`.

        What does not begin with text opens nothing: a keep-alive, flush or close of a context that
        is not there is ignored. That is assumed.
        """
        if self._finishing:
            return
        if message.close_socket:
            await self._finish()
            return
        context_id = message.context_id or _DEFAULT_CONTEXT
        context = self._open.get(context_id)
        if message.close_context:
            if context is not None:
                await self._close(context)
            return
        if context is None:
            if not message.text:
                return
            context = self._open_context(context_id, message)
        else:
            context.check(message)
        await context.take(message)

    def _open_context(self, context_id: str, message: Message) -> Context:
        if self._note.active >= MOST_CONTEXTS:
            raise SocketError(
                "max_active_conversations",
                f"Maximum simultaneous contexts per WebSocket connection exceeded "
                f"({MOST_CONTEXTS}). Close a context before opening another.",
            )
        fault = self._emulator.faults.draw(
            self._note.route, self._note.voice_id, without=AT_HANDSHAKE
        )
        note = open_context(self._note, context_id)
        context = Context(
            self._emulator, self._asked, message, note, fault, self._send, named=self._many
        )
        self._open[context_id] = context
        self._group.create_task(self._run(context))
        return context

    async def _run(self, context: Context) -> None:
        await context.run()
        # A context counts until here, not until its close was asked for.
        self._note.active -= 1
        self._note.ended += context.note.final_s is not None
        if self._open.get(context.note.id) is context:
            del self._open[context.note.id]
        self._leave_when_done()

    async def _close(self, context: Context) -> None:
        del self._open[context.note.id]
        self._note.closed_by_client += 1
        await context.close()

    async def _finish(self) -> None:
        """Speak all that is buffered, end all contexts, then the socket."""
        self._finishing = True
        for context in list(self._open.values()):
            await context.flush()
            await self._close(context)
        self._leave_when_done()

    def _leave_when_done(self) -> None:
        if self._finishing and not self._note.active:
            raise Ends(1000)

    async def _send(self, frame: bytes) -> None:
        try:
            await self._socket.send_frame(frame, WSMsgType.TEXT)
        except ConnectionError:
            raise Ends() from None
