"""Children of the voice server with stand-in voices, and a server in front of them.

    python -m tests.voices.standins LANE OPTIONS FD

A stand-in speaks the numbers in a text: each is a passage that takes so many seconds to compute
and is a tenth of a second long. Everything around the engine is the real thing.
"""

from __future__ import annotations

import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import msgspec

from core.audio.pcm import BYTES_PER_S
from core.errors import ConfigurationError
from core.providers.local import LocalProvider
from core.voices.child import main
from core.voices.pool import Pool
from core.voices.registry import EngineOptions, Lane, Passage, VoiceEngine
from core.voices.server import VoiceServer, listening

QUICK = "hibari/test"
SLOW = "kokoro/test"


class StandIn:
    """An engine that takes as long as it is told."""

    voices = frozenset({"test"})

    def speak(self, voice: str, text: str, *, speed: float, seed: int | None) -> Iterator[Passage]:
        for number in text.split():
            time.sleep(float(number))
            yield Passage(bytes(BYTES_PER_S // 10), ())


def load(lane: Lane, options: EngineOptions) -> Mapping[str, VoiceEngine]:
    """`kokoro_model` is a file with the seconds that the slow lane needs to load, or says why it
    cannot."""
    if lane == "quick":
        return {"hibari": StandIn()}
    text = Path(options.kokoro_model).read_text(encoding="utf-8")
    try:
        time.sleep(float(text))
    except ValueError as error:
        raise ConfigurationError(text) from error
    return {"kokoro": StandIn()}


@asynccontextmanager
async def serving(
    directory: Path, *, quick: int = 0, slow: int = 0, queue_limit: int = 20, loading: str = "0"
) -> AsyncIterator[LocalProvider]:
    """A client of a server in this process, with so many stand-in children in each lane."""
    model = directory / "model"
    model.write_text(loading, encoding="utf-8")
    options = msgspec.json.encode(EngineOptions(str(directory), str(model))).decode()
    module = (sys.executable, "-m", "tests.voices.standins")
    pools: dict[Lane, Pool] = {}
    async with AsyncExitStack() as stack:
        lanes: tuple[tuple[Lane, int], ...] = (("quick", quick), ("slow", slow))
        for lane, processes in lanes:
            if processes:
                pools[lane] = Pool(lane, (*module, lane, options), processes, queue_limit)
                stack.push_async_callback(pools[lane].stop)
                pools[lane].start()
        path = directory / "voices.sock"
        await stack.enter_async_context(listening(path, VoiceServer(pools)))
        provider = LocalProvider(path)
        stack.push_async_callback(provider.aclose)
        yield provider


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], load))
