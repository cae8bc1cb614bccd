"""`/docs`: an interactive page of the API that needs nothing from another host.

Swagger UI's files come from the installed package `swagger-ui-py` (Apache-2.0), which is only ever
read as files. The page carries no script of its own, so its policy allows none.
"""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path
from typing import Any, Final

import msgspec
from litestar import Request, Response, Router
from litestar.exceptions import NotFoundException
from litestar.handlers import HTTPRouteHandler, get
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import OpenAPIRenderPlugin
from litestar.openapi.spec import Tag
from litestar.params import FromPath

from core.errors import ConfigurationError
from gateway.docs.openapi import complete_schema
from gateway.docs.session import protocol_markdown
from gateway.errors import ErrorRow, error_table

TITLE: Final = "Seiketsu Voice"
API_VERSION: Final = "1"
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; media-src 'self' blob:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
"""Swagger UI sets inline styles; nothing else is let through."""

_START: Final = (
    b'window.onload = () => SwaggerUIBundle({url: "/docs/openapi.json", dom_id: "#api", '
    b"deepLinking: true, validatorUrl: null, presets: [SwaggerUIBundle.presets.apis]});\n"
)
_PAGE: Final = f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{TITLE}</title>
<link rel="icon" type="image/png" href="/docs/static/favicon-32x32.png">
<link rel="stylesheet" href="/docs/static/swagger-ui.css">
<script src="/docs/static/swagger-ui-bundle.js" defer></script>
<script src="/docs/static/start.js" defer></script>
</head>
<body><div id="api"><p>This page needs JavaScript; the same as JSON is at
<a href="/docs/openapi.json">/docs/openapi.json</a>, the error codes at
<a href="/docs/errors">/docs/errors</a>, the protocol of the
session at <a href="/docs/session">/docs/session</a>.</p></div></body>
</html>
""".encode()

CLIENT: Final = "voice-streaming-client.js"
"""The client of sessions for programs in JavaScript."""

_TYPES: Final = {
    "swagger-ui.css": "text/css",
    "swagger-ui-bundle.js": "text/javascript",
    "favicon-32x32.png": "image/png",
}


def openapi_config() -> OpenAPIConfig:
    """Litestar's documentation with our page, our document and our policy."""
    return OpenAPIConfig(
        title=TITLE,
        version=API_VERSION,
        path="/docs",
        tags=[
            Tag(name="Speech"),
            Tag(name="Agents"),
            Tag(name="Sessions"),
            Tag(name="Jobs"),
            Tag(name="Monitoring"),
            Tag(name="Health"),
        ],
        render_plugins=[_Page(), _Document()],
        openapi_router=Router(
            "/docs",
            route_handlers=[_errors, _session, _static_route()],
            include_in_schema=False,
            after_request=_finish,
        ),
    )


class _Page(OpenAPIRenderPlugin):
    def __init__(self) -> None:
        super().__init__(path="/")

    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:
        return _PAGE


class _Document(OpenAPIRenderPlugin):
    def __init__(self) -> None:
        super().__init__(path="/openapi.json", media_type="application/json")  # type: ignore[arg-type]
        self._rendered: bytes | None = None

    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:
        if self._rendered is None:
            plain = msgspec.json.decode(self.render_json(request, openapi_schema))
            self._rendered = msgspec.json.encode(complete_schema(plain))
        return self._rendered


@get("/errors")
async def _errors() -> list[ErrorRow]:
    """Every error code with its status, meaning, action and whether to try again."""
    return error_table()


@get("/session", media_type="text/markdown")
async def _session() -> str:
    """The protocol of the session: every command and event, the binary header, the close codes."""
    return protocol_markdown()


def _static_route() -> HTTPRouteHandler:
    files = _static_files()

    @get("/static/{name:str}")
    async def static_file(request: Request[Any, Any, Any], name: FromPath[str]) -> Response[bytes]:
        found = files.get(name)
        if found is None:
            raise NotFoundException
        headers = {"etag": found.etag, "cache-control": "no-cache"}
        if name == CLIENT:  # pages of other sites may load it: it holds nothing of anybody
            headers["access-control-allow-origin"] = "*"
        if request.headers.get("if-none-match") == found.etag:
            return Response(b"", status_code=304, headers=headers)
        return Response(found.body, media_type=found.kind, headers=headers)

    return static_file


class _File(msgspec.Struct, frozen=True):
    body: bytes
    kind: str
    etag: str


def _static_files() -> dict[str, _File]:
    """The files of the page, about 1.7 MB, read before the event loop has anything to do."""
    package = importlib.util.find_spec("swagger_ui")
    if package is None or not package.submodule_search_locations:
        raise ConfigurationError("The package swagger-ui-py is not installed: install it again.")
    folder = Path(package.submodule_search_locations[0]) / "static"
    bodies = {name: ((folder / name).read_bytes(), kind) for name, kind in _TYPES.items()}
    bodies["start.js"] = (_START, "text/javascript")
    client = Path(__file__).with_name(CLIENT)
    bodies[CLIENT] = (client.read_bytes(), "text/javascript")
    return {
        name: _File(body, kind, f'"{hashlib.blake2b(body, digest_size=16).hexdigest()}"')
        for name, (body, kind) in bodies.items()
    }


async def _finish(response: Response[Any]) -> Response[Any]:
    # Litestar answers unknown paths under its documentation with a page of its own.
    if response.status_code == 404:
        raise NotFoundException
    response.headers.setdefault("content-security-policy", POLICY)
    response.headers.setdefault("x-content-type-options", "nosniff")
    response.headers.setdefault("referrer-policy", "no-referrer")
    return response
