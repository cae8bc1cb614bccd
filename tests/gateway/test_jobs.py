"""`/jobs` over HTTP: the caller's own, page by page, and cancelling."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest
from redis.asyncio import Redis

from core.embedded import EmbeddedRedis
from core.job_store import JobStore
from core.jobs import ItemResult, JobRef, JobSpec, Lease
from core.settings import JobSettings
from tests.gateway.conftest import Start
from tests.gateway.server import Gateway

SPEC = JobSpec("bulk", "agent_123", "en", "wav")
SPOKEN = ItemResult("done", "the-id", 400, False, 0.97, "local", False, 3, 12.5)
FAILED = ItemResult(
    "failed", error_code="text_empty", error_message="Nothing to say.", error_action="Say it."
)


@pytest.fixture
def store(state: Redis) -> JobStore:
    return JobStore(state, JobSettings(ttl_s=3600, max_texts=1000))


@pytest.fixture
async def client(gateway: Gateway) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=gateway.voice, timeout=10) as opened:
        yield opened


async def end_one(store: JobStore, ref: JobRef, result: ItemResult) -> None:
    lease = await store.take(ref)
    assert isinstance(lease, Lease)
    assert await store.finish(ref, lease, result)


def code(reply: httpx.Response) -> tuple[int, str]:
    return reply.status_code, reply.json()["error"]["code"]


async def test_a_job_shows_its_counts_and_items(client: httpx.AsyncClient, store: JobStore) -> None:
    ref = await store.create("default", SPEC, ["one", "two", "three", "four"])
    await end_one(store, ref, SPOKEN)
    await end_one(store, ref, FAILED)
    await store.take(ref)
    job = (await client.get(f"/jobs/{ref.job_id}")).json()
    assert (job["job_id"], job["kind"], job["status"]) == (ref.job_id, "bulk", "running")
    assert (job["voice_agent_id"], job["language"], job["format"]) == ("agent_123", "en", "wav")
    counts = [job[n] for n in ("total", "queued", "running", "succeeded", "failed", "cancelled")]
    assert counts == [4, 1, 1, 1, 1, 0]
    assert job["expires_unix_s"] - job["created_unix_s"] == pytest.approx(3600)
    spoken, failed, running, waiting = job["items"]
    assert spoken["audio_url"] == "/api/v1/voice/audio/the-id"
    assert (spoken["status"], spoken["duration_ms"], spoken["provider"]) == (
        *("success", 400, "local"),
    )
    assert (failed["status"], failed["error"]["code"]) == ("failed", "text_empty")
    assert failed["error"]["action"] == "Say it."
    assert (running["status"], waiting["status"]) == ("running", "queued")


async def test_items_come_in_pages(client: httpx.AsyncClient, store: JobStore) -> None:
    ref = await store.create("default", SPEC, [str(n) for n in range(5)])
    page = (await client.get(f"/jobs/{ref.job_id}?offset=3&limit=2")).json()
    assert [item["index"] for item in page["items"]] == [3, 4]
    assert (await client.get(f"/jobs/{ref.job_id}?offset=9")).json()["items"] == []


@pytest.mark.parametrize("query", ["limit=0", "limit=201", "offset=-1", "limit=many"])
async def test_a_page_that_cannot_be_is_refused(client: httpx.AsyncClient, query: str) -> None:
    assert code(await client.get(f"/jobs?{query}")) == (400, "invalid_request")


async def test_the_list_shows_the_callers_jobs_the_newest_first(
    client: httpx.AsyncClient, store: JobStore
) -> None:
    refs = [await store.create("default", SPEC, ["one"]) for _ in range(3)]
    await store.create("other", SPEC, ["one"])
    found = (await client.get("/jobs?limit=2")).json()
    assert found["total"] == 3
    rest = (await client.get("/jobs?limit=2&offset=2")).json()
    shown = [job["job_id"] for job in [*found["jobs"], *rest["jobs"]]]
    assert set(shown) == {ref.job_id for ref in refs}
    created = [job["created_unix_s"] for job in [*found["jobs"], *rest["jobs"]]]
    assert created == sorted(created, reverse=True)


async def test_a_cancel_that_comes_late_or_twice_destroys_nothing(
    client: httpx.AsyncClient, store: JobStore
) -> None:
    ref = await store.create("default", SPEC, ["one"])
    await end_one(store, ref, SPOKEN)
    before = (await client.get(f"/jobs/{ref.job_id}")).json()
    for _ in range(2):
        assert code(await client.delete(f"/jobs/{ref.job_id}")) == (409, "job_ended")
    assert (await client.get(f"/jobs/{ref.job_id}")).json() == before


async def test_cancelling_begins_nothing_more_and_removing_is_asked_for(
    client: httpx.AsyncClient, store: JobStore
) -> None:
    ref = await store.create("default", SPEC, ["one", "two"])
    await end_one(store, ref, SPOKEN)
    assert (await client.delete(f"/jobs/{ref.job_id}")).status_code == 204
    job = (await client.get(f"/jobs/{ref.job_id}")).json()
    assert (job["status"], job["succeeded"], job["cancelled"]) == ("cancelled", 1, 1)
    assert await store.take(ref) is None
    remove = f"/jobs/{ref.job_id}?remove=true"
    assert (await client.delete(remove)).status_code == 204
    assert code(await client.get(f"/jobs/{ref.job_id}")) == (404, "job_not_found")
    for path in (remove, f"/jobs/{ref.job_id}"):
        assert code(await client.delete(path)) == (404, "job_not_found")


async def test_an_unfinished_job_is_not_removed(client: httpx.AsyncClient, store: JobStore) -> None:
    ref = await store.create("default", SPEC, ["one"])
    reply = await client.delete(f"/jobs/{ref.job_id}?remove=true")
    assert code(reply) == (409, "job_unfinished")
    assert (await store.read(ref)).status == "queued"


async def test_only_its_owner_sees_a_job(start: Start, store: JobStore) -> None:
    gateway = start(api_keys=("acme:key-a", "other:key-o", "acme:key-b"))
    ref = await store.create("acme", SPEC, ["one"])
    async with httpx.AsyncClient(base_url=gateway.voice, timeout=10) as client:
        path = f"/jobs/{ref.job_id}"
        for method in ("GET", "DELETE"):
            reply = await client.request(method, path, headers={"xi-api-key": "key-o"})
            assert code(reply) == (404, "job_not_found")
        assert code(await client.get(path)) == (401, "key_required")
        assert (await client.get("/jobs", headers={"xi-api-key": "key-o"})).json()["total"] == 0
        reply = await client.get(path, headers={"xi-api-key": "key-b"})
        assert reply.json()["job_id"] == ref.job_id


@pytest.mark.parametrize("job_id", ["job_0", "job_" + "0" * 24, "a%3Ab", "x" * 65])
async def test_what_is_no_job_is_not_found(client: httpx.AsyncClient, job_id: str) -> None:
    reply = await client.get(f"/jobs/{job_id}")
    assert reply.status_code in (400, 404)
    assert reply.json()["error"]["code"] in ("job_not_found", "invalid_request")


async def test_without_the_state_database_it_says_so(
    client: httpx.AsyncClient, redis_state: EmbeddedRedis
) -> None:
    await redis_state.stop()
    assert code(await client.get("/jobs")) == (503, "store_unavailable")
