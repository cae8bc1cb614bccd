"""One context: buffers text as the vendor does, speaks it piece by piece, in order."""

from __future__ import annotations

import asyncio
import hashlib
import random
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

from benchmarks.emulator.asked import speed_of
from benchmarks.emulator.errors import Refusal
from benchmarks.emulator.faults import AUDIO, FaultRule
from benchmarks.emulator.latency import timing_of
from benchmarks.emulator.sending import spoil, until
from benchmarks.emulator.sockets.asked import (
    VOICE_SETTINGS_CHANGED,
    Message,
    SocketAsked,
    SocketError,
    read_schedule,
)
from benchmarks.emulator.sockets.ending import ends_with
from benchmarks.emulator.sockets.frames import audio_frames, final_frame, id_keys
from benchmarks.emulator.sockets.log import ContextNote
from benchmarks.emulator.sockets.striking import Striking, Struck
from benchmarks.emulator.speech import Wish
from benchmarks.emulator.state import Emulator
from core.text.words import spoken_length

_PIECES_WAITING: Final = 1_000
_TRIGGER_CHARS: Final = 50
"""The minimum above which `try_trigger_generation` forces; assumed."""

Send = Callable[[bytes], Awaitable[None]]


class Context:
    """Messages go in by `take`, frames come out of `run`, which belongs to the socket's group."""

    def __init__(
        self,
        emulator: Emulator,
        asked: SocketAsked,
        first: Message,
        note: ContextNote,
        fault: FaultRule | None,
        send: Send,
        *,
        named: bool,
    ) -> None:
        """`first` is the message that opens it; `named`: frames carry its id.

        Raises:
            SocketError, Refusal, Unprocessable: its settings are not good.
        """
        self.note = note
        self._emulator = emulator
        self._asked = asked
        self._send = send
        self._ids = id_keys(note.id if named else None)
        self._settings = first.voice_settings
        self._speed = speed_of(first.voice_settings or {})
        self._schedule = read_schedule(first.generation_config)
        self._striking = Striking(fault, note, send, named=named)
        self._rng = random.Random(f"{emulator.settings.seed}/{note.id}/{note.opened_s}")
        self._hash = hashlib.sha256()
        self._buffer = ""
        self._pieces: asyncio.Queue[str | None] = asyncio.Queue(_PIECES_WAITING)
        self._generations = 0
        self._charged_chars = 0

    def check(self, message: Message) -> None:
        """Look at a later message.

        Raises:
            SocketError: it changes the voice settings.
        """
        settings = message.voice_settings
        if settings is not None and settings != self._settings:
            raise SocketError(None, VOICE_SETTINGS_CHANGED)

    async def take(self, message: Message) -> None:
        """Buffer a message's text, and hand over what is to be spoken now."""
        note, text = self.note, message.text or ""
        if text:
            note.messages += 1
            note.text_chars += len(text)
            self._hash.update(text.encode("utf-8", "surrogatepass"))
            note.text_sha256 = self._hash.hexdigest()
        if text.strip() or self._buffer:
            self._buffer += text
        trigger = message.try_trigger_generation and len(self._buffer) >= _TRIGGER_CHARS
        if message.flush:
            note.flushes += 1
        if message.flush or trigger or self._asked.auto_mode or self._enough():
            await self.flush()

    async def flush(self) -> None:
        """Hand over all that is buffered."""
        if self._buffer.strip():
            self._generations += 1
            await self._pieces.put(self._buffer)
        self._buffer = ""

    async def close(self) -> None:
        """No more text comes; what was handed over is still spoken, the rest is dropped."""
        self.note.closed_by_client_s = time.monotonic()
        await self._pieces.put(None)

    async def run(self) -> None:
        """Speak until it is closed and all is spoken, then send the final frame.

        Raises:
            Ends: something here ends the whole socket.
        """
        try:
            while (piece := await self._pieces.get()) is not None:
                await self._speak(piece)
            await self._striking.before_final()
        except Struck as struck:
            if not struck.final:
                return
        except Refusal as refusal:
            raise ends_with(refusal) from None
        await self._send(final_frame(self._ids))
        self.note.final_s = time.monotonic()

    def _enough(self) -> bool:
        at = min(self._generations, len(self._schedule) - 1)
        return len(self._buffer) >= self._schedule[at]

    async def _speak(self, piece: str) -> None:
        """Generate one piece; only meanwhile a place of the plan is held."""
        emulator, model = self._emulator, self._asked.model
        self._charge(len(piece))
        async with emulator.account.gate(model.family).place():
            began_s = time.monotonic() + self._striking.delay_s
            settings = emulator.settings
            chars = round(spoken_length(piece))
            timing = timing_of(
                settings.latency, model.family, chars, self._rng, jitter=settings.jitter
            )
            frames = await self._frames(piece)
            step_s = (timing.total_s - timing.first_byte_s) / max(1, len(frames) - 1)
            for at, (frame, size) in enumerate(frames):
                await until(began_s + timing.first_byte_s + at * step_s)
                await self._striking.before_audio()
                await self._send(frame)
                self._count(size)
        self.note.spoken_chars += len(piece)

    async def _frames(self, piece: str) -> list[tuple[bytes, int]]:
        text = piece if piece[-1:].isspace() else piece + " "
        seed = self._rng.getrandbits(32) if self._asked.seed is None else self._asked.seed
        wish = Wish(text, self._asked.wire, self._speed, seed)
        spoken = await self._emulator.speaker.speak(wish)
        kind: Any = self._striking.kind
        if kind == "broken_json":
            frames = audio_frames(text, spoken, self._ids)
            return [(b'{"audio":' + self._rng.randbytes(64).hex().encode(), n) for _, n in frames]
        if kind in AUDIO:
            spoken = spoil(spoken, wish, kind, self._rng)
        return audio_frames(text, spoken, self._ids)

    def _charge(self, chars: int) -> None:
        """Credits of the whole context so far, rounded up, less those already taken."""
        account, model = self._emulator.account, self._asked.model
        price = account.price(model, self._charged_chars + chars) - self.note.credits
        account.charge(price)
        self._charged_chars += chars
        self.note.credits += price

    def _count(self, size: int) -> None:
        if self.note.first_audio_s is None:
            self.note.first_audio_s = time.monotonic()
        self.note.frames += 1
        self.note.audio_bytes += size
