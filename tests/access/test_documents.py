"""Metadata documents: a client whose id is a URL is known by what lies there, and by nothing else."""

import asyncio
import contextlib
import datetime
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import pytest
from asgiref.sync import sync_to_async
from django.db import connection
from django.test import override_settings
from django.utils import timezone

from access import clients
from access.clients import described, outbound
from access.clients.documents import Unusable, check_url, fresh_seconds
from access.models import AuthMethod, Client
from audit.models import Entry
from lib import db
from mcphub.lifespan import lifespan
from tests.access.test_machines import es256
from tests.documents import JSON, Answer, Documents
from tests.waiting import until

PNG = b"\x89PNG\r\n\x1a\n" + b"picture"
_numbers = iter(range(10**6))
_loops: list[asyncio.AbstractEventLoop] = []


@pytest.fixture(scope="module", autouse=True)
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    """A server's event loop in a thread: views wait for what they have fetched on it."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    held = contextlib.AsyncExitStack()
    asyncio.run_coroutine_threadsafe(held.enter_async_context(lifespan()), loop).result()
    _loops.append(loop)
    yield loop
    _loops.clear()
    asyncio.run_coroutine_threadsafe(held.aclose(), loop).result()
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


def ensure(client_id: str, *, address: str = "127.0.0.1") -> str | None:
    """As a view does it: in a thread of the server's."""

    def ask() -> str | None:
        try:
            return clients.ensure(client_id, address=address)
        finally:
            connection.close()

    return asyncio.run_coroutine_threadsafe(sync_to_async(ask, thread_sensitive=False)(), _loops[0]).result()


@pytest.fixture
def path() -> str:
    """A path of its own for each test's document."""
    return f"/clients/{next(_numbers)}.json"


def known(client_id: str) -> Client | None:
    return Client.objects.filter(client_id=client_id).first()


def age(client_id: str, **fields: Any) -> None:
    """Put the client's clock columns where the test needs them."""
    assert Client.objects.filter(client_id=client_id).update(**fields) == 1


def reasons(client_id: str) -> list[str]:
    """Why this client was refused, from the platform's ledger."""
    with db.tenant_scope([0]):
        return list(Entry.objects.filter(client=client_id[:200]).order_by("id").values_list("reason", flat=True))


def test_a_client_is_known_by_its_document(documents: Documents, path: str) -> None:
    client_id = documents.client(path, client_name="Fine\u202e Host\n", redirect_uris=["http://localhost/cb"])
    assert ensure(client_id) is None
    client = known(client_id)
    assert client is not None
    assert (client.name, client.redirect_uris, client.domain) == ("Fine Host", "http://localhost/cb", "localhost")
    assert (client.registration_source, client.client_type, client.auth_method) == ("cimd", "public", "none")
    assert client.tenant_id is None
    assert client.live


def test_a_fresh_document_is_not_read_again_and_a_stale_one_is(documents: Documents, path: str) -> None:
    client_id = documents.client(path)
    for _ in range(3):
        assert ensure(client_id) is None
    assert documents.count(path) == 1
    documents.client(path, client_name="Renamed", redirect_uris=["https://other.example/cb"])
    age(client_id, cimd_expires_at=timezone.now())
    assert ensure(client_id) is None
    client = known(client_id)
    assert client is not None
    assert (client.name, client.redirect_uris) == ("Renamed", "https://other.example/cb")


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("max-age=7200", 7200),
        ("public, Max-Age=7200, immutable", 7200),
        ("max-age=1", 300),
        ("max-age=999999999", 86400),
        ("no-store", 300),
        ("no-cache, max-age=7200", 300),
        ("s-maxage=7200", 3600),
        ("", 3600),
        ("max-age=-5", 3600),
    ],
)
def test_a_document_is_kept_as_long_as_its_headers_say_within_bounds(header: str, seconds: int) -> None:
    assert fresh_seconds(header) == seconds


def test_the_last_good_document_serves_while_its_server_is_down_but_not_for_ever(
    documents: Documents, path: str
) -> None:
    client_id = documents.client(path)
    assert ensure(client_id) is None
    documents.serve(path, Answer(b"", status=503))
    age(client_id, cimd_expires_at=timezone.now())
    assert ensure(client_id) is None
    age(client_id, fetched_at=timezone.now() - datetime.timedelta(days=7, minutes=1))
    assert "503" in (ensure(client_id) or "")
    assert reasons(client_id) == ["document_status"]


def test_a_document_that_was_taken_down_ends_its_client_at_once(documents: Documents, path: str) -> None:
    client_id = documents.client(path)
    assert ensure(client_id) is None
    documents.serve(path, Answer(b"{}", status=404))
    age(client_id, cimd_expires_at=timezone.now())
    assert "404" in (ensure(client_id) or "")


def test_the_document_of_a_blocked_client_is_left_alone(documents: Documents, path: str) -> None:
    client_id = documents.client(path)
    assert ensure(client_id) is None
    documents.client(path, client_name="Renamed")
    age(client_id, cimd_expires_at=timezone.now(), blocked_at=timezone.now())
    assert ensure(client_id) is None
    client = known(client_id)
    assert client is not None
    assert (client.name, documents.count(path)) == ("Test Host", 1)


@pytest.mark.usefixtures("fresh_buckets")
@override_settings(CLIENT_REGISTRATIONS=1)
def test_strangers_make_only_so_many_programs_known_in_all(documents: Documents, path: str) -> None:
    assert ensure(documents.client(f"{path}.wrong", redirect_uris=[])) is not None  # counts for nobody
    first, second = documents.client(path), documents.client(f"{path}.second")
    assert ensure(first, address="192.0.2.1") is None
    assert "Try again" in (ensure(second, address="192.0.2.2") or "")
    assert (known(second), reasons(second)) == (None, ["document_throttled"])
    documents.client(path, client_name="Renamed")
    for used_at, name in ((None, "Test Host"), (timezone.now(), "Renamed")):
        described._failures.clear()
        age(first, used_at=used_at, cimd_expires_at=timezone.now())
        assert ensure(first) is None
        client = known(first)
        assert client is not None
        assert client.name == name


def test_a_client_that_nobody_lets_in_is_gone_after_a_day(documents: Documents, path: str) -> None:
    client_id = documents.client(path)
    assert ensure(client_id) is None
    client = known(client_id)
    assert client is not None
    assert client.lapses_at is not None
    assert client.lapses_at <= timezone.now() + datetime.timedelta(days=1)


@pytest.mark.parametrize(
    ("media_type", "fine"),
    [
        ("application/json", True),
        ("Application/JSON; charset=utf-8", True),
        ("application/client-metadata+json", True),
        ("text/plain", False),
        ("text/json", False),
        ("application/jsonp", False),
        ("application/octet-stream", False),
        ("application/octet-stream;x=+json", False),
        ("image/png", False),
        (None, False),
    ],
)
def test_only_what_is_served_as_json_speaks_for_its_host(
    documents: Documents, path: str, media_type: str | None, fine: bool
) -> None:
    body = documents.answer(documents.client(path).removeprefix(documents.origin)).body
    client_id = documents.serve(path, Answer(body, headers={"Content-Type": media_type} if media_type else {}))
    assert (ensure(client_id) is None) is fine
    assert reasons(client_id) == ([] if fine else ["document_not_json"])


def test_of_a_key_set_only_what_was_understood_is_kept(documents: Documents, path: str) -> None:
    good, broken = es256().jwk, {**es256().jwk, "kid": "k\0"}
    jwks = {"keys": [{**good, "x5c": ["\0"], "note": "\0"}, broken, {"kty": "\0"}], "more": {"\0": 1}}
    client_id = documents.client(path, token_endpoint_auth_method="private_key_jwt", jwks=jwks)
    assert ensure(client_id) is None
    client = known(client_id)
    assert client is not None
    assert (client.auth_method, client.jwks) == (AuthMethod.JWT, {"keys": [good]})


LIES: list[tuple[str, dict[str, Any]]] = [
    ("document_wrong_id", {"client_id": "https://localhost/another"}),
    ("document_wrong_id", {"client_id": None}),
    ("document_redirect_uris", {"redirect_uris": ["http://evil.example/cb"]}),
    ("document_redirect_uris", {"redirect_uris": ["https://fine.example/cb", "javascript:alert(1)"]}),
    ("document_redirect_uris", {"redirect_uris": None}),
    ("document_redirect_uris", {"redirect_uris": "https://fine.example/cb"}),
    ("document_redirect_uris", {"redirect_uris": [f"https://fine.example/{n}" for n in range(21)]}),
    ("document_has_secret", {"client_secret": "x"}),
    ("document_has_secret", {"client_secret_expires_at": 0}),
    ("document_has_secret", {"token_endpoint_auth_method": "client_secret_post"}),
    ("document_metadata", {"token_endpoint_auth_method": "private_key_jwt"}),
    ("document_metadata", {"token_endpoint_auth_method": "private_key_jwt", "jwks": {"keys": []}}),
    ("document_metadata", {"token_endpoint_auth_method": "private_key_jwt", "jwks_uri": "http://a.example/k"}),
    ("document_metadata", {"token_endpoint_auth_method": "tls_client_auth"}),
    ("document_metadata", {"grant_types": ["client_credentials"]}),
    ("document_metadata", {"client_name": 7}),
]


@pytest.mark.parametrize(("reason", "fields"), LIES)
def test_a_document_that_cannot_be_trusted_is_refused_with_a_sentence_and_an_entry(
    documents: Documents, path: str, reason: str, fields: dict[str, Any]
) -> None:
    client_id = documents.client(path, **fields)
    assert (ensure(client_id) or "").endswith(".")
    assert known(client_id) is None
    assert reasons(client_id) == [reason]


ANSWERS = [
    ("document_redirects", Answer(b"", status=302, headers={"Location": "/clients/elsewhere.json"})),
    ("document_status", Answer(b"{}", status=404)),
    ("document_too_large", Answer(b" " * 16385)),
    ("document_not_json", Answer(b"<html>", headers=JSON)),
    ("document_not_json", Answer(b"[1]")),
    ("document_not_json", Answer(b"[" * 16000)),
]


@pytest.mark.parametrize(("reason", "answer"), ANSWERS)
def test_an_answer_that_is_no_document_is_refused(documents: Documents, path: str, reason: str, answer: Answer) -> None:
    client_id = documents.serve(path, answer)
    assert ensure(client_id) is not None
    assert (known(client_id), reasons(client_id)) == (None, [reason])
    assert documents.count("/clients/elsewhere.json") == 0


def test_a_slow_document_is_given_up(documents: Documents, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = threading.Event()
    client_id = documents.serve(path, Answer(b"{}", gate=gate))
    monkeypatch.setattr("access.clients.documents._FETCH_SECONDS", 0.2)
    try:
        assert ensure(client_id) is not None
    finally:
        gate.set()
    assert reasons(client_id) == ["document_slow"]


def test_a_private_address_is_not_asked_and_its_page_tells_nothing_of_it(documents: Documents, path: str) -> None:
    client_id = documents.client(path).replace("localhost", "127.0.0.1")
    says = ensure(client_id)
    assert says is not None
    assert "private" not in says
    assert "loopback" not in says
    assert (documents.count(path), reasons(client_id)) == (0, ["document_blocked"])


@pytest.mark.parametrize(
    "url",
    [
        "https://a.example",
        "https://a.example/",
        "https://user@a.example/c",
        "https://a.example/c#f",
        "https://a.example/../c",
        "https://a.example/%2E%2e/c",
        "https://a.example/./c",
        "https://a.example:0/c",
        "https://a.example:99999/c",
        "https://A.example/c",
        "https:///c",
        "https://a.example/c d",
        "https://a.example/c\x00",
        "https://a.example\\@b.example/c",
        "https://ä.example/c",
        "https://a.example/" + "c" * 240,
        "https://a.example:443/c",
        "https://a.example:0443/c",
        "https://a.example:08443/c",
        "https://a.example:/c",
        "https://a.example./c",
        "https://a.ex%61mple/c",
        "https://[2001:db8::1]/c",
    ],
)
def test_a_url_that_can_be_read_in_two_ways_is_no_client_id(url: str) -> None:
    with pytest.raises(Unusable):
        check_url(url)


def test_a_failure_is_not_tried_again_for_a_minute(documents: Documents, path: str) -> None:
    client_id = documents.serve(path, Answer(b"<html>"))
    first = ensure(client_id)
    assert ensure(client_id) == first
    assert documents.count(path) == 1
    documents.client(path)
    described._failures.clear()  # as if a minute had passed
    assert ensure(client_id) is None


@override_settings(CLIENT_DOCUMENTS_PER_ADDRESS=2)
def test_an_address_makes_the_hub_read_only_so_many_documents(documents: Documents, path: str) -> None:
    address = f"2001:db8:0:{next(_numbers)}::"
    said = [ensure(documents.client(f"{path}{n}"), address=f"{address}{n}") for n in range(3)]
    assert said[:2] == [None, None]
    assert "too often" in (said[2] or "")
    assert ensure(documents.client(f"{path}2"), address="192.0.2.1") is None


def test_slow_documents_of_one_address_keep_nobody_else_waiting(documents: Documents, path: str) -> None:
    gate = threading.Event()
    slow = [documents.serve(f"{path}{n}", Answer(b"{}", gate=gate)) for n in range(2)]
    wanted = documents.client(path)
    network = f"2001:db8:1:{next(_numbers)}::"
    with ThreadPoolExecutor(2) as threads:
        try:
            waiting = [threads.submit(ensure, one, address=f"{network}{n}") for n, one in enumerate(slow)]
            until(lambda: [documents.count(f"{path}{n}") for n in range(2)] == [1, 1])
            for _ in range(4):
                assert "in a moment" in (ensure(wanted, address=f"{network}9") or "")
            assert ensure(wanted, address="192.0.2.1") is None, "nor does asking in vain count for what is asked for"
        finally:
            gate.set()
    assert all(one.result() for one in waiting)
    assert reasons(wanted) == ["document_throttled"] * 4
    again = documents.client(f"{path}-again")
    assert ensure(again, address=f"{network}9") is None, "when they are through, the next may be read"


def test_that_the_hub_is_busy_is_not_held_against_a_document(
    documents: Documents, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    client_id = documents.client(path)
    with monkeypatch.context() as busy:
        busy.setattr(described, "_flights", outbound.SingleFlight(most=0))
        assert "in a moment" in (ensure(client_id) or "")
    assert ensure(client_id) is None


def test_a_document_never_takes_over_a_client_that_was_made_otherwise(documents: Documents, path: str) -> None:
    client_id = documents.client(path)
    made = Client.objects.create(
        client_id=client_id, name="ours", client_secret="", hash_client_secret=False, client_type="public",
        authorization_grant_type="authorization-code", registration_source="manual",
    )  # fmt: skip
    assert ensure(client_id) is None
    made.refresh_from_db()
    assert (made.name, documents.count(path)) == ("ours", 0)


def test_a_logo_is_served_by_the_hub_and_cannot_do_anything(hub: list[str], documents: Documents, path: str) -> None:
    logo = documents.serve(f"{path}.png", Answer(PNG, headers={"Content-Type": "text/html"}))
    client_id = documents.client(path, logo_uri=logo)
    assert ensure(client_id) is None
    client = known(client_id)
    assert client is not None
    answer = httpx2.get(f"{hub[0]}/logo/{client.pk}")
    assert (answer.status_code, answer.content, answer.headers["Content-Type"]) == (200, PNG, "image/png")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in answer.headers["Content-Security-Policy"]
    assert "max-age" in answer.headers["Cache-Control"]


@pytest.mark.parametrize("content", [b"<svg xmlns='http://www.w3.org/2000/svg'/>", PNG + b" " * 65536, b""])
def test_what_is_no_small_picture_is_no_logo(hub: list[str], documents: Documents, path: str, content: bytes) -> None:
    logo = documents.serve(f"{path}.png", Answer(content, headers={"Content-Type": "image/png"}))
    client_id = documents.client(path, logo_uri=logo)
    assert ensure(client_id) is None
    client = known(client_id)
    assert client is not None
    assert httpx2.get(f"{hub[0]}/logo/{client.pk}").status_code == 404


def test_a_document_in_use_is_read_again_before_it_is_stale(
    loop: asyncio.AbstractEventLoop, documents: Documents, path: str
) -> None:
    client_id = documents.client(path)
    assert ensure(client_id) is None
    soon = timezone.now() + datetime.timedelta(minutes=4)
    age(client_id, cimd_expires_at=soon, used_at=timezone.now(), lapses_at=None)
    for _ in range(2):
        asyncio.run_coroutine_threadsafe(clients.refresh_due(), loop).result()
    assert documents.count(path) == 2
    client = known(client_id)
    assert client is not None
    assert (client.cimd_expires_at or soon) > soon
    assert client.lapses_at is None


async def test_those_who_ask_while_a_document_is_read_wait_for_that_one_reading() -> None:
    flights: outbound.SingleFlight[int] = outbound.SingleFlight(most=1)
    gate, begun = asyncio.Event(), []

    async def read() -> int:
        begun.append(1)
        await gate.wait()
        return 7

    waiting = [asyncio.ensure_future(flights.run("one", read)) for _ in range(4)]
    await asyncio.sleep(0)
    with pytest.raises(outbound.Busy):
        await flights.run("another", read)
    waiting.pop().cancel()
    gate.set()
    assert await asyncio.gather(*waiting) == [7, 7, 7]
    assert len(begun) == 1
