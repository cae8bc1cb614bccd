"""Logging: one JSON object per line on stderr.

Lines of libraries that use the standard `logging` come out in the same form. Secrets and callers'
texts never do: a field with such a name is written as `[hidden]`, a password inside a URL is cut
out. The encoder is given by the caller, so that the core needs none of its own.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from typing import Any, BinaryIO, Final, cast

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

Serializer = Callable[..., bytes]
"""`dumps(value, default=callable) -> bytes`, as orjson's."""

HIDDEN: Final = "[hidden]"

_HIDDEN_NAMES: Final = frozenset(
    {
        "text",
        "texts",
        "spoken_text",
        "words",
        "body",
        "authorization",
        "cookie",
        "set_cookie",
        "password",
        "secret",
        "token",
        "api_key",
        "api_keys",
        "xi_api_key",
        "signing_key",
    }
)
"""Field names that hold a caller's words or a secret; compared in lower case with `_` for `-`."""

_HIDDEN_ENDINGS: Final = ("_text", "_secret", "_token", "_password", "api_key")

_URL_PASSWORD: Final = re.compile(r"(?<=://)[^/\s@]*:[^/\s@]*@")

_LIBRARIES: Final = {
    "uvicorn": logging.WARNING,
    "uvicorn.error": logging.WARNING,
    "uvicorn.access": logging.CRITICAL,
    "aiohttp": logging.NOTSET,
    "arq": logging.NOTSET,
    "asyncio": logging.WARNING,
}
"""Loggers of libraries and the level from which they are heard: what uvicorn says of its own start
and end is told by the supervisor, and there is one line per request already."""


def hide(_: WrappedLogger | None, __: str, event: EventDict) -> EventDict:
    """Processor: replace what must not be written, at any depth."""
    for name, value in event.items():
        if type(value) in (int, float, bool) or value is None:
            continue
        event[name] = HIDDEN if _is_hidden(name) else _clean(value)
    return event


def _is_hidden(name: object) -> bool:
    plain = str(name).lower().replace("-", "_")
    return plain in _HIDDEN_NAMES or plain.endswith(_HIDDEN_ENDINGS)


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return _URL_PASSWORD.sub(f"{HIDDEN}@", value) if "@" in value else value
    if isinstance(value, Mapping):
        return {k: HIDDEN if _is_hidden(k) else _clean(v) for k, v in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_clean(item) for item in value]
    return value


def configure_logging(level: str, serialize: Serializer, *, stream: BinaryIO | None = None) -> None:
    """Set up structlog and the standard `logging` of this process.

    `level` is debug, info, warning or error; `stream` is stderr unless given. Called once by a
    program, never by a library or at import.
    """
    sink = stream if stream is not None else sys.stderr.buffer
    number = logging.getLevelNamesMapping()[level.upper()]
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        hide,
    ]

    def render(_: WrappedLogger | None, __: str, event: EventDict) -> bytes:
        return serialize(event, default=str)

    structlog.configure(
        processors=[*shared, render],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.BytesLoggerFactory(cast("Any", sink)),
        cache_logger_on_first_use=stream is None,
    )

    handler = _BytesHandler(sink, [_from_record, *shared, render])
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(number)
    for name, floor in _LIBRARIES.items():
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
        logger.setLevel(floor)


@contextmanager
def request_scope(request_id: str) -> Iterator[None]:
    """Every line logged inside carries `request_id`, in this task and those it starts."""
    with structlog.contextvars.bound_contextvars(request_id=request_id):
        yield


def _from_record(_: WrappedLogger | None, __: str, event: EventDict) -> EventDict:
    """Turn the log record of the standard library into an event."""
    record: logging.LogRecord = event["record"]
    found: EventDict = {"event": record.getMessage(), "logger": record.name}
    if record.exc_info:
        found["exc_info"] = record.exc_info
    return found


class _BytesHandler(logging.Handler):
    """Runs a standard record through structlog's processors and writes the bytes."""

    def __init__(self, sink: BinaryIO, processors: list[Processor]) -> None:
        super().__init__()
        self._out = structlog.BytesLogger(cast("Any", sink))
        self._processors = processors

    def emit(self, record: logging.LogRecord) -> None:
        try:
            event: Any = {"record": record}
            for processor in self._processors:
                event = processor(
                    None, record.levelname.lower(), cast("MutableMapping[str, Any]", event)
                )
            self._out.msg(event)
        except (
            Exception
        ):  # logging's own rule: a line that cannot be written is reported, not raised
            self.handleError(record)
