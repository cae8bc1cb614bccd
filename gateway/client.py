"""A client of a running gateway, as the commands use it: over its public API, from outside."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

import aiohttp
import msgspec

from core.settings import Settings
from gateway.commands.base import CommandFailed

VOICE: Final = "/api/v1/voice"
_CALL_S: Final = 30.0
"""Longest time of an ordinary call."""
_SPEECH_S: Final = 700.0
"""Longest time of a call that speaks: a whole long text."""
_CONNECT_S: Final = 5.0


class GatewayClient:
    """Calls with the key of the settings. Open it with `open_client`."""

    def __init__(self, url: str, http: aiohttp.ClientSession) -> None:
        self.url = url
        self._http = http

    async def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        params: Mapping[str, str] | None = None,
        timeout_s: float = _CALL_S,
    ) -> Any:
        """The decoded JSON of a reply, None where it has no body. `path` is below `/api/v1/voice`.

        Raises:
            CommandFailed: no gateway answers, or it refuses.
        """
        async with self.reply(method, path, body, params=params, timeout_s=timeout_s) as reply:
            data = await reply.read()
        try:
            return msgspec.json.decode(data) if data else None
        except msgspec.DecodeError as error:
            raise CommandFailed(f"What answers at {self.url} is no gateway.") from error

    async def bytes_of(self, path: str) -> bytes:
        """The body at an absolute path, such as an `audio_url`.

        Raises:
            CommandFailed: as `call`.
        """
        async with self.reply("GET", path, absolute=True) as reply:
            return await reply.read()

    @asynccontextmanager
    async def reply(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        params: Mapping[str, str] | None = None,
        timeout_s: float = _SPEECH_S,
        absolute: bool = False,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """A good reply whose body is still to be read.

        Raises:
            CommandFailed: no gateway answers, it refuses, or it breaks the reply off.
        """
        limit = aiohttp.ClientTimeout(total=timeout_s, sock_connect=_CONNECT_S)
        url = self.url + (path if absolute else VOICE + path)
        headers = {} if body is None else {"Content-Type": "application/json"}
        data = None if body is None else msgspec.json.encode(body)
        try:
            async with self._http.request(
                method, url, data=data, params=params, headers=headers, timeout=limit
            ) as reply:
                if reply.status >= 400:
                    raise _refusal(reply.status, await reply.read())
                yield reply
        except aiohttp.ClientConnectorError as error:
            raise CommandFailed(
                f"No gateway answers at {self.url}.",
                "Start one with `seiketsu up`, or set SEIKETSU_URL.",
                code="gateway_unreachable",
            ) from error
        except TimeoutError as error:
            raise CommandFailed(
                f"The gateway at {self.url} did not answer in {timeout_s:g} s.",
                "See `seiketsu doctor`.",
                code="gateway_silent",
            ) from error
        except aiohttp.ClientError as error:
            raise CommandFailed(
                f"The gateway broke its reply off ({type(error).__name__}).",
                "Ask again; if it stays, see the gateway's log.",
                code="reply_broken",
            ) from error


def _refusal(status: int, body: bytes) -> CommandFailed:
    try:
        told = msgspec.json.decode(body)["error"]
        return CommandFailed(str(told["message"]), str(told["action"]), code=str(told["code"]))
    except (msgspec.DecodeError, KeyError, TypeError):
        return CommandFailed(f"The gateway answered with status {status}.", code="refused")


def gateway_url(settings: Settings) -> str:
    """Where the commands find the gateway, without a slash at the end."""
    return (settings.command.url or f"http://127.0.0.1:{settings.gateway.port}").rstrip("/")


def gateway_key(settings: Settings) -> str:
    """The key that the commands send; empty: none."""
    if settings.command.key or not settings.gateway.api_keys:
        return settings.command.key
    tenant, colon, key = settings.gateway.api_keys[0].partition(":")
    return key if colon else tenant


@asynccontextmanager
async def open_client(settings: Settings) -> AsyncIterator[GatewayClient]:
    """A client; nothing is sent yet."""
    key = gateway_key(settings)
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    async with aiohttp.ClientSession(trust_env=False, headers=headers) as http:
        yield GatewayClient(gateway_url(settings), http)
