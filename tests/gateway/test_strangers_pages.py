"""What a stranger may read: how to connect, and the resource's metadata."""

import re

import httpx2
import pytest

from tenants.models import Tenant
from tests.cast import Cast
from tests.gateway.strangers import HTML, disable, seen, url


def test_a_browser_is_shown_how_to_connect(hub: list[str], cast: Cast, client: httpx2.Client) -> None:
    for path in ("/mcp", "/"):
        page = client.get(f"{hub[0]}/t/{cast.acme.slug}{path}", headers={"accept": HTML})
        assert page.status_code == 200
        assert "Connect to Acme" in page.text
        assert f"<code>{url(hub, cast.acme)}</code>" in page.text
        for name in ("Claude Code", "Codex", "Gemini CLI", "Cursor", "VS Code", "Any other"):
            assert f">{name}</h3>" in page.text
        assert f"claude mcp add --transport http {cast.acme.slug} {url(hub, cast.acme)}" in page.text
        assert "YOUR_API_KEY" in page.text


def test_the_page_brings_nothing_inline_and_a_strict_policy(hub: list[str], cast: Cast, client: httpx2.Client) -> None:
    page = client.get(url(hub, cast.acme), headers={"accept": HTML})
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert not re.search(r"<script(?! src=\"/static/)|<style|\sstyle=|\son\w+=|javascript:", page.text)
    assert page.headers["x-frame-options"] == "DENY"
    sheet = re.search(r'href="(/static/[^"]+\.css)"', page.text)
    assert sheet
    assert client.get(hub[0] + sheet[1]).headers["content-type"].startswith("text/css")


def test_the_page_escapes_the_tenants_name(hub: list[str], cast: Cast, client: httpx2.Client) -> None:
    with cast.see(cast.acme):
        Tenant.objects.filter(pk=cast.acme.pk).update(name="<script>alert(1)</script>")
    assert "<script>" not in client.get(url(hub, cast.acme), headers={"accept": HTML}).text


def test_a_host_that_takes_a_stream_is_no_browser(hub: list[str], cast: Cast, client: httpx2.Client) -> None:
    assert client.get(url(hub, cast.acme), headers={"accept": f"{HTML}, text/event-stream"}).status_code == 401
    assert client.get(url(hub, cast.acme), headers={"accept": "*/*"}).status_code == 401


def test_the_resource_metadata_names_the_endpoint_as_people_type_it(
    hub: list[str], cast: Cast, client: httpx2.Client
) -> None:
    cast.scopes(cast.acme, {"tickets.read": "Read", "tickets.write": "Write"})
    challenge = client.post(url(hub, cast.acme)).headers["www-authenticate"]
    where = re.search(r'resource_metadata="([^"]+)"', challenge)
    assert where
    answer = client.get(where[1])
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.json() == {
        "resource": url(hub, cast.acme),
        "resource_name": "Acme",
        "authorization_servers": [hub[0]],
        "scopes_supported": ["tickets.read", "tickets.write"],
        "bearer_methods_supported": ["header"],
        "resource_documentation": f"{hub[0]}/t/{cast.acme.slug}/",
    }


def test_any_origin_may_read_the_resource_metadata(hub: list[str], cast: Cast, client: httpx2.Client) -> None:
    where = f"{hub[0]}/.well-known/oauth-protected-resource/t/{cast.acme.slug}/mcp"
    asked = {"origin": "https://anywhere.example", "access-control-request-headers": "mcp-protocol-version"}
    preflight = client.options(where, headers={**asked, "access-control-request-method": "GET"})
    assert (preflight.status_code, preflight.headers["access-control-allow-origin"]) == (204, "*")
    assert "mcp-protocol-version" in preflight.headers["access-control-allow-headers"].lower()
    head = client.head(where)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["access-control-allow-origin"] == "*"
    assert client.post(where).status_code in {403, 405}


def test_any_origin_may_read_that_there_is_no_such_resource(hub: list[str], client: httpx2.Client) -> None:
    where = f"{hub[0]}/.well-known/oauth-protected-resource/t/nobody-has-this/mcp"
    answer = client.get(where, headers={"origin": "https://anywhere.example"})
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (404, "*")


@pytest.mark.parametrize("path", ["/.well-known/oauth-protected-resource/t/{}/mcp", "/t/{}/", "/t/{}/mcp"])
def test_pages_of_a_disabled_tenant_are_as_unknown_as_of_none(
    hub: list[str], cast: Cast, client: httpx2.Client, path: str
) -> None:
    disable(cast, cast.acme)
    answers = [
        client.get(hub[0] + path.format(slug), headers={"accept": HTML}) for slug in (cast.acme.slug, "nobody-has-this")
    ]
    assert answers[0].status_code == 404
    assert seen(answers[0]) == seen(answers[1])
