"""Dynamic registration: open to every host, and giving away next to nothing."""

import datetime
from typing import Any

import httpx2
import orjson
import pytest
from django.db import OperationalError, connection
from django.test import Client as Browser
from django.test import override_settings
from django.utils import timezone
from psycopg_pool import PoolTimeout

from access.clients.metadata import clean_name
from access.clients.throttle import source
from access.models import Client
from audit.models import Entry
from lib import db

VS_CODE = [
    "https://insiders.vscode.dev/redirect",
    "https://vscode.dev/redirect",
    "http://127.0.0.1/",
    "http://127.0.0.1:33418/",
]
CURSOR = [
    "cursor://anysphere.cursor-mcp/oauth/callback",
    "https://www.cursor.com/agents/mcp/oauth/callback",
    "http://localhost:8787/callback",
]
LOOPBACK = ["http://localhost:1234/callback"]


def register(hub: list[str], **metadata: Any) -> httpx2.Response:
    content = {name: value for name, value in {"redirect_uris": LOOPBACK, **metadata}.items() if value is not ...}
    return httpx2.post(f"{hub[0]}/register", json=content)


def platform_entries(address: str, reason: str) -> int:
    with db.tenant_scope([0]):
        return Entry.objects.filter(address=address, reason=reason).count()


@pytest.mark.parametrize("uris", [VS_CODE, CURSOR, LOOPBACK])
def test_real_hosts_register_with_all_their_redirect_uris(hub: list[str], uris: list[str]) -> None:
    answer = register(hub, client_name="A Host", redirect_uris=uris, scope="tickets.read")
    assert answer.status_code == 201
    assert answer.headers["Cache-Control"] == "no-store"
    said = answer.json()
    assert (said["redirect_uris"], said["client_name"], said["scope"]) == (uris, "A Host", "tickets.read")
    assert said["grant_types"] == ["authorization_code", "refresh_token"]
    client = Client.objects.get(client_id=said["client_id"])
    assert (client.client_type, client.registration_source, client.tenant_id) == ("public", "dcr", None)
    assert client.lapses_at is not None
    assert client.lapses_at - timezone.now() > datetime.timedelta(days=29)
    assert client.scopes == []  # what it registered with caps nothing


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post", "none", None, ...])
def test_nobody_gets_a_secret_and_the_answer_says_so(hub: list[str], method: Any) -> None:
    said = register(hub, token_endpoint_auth_method=method).json()
    assert said["token_endpoint_auth_method"] == "none"
    assert "client_secret" not in said


@pytest.mark.parametrize("grants", [["authorization_code", "client_credentials", "password"], None, ..., []])
def test_other_grants_are_left_out(hub: list[str], grants: Any) -> None:
    answer = register(hub, grant_types=grants)
    assert answer.status_code == 201
    assert answer.json()["grant_types"] == ["authorization_code", "refresh_token"]


REFUSED: list[tuple[str, dict[str, Any]]] = [
    ("invalid_client_metadata", {"grant_types": ["client_credentials"]}),
    ("invalid_client_metadata", {"grant_types": ["implicit", "refresh_token"]}),
    ("invalid_client_metadata", {"response_types": ["token"]}),
    ("invalid_client_metadata", {"token_endpoint_auth_method": "private_key_jwt"}),
    ("invalid_client_metadata", {"client_name": {"en": "x"}}),
    ("invalid_redirect_uri", {"redirect_uris": ...}),
    ("invalid_redirect_uri", {"redirect_uris": []}),
    ("invalid_redirect_uri", {"redirect_uris": "https://a.example/cb"}),
    ("invalid_redirect_uri", {"redirect_uris": ["http://evil.example/cb"]}),
    ("invalid_redirect_uri", {"redirect_uris": ["https://a.example/cb", "javascript:alert(1)"]}),
    ("invalid_redirect_uri", {"redirect_uris": ["https://a.example/cb#f"]}),
    ("invalid_redirect_uri", {"redirect_uris": [f"https://a.example/{n}" for n in range(21)]}),
]


@pytest.mark.parametrize(("error", "metadata"), REFUSED)
def test_what_could_not_be_safe_is_refused(hub: list[str], error: str, metadata: dict[str, Any]) -> None:
    answer = register(hub, **metadata)
    assert (answer.status_code, answer.json()["error"]) == (400, error)
    assert answer.json()["error_description"]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b'"x"', b'{"client_name": "' + b"x" * 16384 + b'"}'])
def test_a_body_that_is_no_small_json_object_is_refused_with_an_entry(body: bytes) -> None:
    address = "2001:db8:1::1"
    before = platform_entries(address, "registration_refused")
    answer = Browser().post("/register", body, content_type="application/json", REMOTE_ADDR=address)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_client_metadata")
    assert platform_entries(address, "registration_refused") == before + 1


@override_settings(CLIENT_REGISTRATIONS_PER_ADDRESS=2)
def test_one_network_registers_only_so_often() -> None:
    body = orjson.dumps({"redirect_uris": LOOPBACK})

    def ask(address: str) -> Any:
        return Browser().post("/register", body, content_type="application/json", REMOTE_ADDR=address)

    assert [ask(f"2001:db8:2:3::{n}").status_code for n in range(3)] == [201, 201, 429]
    refused = ask("2001:db8:2:3:ffff::9")
    assert refused.status_code == 429
    assert 0 < int(refused["Retry-After"]) <= 1801
    assert platform_entries("2001:db8:2:3:ffff::9", "registration_throttled") == 1
    assert ask("2001:db8:2:4::1").status_code == 201


@pytest.mark.usefixtures("fresh_buckets")
@override_settings(CLIENT_REGISTRATIONS=1)
def test_all_together_register_only_so_often_and_nonsense_takes_nobodys_place() -> None:
    good = orjson.dumps({"redirect_uris": LOOPBACK})
    bodies = [b"nonsense", orjson.dumps({"redirect_uris": []}), good, good]
    statuses = [
        Browser().post("/register", body, content_type="application/json", REMOTE_ADDR=f"192.0.2.{n}").status_code
        for n, body in enumerate(bodies)
    ]
    assert statuses == [400, 400, 201, 429]


def test_without_a_database_the_answer_is_to_come_back_and_any_page_may_read_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def away(*_: Any) -> None:
        raise OperationalError("no connection") from PoolTimeout("no connection")

    monkeypatch.setattr(connection, "cursor", away)
    body = orjson.dumps({"redirect_uris": LOOPBACK})
    answer = Browser().post("/register", body, content_type="application/json")
    assert (answer.status_code, answer.json()["error"]) == (503, "temporarily_unavailable")
    assert answer["Access-Control-Allow-Origin"] == "*"
    assert int(answer["Retry-After"]) > 0


@pytest.mark.parametrize(
    ("address", "counts_for"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8::1", "2001:db8::/64"),
        ("2001:db8::ffff:1", "2001:db8::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
    ],
)
def test_an_address_counts_for_its_customer(address: str, counts_for: str) -> None:
    assert source(address) == counts_for


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("Claude\u200b \u202eedoC\u2066", "Claude edoC"),
        (" two\r\n lines\t", "two lines"),
        ("\u3164\u2800\u00ad", ""),
        ("\ud83d", ""),
        ("ü" * 200, "ü" * 100),
        ("名前 👩‍💻", "名前 👩💻"),
    ],
)
def test_a_name_shows_nothing_that_cannot_be_seen(given: str, shown: str) -> None:
    assert clean_name(given) == shown


def test_any_page_may_register(hub: list[str]) -> None:
    asked = {"Origin": "https://page.example", "Access-Control-Request-Method": "POST"}
    preflight = httpx2.request("OPTIONS", f"{hub[0]}/register", headers=asked)
    assert preflight.status_code == 204
    assert preflight.headers["Access-Control-Allow-Origin"] == "*"
    assert "POST" in preflight.headers["Access-Control-Allow-Methods"]
    assert "Access-Control-Allow-Credentials" not in preflight.headers
    assert register(hub).headers["Access-Control-Allow-Origin"] == "*"
    assert register(hub, redirect_uris=[]).headers["Access-Control-Allow-Origin"] == "*"
    assert httpx2.get(f"{hub[0]}/register").status_code == 405
