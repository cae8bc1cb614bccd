"""Malformed requests by the hundred: from the schema, around it, and on the bare wire.

Each must get an answer of `ALLOWED` within `SLOWEST_S`; what they leave behind the caller checks.
"""

from __future__ import annotations

import json
import socket
import time
from collections import Counter
from typing import Any

import httpx
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode

from tests.gateway.server import Gateway

SCHEMA_CASES = 20
"""For each operation of the document."""
BODY_CASES = 500
WIRE_CASES = 200
SLOWEST_S = 2.0

quick = settings(
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)

ALLOWED = frozenset(
    {200, 201, 202, 204, 206, 304, 400, 401, 403, 404, 405, 409, 412, 413, 415, 416, 422, 426, 428}
)
"""The store answers and the voice works here, so every 5xx would be a fault."""

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner),
    max_leaves=8,
)
bodies = st.one_of(
    st.binary(max_size=300),
    st.fixed_dictionaries(
        {},
        optional={
            "text": json_values,
            "voice_agent_id": st.just("agent_123") | json_values,
            "language": json_values,
            "format": json_values | st.sampled_from(["mp3", "wav", "pcm", "mp3_24000_999"]),
            "optimize_for_speed": json_values,
            "enable_caching": json_values,
            "include_audio": json_values,
        },
    ),
    json_values,
)
odd_headers = st.fixed_dictionaries(
    {},
    optional={
        "accept": st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=60).map(
            str.strip
        ),
        "content-type": st.sampled_from(
            ["application/json", "text/plain", "application/json; charset=x", ";;;", "a" * 500]
        ),
        "authorization": st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=60),
        "range": st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=60),
        "origin": st.sampled_from(["http://localhost", "http://[", "null", "//", "http://[::1]:x"]),
    },
)


def _operation(found: Any) -> Any:
    """The operation, or the schema's error raised."""
    return found.ok()


def from_schema(gateway: Gateway, seen: Counter[int]) -> None:
    schema = schemathesis.openapi.from_url(gateway.base + "/docs/openapi.json")
    operations = [_operation(found) for found in schema.get_all_operations()]
    assert len(operations) >= 8
    for operation in operations:
        modes = [GenerationMode.POSITIVE]
        if operation.body or operation.path_parameters:
            modes.append(GenerationMode.NEGATIVE)
        for mode in modes:
            strategy = operation.as_strategy(generation_mode=mode)

            @settings(quick, max_examples=SCHEMA_CASES)
            @given(case=strategy)
            def one(case: Any) -> None:
                began = time.monotonic()
                reply = case.call(base_url=gateway.base, timeout=10)
                seen[reply.status_code] += 1
                assert reply.status_code in ALLOWED, (case, reply.text)
                assert time.monotonic() - began < SLOWEST_S

            one()


def from_bodies(gateway: Gateway, seen: Counter[int]) -> None:
    with httpx.Client(base_url=gateway.voice, timeout=10) as client:

        @settings(quick, max_examples=BODY_CASES)
        @given(body=bodies, headers=odd_headers, streamed=st.booleans())
        def one(body: object, headers: dict[str, str], streamed: bool) -> None:
            path = "/streaming/synthesize/streaming" if streamed else "/synthesize"
            content = body if isinstance(body, bytes) else json.dumps(body).encode()
            began = time.monotonic()
            reply = client.post(
                path, content=content, headers={"content-type": "application/json", **headers}
            )
            seen[reply.status_code] += 1
            assert reply.status_code in ALLOWED, reply.text
            if reply.status_code >= 400:
                assert set(reply.json()["error"]) >= {"code", "message", "request_id"}
            assert time.monotonic() - began < SLOWEST_S

        one()


def from_wire(gateway: Gateway, seen: Counter[int]) -> None:
    """What is hardly HTTP: the server answers 400 or hangs up, and goes on."""

    @settings(quick, max_examples=WIRE_CASES)
    @given(
        head=st.sampled_from(
            [
                b"",
                b"POST /api/v1/voice/synthesize HTTP/1.1\r\nHost: 127.0.0.1\r\n",
                b"POST /api/v1/voice/synthesize HTTP/1.1\r\nContent-Type: application/json\r\n",
                b"GET /api/v1/voice/audio/",
            ]
        ),
        rest=st.binary(max_size=120),
    )
    def one(head: bytes, rest: bytes) -> None:
        with socket.create_connection(("127.0.0.1", gateway.port), timeout=5) as client:
            client.sendall(head + rest + b"\r\n\r\n")
            client.shutdown(socket.SHUT_WR)
            answer = client.recv(4096)
        status = int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/1.1 ") else 0
        seen[status] += 1
        assert status in ALLOWED | {0}, answer

    one()
