"""What a client does wrong closes its session with a code that is documented."""

from __future__ import annotations

import asyncio
import struct

from gateway.docs.session import CLOSE_CODES
from tests.gateway.conftest import Start
from tests.gateway.server import Gateway
from tests.gateway.test_session_timeouts import HEAD, KEY, connected

MASK = b"\0\0\0\0"
NOISE = [
    (b"", 1000),
    (b"\x81\x02hi", 1002),
    (b"\xf1\x80" + MASK, 1002),
    (b"\x83\x80" + MASK, 1002),
    (b"\x80\x80" + MASK, 1002),
    (b"\x81\x82" + MASK + b"\xff\xff", 1007),
    ((b"\x81\x82" + MASK + b"[]") * 20, 1008),
    (b"\x01\x80" + MASK + (b"\x00\x80" + MASK) * 300, 1008),
    (b"\x81\xff" + struct.pack("!Q", 65_537) + MASK, 1009),
]
OTHERS = {1006, 1011, 1012, 4008, 4009}
"""Of clients that stop reading, of another connection, and of the gateway itself."""


async def closed_with(gateway: Gateway, number: int, noise: bytes) -> bytes:
    """The last frame that comes back."""
    async with connected(gateway) as (reader, writer):
        writer.write(HEAD.replace(b"/s1 ", b"/s%d " % number) + KEY + b"\r\n")
        await reader.readuntil(b"\r\n\r\n")
        writer.write(noise)
        heard = b""
        while b"\x88" not in heard:
            piece = await reader.read(65_536)
            assert piece, heard
            heard += piece
        return heard[heard.rindex(b"\x88") :]


async def test_every_code_that_a_client_can_provoke_is_documented(start: Start) -> None:
    gateway = start(session_idle_s=0.3)
    ends = await asyncio.gather(
        *(closed_with(gateway, number, noise) for number, (noise, _) in enumerate(NOISE))
    )
    assert [int.from_bytes(end[2:4], "big") for end in ends] == [code for _, code in NOISE]
    assert {code for _, code in NOISE} == set(CLOSE_CODES) - OTHERS
