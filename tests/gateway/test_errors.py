"""The one error body, for everything a caller can get wrong."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
import pytest

import core.errors
from core.errors import SeiketsuError
from gateway.errors import STATUS, error_table, error_types
from tests.gateway.conftest import BODY, Start
from tests.gateway.fakes import Box, FakeSpeech
from tests.gateway.server import Gateway


def problem(reply: httpx.Response) -> tuple[int, str]:
    detail = reply.json()["error"]
    assert set(detail) == {"code", "message", "action", "retryable", "request_id"}
    assert detail["message"]
    assert detail["action"]
    assert detail["request_id"] == reply.headers["x-request-id"]
    assert reply.headers["content-type"] == "application/json"
    return reply.status_code, detail["code"]


def test_every_error_has_a_status_and_a_row() -> None:
    drawn = set(re.findall(r"[├└]── (\w+)", core.errors.__doc__ or ""))
    codes = {getattr(core.errors, name).code for name in drawn}
    rows = {row.code: row for row in error_table()}
    assert codes <= set(rows)
    assert set(rows) == set(STATUS)
    assert {kind.code for kind in error_types()} == set(STATUS)
    assert all(row.meaning and row.action for row in rows.values())
    assert rows["internal_error"].status == SeiketsuError.retryable + 500


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "not valid JSON"),
        (b"{", "not valid JSON"),
        (b'{"text": "\xff\xfe", "voice_agent_id": "a"}', "not valid JSON"),
        (b"[" * 50_000, "Expected `object`"),
        (b"null", "Expected `object`"),
        (b'{"text": 1, "voice_agent_id": "agent_123"}', "$.text"),
        (b'{"text": "Hi"}', "voice_agent_id"),
        (b'{"text": "Hi", "voice_agent_id": "agent_123", "optimise": 1}', "optimise"),
        (b'{"text": "Hi", "voice_agent_id": "agent_123", "format": 3}', "$.format"),
        (b'{"text": null, "voice_agent_id": "agent_123"}', "$.text"),
        (b'{"text": "Hi", "voice_agent_id": ""}', "$.voice_agent_id"),
        (b'{"text": "Hi \\ud800", "voice_agent_id": "agent_123"}', "JSON"),
    ],
)
def test_bad_bodies(http: httpx.Client, body: bytes, says: str) -> None:
    reply = http.post("/synthesize", content=body, headers={"content-type": "application/json"})
    assert problem(reply) == (400, "invalid_request")
    assert says in reply.json()["error"]["message"]


@pytest.mark.parametrize(
    ("fields", "status", "code"),
    [
        ({"text": "..."}, 422, "text_empty"),
        ({"voice_agent_id": "nobody"}, 404, "agent_not_found"),
        ({"format": "midi"}, 422, "unsupported_format"),
    ],
)
def test_bad_requests(http: httpx.Client, fields: dict[str, str], status: int, code: str) -> None:
    assert problem(http.post("/synthesize", json={**BODY, **fields})) == (status, code)


@pytest.mark.parametrize(
    "headers",
    [
        {"content-type": "text/plain"},
        {"content-type": "application/x-www-form-urlencoded"},
        {"content-type": "application/json; charset=utf-16"},
        {"content-type": "application/json", "content-encoding": "gzip"},
        {"content-type": "application/json;" + "x" * 4000},
        {},
    ],
)
def test_only_plain_json_is_read(http: httpx.Client, headers: dict[str, str]) -> None:
    reply = http.post("/synthesize", content=b"{}", headers=headers)
    assert problem(reply) == (415, "unsupported_media_type")


@pytest.mark.parametrize("kind", ["application/json", "Application/JSON; charset=UTF-8"])
def test_json_may_name_its_charset(http: httpx.Client, kind: str) -> None:
    body = b'{"text": "Hi", "voice_agent_id": "agent_123"}'
    assert http.post("/synthesize", content=body, headers={"content-type": kind}).status_code == 200


def test_a_large_body_is_refused_announced_or_not(start: Start, speech: FakeSpeech) -> None:
    gateway = start(max_body_bytes=2048)
    headers = {"content-type": "application/json"}
    with httpx.Client(base_url=gateway.voice) as http:
        whole = http.post("/synthesize", content=b"x" * 2049, headers=headers)
        assert problem(whole) == (413, "body_too_large")
        assert "2048" in whole.json()["error"]["message"]
        pieces = http.post("/synthesize", content=iter([b"x" * 1500, b"x" * 1500]), headers=headers)
        assert problem(pieces) == (413, "body_too_large")
        assert pieces.headers["connection"] == "close"
        fits = http.post("/synthesize", content=iter([b"x" * 1024, b"x" * 1024]), headers=headers)
        assert problem(fits) == (400, "invalid_request")
    assert speech.requests == []


def test_paths_and_methods(http: httpx.Client, gateway: Gateway) -> None:
    assert problem(http.get("/nothing")) == (404, "not_found")
    assert problem(httpx.get(gateway.base + "/docs/nothing")) == (404, "not_found")
    for method in ("GET", "PUT", "DELETE", "OPTIONS", "PATCH"):
        refused = http.request(method, "/synthesize")
        assert problem(refused) == (405, "method_not_allowed")
        assert refused.headers["allow"] == "POST"
    refused = http.post("/performance")
    assert problem(refused) == (405, "method_not_allowed")
    assert "GET" in refused.headers["allow"]


def test_refusals_are_counted_and_unknown_agents_not_logged(
    http: httpx.Client, box: Box, capsys: pytest.CaptureFixture[str]
) -> None:
    http.post("/synthesize", content=b"{")
    http.post("/synthesize", json={**BODY, "voice_agent_id": "a private name"})
    assert box.runtime is not None
    counted = box.runtime.recorder.snapshot()
    assert counted["refused"] == {"unsupported_media_type": 1}
    assert counted["errors"] == {"agent_not_found": 1}
    assert "private" not in "".join(capsys.readouterr())


def test_no_status_is_invented_outside_the_table() -> None:
    """Routes raise errors; only the table knows statuses of them."""
    folder = Path(__file__).parents[2] / "gateway" / "routes"
    for source in folder.glob("*.py"):
        found = re.findall(r"status_code=(\d+)", source.read_text())
        assert set(found) <= {"200", "202", "204", "206", "304", "503"}, source
