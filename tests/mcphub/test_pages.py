"""The pages for when something is wrong, and what a stranger reads about connecting."""

import contextlib
import html
import json
import re

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from psycopg_pool import PoolTimeout

from gateway import views
from lib.hosts import connect_lines
from lib.html import MOST_SHOWN, coloured
from mcphub import health
from mcphub.templatetags.hosts import shown
from tests.cast import Cast


def _broken(slug: str) -> tuple[int, str, list[str] | None]:
    raise RuntimeError("this sentence is for the log")


def test_an_address_with_nothing_behind_it_says_so_and_leads_back() -> None:
    answer = Client().get("/nothing/<b>here</b>/")
    page = answer.content.decode()
    assert answer.status_code == 404
    assert "There is nothing here" in page
    assert "Nothing was changed." in page
    assert '<a href="/">' in page
    assert "<b>here" not in page


@pytest.mark.parametrize("path", ["/t/{}/", "/t/{}/mcp", "/.well-known/oauth-protected-resource/t/{}/mcp", "/{}"])
@pytest.mark.parametrize("accept", ["text/html", "application/json"])
def test_what_is_unknown_is_answered_alike_wherever_it_was_asked_for(cast: Cast, path: str, accept: str) -> None:
    answers = [Client().get(path.format(slug), headers={"accept": accept}) for slug in ("nobody", "nobody-else")]
    assert answers[0].status_code == 404
    assert answers[0].content == answers[1].content == Client().get("/nothing").content


def test_a_page_one_may_not_open_says_that_nothing_was_changed(cast: Cast) -> None:
    client = Client()
    client.force_login(cast.audrey)
    answer = client.get("/admin/tools/tool/add/")
    assert answer.status_code == 403
    assert "You may not do this" in answer.content.decode()
    assert "Nothing was changed." in answer.content.decode()


def test_a_form_from_elsewhere_says_that_nothing_was_saved(cast: Cast) -> None:
    browser = Client(enforce_csrf_checks=True)
    answer = browser.post("/admin/login/", {"username": cast.olga.username, "password": cast.password})
    assert answer.status_code == 403
    assert "The form was not accepted" in answer.content.decode()
    assert "Nothing was saved." in answer.content.decode()


def test_a_hub_called_by_a_name_it_does_not_know_says_what_to_do() -> None:
    answer = Client().get("/livez/", headers={"host": "elsewhere.example"})
    assert answer.status_code == 400
    assert "The hub did not understand this request" in answer.content.decode()
    assert "elsewhere.example" not in answer.content.decode()


def test_a_page_that_breaks_says_so_without_a_database_and_without_the_cause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(views, "_public", _broken)
    with CaptureQueriesContext(connection) as captured:
        answer = Client(raise_request_exception=False).get("/t/acme/")
    page = answer.content.decode()
    assert answer.status_code == 500
    assert "Something broke in the hub" in page
    assert "this sentence is for the log" not in page
    assert "ledger" in page
    assert "mcphub/site.css" in page, "of the hub's own pages, not of the admin's, which need a context"
    assert len(captured) == 0


def test_the_connect_page_has_a_copy_button_for_the_address_and_for_every_host_both_ways(cast: Cast) -> None:
    page = Client().get(f"/t/{cast.acme.slug}/").content.decode()
    copied = re.findall('<button type="button" class="mh-button" data-copy-from="([^"]+)"', page)
    buttons = len(copied)
    assert buttons == page.count("</pre>") + 1 == 2 * len(connect_lines("x")) + 2
    assert all(page.count(f'id="{one}"') == 1 for one in copied)
    assert page.count(" hidden>") == buttons, "without the script no button is shown"
    assert "mcphub/copy.js" in page


def test_the_line_of_a_host_with_a_file_is_the_content_of_the_file() -> None:
    lines = connect_lines("https://hub.example/t/acme/mcp", "secret", "acme")
    cursor = shown("Cursor", lines["Cursor"])
    assert cursor.file == "~/.cursor/mcp.json"
    assert json.loads(cursor.text)["mcpServers"]["acme"]["url"] == "https://hub.example/t/acme/mcp"
    others = [shown(host, line) for host, line in lines.items() if host != "Cursor"]
    assert [(one.text, one.file) for one in others] == [(lines[one.host], "") for one in others]


def test_the_page_of_a_new_key_has_the_lines_to_paste_with_the_key_in_them(cast: Cast) -> None:
    cast.scopes(cast.acme, {"tickets.read": "Read"})
    browser = Client()
    browser.force_login(cast.olga)
    member = cast.member(cast.acme, cast.uma)
    given = {"member": member.pk, "name": "laptop", "scopes": ["tickets.read"]}
    page = browser.post("/admin/access/apikey/add/", given).content.decode()
    secret = re.search(r'id="new-secret">([^<]+)<', page)
    assert secret
    assert html.unescape(page).count(f"Bearer {secret[1]}") == len(connect_lines("x")) - 1, "all but Codex"
    assert f"export MCPHUB_KEY={secret[1]}" in page
    assert f"/t/{cast.acme.slug}/mcp" in page
    assert f'href="/t/{cast.acme.slug}/"' in page


def test_a_live_tool_and_its_tenant_lead_to_the_connect_page(cast: Cast) -> None:
    browser = Client()
    browser.force_login(cast.olga)
    link = f'href="/t/{cast.acme.slug}/"'
    live, draft = cast.tool(cast.acme, "echo"), cast.draft(cast.acme, "add")
    assert link in browser.get(f"/admin/tools/tool/{live.pk}/change/").content.decode()
    assert link not in browser.get(f"/admin/tools/tool/{draft.pk}/change/").content.decode()
    assert link in browser.get(f"/admin/tenants/tenant/{cast.acme.pk}/change/").content.decode()


def test_json_that_is_too_long_to_draw_is_cut_and_the_page_says_so() -> None:
    assert MOST_SHOWN == 200_000
    assert "are shown" not in coloured("x" * (MOST_SHOWN - 2))
    cut = coloured(["<b>" * MOST_SHOWN])
    assert len(cut) < 6 * MOST_SHOWN
    assert "<b>" not in cut
    assert f"Only the first {MOST_SHOWN:,} are shown." in cut


def test_a_hub_whose_pages_hold_all_their_connections_is_still_ready() -> None:
    connection.close()
    with contextlib.ExitStack() as held:
        with contextlib.suppress(PoolTimeout):  # of which earlier tests may still hold some
            while True:
                held.enter_context(connection.pool.connection(timeout=0.5))  # type: ignore[attr-defined]
        answer = Client().get("/readyz")
    assert (answer.status_code, set(answer.json()["checks"].values())) == (200, {"ok"})


def test_a_hub_with_a_migration_to_apply_is_not_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "_shipped", lambda: frozenset({("tenants", "0001_initial"), ("tenants", "9999_next")}))
    answer = Client().get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["checks"]["migrations"] == "1 not applied; run manage.py migrate"
