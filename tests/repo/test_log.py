"""What the log holds, and what it never holds."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import orjson
import pytest
import structlog

from core.log import HIDDEN, configure_logging, request_scope

SECRET = "sk_live_4242"
WORDS = "my card number is"


@pytest.fixture
def sink() -> Iterator[io.BytesIO]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    out = io.BytesIO()
    yield out
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)


def _lines(sink: io.BytesIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in sink.getvalue().splitlines()]


def test_a_line_is_one_json_object(sink: io.BytesIO) -> None:
    configure_logging("info", orjson.dumps, stream=sink)
    structlog.get_logger().info("spoken", first_audio_ms=12.5, format="mp3", tags=("a", "b"))
    (line,) = _lines(sink)
    assert line["event"] == "spoken"
    assert line["level"] == "info"
    assert line["first_audio_ms"] == 12.5
    assert line["tags"] == ["a", "b"]
    assert line["timestamp"].endswith("Z")


@pytest.mark.parametrize(
    "name",
    [
        *("text", "Text", "spoken_text", "caller-text", "body", "api_key", "API_KEY", "xi-api-key"),
        *("authorization", "Authorization", "eleven_labs_api_key", "signing_key", "api_keys"),
    ],
)
def test_secrets_and_texts_are_hidden_at_any_depth(sink: io.BytesIO, name: str) -> None:
    configure_logging("debug", orjson.dumps, stream=sink)
    log = structlog.get_logger()
    log.info("a", **{name: SECRET})
    log.info("b", request={"headers": [{name: SECRET}], "ok": 1})
    log.info("c", **{name: {"inner": [SECRET]}})
    assert SECRET.encode() not in sink.getvalue()
    lines = _lines(sink)
    assert lines[0][name] == HIDDEN
    assert lines[1]["request"] == {"headers": [{name: HIDDEN}], "ok": 1}
    assert lines[2][name] == HIDDEN


def test_passwords_in_urls_are_cut_out(sink: io.BytesIO) -> None:
    configure_logging("info", orjson.dumps, stream=sink)
    structlog.get_logger().info(f"at redis://user:{SECRET}@host:1/0", url=f"redis://:{SECRET}@h/0")
    logging.getLogger("aiohttp.client").warning("no answer from redis://u:%s@h", SECRET)
    assert SECRET.encode() not in sink.getvalue()
    assert _lines(sink)[0]["url"] == f"redis://{HIDDEN}@h/0"


def test_libraries_log_in_the_same_form(sink: io.BytesIO) -> None:
    configure_logging("info", orjson.dumps, stream=sink)
    for name in ("uvicorn.error", "aiohttp.server", "arq.worker"):
        logging.getLogger(name).warning("hello %s", name)
        logging.getLogger(name).debug("too fine")
    logging.getLogger("uvicorn.error").info("Started server process")
    logging.getLogger("uvicorn.access").warning("GET /")
    assert [(line["logger"], line["level"], line["event"]) for line in _lines(sink)] == [
        (name, "warning", f"hello {name}")
        for name in ("uvicorn.error", "aiohttp.server", "arq.worker")
    ]


def test_errors_carry_a_traceback_without_local_values(sink: io.BytesIO) -> None:
    configure_logging("info", orjson.dumps, stream=sink)

    def fail(text: str) -> None:
        raise ValueError("no voice")

    for log in (structlog.get_logger(), logging.getLogger("x")):
        try:
            fail(WORDS)
        except ValueError:
            log.exception("failed")
    for line in _lines(sink):
        assert "no voice" in line["exception"]
        assert "in fail" in line["exception"]
        assert line["level"] == "error"
    assert WORDS.encode() not in sink.getvalue()


async def test_the_request_id_follows_the_tasks_of_its_request(sink: io.BytesIO) -> None:
    configure_logging("info", orjson.dumps, stream=sink)
    log = structlog.get_logger()

    async def inner(name: str) -> None:
        await asyncio.sleep(0)
        log.info(name)

    async def request(name: str) -> None:
        with request_scope(f"req-{name}"):
            await asyncio.create_task(inner(name))

    await asyncio.gather(request("a"), request("b"))
    log.info("outside")
    assert {line["event"]: line.get("request_id") for line in _lines(sink)} == {
        "a": "req-a",
        "b": "req-b",
        "outside": None,
    }


def test_the_level_is_a_floor(sink: io.BytesIO) -> None:
    configure_logging("warning", orjson.dumps, stream=sink)
    structlog.get_logger().info("low")
    structlog.get_logger().warning("high")
    assert [line["event"] for line in _lines(sink)] == ["high"]


def test_what_json_does_not_know_is_written_as_words(sink: io.BytesIO) -> None:
    configure_logging("info", orjson.dumps, stream=sink)
    structlog.get_logger().info("odd", value=object)
    assert _lines(sink)[0]["value"] == "<class 'object'>"
