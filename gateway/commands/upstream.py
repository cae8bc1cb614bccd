"""A few cheap calls to the voice provider, what each answered, and how two answers differ.

Recorded are shapes, codes and header names, never an account's own values.
"""

from __future__ import annotations

import array
import sys
import time
from collections.abc import Iterator
from typing import Any, Final, Literal

import aiohttp
import msgspec

from core.agents import FAST_MODEL
from core.audio.pcm import AUDIBLE_AMPLITUDE, BYTES_PER_S, SAMPLE_BYTES
from gateway.commands.base import CommandFailed
from gateway.commands.upstream_socket import Conversation, converse, is_final

MOST_CREDITS: Final = 299
"""Never more than this in one run; a character is counted as one credit, the dearest model's
price."""
VOICE: Final = "21m00Tcm4TlvDq8ikWAM"
_TEXT: Final = "Good morning, and welcome. This short call tells how you answer."
_TIMED_TEXT: Final = "Every word of this line comes with its time."
_SOCKET_TEXT: Final = "This line was sent through a socket."
_WRONG_TEXT: Final = "Nobody says this."
_WRONG_VOICE: Final = "000000000000000000zz"
_WRONG_KEY: Final = "sk_" + "0" * 48
_CALL: Final = aiohttp.ClientTimeout(total=30.0, sock_connect=10.0)
_LENGTH_OFF: Final = 0.5
"""The same text may be spoken this share longer or shorter by another voice."""
_NOT_COMPARED: Final = frozenset(
    {
        *("date", "server", "via", "alt-svc", "connection", "transfer-encoding", "content-length"),
        *("strict-transport-security", "x-trace-id", "nel", "report-to", "cache-control", "pragma"),
        *("x-frame-options", "x-content-type-options", "referrer-policy", "set-cookie", "expires"),
        *("content-encoding", "age", "etag", "server-timing"),
    }
)
"""Headers of whatever stands in between; nothing here reads them."""

Kind = Literal["json", "audio", "lines", "socket"]


class UpstreamCall(msgspec.Struct, frozen=True):
    """One call; `path` is below the provider's `/v1`."""

    name: str
    method: str
    path: str
    kind: Kind
    text: str = ""
    wrong_key: bool = False

    def body(self) -> dict[str, Any] | None:
        """The JSON body of a call that speaks."""
        spoken = self.text and self.kind != "socket"
        return {"text": self.text, "model_id": FAST_MODEL} if spoken else None


class Answer(msgspec.Struct):
    """What came back."""

    status: int
    content_type: str
    headers: list[str]
    """Names that are compared, sorted."""
    shape: Any = None
    """Of JSON: names and kinds of values; of lines: all lines laid over each other."""
    error_code: str | None = None
    lines: int | None = None
    first_byte_ms: float | None = None
    duration_ms: int | None = None
    audible: bool | None = None
    ending: str = "whole"
    """`whole`, or the kind of the error that broke the reply off."""
    final_frames: int | None = None
    close_code: int | None = None
    reason_told: bool | None = None
    """Of a socket that an error frame ended: whether the close's reason is the frame's message."""
    credits: float = 0.0


def calls(voice: str) -> tuple[UpstreamCall, ...]:
    """The calls of one run.

    Raises:
        CommandFailed: they could cost more than `MOST_CREDITS`.
    """
    query = "?output_format=pcm_24000"
    speak = f"/text-to-speech/{voice}/stream"
    socket = f"multi-stream-input{query}&model_id={FAST_MODEL}&auto_mode=true"
    made = (
        UpstreamCall("voices", "GET", "/voices", "json"),
        UpstreamCall("models", "GET", "/models", "json"),
        UpstreamCall("subscription", "GET", "/user/subscription", "json"),
        UpstreamCall("stream", "POST", f"{speak}{query}", "audio", _TEXT),
        UpstreamCall("timestamps", "POST", f"{speak}/with-timestamps{query}", "lines", _TIMED_TEXT),
        UpstreamCall(
            *("wrong voice", "POST", f"/text-to-speech/{_WRONG_VOICE}/stream{query}"),
            *("audio", _WRONG_TEXT),
        ),
        UpstreamCall("wrong key", "GET", "/user/subscription", "json", wrong_key=True),
        UpstreamCall("socket", "GET", f"/text-to-speech/{voice}/{socket}", "socket", _SOCKET_TEXT),
        UpstreamCall(
            "socket, wrong voice", "GET", f"/text-to-speech/{_WRONG_VOICE}/{socket}", "socket"
        ),
        UpstreamCall(
            *("socket, wrong key", "GET", f"/text-to-speech/{voice}/{socket}", "socket"),
            wrong_key=True,
        ),
    )
    require_cheap(made)
    return made


def require_cheap(made: tuple[UpstreamCall, ...]) -> int:
    """The credits that the calls may cost.

    Raises:
        CommandFailed: more than `MOST_CREDITS`; nothing has been sent.
    """
    credits = sum(len(call.text) for call in made)
    if credits > MOST_CREDITS:
        raise CommandFailed(f"The calls could cost {credits} credits; {MOST_CREDITS} are allowed.")
    return credits


async def record(base_url: str, key: str, made: tuple[UpstreamCall, ...]) -> dict[str, Answer]:
    """Make the calls one after the other, each once. `base_url` ends in `/v1`.

    Raises:
        CommandFailed: nobody answers there.
    """
    require_cheap(made)
    found: dict[str, Answer] = {}
    async with aiohttp.ClientSession(trust_env=False, timeout=_CALL) as http:
        for call in made:
            headers = {"xi-api-key": _WRONG_KEY if call.wrong_key else key}
            url = base_url.rstrip("/") + call.path
            started_s = time.perf_counter()
            try:
                if call.kind == "socket":
                    said = await converse(http, url, headers, call.text)
                    found[call.name] = _socket_answer(said)
                    continue
                async with http.request(
                    call.method, url, json=call.body(), headers=headers
                ) as reply:
                    found[call.name] = await _answer(call, reply, started_s)
            except (aiohttp.ClientError, TimeoutError) as error:
                if not found:
                    raise CommandFailed(
                        f"{base_url} does not answer ({type(error).__name__}).",
                        "Check the network and ELEVEN_LABS_BASE_URL.",
                    ) from error
                found[call.name] = Answer(0, "", [], ending=type(error).__name__)
    return found


async def _answer(call: UpstreamCall, reply: aiohttp.ClientResponse, started_s: float) -> Answer:
    names = {name.lower() for name in reply.headers}
    answer = Answer(
        status=reply.status,
        content_type=reply.content_type,
        headers=sorted(n for n in names - _NOT_COMPARED if not n.startswith("cf-")),
    )
    cost = reply.headers.get("character-cost", "")
    answer.credits = float(cost) if cost.replace(".", "", 1).isdigit() else 0.0
    parts: list[bytes] = []
    try:
        async for piece in reply.content.iter_any():
            if answer.first_byte_ms is None:
                answer.first_byte_ms = round((time.perf_counter() - started_s) * 1000, 1)
            parts.append(piece)
    except (aiohttp.ClientError, TimeoutError) as error:
        answer.ending = type(error).__name__
    data = b"".join(parts)
    if reply.status >= 400 or call.kind == "json":
        _read_json(answer, data)
    elif call.kind == "lines":
        _read_lines(answer, data)
    else:
        _read_audio(answer, data)
    return answer


def _socket_answer(said: Conversation) -> Answer:
    answer = Answer(said.status, "", [], first_byte_ms=said.first_frame_ms)
    answer.close_code = said.close_code
    if answer.close_code is None and said.status == 101:
        answer.ending = "no close frame"
    frames = [frame for frame in said.frames if frame is not None]
    answer.shape = shape_of(frames) if len(frames) == len(said.frames) else "no JSON"
    answer.lines, answer.final_frames = len(frames), sum(map(is_final, frames))
    pcm = bytearray()
    for frame in frames:
        if "error" in frame:
            answer.error_code = str(frame["error"])[:80]
            answer.reason_told = frame.get("message") == said.reason
        try:
            pcm += msgspec.convert(frame.get("audio") or "", bytes)
        except msgspec.ValidationError:
            answer.shape = "no base64"
    if pcm:
        _read_audio(answer, bytes(pcm))
    return answer


def _read_json(answer: Answer, data: bytes) -> None:
    try:
        tree = msgspec.json.decode(data)
    except msgspec.DecodeError:
        answer.shape = "no JSON"
        return
    answer.shape = shape_of(tree)
    detail = tree.get("detail") if isinstance(tree, dict) else None
    if isinstance(detail, dict):
        code = detail.get("code") or detail.get("status")
        answer.error_code = str(code)[:80] if code is not None else None


def _read_lines(answer: Answer, data: bytes) -> None:
    lines = [line for line in data.split(b"\n") if line.strip()]
    answer.lines = len(lines)
    pcm = bytearray()
    try:
        trees = [msgspec.json.decode(line) for line in lines]
        for tree in trees:
            if isinstance(tree, dict) and tree.get("audio_base64"):
                pcm += msgspec.convert(tree["audio_base64"], bytes)
    except msgspec.MsgspecError:
        answer.shape = "no JSON"
        return
    answer.shape = shape_of(trees)
    _read_audio(answer, bytes(pcm))


def _read_audio(answer: Answer, pcm: bytes) -> None:
    answer.duration_ms = len(pcm) * 1000 // BYTES_PER_S
    samples = array.array("h", pcm[: len(pcm) // SAMPLE_BYTES * SAMPLE_BYTES])
    if sys.byteorder == "big":
        samples.byteswap()
    answer.audible = any(abs(sample) > AUDIBLE_AMPLITUDE for sample in samples)


def shape_of(tree: Any) -> Any:
    """Names and kinds of values; the items of a list are laid over each other."""
    match tree:
        case dict():
            return {str(name): shape_of(value) for name, value in sorted(tree.items())}
        case list():
            merged: Any = None
            for item in tree:
                merged = _merged(merged, shape_of(item))
            return [merged]
        case bool():
            return "bool"
        case int() | float():
            return "number"
        case str():
            return "text"
        case _:
            return None


def _merged(one: Any, other: Any) -> Any:
    """Two shapes laid over each other; null is any kind."""
    if isinstance(one, dict) and isinstance(other, dict):
        names = sorted(one.keys() | other.keys())
        return {name: _merged(one.get(name), other.get(name)) for name in names}
    if isinstance(one, list) and isinstance(other, list):
        return [_merged(one[0], other[0])]
    return other if one is None else one


def differences(real: Answer, emulated: Answer) -> list[str]:
    """Where the service answers otherwise than the emulator; empty where it does not."""
    found = [
        f"{what}: {got!r}, emulated {expected!r}"
        for what, got, expected in (
            ("status", real.status, emulated.status),
            ("content type", real.content_type, emulated.content_type),
            ("error code", real.error_code, emulated.error_code),
            ("audible", real.audible, emulated.audible),
            ("end of the reply", real.ending, emulated.ending),
            ("final frames", real.final_frames, emulated.final_frames),
            ("close code", real.close_code, emulated.close_code),
            ("message as the close's reason", real.reason_told, emulated.reason_told),
        )
        if got != expected
    ]
    if missing := sorted(set(emulated.headers) - set(real.headers)):
        found.append(f"headers that only the emulator sends: {', '.join(missing)}")
    if more := sorted(set(real.headers) - set(emulated.headers)):
        found.append(f"headers that the emulator does not send: {', '.join(more)}")
    got_ms, expected_ms = real.duration_ms or 0, emulated.duration_ms or 0
    if abs(got_ms - expected_ms) > _LENGTH_OFF * max(expected_ms, 1):
        found.append(f"speech: {got_ms} ms, emulated {expected_ms} ms")
    found += _shape_differences("body", real.shape, emulated.shape)
    return found


def _shape_differences(where: str, real: Any, emulated: Any) -> Iterator[str]:
    if isinstance(real, dict) and isinstance(emulated, dict):
        for name in sorted(real.keys() | emulated.keys()):
            if name not in real:
                yield f"{where}.{name}: only the emulator has it"
            elif name not in emulated:
                yield f"{where}.{name}: the emulator does not have it"
            else:
                yield from _shape_differences(f"{where}.{name}", real[name], emulated[name])
    elif isinstance(real, list) and isinstance(emulated, list):
        yield from _shape_differences(f"{where}[]", real[0], emulated[0])
    elif real is not None and emulated is not None and real != emulated:
        yield f"{where}: {_kind(real)}, emulated {_kind(emulated)}"


def _kind(shape: Any) -> str:
    return shape if isinstance(shape, str) else "object" if isinstance(shape, dict) else "list"
