"""Pages of an Ogg stream (RFC 3533) as bytes arrive; strict, because it serves measuring."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from functools import cache
from typing import Final

import msgspec

_HEADER: Final = struct.Struct("<4sBBqIIIB")
_CRC_AT: Final = 22
_CONTINUED, _LAST = 1, 4


class Page(msgspec.Struct, frozen=True):
    """One page; `packets` are those that end in it."""

    granule: int
    """Samples until the end of the page, by the codec's own clock."""
    packets: tuple[bytes, ...]
    last: bool


class PageReader:
    """Takes bytes in any cut. One logical stream; `ValueError` for anything that is not whole."""

    def __init__(self) -> None:
        self.ended = False
        """The page that says it is the last has come."""
        self._rest = b""
        self._packet = b""
        self._serial: int | None = None
        self._count = 0

    @property
    def unfinished(self) -> bool:
        """There are bytes that make no whole page, or a packet without its end."""
        return bool(self._rest or self._packet)

    def feed(self, data: bytes) -> Iterator[Page]:
        """The pages that are now complete, one by one.

        Raises:
            ValueError: the bytes are no Ogg pages, or one is missing, changed or out of order.
        """
        self._rest += data
        while (page := self._page()) is not None:
            yield page

    def _page(self) -> Page | None:
        rest = self._rest
        if len(rest) < _HEADER.size:
            return None
        magic, version, flags, granule, serial, number, crc, laces = _HEADER.unpack_from(rest)
        if magic != b"OggS" or version != 0:
            raise ValueError("no page where one should be")
        lacing = rest[_HEADER.size : _HEADER.size + laces]
        begin = _HEADER.size + laces
        end = begin + sum(lacing)
        if len(lacing) < laces or len(rest) < end:
            return None
        page, self._rest = rest[:end], rest[end:]
        if _checksum(page[:_CRC_AT] + bytes(4) + page[_CRC_AT + 4 :]) != crc:
            raise ValueError("a page's checksum is wrong")
        if self._serial is None:
            self._serial = serial
        if serial != self._serial or number != self._count or self.ended:
            raise ValueError("a page is missing or foreign")
        if bool(flags & _CONTINUED) != bool(self._packet):
            raise ValueError("a packet is cut")
        self._count += 1
        self.ended = bool(flags & _LAST)
        return Page(granule, self._packets(page[begin:], lacing), self.ended)

    def _packets(self, body: bytes, lacing: bytes) -> tuple[bytes, ...]:
        packets: list[bytes] = []
        at = 0
        for lace in lacing:
            self._packet += body[at : at + lace]
            at += lace
            if lace < 255:
                packets.append(self._packet)
                self._packet = b""
        return tuple(packets)


@cache
def _table() -> tuple[int, ...]:
    entries = []
    for byte in range(256):
        value = byte << 24
        for _ in range(8):
            value = (value << 1 ^ (0x04C11DB7 if value & 0x80000000 else 0)) & 0xFFFFFFFF
        entries.append(value)
    return tuple(entries)


def _checksum(page: bytes) -> int:
    table, value = _table(), 0
    for byte in page:
        value = (value << 8 ^ table[value >> 24 ^ byte]) & 0xFFFFFFFF
    return value
