"""The two lanes of the voice server: real processes and sockets, voices that are stand-ins."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable
from pathlib import Path

import psutil
import pytest
from structlog.testing import capture_logs

from core.deadline import Deadline
from core.errors import Busy, ProviderError, ProviderRejected, ProviderUnavailable
from core.providers.base import SpeechCall, WorkClass
from core.providers.local import LocalProvider
from core.speech import SegmentTrace
from core.voices.child import SLOW_NICE
from tests.voices.server import segment_of, speak, wait_status
from tests.voices.standins import QUICK, SLOW, serving

pytestmark = pytest.mark.alone


def call_of(
    due_s: float = 2.0, *, strict: bool = True, work_class: WorkClass = "live"
) -> SpeechCall:
    deadline = Deadline.after(first_audio_s=due_s, whole_s=20, patience_s=0 if strict else 15)
    return SpeechCall(deadline, SegmentTrace(), work_class)


async def say(
    provider: LocalProvider, text: str, call: SpeechCall | None = None, voice: str = SLOW
) -> bytes:
    plan = segment_of(text, voice=voice)
    return (await speak(provider, text, segment=plan, call=call or call_of()))[0]


async def timed(work: Awaitable[bytes]) -> tuple[float, Busy | bytes]:
    """Seconds until the end, and what it was."""
    began_s = time.monotonic()
    try:
        heard: Busy | bytes = await work
    except Busy as error:
        heard = error
    return time.monotonic() - began_s, heard


async def ready(provider: LocalProvider) -> None:
    await wait_status(
        provider,
        lambda status: all(lane.ready == lane.processes for lane in (status.quick, status.slow)),
    )


async def test_a_slow_voice_holds_up_no_quick_one(tmp_path: Path) -> None:
    async with serving(tmp_path, quick=1, slow=1) as provider:
        await ready(provider)
        slow = asyncio.create_task(say(provider, "0.5 0.5"))
        status = await wait_status(provider, lambda status: status.slow.working == 1)
        assert (status.quick.working, status.quick.processes, status.slow.processes) == (0, 1, 1)
        took_s, heard = await timed(say(provider, "0 0", voice=QUICK))
        assert took_s < 0.4
        assert heard
        assert not slow.done()
        assert await slow
        status = await provider.status()
        assert (status.quick.served, status.slow.served) == (1, 1)


async def test_children_of_the_slow_lane_leave_the_processor_to_others(tmp_path: Path) -> None:
    async with serving(tmp_path, quick=1, slow=2) as provider:
        await ready(provider)
        status = await provider.status()
        for pid in status.slow.child_pids:
            assert psutil.Process(pid).nice() == min(19, psutil.Process().nice() + SLOW_NICE)
            group = Path(f"/proc/{pid}/autogroup")
            if group.exists():
                assert group.read_text(encoding="ascii").split()[-1] == str(SLOW_NICE)
        assert psutil.Process(status.quick.child_pids[0]).nice() == psutil.Process().nice()


async def test_who_cannot_be_in_time_is_refused_at_once_and_the_others_are_in_time(
    tmp_path: Path,
) -> None:
    async with serving(tmp_path, slow=2) as provider:
        await ready(provider)
        ends = await asyncio.gather(*(timed(say(provider, "0.3 0.8 0.8")) for _ in range(5)))
        spoken = [took_s for took_s, heard in ends if isinstance(heard, bytes)]
        refused = [(took_s, heard) for took_s, heard in ends if isinstance(heard, Busy)]
        assert len(spoken) == 2
        assert len(refused) == 3
        for took_s, busy in refused:
            assert took_s < 0.2
            assert busy.retry_after_s is not None
            assert 1.0 < busy.retry_after_s < 3.0
        assert await say(provider, "0.3 0.3")


async def test_who_comes_back_when_told_is_accepted(tmp_path: Path) -> None:
    async with serving(tmp_path, slow=1) as provider:
        await ready(provider)
        first = asyncio.create_task(say(provider, "0.2 0.5 0.5"))
        await wait_status(provider, lambda status: status.slow.working == 1)
        _, heard = await timed(say(provider, "0.2"))
        assert isinstance(heard, Busy)
        assert heard.retry_after_s is not None
        await asyncio.sleep(heard.retry_after_s)
        assert await say(provider, "0.2")
        assert await first


async def test_who_was_accepted_is_refused_before_it_is_due_when_a_job_takes_too_long(
    tmp_path: Path,
) -> None:
    async with serving(tmp_path, slow=1) as provider:
        await ready(provider)
        longer = asyncio.create_task(say(provider, "0.1 3.5"))  # 1.1 s are expected
        await wait_status(provider, lambda status: status.slow.working == 1)
        took_s, heard = await timed(say(provider, "0.1", call_of(3.0)))
        assert isinstance(heard, Busy)
        assert 0.5 < took_s < 3.0
        assert (await provider.status()).slow.working == 1
        assert await longer


async def test_who_is_due_earlier_speaks_first(tmp_path: Path) -> None:
    order: list[float] = []

    async def one(due_s: float) -> None:
        await say(provider, "0.05", call_of(due_s, strict=False))
        order.append(due_s)

    async with serving(tmp_path, slow=1) as provider:
        await ready(provider)
        blocking = asyncio.create_task(say(provider, "0.5"))
        await wait_status(provider, lambda status: status.slow.working == 1)
        await asyncio.gather(*map(one, (9.0, 7.0, 8.0)))
        assert order == [7.0, 8.0, 9.0]
        await blocking


async def test_whose_late_audio_is_of_use_is_not_refused(tmp_path: Path) -> None:
    async with serving(tmp_path, slow=1, queue_limit=3) as provider:
        await ready(provider)
        calls = [say(provider, "0.4", call_of(0.1, strict=False)) for _ in range(5)]
        ends = await asyncio.gather(*map(timed, calls))
        assert sum(isinstance(heard, bytes) for _, heard in ends) == 4  # one works, three wait
        assert sum(isinstance(heard, Busy) for _, heard in ends) == 1


async def test_bulk_work_leaves_a_child_to_callers(tmp_path: Path) -> None:
    async with serving(tmp_path, slow=2) as provider:
        await ready(provider)
        bulk = [
            asyncio.create_task(say(provider, "0.8", call_of(15, strict=False, work_class="bulk")))
            for _ in range(2)
        ]
        status = await wait_status(provider, lambda s: s.slow.working + s.slow.queued == 2)
        assert (status.slow.working, status.slow.queued) == (1, 1)
        took_s, heard = await timed(say(provider, "0.1"))
        assert isinstance(heard, bytes)
        assert took_s < 0.6
        await asyncio.gather(*bulk)


async def test_what_follows_of_one_text_leaves_a_child_to_another_caller(tmp_path: Path) -> None:
    async with serving(tmp_path, slow=2) as provider:
        await ready(provider)
        first = asyncio.create_task(say(provider, "0.1 0.7"))
        await wait_status(provider, lambda status: status.slow.working == 1)
        following = [
            asyncio.create_task(say(provider, "0.1 0.3", call_of(4.0, strict=False)))
            for _ in range(2)
        ]
        await wait_status(provider, lambda status: status.slow.queued == 2)
        took_s, heard = await timed(say(provider, "0.1"))
        assert isinstance(heard, bytes)
        assert took_s < 0.6
        await asyncio.gather(first, *following)


async def test_before_its_lane_is_up_a_request_waits_if_it_can_be_in_time(tmp_path: Path) -> None:
    async with serving(tmp_path, slow=1, loading="1") as provider:
        took_s, heard = await timed(say(provider, "0.1", call_of(2.0)))
        assert isinstance(heard, Busy)
        assert took_s < 0.2
        assert heard.retry_after_s is not None
        assert 1.0 < heard.retry_after_s < 10.0
        assert await say(provider, "0.1", call_of(15.0))


async def test_a_lane_that_cannot_start_is_said_once_and_speaks_when_it_can(
    tmp_path: Path,
) -> None:
    with capture_logs() as logs:
        async with serving(tmp_path, quick=1, slow=2, loading="Put the model there.") as provider:
            await wait_status(provider, lambda status: status.slow.restarts >= 4)
            began_s = time.monotonic()
            with pytest.raises(ProviderUnavailable) as caught:
                await say(provider, "0.1")
            assert time.monotonic() - began_s < 0.2
            assert caught.value.vendor_code == "unavailable"
            assert await say(provider, "0.1", voice=QUICK)
            said = [entry for entry in logs if entry["log_level"] in ("warning", "error")]
            (entry,) = said
            assert entry["event"] == "voice_lane_cannot_start"
            assert entry["reason"] == "Put the model there."
            (tmp_path / "model").write_text("0", encoding="utf-8")
            await wait_status(provider, lambda status: status.slow.ready == 2, timeout_s=15)
            assert await say(provider, "0.1")


async def test_a_lane_that_is_switched_off_says_so(tmp_path: Path) -> None:
    async with serving(tmp_path, quick=1) as provider:
        with pytest.raises(ProviderRejected) as caught:
            await say(provider, "0.1")
        assert caught.value.vendor_code == "switched_off"
        assert (await provider.status()).slow.processes == 0


@pytest.mark.parametrize(
    "voice", ["kokoro/nobody", "kokoro/test:high", "kokoro/test:9999", "kokoro/", "kokoro"]
)
async def test_a_voice_that_is_none_is_rejected(tmp_path: Path, voice: str) -> None:
    async with serving(tmp_path, slow=1) as provider:
        await ready(provider)
        with pytest.raises(ProviderRejected) as caught:
            await say(provider, "0.1", voice=voice)
        assert caught.value.vendor_code == "unknown_voice"


async def test_who_leaves_makes_room_soon(tmp_path: Path) -> None:
    async with serving(tmp_path, slow=1) as provider:
        await ready(provider)
        leaving = asyncio.create_task(say(provider, "0.2 0.2 0.2 0.2 0.2 0.2 0.2 0.2 0.2 0.2 0.2"))
        await wait_status(provider, lambda status: status.slow.working == 1)
        await asyncio.sleep(0.3)
        assert isinstance((await timed(say(provider, "0.1")))[1], Busy)
        leaving.cancel()
        await asyncio.sleep(0.05)
        assert await say(provider, "0.1", call_of(3.0))
        await asyncio.gather(leaving, return_exceptions=True)


async def test_a_crash_of_a_slow_child_touches_no_quick_one(tmp_path: Path) -> None:
    async with serving(tmp_path, quick=1, slow=1) as provider:
        await ready(provider)
        before = await provider.status()
        slow = asyncio.create_task(say(provider, "5"))
        await wait_status(provider, lambda status: status.slow.working == 1)
        psutil.Process(before.slow.child_pids[0]).kill()
        with pytest.raises(ProviderError):
            await slow
        assert await say(provider, "0.1", voice=QUICK)
        await wait_status(provider, lambda status: status.slow.ready == 1)
        after = await provider.status()
        assert after.quick.child_pids == before.quick.child_pids
        assert (after.quick.restarts, after.slow.restarts) == (0, 1)
