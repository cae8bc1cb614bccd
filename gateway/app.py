"""`create_app(settings)`: the gateway as an ASGI application."""

from __future__ import annotations

import asyncio
import os
from typing import Any

from litestar import Litestar, Router

from core.errors import SeiketsuError
from core.settings import Settings, load_settings
from gateway.docs.pages import openapi_config
from gateway.edge import Edge
from gateway.errors import handle_exception
from gateway.ports import RuntimeFactory
from gateway.routes.agents import agent_routes
from gateway.routes.audio import audio_routes
from gateway.routes.bulk import bulk_routes
from gateway.routes.catalogue import catalogue_routes, phrase_routes
from gateway.routes.detailed import detailed_route
from gateway.routes.jobs import job_routes
from gateway.routes.quality import quality_route
from gateway.routes.session import session_routes
from gateway.routes.sessions import sessions_route
from gateway.routes.speech import speech_routes
from gateway.routes.system import health_routes, performance_route


def create_app(
    settings: Settings,
    runtime_factory: RuntimeFactory | None = None,
    *,
    draining: asyncio.Event | None = None,
) -> Litestar:
    """The gateway; its lifespan opens the runtime (`core.runtime.open_runtime` unless given).

    Serve it with `gateway.server.uvicorn_config`, which bounds clients that stall. `draining` is
    set by whoever serves it when the process is going to end.

    Raises:
        ConfigurationError: the settings would let strangers in, or a key cannot be used.
    """
    if runtime_factory is None:
        from core.runtime import open_runtime

        runtime_factory = open_runtime
    edge = Edge(settings, runtime_factory, draining)
    voice = Router(
        "/api/v1/voice",
        route_handlers=[
            *speech_routes(edge),
            *audio_routes(edge),
            *agent_routes(edge),
            *phrase_routes(edge),
            *catalogue_routes(edge),
            quality_route(edge),
            *bulk_routes(edge),
            *job_routes(edge),
            *session_routes(edge),
            sessions_route(edge),
            performance_route(edge),
            detailed_route(edge),
            *health_routes(edge),
        ],
    )
    handlers: dict[type[Exception] | int, Any] = {
        SeiketsuError: handle_exception,
        Exception: handle_exception,
    }
    return Litestar(
        route_handlers=[voice, Router("/", route_handlers=[*health_routes(edge)])],
        lifespan=[edge.lifespan],
        exception_handlers=handlers,
        openapi_config=openapi_config(),
        logging_config=None,
        debug=False,
    )


def app_from_environment() -> Litestar:
    """The gateway with the settings of this process's environment, for an ASGI server's factory."""
    return create_app(load_settings(os.environ))
