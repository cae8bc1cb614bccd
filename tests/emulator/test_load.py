"""Plan limits, the short queue and 429, credits, recorded latencies, and the kinds of audio."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from pathlib import Path

import aiohttp
import pytest

from benchmarks import wordcode
from benchmarks.emulator.process import EmulatorProcess
from benchmarks.listener import Heard, listen, play
from tests.emulator.conftest import RACHEL

TEXT = "The kitchen opens to a quiet garden with two old apple trees."
FLASH = "eleven_flash_v2_5"
KEY = {"xi-api-key": "any"}


async def _ask(
    emulator: EmulatorProcess,
    http: aiohttp.ClientSession,
    text: str = TEXT,
    *,
    model: str = FLASH,
    route: str = "/stream",
    output_format: str = "pcm_24000",
) -> Heard:
    url = f"{emulator.url}/v1/text-to-speech/{RACHEL}{route}?output_format={output_format}"
    return await listen(http, "POST", url, json={"text": text, "model_id": model}, headers=KEY)


async def test_over_the_limit_requests_queue_and_then_are_refused() -> None:
    async with (
        EmulatorProcess("--audio", "coded", "--plan", "free", "--queue-ms", "80") as emulator,
        aiohttp.ClientSession() as http,
    ):
        heard = await asyncio.gather(*(_ask(emulator, http) for _ in range(7)))
        refused = [h for h in heard if h.status == 429]
        assert sorted(h.status or 0 for h in heard) == [200] * 4 + [429] * 3
        assert all(h.json()["detail"]["code"] == "concurrent_limit_exceeded" for h in refused)
        assert all(70 < h.total_ms < 250 for h in refused)
        assert all("retry-after" not in h.headers for h in refused)
        gates = (await emulator.state())["gates"]
        assert (gates["flash"]["limit"], gates["flash"]["peak"]) == (4, 4)
        assert (gates["flash"]["queued"], gates["flash"]["refused"]) == (3, 3)
        slow = await asyncio.gather(
            *(_ask(emulator, http, model="eleven_multilingual_v2") for _ in range(3))
        )
        assert sorted(h.status or 0 for h in slow) == [200, 200, 429]


async def test_a_queued_request_takes_the_place_that_becomes_free() -> None:
    async with (
        EmulatorProcess("--audio", "coded", "--concurrency", "1", "--queue-ms", "900") as emulator,
        aiohttp.ClientSession() as http,
    ):
        first, second = await asyncio.gather(_ask(emulator, http), _ask(emulator, http))
        assert (first.status, second.status) == (200, 200)
        assert abs(first.total_ms - second.total_ms) > 200
        assert (await emulator.state())["gates"]["flash"]["peak"] == 1


async def test_credits_run_out() -> None:
    async with (
        EmulatorProcess("--audio", "coded", "--latency", "none", "--credits", "40") as emulator,
        aiohttp.ClientSession() as http,
    ):
        assert (await _ask(emulator, http)).headers["character-cost"] == "31"
        heard = await _ask(emulator, http)
        assert heard.status == 401
        detail = heard.json()["detail"]
        assert (detail["code"], detail["type"]) == ("quota_exceeded", "invalid_request")
        assert "You have 9 credits remaining, while 31 credits are required" in detail["message"]


async def test_recorded_times_on_the_wire() -> None:
    async with (
        EmulatorProcess("--audio", "coded", "--concurrency", "8") as emulator,
        aiohttp.ClientSession() as http,
    ):
        texts = [(TEXT + " ") * times for times in (1, 4, 8)]
        heard = await asyncio.gather(*(_ask(emulator, http, text) for text in texts))
        for text, one in zip(texts, heard, strict=True):
            listening = one.listening("pcm_24000")
            assert listening.first_audio_ms == pytest.approx(210, abs=60)
            assert one.total_ms == pytest.approx(250 + 1.65 * len(text), abs=90)
            assert listening.gaps == ()
            assert wordcode.matches(text, wordcode.decode(listening.pcm, 24_000)).ok
        whole = await _ask(emulator, http, texts[1], route="")
        assert whole.first_byte_ms == pytest.approx(250 + 1.65 * len(texts[1]), abs=90)


async def test_words_are_real_speech_with_times() -> None:
    async with (
        EmulatorProcess("--audio", "words", "--latency", "none") as emulator,
        aiohttp.ClientSession() as http,
    ):
        heard = await _ask(emulator, http, route="/stream/with-timestamps")
        listening = play(heard.spoken_lines(), heard.started_s, "pcm_24000")
        assert listening.lead_silence_ms is not None
        assert 100 < listening.lead_silence_ms < 600
        assert 2_000 < listening.duration_ms < 7_000
        reply = (await _ask(emulator, http, route="/with-timestamps")).json()["alignment"]
        starts = reply["character_start_times_seconds"]
        first_sound_s = starts[0]
        assert first_sound_s == pytest.approx(listening.lead_silence_ms / 1000, abs=0.12)
        words = [starts[TEXT.index(word)] for word in ("kitchen", "garden", "apple", "trees")]
        assert words == sorted(words)
        assert words[-1] > 0.6 * listening.duration_ms / 1000
        spoken = wordcode.decode(listening.pcm, 24_000)
        assert all(word.index == wordcode.UNREADABLE for word in spoken)


async def test_clips_fit_the_length_and_cost_next_to_nothing() -> None:
    async with (
        EmulatorProcess("--audio", "clips", "--latency", "none", "--concurrency", "60") as emulator,
        aiohttp.ClientSession() as http,
    ):
        for times in (1, 3, 9, 20):
            text = (TEXT + " ") * times
            listening = (await _ask(emulator, http, text)).listening("pcm_24000")
            assert listening.duration_ms == pytest.approx(len(text) / 15.8 * 1000, rel=0.25)
            assert listening.first_audio_ms is not None
        first = await _ask(emulator, http)
        assert first.body == (await _ask(emulator, http, TEXT.upper())).body
        lines = await _ask(emulator, http, route="/stream/with-timestamps")
        assert b"".join(piece.data for piece in lines.spoken_lines()) == first.body
        began = time.perf_counter()
        many = await asyncio.gather(
            *(_ask(emulator, http, route="/stream/with-timestamps") for _ in range(50))
        )
        each_ms = (time.perf_counter() - began) * 1000 / 50
        assert all(heard.complete for heard in many)
        assert each_ms < 40


@pytest.mark.parametrize(
    "output_format",
    ["mp3_44100_128", "ulaw_8000", pytest.param("alaw_8000", marks=pytest.mark.long)],
)
async def test_clips_in_other_formats(output_format: str) -> None:
    async with (
        EmulatorProcess("--audio", "clips", "--latency", "none") as emulator,
        aiohttp.ClientSession() as http,
    ):
        heard = await _ask(emulator, http, output_format=output_format)
        listening = heard.listening(output_format)
        assert listening.error is None
        assert listening.duration_ms == pytest.approx(4_000, rel=0.25)
        assert listening.first_audio_ms is not None


async def test_the_same_seed_gives_the_same_faults_and_times() -> None:
    async def run(seed: str) -> list[int | None]:
        options = ("--audio", "coded", "--latency", "none", "--seed", seed)
        faults = '{"kind": "internal_error", "rate": 0.5}'
        async with (
            EmulatorProcess(*options, "--faults", faults) as emulator,
            aiohttp.ClientSession() as http,
        ):
            return [(await _ask(emulator, http)).status for _ in range(24)]

    first, second, third = await run("3"), await run("3"), await run("4")
    assert first == second != third
    assert 4 <= sum(status == 500 for status in first) <= 20


async def _dies(pid: int) -> bool:
    for _ in range(300):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        if Path(f"/proc/{pid}/stat").exists():
            state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
            if state == "Z":
                return True
        await asyncio.sleep(0.02)
    return False


def _children(pid: int) -> list[int]:
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(each) for each in listed.split()]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
async def test_it_dies_with_its_parent_and_takes_its_children(number: signal.Signals) -> None:
    program = (
        "import asyncio\n"
        "from benchmarks.emulator.process import EmulatorProcess\n"
        "async def main():\n"
        "    async with EmulatorProcess('--audio', 'words') as emulator:\n"
        "        print(emulator.pid, flush=True)\n"
        "        await asyncio.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, stdout=asyncio.subprocess.PIPE
    )
    assert parent.stdout is not None
    emulator = int(await asyncio.wait_for(parent.stdout.readline(), 30))
    children = _children(emulator)
    assert children
    parent.send_signal(number)
    await parent.wait()
    assert await _dies(emulator)
    assert all([await _dies(child) for child in children])


async def test_a_killed_emulator_leaves_no_voice_child() -> None:
    async with EmulatorProcess("--audio", "words") as emulator:
        children = _children(emulator.pid)
        os.kill(emulator.pid, signal.SIGKILL)
        assert all([await _dies(child) for child in children])


async def test_wrong_options_end_with_a_message() -> None:
    with pytest.raises(RuntimeError, match="ended"):
        await EmulatorProcess("--audio", "songs").start()
