"""The docs page works without any other host, and tells the truth."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser

import httpx
import jsonschema_rs
import msgspec
import pytest

from gateway.docs.openapi import error_markdown
from gateway.errors import STATUS, ErrorRow, error_table
from gateway.messages import SynthesizeRequest
from tests.gateway.conftest import BODY
from tests.gateway.server import Gateway


@pytest.fixture
def docs(gateway: Gateway) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=gateway.base) as client:
        yield client


class Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.files: list[str] = []
        self.inline = ""
        self._script = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("src", "href") and value:
                self.files.append(value)
        self._script = tag in ("script", "style")

    def handle_data(self, data: str) -> None:
        if self._script:
            self.inline += data.strip()
        self._script = False


@pytest.mark.parametrize("path", ["/docs", "/docs/"])
def test_every_file_of_the_page_is_ours_and_there(docs: httpx.Client, path: str) -> None:
    page = docs.get(path)
    assert page.headers["content-type"].startswith("text/html")
    links = Links()
    links.feed(page.text)
    assert len(links.files) >= 5
    assert links.inline == ""
    for file in links.files:
        assert file.startswith("/"), file
        assert not file.startswith("//")
        found = docs.get(file)
        assert found.status_code == 200, file
        assert found.headers["x-content-type-options"] == "nosniff"
    bundle = docs.get("/docs/static/swagger-ui-bundle.js")
    assert "javascript" in bundle.headers["content-type"]
    assert b"SwaggerUIBundle" in bundle.content
    again = docs.get(
        "/docs/static/swagger-ui-bundle.js", headers={"if-none-match": bundle.headers["etag"]}
    )
    assert again.status_code == 304
    assert docs.get("/docs/static/..%2f__init__.py").status_code == 404


def test_the_policy_lets_nothing_foreign_in(docs: httpx.Client) -> None:
    policy = docs.get("/docs").headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert "http" not in policy
    assert "frame-ancestors 'none'" in policy


def test_the_document_is_valid_openapi(docs: httpx.Client) -> None:
    document = docs.get("/docs/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    for name, schema in document["components"]["schemas"].items():
        assert jsonschema_rs.meta.is_valid(schema), name
    pending: list[object] = [document]
    while pending:
        node = pending.pop()
        if isinstance(node, dict):
            if (ref := node.get("$ref")) is not None:
                target: object = document
                for part in str(ref).removeprefix("#/").split("/"):
                    assert isinstance(target, dict)
                    target = target[part]
            pending.extend(node.values())
        elif isinstance(node, list):
            pending.extend(node)
    ids = [
        operation["operationId"]
        for path in document["paths"].values()
        for operation in path.values()
    ]
    assert len(ids) == len(set(ids))


def test_the_synthesis_routes_are_wholly_documented(docs: httpx.Client) -> None:
    document = docs.get("/docs/openapi.json").json()
    for path in ("/api/v1/voice/synthesize", "/api/v1/voice/streaming/synthesize/streaming"):
        operation = document["paths"][path]["post"]
        assert operation["requestBody"]["required"] is True
        responses = operation["responses"]
        assert "audio/mpeg" in responses["200"]["content"]
        assert "X-First-Audio-Ms" in responses["200"]["headers"]
        for status, response in responses.items():
            if status != "200":
                body = response["content"]["application/json"]["schema"]
                assert body == {"$ref": "#/components/schemas/ErrorBody"}
                assert re.search(r"`\w+`", response["description"])
    schema = document["components"]["schemas"]["SynthesizeRequest"]
    assert set(schema["properties"]) == set(SynthesizeRequest.__struct_fields__)
    assert schema["required"] == ["text", "voice_agent_id"]


def test_the_documented_reply_is_the_real_one(docs: httpx.Client, gateway: Gateway) -> None:
    document = docs.get("/docs/openapi.json").json()
    schemas = document["components"]["schemas"]

    def check(name: str, reply: httpx.Response) -> None:
        schema = {**schemas[name], "components": document["components"]}
        jsonschema_rs.validate(schema, reply.json())

    check("SynthesizeReply", httpx.post(gateway.voice + "/synthesize", json=BODY))
    check("ErrorBody", httpx.post(gateway.voice + "/synthesize", json={}))
    check("Performance", httpx.get(gateway.voice + "/performance"))
    check("Health", httpx.get(gateway.base + "/health/ready"))


def test_the_error_table_is_complete_everywhere(docs: httpx.Client) -> None:
    rows = msgspec.json.decode(docs.get("/docs/errors").content, type=list[ErrorRow])
    assert rows == error_table()
    assert {row.code for row in rows} == set(STATUS)
    description = docs.get("/docs/openapi.json").json()["info"]["description"]
    assert error_markdown(rows) in description
    for code, status in STATUS.items():
        assert f"| `{code}` | {status} |" in description
