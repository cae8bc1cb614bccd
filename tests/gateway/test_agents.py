"""`/agents`, `/profiles`, `/languages` and phrases over HTTP."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx

from core.agents import PROFILES
from core.embedded import EmbeddedRedis
from core.phrases import MAX_PHRASE_CHARS, MAX_PHRASES
from core.text.languages import LANGUAGES
from tests.gateway.conftest import Start, fetch
from tests.gateway.server import Gateway

GUIDE = {
    "name": "Ana",
    "voice_settings": {
        "profile": "professional_male",
        "voice_id": "custom_voice_id",
        "stability": 0.8,
        "similarity_boost": 0.75,
        "language_preferences": ["en", "es"],
    },
}
"""Voice settings as the integration guide shows them."""


def code(reply: httpx.Response) -> tuple[int, str]:
    error = reply.json()["error"]
    assert error["request_id"].startswith("req_")
    return reply.status_code, error["code"]


def test_an_agent_is_made_read_changed_and_deleted(http: httpx.Client) -> None:
    made = http.post("/agents", json={"id": "ana", **GUIDE})
    assert made.status_code == 201
    body = made.json()
    assert body == {
        "id": "ana",
        "name": "Ana",
        "revision": body["revision"],
        "voice_settings": {**GUIDE["voice_settings"], "style": None, "speed": None},  # type: ignore[dict-item]
    }
    assert made.headers["etag"] == f'"{body["revision"]}"'
    assert made.headers["location"] == "/api/v1/voice/agents/ana"
    read = http.get("/agents/ana")
    assert (read.json(), read.headers["etag"]) == (body, made.headers["etag"])
    put = http.put("/agents/ana", json={"name": "Ana B."})
    assert put.status_code == 200
    assert put.json()["voice_settings"] == {
        "profile": "professional_male",
        "voice_id": None,
        "stability": None,
        "similarity_boost": None,
        "style": None,
        "speed": None,
        "language_preferences": ["en", "es", "zh"],
    }
    assert put.headers["etag"] != made.headers["etag"]
    assert http.delete("/agents/ana").status_code == 204
    for method in ("GET", "DELETE", "PATCH"):
        assert code(http.request(method, "/agents/ana", json={})) == (404, "agent_not_found")


def test_every_owner_begins_with_the_default_agent(http: httpx.Client) -> None:
    found = http.get("/agents").json()
    assert (found["total"], found["agents"][0]["id"]) == (1, "agent_123")
    assert http.get("/agents/agent_123").headers["etag"] == '"0"'
    assert http.delete("/agents/agent_123", headers={"if-match": '"0"'}).status_code == 204
    assert http.get("/agents").json() == {"agents": [], "total": 0}
    assert http.get("/agents/agent_123").status_code == 404


def test_without_an_id_one_is_made(http: httpx.Client) -> None:
    ids = {http.post("/agents", json={"name": "A"}).json()["id"] for _ in range(3)}
    assert len(ids) == 3
    assert [a["id"] for a in http.get("/agents").json()["agents"]] == sorted([*ids, "agent_123"])


def test_conditions(http: httpx.Client) -> None:
    def put(path: str = "/agents/ana", **headers: str) -> httpx.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return http.put(path, json=GUIDE, headers=named)

    first = put(if_none_match="*")
    assert first.status_code == 201
    etag = first.headers["etag"]
    assert code(put(if_none_match="*")) == (412, "agent_changed")
    assert code(http.post("/agents", json={"id": "ana", **GUIDE})) == (409, "agent_exists")
    assert code(put(if_match='"999"')) == (412, "agent_changed")
    assert code(put(if_match=f"W/{etag}")) == (412, "agent_changed")
    assert code(put(if_match='"other"')) == (412, "agent_changed")
    assert code(put("/agents/new", if_match="*")) == (412, "agent_changed")
    second = put(if_match=f'"7777", {etag}')
    assert second.status_code == 200
    assert code(put(if_match=etag)) == (412, "agent_changed")
    stale = http.delete("/agents/ana", headers={"if-match": etag})
    assert code(stale) == (412, "agent_changed")
    for bad in ("3", '"3', 'x"3"', ""):
        assert code(put(if_match=bad)) == (400, "invalid_request"), bad
    assert code(put(if_none_match='"3"')) == (400, "invalid_request")
    assert code(put(if_none_match="*", if_match="*")) == (400, "invalid_request")
    unchanged = http.get("/agents/ana", headers={"if-none-match": second.headers["etag"]})
    assert (unchanged.status_code, unchanged.content) == (304, b"")
    fresh = second.headers["etag"]
    assert http.delete("/agents/ana", headers={"if-match": fresh}).status_code == 204


def test_what_was_read_can_be_sent_back(http: httpx.Client) -> None:
    read = http.post("/agents", json={"id": "ana", **GUIDE}).json()
    sent = http.put("/agents/ana", json={**read, "name": "New"})
    assert (sent.status_code, sent.json()["name"]) == (200, "New")
    assert code(http.put("/agents/ana", json=read)) == (412, "agent_changed")
    assert code(http.put("/agents/bob", json=read)) == (400, "invalid_request")


def test_single_settings_are_changed_and_given_back(http: httpx.Client) -> None:
    made = http.post("/agents", json={"id": "ana", **GUIDE})
    changed = http.patch("/agents/ana", json={"voice_settings": {"style": 0.3, "stability": None}})
    assert changed.json()["voice_settings"] == {
        **GUIDE["voice_settings"],  # type: ignore[dict-item]
        "style": 0.3,
        "stability": None,
        "speed": None,
    }
    stale = http.patch(
        "/agents/ana", json={"name": "B"}, headers={"if-match": made.headers["etag"]}
    )
    assert code(stale) == (412, "agent_changed")
    assert http.patch("/agents/agent_123", json={"name": "B"}).json()["name"] == "B"


def test_no_change_of_many_at_once_is_lost(http: httpx.Client, gateway: Gateway) -> None:
    fields = {"stability": 0.1, "similarity_boost": 0.2, "style": 0.3, "speed": 1.1}

    def change(item: tuple[str, float]) -> int:
        body = {"voice_settings": dict([item])}
        return httpx.patch(f"{gateway.voice}/agents/agent_123", json=body).status_code

    with ThreadPoolExecutor(4) as pool:
        for _ in range(8):
            http.put("/agents/agent_123", json=GUIDE)
            assert set(pool.map(change, fields.items())) == {200}
            voice = http.get("/agents/agent_123").json()["voice_settings"]
            assert {name: voice[name] for name in fields} == fields


OUT_OF_RANGE: list[dict[str, Any]] = [
    {"profile": "bold_male"}, {"stability": 1.5}, {"stability": True}, {"style": -1},
    {"similarity_boost": "0.5"}, {"speed": 0.5}, {"speed": 2}, {"language_preferences": []},
    {"language_preferences": ["en", "en"]}, {"language_preferences": ["fr"]},
    {"voice_id": "a/../b"}, {"voice_id": "x\n"}, {"voice_id": "x" * 65}, {"pitch": 3},
]  # fmt: skip


def test_settings_out_of_range_are_refused(http: httpx.Client) -> None:
    refused = (400, "invalid_request")
    for voice in OUT_OF_RANGE:
        body = {"name": "A", "voice_settings": voice}
        change = {"voice_settings": voice}
        assert code(http.post("/agents", json=body)) == refused, voice
        assert code(http.put("/agents/x", json=body)) == refused, voice
        assert code(http.patch("/agents/agent_123", json=change)) == refused, voice
    assert http.get("/agents").json()["total"] == 1


def test_bodies_are_held_to_the_rules_of_every_body(http: httpx.Client) -> None:
    json_type = {"content-type": "application/json"}
    for path, method in (("/agents", "POST"), ("/agents/x", "PUT"), ("/agents/x", "PATCH")):

        def send(
            content: bytes, kind: dict[str, str], method: str = method, path: str = path
        ) -> httpx.Response:
            return http.request(method, path, content=content, headers=kind)

        assert code(send(b"{}", {"content-type": "text/plain"})) == (415, "unsupported_media_type")
        assert code(send(b"{", json_type)) == (400, "invalid_request")
        assert code(send(b"\xff", json_type)) == (400, "invalid_request")
        assert code(send(b'{"name": "A", "x": 1}', json_type)) == (400, "invalid_request")
        assert code(send(b" " * 70_000, json_type)) == (413, "body_too_large")
    assert code(http.put("/agents/a%20b", json=GUIDE)) == (400, "invalid_request")
    assert code(http.post("/agents", json={"id": "a b", **GUIDE})) == (400, "invalid_request")
    assert code(http.request("POST", "/agents/x")) == (405, "method_not_allowed")


def test_keys_of_one_owner_share_agents_and_others_never_see_them(start: Start) -> None:
    gateway = start(api_keys=("acme:one", "acme:two", "zeta:three"))
    with httpx.Client(base_url=gateway.voice) as http:

        def ask(method: str, path: str, key: str, **more: Any) -> httpx.Response:
            return http.request(method, path, headers={"xi-api-key": key}, **more)

        assert code(http.get("/agents")) == (401, "key_required")
        assert code(http.post("/agents", json=GUIDE)) == (401, "key_required")
        assert ask("POST", "/agents", "one", json={"id": "ana", **GUIDE}).status_code == 201
        assert ask("GET", "/agents/ana", "two").status_code == 200
        assert ask("GET", "/agents", "three").json()["total"] == 1
        phrases = "/agents/ana/phrases"
        for method, path in (("GET", "/agents/ana"), ("DELETE", "/agents/ana"), ("GET", phrases)):
            assert code(ask(method, path, "three")) == (404, "agent_not_found")
        assert ask("PUT", "/agents/ana", "three", json={"name": "Z"}).status_code == 201
        assert ask("GET", "/agents/ana", "one").json()["name"] == "Ana"


async def test_without_the_store_agents_are_read_and_not_written(
    gateway: Gateway, redis_state: EmbeddedRedis
) -> None:
    await redis_state.stop()
    url = f"{gateway.voice}/agents/agent_123"
    assert (await fetch(url)).status_code == 200
    async with httpx.AsyncClient() as client:
        for reply in (
            await client.put(url, json=GUIDE),
            await client.patch(url, json={"name": "B"}),
            await client.delete(url),
            await client.get(f"{url}/phrases"),
        ):
            assert code(reply) == (503, "store_unavailable")
            assert int(reply.headers["retry-after"]) >= 1


def test_phrases_are_replaced_and_given_back(http: httpx.Client) -> None:
    path = "/agents/agent_123/phrases"
    shipped = http.get(path)
    assert shipped.headers["etag"] == '"0"'
    assert (shipped.json()["language"], shipped.json()["own"]) == ("en", False)
    spanish = http.get(path, params={"language": "es"}).json()["phrases"]
    assert len(spanish) >= 18
    own = {"phrases": ["We open at nine.", "我们九点开门。"]}
    put = http.put(path, json=own, headers={"if-match": '"0"'})
    assert (put.status_code, put.json()["own"], put.json()["phrases"]) == (
        200,
        True,
        own["phrases"],
    )
    assert http.get(path).json() == put.json()
    assert http.get(path, params={"language": "es-MX"}).json()["phrases"] == spanish
    etag = put.headers["etag"]
    assert http.get(path, headers={"if-none-match": etag}).status_code == 304
    stale = http.put(path, json={"phrases": ["No."]}, headers={"if-match": '"0"'})
    assert code(stale) == (412, "agent_changed")
    assert http.delete(path, headers={"if-match": etag}).status_code == 204
    assert http.get(path).json() == shipped.json()
    http.put(path, json=own)
    assert http.put(path, json={"phrases": []}).json() == shipped.json()


def test_phrases_have_limits(http: httpx.Client) -> None:
    path = "/agents/agent_123/phrases"
    most = {"phrases": ["您" * MAX_PHRASE_CHARS] * MAX_PHRASES}
    assert http.put(path, json=most).status_code == 200
    for refused in (
        [*most["phrases"], "One."], ["x" * (MAX_PHRASE_CHARS + 1)], [""], ["!?"], [1], "Hello.",
    ):  # fmt: skip
        assert code(http.put(path, json={"phrases": refused})) == (400, "invalid_request")
    json_type = {"content-type": "application/json"}
    too_large = http.put(path, content=b" " * 600_000, headers=json_type)
    assert code(too_large) == (413, "body_too_large")
    http.put("/agents/agent_123", json=GUIDE)
    for language in ("zh", "fr"):
        refusal = http.get(path, params={"language": language})
        assert code(refusal) == (422, "unsupported_language")


def test_profiles_tell_how_they_sound(http: httpx.Client) -> None:
    profiles = http.get("/profiles").json()["profiles"]
    assert [profile["id"] for profile in profiles] == list(PROFILES)
    for profile in profiles:
        known = PROFILES[profile["id"]]
        assert profile["settings"]["stability"] == known.settings.stability
        assert set(profile["voices"]) == set(LANGUAGES)
        for voice in profile["voices"].values():
            assert voice["voice_id"] == known.voices["en"].elevenlabs_voice
            assert voice["differs_offline"] is True
            cents = f":{voice['local_pitch_cents']}" if voice["local_pitch_cents"] else ""
            assert voice["local_voice"].endswith(cents)


def test_languages_tell_what_is_spoken_offline_now(http: httpx.Client) -> None:
    languages = {one["code"]: one for one in http.get("/languages").json()["languages"]}
    assert list(languages) == ["en", "es", "zh", "auto"]
    assert [one["spoken_offline"] for one in languages.values()] == [True, True, False, True]
    assert languages["zh"]["local_voice"] == "kokoro/zf_xiaobei"


def test_the_document_describes_every_route_of_agents(gateway: Gateway) -> None:
    document = httpx.get(gateway.base + "/docs/openapi.json").json()
    for path, methods in {
        "/agents": ("get", "post"),
        "/agents/{agent_id}": ("get", "put", "patch", "delete"),
        "/agents/{agent_id}/phrases": ("get", "put", "delete"),
        "/profiles": ("get",),
        "/languages": ("get",),
        "/streaming/quality/analyze": ("post",),
    }.items():
        item = document["paths"]["/api/v1/voice" + path]
        assert set(item) == set(methods)
        for method in methods:
            operation = item[method]
            assert operation["summary"]
            assert "401" in operation["responses"]
            if method in ("put", "post", "patch"):
                body = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"]
                assert body.rsplit("/", 1)[1] in document["components"]["schemas"]
    profile = document["components"]["schemas"]["AgentVoice"]["properties"]["profile"]
    assert profile["enum"] == list(PROFILES)
