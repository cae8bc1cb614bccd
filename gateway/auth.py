"""Who may ask: API keys, or without any, programs on this computer alone."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
from litestar.connection import ASGIConnection
from litestar.handlers.base import BaseRouteHandler

from core.errors import ConfigurationError, KeyInvalid, KeyRequired, OriginRefused
from core.settings import Settings

DEFAULT_TENANT: Final = "default"
_TENANT: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")
_PORT: Final = re.compile(r":[0-9]{1,5}$")


class Principal(msgspec.Struct, frozen=True):
    """Whoever a request comes from."""

    tenant: str
    key_id: str
    """The first 8 hex digits of the key's SHA-256; empty without keys. Safe to log."""


LOCAL: Final = Principal(DEFAULT_TENANT, "")


class Gate:
    """Lets a request in or refuses it, by its headers alone."""

    def __init__(self, settings: Settings) -> None:
        require_safe_binding(settings)
        self._keys = _parse_keys(settings.gateway.api_keys)

    @property
    def has_keys(self) -> bool:
        """Whether callers need a key."""
        return bool(self._keys)

    def admit(self, headers: Mapping[bytes, bytes]) -> Principal:
        """The principal behind these (lower case) headers.

        Raises:
            KeyRequired, KeyInvalid: keys are set and the request has none, or not one of them.
            OriginRefused: no keys are set, and the request is not from a program on this computer.
        """
        if self._keys:
            return self._by_key(headers)
        _require_local(
            headers.get(b"host", b""), headers.get(b"origin"), headers.get(b"sec-fetch-site", b"")
        )
        return LOCAL

    def guard(self, connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
        """The same check as a Litestar guard."""
        self.admit(dict(connection.scope["headers"]))

    def _by_key(self, headers: Mapping[bytes, bytes]) -> Principal:
        authorization = headers.get(b"authorization", b"")
        scheme, _, sent = authorization.partition(b" ")
        if scheme.lower() != b"bearer" or not sent.strip():
            sent = headers.get(b"xi-api-key", b"")
        sent = sent.strip()
        if not sent:
            raise KeyRequired()
        # Digests are of one length and every key is compared, so the time tells nothing.
        digest = hashlib.sha256(sent).digest()
        found: Principal | None = None
        for known, principal in self._keys:
            if hmac.compare_digest(known, digest):
                found = principal
        if found is None:
            raise KeyInvalid()
        return found


def require_safe_binding(settings: Settings) -> None:
    """Refuse to listen to other computers without keys.

    Raises:
        ConfigurationError: no keys are set and the host is not a loopback address.
    """
    if not settings.gateway.api_keys and not is_loopback(settings.gateway.host):
        raise ConfigurationError(
            f"SEIKETSU_HOST is {settings.gateway.host!r} and SEIKETSU_API_KEYS is empty: anyone "
            "who reaches that address could spend your provider's credits. "
            "Set SEIKETSU_API_KEYS, or "
            "listen on 127.0.0.1."
        )


def is_loopback(host: str) -> bool:
    """Whether a host name or address (brackets allowed) always means this computer."""
    host = host.strip().lower()
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.removeprefix("[").removesuffix("]")).is_loopback
    except ValueError:
        return False


@lru_cache(maxsize=256)
def _is_loopback_authority(authority: bytes) -> bool:
    return is_loopback(_PORT.sub("", authority.decode("latin-1"), count=1))


def _require_local(host: bytes, origin: bytes | None, fetch_site: bytes) -> None:
    if len(host) > 255 or not _is_loopback_authority(host):
        raise OriginRefused("Without API keys the Host must be a loopback name.")
    if fetch_site.lower() == b"cross-site":
        raise OriginRefused("Without API keys pages of other sites are refused.")
    if origin is not None:
        try:
            name = urlsplit(origin.decode("latin-1")).hostname or ""
        except ValueError:
            name = ""
        if not is_loopback(name):
            raise OriginRefused("Without API keys the Origin must be a loopback name.")


def _parse_keys(entries: tuple[str, ...]) -> tuple[tuple[bytes, Principal], ...]:
    keys: dict[bytes, Principal] = {}
    for entry in entries:
        tenant, colon, key = entry.partition(":")
        if not colon:
            tenant, key = DEFAULT_TENANT, entry
        if not _TENANT.fullmatch(tenant):
            raise ConfigurationError(
                "SEIKETSU_API_KEYS: a tenant's name is up to 64 letters, digits, `_`, `-` or `.`, "
                "and does not begin with `-` or `.`."
            )
        if not key or not key.isascii() or not key.isprintable() or " " in key:
            raise ConfigurationError(
                "SEIKETSU_API_KEYS: a key is printable ASCII without spaces, and not empty."
            )
        digest = hashlib.sha256(key.encode()).digest()
        if digest in keys:
            raise ConfigurationError("SEIKETSU_API_KEYS: the same key is listed twice.")
        keys[digest] = Principal(tenant, digest.hex()[:8])
    return tuple(keys.items())
