"""`say`: have a text spoken into a file, and see how long it took."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import time
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any, BinaryIO, Final

import msgspec
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from core.audio.formats import FORMATS
from core.text.words import spoken_length
from gateway.client import open_client
from gateway.commands.base import OK, CommandFailed, Commands, Context, Misuse, table

_SUFFIXES: Final = {
    **{".mp3": "mp3", ".wav": "wav", ".ogg": "ogg", ".opus": "ogg", ".pcm": "pcm"},
    **{".ulaw": "ulaw", ".alaw": "alaw"},
}
_LONG_CHARS: Final = 200
"""From this length on a text's progress is shown."""
_CHARS_PER_S: Final = 15.0
"""About how fast people speak; only for the progress bar."""


class Said(msgspec.Struct, frozen=True):
    """How it went; times in milliseconds from just before the request was sent."""

    first_audio_ms: float
    whole_ms: float
    duration_ms: int | None
    cached: bool
    provider: str
    voice: str
    language: str
    format: str
    fallback: bool
    audio_bytes: int
    file: str
    request_id: str


def add(commands: Commands) -> None:
    """Add it."""
    say = commands.add(
        "say",
        _say,
        "Have a text spoken by the running gateway and write the audio to a file.",
        "seiketsu say 'Hello! How can I help you today?' --out hello.mp3",
    )
    say.add_argument("text", metavar="TEXT", help="what to say; - reads it from standard input")
    say.add_argument("--agent", default="agent_123", help="the voice agent (agent_123)")
    say.add_argument("--language", help="en, es, zh or auto: the text decides (auto)")
    say.add_argument("--format", help="such as wav or mp3_44100_128; else the file's ending says")
    say.add_argument(
        "--out", default="speech.mp3", metavar="FILE", help="- is standard output (speech.mp3)"
    )
    say.add_argument("--no-cache", action="store_true", help="speak it anew and keep nothing")


def _say(context: Context, options: argparse.Namespace, _: list[str]) -> int:
    text = sys.stdin.read() if options.text == "-" else options.text
    if options.out == "-" and options.json:
        raise Misuse("Audio and JSON cannot both go to standard output.")
    said = asyncio.run(_speak(context, options, text))
    rows = [
        ("first audio", f"{said.first_audio_ms:.0f} ms"),
        ("whole", f"{said.whole_ms:.0f} ms"),
        ("speech", None if said.duration_ms is None else f"{said.duration_ms / 1000:.1f} s"),
        ("cached", "yes" if said.cached else "no"),
        ("spoken by", f"{said.provider} {said.voice}" + (" (fallback)" if said.fallback else "")),
        ("language", said.language),
        ("file", f"{said.file} ({said.audio_bytes} bytes, {said.format})"),
    ]
    shown = table(("", ""), rows)
    shown.show_header = False
    if options.out == "-":
        context.terminal.err.print(shown)
    else:
        context.terminal.show(said, shown)
    return OK


async def _speak(context: Context, options: argparse.Namespace, text: str) -> Said:
    body: dict[str, Any] = {
        "text": text,
        "voice_agent_id": options.agent,
        "format": options.format or _SUFFIXES.get(Path(options.out).suffix.lower(), "mp3"),
        "enable_caching": not options.no_cache,
    }
    if options.language:
        body["language"] = options.language
    started_s = time.perf_counter()
    first_s: float | None = None
    size = 0
    path = "/streaming/synthesize/streaming"
    async with (
        open_client(context.settings()) as client,
        client.reply("POST", path, body) as reply,
    ):
        with _Target(options.out) as target, _progress(context, text) as bar:
            async for piece in reply.content.iter_any():
                first_s = first_s or time.perf_counter()
                size += len(piece)
                # To a file or a pipe, by a command that does nothing else meanwhile.
                target.write(piece)
                if bar is not None:
                    heard_ms = _duration_ms(reply.headers, size) or 0
                    bar.update(bar.task_ids[0], completed=heard_ms / 1000)
            target.keep()
    ended_s = time.perf_counter()
    headers = reply.headers
    return Said(
        first_audio_ms=round(((first_s or ended_s) - started_s) * 1000, 1),
        whole_ms=round((ended_s - started_s) * 1000, 1),
        duration_ms=_duration_ms(headers, size),
        cached=headers.get("x-cached") == "true",
        provider=headers.get("x-provider", ""),
        voice=headers.get("x-voice-id", ""),
        language=headers.get("x-language", ""),
        format=headers.get("x-format", ""),
        fallback=headers.get("x-fallback") == "true",
        audio_bytes=size,
        file=options.out,
        request_id=headers.get("x-request-id", ""),
    )


def _progress(context: Context, text: str) -> Any:
    terminal = context.terminal
    if terminal.as_json or not terminal.err.is_terminal or len(text) < _LONG_CHARS:
        return nullcontext()
    columns = (TextColumn("{task.completed:.0f} s of speech"), BarColumn(), TimeElapsedColumn())
    bar = Progress(*columns, console=terminal.err, transient=True)
    bar.add_task("", total=spoken_length(text) / _CHARS_PER_S)
    return bar


def _duration_ms(headers: Mapping[str, str], size: int) -> int | None:
    """From the header, or from the size where the format has a fixed rate."""
    known = headers.get("x-duration-ms", "")
    if known.isdigit():
        return int(known)
    found = FORMATS.get(headers.get("x-format", ""))
    if found is None:
        return None
    match found.codec:
        case "mp3":
            bytes_per_s = (found.kbps or 0) * 125
        case "pcm" | "wav":
            bytes_per_s = found.rate_hz * 2
        case "ulaw" | "alaw":
            bytes_per_s = found.rate_hz
        case _:
            return None
    return round(size * 1000 / bytes_per_s) if bytes_per_s else None


class _Target:
    """The file that audio is written to: there as a whole, or not at all."""

    def __init__(self, name: str) -> None:
        self._path = None if name == "-" else Path(name)
        self._file: BinaryIO = sys.stdout.buffer
        self._part: Path | None = None

    def __enter__(self) -> _Target:
        if self._path is not None:
            self._part = self._path.with_name(f".{self._path.name}.{os.getpid()}.part")
            try:
                self._file = self._part.open("wb")
            except OSError as error:
                raise CommandFailed(f"{self._path} cannot be written: {error.strerror}.") from error
        return self

    def write(self, data: bytes) -> None:
        self._file.write(data)

    def keep(self) -> None:
        """All of it has come."""
        self._file.flush()
        if self._part is not None and self._path is not None:
            self._part.replace(self._path)

    def __exit__(self, *_: object) -> None:
        if self._part is not None:
            self._file.close()
            self._part.unlink(missing_ok=True)
