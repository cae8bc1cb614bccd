"""The guide's example, for a program in Python: `python -m tests.guide.python_use`."""

import asyncio
from pathlib import Path

from core.voice_service import Language, get_voice_agent, voice_service


async def main() -> None:
    # Redis and the voice server run: `seiketsu up` in another terminal.
    await voice_service.initialize()

    voice_agent = await get_voice_agent("agent_123")
    result = await voice_service.synthesize_speech(
        text="Welcome to Seiketsu AI!",
        voice_agent=voice_agent,
        language=Language.ENGLISH,
        optimize_for_speed=True,
    )

    print(f"Processing time: {result.processing_time_ms}ms")
    print(f"Cached: {result.cached}")
    print(f"Quality score: {result.quality_score}")
    Path("welcome.mp3").write_bytes(result.audio)

    await voice_service.close()


if __name__ == "__main__":
    asyncio.run(main())
