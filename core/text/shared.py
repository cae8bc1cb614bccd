"""A text that is still being written, read by several readers.

The race and the retry each hand the same text to more than one call; an iterator can be read once.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from types import TracebackType


class SharedText:
    """Owns the reading of an iterator; every `reader()` gets all pieces from the first on.

    Use as an async context manager: leaving it stops the reading.
    """

    def __init__(self, source: AsyncIterator[str]) -> None:
        self._source = source
        self._pieces: list[str] = []
        self._changed = asyncio.Event()
        self._error: BaseException | None = None
        self._ended = False
        self._pump: asyncio.Task[None] | None = None

    async def __aenter__(self) -> SharedText:
        self._pump = asyncio.create_task(self._read(), name="shared-text")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._pump is not None:
            self._pump.cancel()
            await asyncio.wait([self._pump])

    async def reader(self) -> AsyncGenerator[str, None]:
        """All pieces in order; raises what the source raised."""
        position = 0
        while True:
            changed = self._changed
            while position < len(self._pieces):
                yield self._pieces[position]
                position += 1
            if self._error is not None:
                raise self._error
            if self._ended:
                return
            if changed is self._changed:
                await changed.wait()

    async def _read(self) -> None:
        try:
            async for piece in self._source:
                self._pieces.append(piece)
                self._wake()
        except asyncio.CancelledError:
            raise
        except Exception as error:
            self._error = error
        finally:
            self._ended = True
            self._wake()

    def _wake(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()


async def whole_text(text: str | AsyncIterator[str]) -> str:
    """The complete text, waiting for its end where it is still being written."""
    if isinstance(text, str):
        return text
    return "".join([piece async for piece in text])
