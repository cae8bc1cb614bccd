"""Who gets in."""

from __future__ import annotations

import httpx
import pytest

from core.errors import ConfigurationError, KeyInvalid, KeyRequired
from core.settings import GatewaySettings, Settings
from gateway.auth import Gate, is_loopback, require_safe_binding
from tests.gateway.conftest import BODY, Start
from tests.gateway.fakes import FakeSpeech
from tests.gateway.server import Gateway


def settings(*keys: str, host: str = "127.0.0.1") -> Settings:
    return Settings(gateway=GatewaySettings(host=host, api_keys=keys))


def test_keys_over_http(start: Start, speech: FakeSpeech) -> None:
    gateway = start(api_keys=("first-key", "acme:second-key"))
    with httpx.Client(base_url=gateway.voice) as http:

        def code(**headers: str) -> tuple[int, str]:
            reply = http.post(
                "/synthesize",
                json=BODY,
                headers={k.replace("_", "-"): v for k, v in headers.items()},
            )
            error = reply.json().get("error", {})
            if reply.status_code == 401:
                assert reply.headers["www-authenticate"] == "Bearer"
            return reply.status_code, error.get("code", "")

        assert code() == (401, "key_required")
        assert code(authorization="Bearer") == (401, "key_required")
        assert code(authorization="Bearer wrong") == (401, "key_invalid")
        assert code(xi_api_key="acme:second-key") == (401, "key_invalid")
        assert code(authorization="Bearer first-key") == (200, "")
        assert speech.requests[-1].tenant == "default"
        assert code(authorization="bearer second-key") == (200, "")
        assert speech.requests[-1].tenant == "acme"
        assert code(xi_api_key="second-key", host="voice.example.com") == (200, "")
        assert http.get("/performance").status_code == 401
        assert http.get("/performance", headers={"xi-api-key": "first-key"}).status_code == 200
        assert http.get("/health/live").status_code == 200
        assert httpx.get(gateway.base + "/docs").status_code == 200


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:8000", "127.0.0.1:1", "127.8.9.1", "[::1]", "[::1]:8000"]
)
def test_without_keys_local_names_are_let_in(gateway: Gateway, host: str) -> None:
    reply = httpx.post(gateway.voice + "/synthesize", json=BODY, headers={"host": host})
    assert reply.status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "evil.example"},
        {"host": "127.0.0.1.evil.example"},
        {"host": "localhost.evil.example:8000"},
        {"host": "192.168.1.4:8000"},
        {"host": "0.0.0.0:8000"},
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://localhost.evil.example"},
        {"origin": "http://[::"},
        {"sec-fetch-site": "cross-site"},
    ],
)
def test_without_keys_everything_else_is_refused(
    gateway: Gateway, speech: FakeSpeech, headers: dict[str, str]
) -> None:
    for reply in (
        httpx.post(gateway.voice + "/synthesize", json=BODY, headers=headers),
        httpx.get(gateway.voice + "/performance", headers=headers),
    ):
        assert reply.status_code == 403
        assert reply.json()["error"]["code"] == "origin_refused"
    assert speech.requests == []


def test_without_keys_the_page_of_the_docs_may_try_it(gateway: Gateway) -> None:
    headers = {"origin": gateway.base, "sec-fetch-site": "same-origin"}
    assert httpx.post(gateway.voice + "/synthesize", json=BODY, headers=headers).status_code == 200


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.0.1", "voice.example.com", ""])  # noqa: S104
def test_other_hosts_need_keys(host: str) -> None:
    with pytest.raises(ConfigurationError, match="SEIKETSU_API_KEYS"):
        require_safe_binding(settings(host=host))
    require_safe_binding(settings("key", host=host))


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "localhost", "::1", "[::1]"])
def test_this_computer_needs_none(host: str) -> None:
    assert is_loopback(host)
    require_safe_binding(settings(host=host))


@pytest.mark.parametrize("key", ["acme:", ":key", "a b", "-x:key", "t{a}:key", "k\u00e9y", "-:key"])
def test_keys_that_cannot_work_are_refused_without_being_told(key: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Gate(settings(key))
    assert key not in caught.value.message


def test_one_key_has_one_tenant() -> None:
    with pytest.raises(ConfigurationError, match="twice"):
        Gate(settings("a:key", "b:key"))


def test_a_key_may_hold_colons() -> None:
    assert Gate(settings("a:k:1")).admit({b"xi-api-key": b"k:1"}).tenant == "a"
    with pytest.raises(KeyInvalid):
        Gate(settings("a:k:1")).admit({b"xi-api-key": b"1"})
    with pytest.raises(KeyRequired):
        Gate(settings("a:k:1")).admit({b"authorization": b"Basic a:k:1"})
