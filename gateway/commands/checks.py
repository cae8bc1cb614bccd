"""The checks of `doctor`: each returns what it found, or raises what is wrong and what to do."""

from __future__ import annotations

import array
import asyncio
import io
import math
from pathlib import Path
from typing import Any, Final

import aiohttp
import av
from redis.exceptions import RedisError

from core.audio.codecs import CodecPool, open_encoder, pieces
from core.audio.formats import ALIASES, FORMATS, OutputFormat, resolve
from core.audio.pcm import RATE_HZ
from core.embedded import Role, redis_url
from core.errors import ProviderUnavailable
from core.providers.local import LocalProvider
from core.redis import open_redis
from core.settings import Settings
from core.sockets import socket_path
from core.text.languages import LANGUAGES
from core.voices.registry import LOCAL_VOICES, lane_of
from gateway.client import gateway_key, gateway_url

_OLDEST_REDIS: Final = (6, 2)
_REDIS_S: Final = 2.0
_HTTP: Final = aiohttp.ClientTimeout(total=8.0)
_TONE_MS: Final = 500


class Wrong(Exception):
    """Something that is needed does not work."""

    def __init__(self, found: str, action: str) -> None:
        self.found, self.action = found, action
        super().__init__(found)


class Doubtful(Wrong):
    """It works for now, or is not needed."""


class NothingHere(Wrong):
    """Nothing answers at a place in this installation's data directory."""

    def __init__(self, place: Path) -> None:
        self.place = place
        super().__init__(
            f"nothing answers in {place}",
            "Start it with `seiketsu up`; if it runs, ask in the folder where it was started, or "
            "set SEIKETSU_DATA_DIR.",
        )


async def state_database(settings: Settings) -> str:
    """Reachable, new enough, and it evicts nothing."""
    info = await _redis_info(settings, "state", settings.redis.state_url, "REDIS_URL")
    policy = info.get("maxmemory_policy", "unknown")
    if policy != "noeviction" and int(info.get("maxmemory", 0)) > 0:
        raise Wrong(
            f"it evicts ({policy}): agents and jobs would vanish",
            "Set its maxmemory-policy to noeviction, or give REDIS_URL a database of its own.",
        )
    if policy != "noeviction":
        raise Doubtful(
            f"its policy is {policy}; without a limit of memory it evicts nothing",
            "Set its maxmemory-policy to noeviction.",
        )
    return f"version {info['redis_version']}, noeviction"


async def audio_database(settings: Settings) -> str:
    """Reachable, new enough, and bounded."""
    info = await _redis_info(settings, "cache", settings.redis.cache_url, "CACHE_REDIS_URL")
    if not int(info.get("maxmemory", 0)):
        raise Doubtful(
            "its memory has no bound", "Set its maxmemory, with maxmemory-policy allkeys-lfu."
        )
    policy = info.get("maxmemory_policy", "unknown")
    if policy == "noeviction":
        raise Wrong(
            "it evicts nothing: once full it keeps no new audio",
            "Set its maxmemory-policy to allkeys-lfu.",
        )
    return f"version {info['redis_version']}, {policy}"


async def _redis_info(settings: Settings, role: Role, url: str, variable: str) -> dict[str, Any]:
    client = open_redis(url, timeout_s=_REDIS_S, max_connections=1)
    try:
        info: dict[str, Any] = await client.info()
    except (RedisError, OSError) as error:
        if url == redis_url(settings.data_dir, role):
            raise NothingHere(settings.data_dir.absolute()) from error
        raise Wrong(
            f"no answer ({type(error).__name__})",
            f"Start it with `seiketsu up`, or set {variable}.",
        ) from error
    finally:
        await client.aclose()
    version = tuple(int(part) for part in str(info["redis_version"]).split(".")[:2])
    if version < _OLDEST_REDIS:
        raise Wrong(
            f"version {info['redis_version']} is too old",
            f"Install Redis {'.'.join(map(str, _OLDEST_REDIS))} or newer.",
        )
    return info


async def voice_server(settings: Settings) -> str:
    """It answers, and every language has a voice that is ready."""
    local = LocalProvider(settings.voice_socket)
    try:
        status = await local.status()
    except ProviderUnavailable as error:
        if settings.voice_socket == socket_path(settings.data_dir, "voices.sock"):
            raise NothingHere(settings.data_dir.absolute()) from error
        raise Wrong(
            f"no answer on {settings.voice_socket}",
            "Start it with `seiketsu up`, or set SEIKETSU_VOICE_SOCKET.",
        ) from error
    finally:
        await local.aclose()
    lanes = {"quick": status.quick, "slow": status.slow}
    ready = [one for one in LANGUAGES if lanes[lane_of(LOCAL_VOICES[one])].ready]
    if not status.quick.ready:
        raise Wrong("its children do not speak", "See the voice server's log.")
    silent = [one for one in LANGUAGES if one not in ready]
    if silent:
        off = [one for one in silent if not lanes[lane_of(LOCAL_VOICES[one])].processes]
        said = f"speaks {', '.join(ready)}; not {', '.join(silent)}"
        if off:
            raise Doubtful(
                f"{said} (switched off)", "Set SEIKETSU_VOICE_SLOW_PROCESSES for Mandarin."
            )
        raise Doubtful(f"{said} yet", "Wait until its model has loaded, or see its log.")
    return f"speaks {', '.join(ready)}"


async def codecs() -> str:
    """Every family of formats is encoded, and what can be decoded has the right length."""
    names = ["mp3", *ALIASES]
    async with CodecPool() as pool:
        for name in names:
            wanted = resolve(name, 128)
            encoder = open_encoder(wanted, pool)
            parts = [await encoder.feed(piece) for piece in pieces(_tone())]
            parts.append(await encoder.finish())
            audio = encoder.seal(b"".join(parts))
            heard_ms = await asyncio.to_thread(_decoded_ms, audio, wanted)
            if abs(heard_ms - _TONE_MS) > 120:
                raise Wrong(
                    f"{name} is broken: {_TONE_MS} ms became {heard_ms} ms",
                    "Install again: make clean run.",
                )
    return f"{', '.join(names)} ({len(FORMATS)} formats)"


def _tone() -> bytes:
    samples = RATE_HZ * _TONE_MS // 1000
    return array.array("h", (int(8000 * math.sin(i / 8)) for i in range(samples))).tobytes()


def _decoded_ms(audio: bytes, wanted: OutputFormat) -> int:
    """Length of the decoded audio, in milliseconds."""
    if wanted.codec == "pcm":
        return len(audio) * 500 // wanted.rate_hz
    options = {}
    kind: str | None = None
    if wanted.codec in ("ulaw", "alaw"):
        kind = "mulaw" if wanted.codec == "ulaw" else "alaw"
        options = {"sample_rate": str(wanted.rate_hz)}
    with av.open(io.BytesIO(audio), mode="r", format=kind, options=options) as file:
        stream = file.streams.audio[0]
        samples = sum(frame.samples for frame in file.decode(stream))
        return samples * 1000 // stream.rate


async def gateway(settings: Settings) -> str:
    """It answers, is ready, and takes our key."""
    url, key = gateway_url(settings), gateway_key(settings)
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    try:
        async with aiohttp.ClientSession(trust_env=False, timeout=_HTTP) as http:
            async with http.get(f"{url}/health/ready") as reply:
                status, body = reply.status, await reply.json()
            async with http.get(f"{url}/api/v1/voice/performance", headers=headers) as reply:
                admitted = reply.status
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        raise Wrong(
            f"no answer at {url} ({type(error).__name__})",
            "Start it with `seiketsu up`, or set SEIKETSU_URL.",
        ) from error
    checks = body.get("checks", {}) if isinstance(body, dict) else {}
    failing = [name for name, answers in checks.items() if not answers]
    if status != 200:
        raise Wrong(f"{url} is not ready: {', '.join(failing) or body}", "See the lines above.")
    if admitted in (401, 403):
        raise Wrong(f"{url} refuses our key", "Set SEIKETSU_KEY to one of its SEIKETSU_API_KEYS.")
    if failing:
        raise Doubtful(f"{url} speaks, without {', '.join(failing)}", "See the lines above.")
    return f"ready at {url}"


async def provider(settings: Settings) -> str:
    """With a key: the provider answers and takes it. One call that costs nothing."""
    upstream = settings.upstream
    if not upstream.enabled:
        raise Doubtful(
            "no key: only the voices of this computer speak",
            "Set ELEVEN_LABS_API_KEY for the provider's voices.",
        )
    headers = {"xi-api-key": upstream.api_key}
    url = f"{upstream.base_url.rstrip('/')}/user/subscription"
    try:
        async with (
            aiohttp.ClientSession(trust_env=False, timeout=_HTTP) as http,
            http.get(url, headers=headers) as reply,
        ):
            status = reply.status
            body = await reply.json(content_type=None) if status == 200 else None
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        raise Wrong(
            f"no answer from {upstream.base_url} ({type(error).__name__})",
            "Check the network and ELEVEN_LABS_BASE_URL; until then the local voices speak.",
        ) from error
    if status != 200:
        raise Wrong(
            f"it refuses the key (status {status})",
            "Check ELEVEN_LABS_API_KEY and what it may do; until then the local voices speak.",
        )
    if not isinstance(body, dict):
        return "takes the key"
    used, limit = body.get("character_count"), body.get("character_limit")
    return f"takes the key; plan {body.get('tier')}, {used} of {limit} credits used"
