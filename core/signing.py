"""The key that signs audio links, and how the gateways of an installation come to share one."""

from __future__ import annotations

import hmac
import secrets
from typing import Final

from redis.asyncio import Redis
from redis.exceptions import RedisError

from core.errors import ConfigurationError
from core.redis import Keys
from core.settings import Settings

KEY_BYTES: Final = 32

KEY_CHARS: Final = 16
"""Fewest characters of a key from the settings."""


class SigningKey:
    """Signs with the newest key and accepts every key it has signed with.

    `shared` is False while the key is this process's own because the state database could not be
    reached; `refresh` then tries to take over the installation's key.
    """

    def __init__(self, key: bytes, *, shared: bool) -> None:
        self._keys: tuple[bytes, ...] = (key,)
        self.shared = shared

    def sign(self, payload: bytes, size_bytes: int) -> bytes:
        """HMAC-SHA256 of the payload, cut to `size_bytes`."""
        return hmac.digest(self._keys[0], payload, "sha256")[:size_bytes]

    def verify(self, payload: bytes, signature: bytes) -> bool:
        """Whether one of the keys made this signature; takes as long whichever it was."""
        found = False
        for key in self._keys:
            made = hmac.digest(key, payload, "sha256")[: len(signature)]
            found |= hmac.compare_digest(made, signature)
        return found

    async def refresh(self, redis: Redis) -> None:
        """Take over the installation's key if this process still signs with one of its own.

        Raises:
            RedisError, OSError: the state database cannot be reached.
        """
        if self.shared:
            return
        key = await _shared_key(redis)
        if not self.shared:
            self._keys = (key, *self._keys)
            self.shared = True


async def load_signing_key(redis: Redis, settings: Settings) -> SigningKey:
    """The key from the settings, else the one in the state database, made there if there is none.

    With the database out of reach it is a random one of this process, to be replaced by `refresh`.

    Raises:
        ConfigurationError: the key in the settings is too short to protect anything.
    """
    if settings.gateway.signing_key:
        if len(settings.gateway.signing_key) < KEY_CHARS:
            raise ConfigurationError(
                f"SEIKETSU_SIGNING_KEY must have {KEY_CHARS} characters or more, chosen at random."
            )
        return SigningKey(settings.gateway.signing_key.encode(), shared=True)
    try:
        return SigningKey(await _shared_key(redis), shared=True)
    except (RedisError, OSError):
        return SigningKey(secrets.token_bytes(KEY_BYTES), shared=False)


async def _shared_key(redis: Redis) -> bytes:
    name = Keys.signing_key()
    await redis.set(name, secrets.token_bytes(KEY_BYTES), nx=True)
    key = await redis.get(name)
    if not isinstance(key, bytes) or len(key) < KEY_BYTES:
        raise RedisError("The signing key in the state database is not usable.")
    return key
