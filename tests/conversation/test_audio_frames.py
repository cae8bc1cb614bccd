"""Audio as it is sent: the same bytes by every encoding."""

from __future__ import annotations

import base64
import json
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.conversation.audio_frames import AudioEncoding, AudioPiece, encoding_of, read_header
from core.errors import InvalidRequest

u32 = st.integers(0, 2**32 - 1)


def piece_of(encoding: AudioEncoding, data: bytes, **fields: object) -> AudioPiece:
    return AudioPiece("u", 3, encoding, 1, 1500, 200, data, **fields)  # type: ignore[arg-type]


@given(st.binary(max_size=200))
def test_every_encoding_carries_the_same_audio(data: bytes) -> None:
    by_hex = json.loads(piece_of("hex", data).encode(9))
    assert bytes.fromhex(by_hex["audio_data"]) == data
    by_base64 = json.loads(piece_of("base64", data).encode(9))
    assert base64.b64decode(by_base64["audio_data"], validate=True) == data
    assert by_hex["sequence"] == by_base64["sequence"] == 9
    assert piece_of("binary", data).encode(9)[16:] == data


def test_the_header_is_as_it_is_documented() -> None:
    frame = piece_of("binary", b"audio", first=True).encode(7)
    assert frame[:16] == bytes([0x11, 0x01]) + struct.pack(">HIII", 200, 7, 3, 1500)
    header = read_header(frame)
    assert (header.version, header.direction, header.kind) == (1, 0, 1)
    assert (header.first, header.last) == (True, False)
    assert read_header(piece_of("binary", b"", last=True).encode(8)).last


@given(u32, u32, st.integers(0, 2**40), st.integers(0, 2**20))
def test_a_header_is_read_as_it_was_written(
    sequence: int, utterance: int, offset_ms: int, duration_ms: int
) -> None:
    piece = AudioPiece("u", utterance, "binary", 1, offset_ms, duration_ms, b"")
    header = read_header(piece.encode(sequence))
    assert (header.sequence, header.utterance) == (sequence, utterance)
    assert header.offset_ms == min(offset_ms, 2**32 - 1)
    assert header.duration_ms == min(duration_ms, 2**16 - 1)


def test_another_encoding_is_refused() -> None:
    assert encoding_of("base64") == "base64"
    with pytest.raises(InvalidRequest, match="hex, base64, binary"):
        encoding_of("morse")
