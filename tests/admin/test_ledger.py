"""The ledger in the admin: who reads it, filters, how calls ended, and that nothing can be changed."""

import datetime
import html
import re
import uuid
from typing import Any

import orjson
import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from audit.admin import subject_in_words
from audit.models import Entry
from tests.admin.conftest import SignIn, entries
from tests.cast import Cast
from tests.postgres import as_owner

LIST = "/admin/audit/entry/"


def _write(tenant_id: int, **fields: Any) -> uuid.UUID:
    call = fields.pop("call_id", None) or uuid.uuid4()
    row = {
        "tenant_id": tenant_id,
        "event": "call.started",
        "call_id": str(call),
        "actor": "uma",
        "tool": "echo",
        "version": 1,
    }
    with connection.cursor() as cursor:
        cursor.execute("SELECT audit_append(%s::jsonb)", [orjson.dumps([row | fields]).decode()])
    return call


def _long_ago(tenant_id: int, at: datetime.datetime) -> uuid.UUID:
    """As the owner of the table: by the door for rows it is always now."""
    call = uuid.uuid4()
    with as_owner() as owner:
        owner.execute(
            "INSERT INTO audit_entry (at, tenant_id, event, call_id, actor, tool, version)"
            " VALUES (%s, %s, 'call.started', %s, 'uma', 'echo', 1)",
            [at, tenant_id, call],
        )
    return call


def _rows(client: Client, query: str = "") -> list[Any]:
    return list(client.get(f"{LIST}{query}").context["cl"].result_list)


def test_a_started_call_shows_how_it_ended(cast: Cast, olga: Client) -> None:
    endings = {"ok": "call.finished", "error": "call.finished", "interrupted": "call.interrupted"}
    for outcome, event in endings.items():
        call = _write(cast.acme.pk, tool=outcome)
        _write(cast.acme.pk, tool=outcome, call_id=call, event=event, outcome=outcome, duration_ms=12.5)
    _write(cast.acme.pk, tool="running")
    shown = {row.tool: row.ending.outcome if row.ending else None for row in _rows(olga, "?event__exact=call.started")}
    assert shown == {"ok": "ok", "error": "error", "interrupted": "interrupted", "running": None}
    page = olga.get(f"{LIST}?event__exact=call.started").content.decode()
    assert "Running" in page
    assert "12 ms" in page


def test_the_list_costs_the_same_queries_however_long_it_is_and_never_counts(cast: Cast, olga: Client) -> None:
    def cost() -> tuple[int, str]:
        with CaptureQueriesContext(connection) as captured:
            olga.get(LIST)
        return len(captured), " ".join(query["sql"] for query in captured)

    _write(cast.acme.pk)
    few, _ = cost()
    for _number in range(30):
        _write(cast.acme.pk)
    many, statements = cost()
    assert many == few
    assert not re.search(r"COUNT\([^)]*\)[^;]*?FROM \"?AUDIT_ENTRY", statements.upper())


FILTERS = {
    "?tool=wanted": {"tool": "wanted"},
    "?actor=wanted": {"actor": "wanted"},
    "?outcome__exact=refused": {"event": "call.refused", "outcome": "refused"},
    "?event__exact=call.interrupted": {"event": "call.interrupted", "outcome": "interrupted"},
}


@pytest.mark.parametrize("query", FILTERS)
def test_the_list_is_filtered(cast: Cast, olga: Client, query: str) -> None:
    _write(cast.acme.pk)
    wanted = _write(cast.acme.pk, **FILTERS[query])
    assert [row.call_id for row in _rows(olga, query)] == [wanted]


def test_the_list_is_filtered_by_time_and_looks_back_a_week_by_itself(cast: Cast, olga: Client) -> None:
    now = timezone.now()
    old = _long_ago(cast.acme.pk, now - datetime.timedelta(days=20))
    new = _write(cast.acme.pk)
    seen = {row.call_id for row in _rows(olga)}
    assert new in seen
    assert old not in seen
    assert {old, new} <= {row.call_id for row in _rows(olga, "?age=month")}
    day = (now - datetime.timedelta(days=20)).date()
    day_before, day_after = day - datetime.timedelta(days=1), day + datetime.timedelta(days=1)
    ranged = f"?at_from_0={day_before}&at_from_1=00:00:00&at_to_0={day_after}&at_to_1=00:00:00"
    assert [row.call_id for row in _rows(olga, ranged)] == [old]


def test_staff_filters_by_tenant_and_others_never_see_a_foreign_row(cast: Cast, sign_in: SignIn) -> None:
    ours, theirs = _write(cast.acme.pk), _write(cast.beta.pk)
    staff = {row.call_id for row in _rows(sign_in(cast.staff), f"?tenant={cast.beta.pk}")}
    assert theirs in staff
    assert ours not in staff
    for person in (cast.olga, cast.adam, cast.audrey):
        browser = sign_in(person)
        for query in ("", f"?tenant={cast.beta.pk}"):
            assert {row.tenant_id for row in _rows(browser, query)} <= {cast.acme.pk}
        assert browser.get(f"{LIST}?tenant_id={cast.beta.pk}").status_code == 400


NONSENSE = [
    "?tenant=x", "?tenant=%00", "?tool=%00", "?age=x", "?p=99", "?at_from_0=x&at_from_1=y", "?outcome__exact=%00",
    "?event__exact=%00", "?outcome__exact=x", "?subject=%00", "?call_id=x", "?id=" + "9" * 5000,
    "?tenant_id=" + "9" * 30, "?tenant=" + "9" * 5000, "?tenant=" + "9" * 19, "?tenant=%D9%A3", "?p=" + "9" * 30,
    "?p=" + "9" * 5000,
]  # fmt: skip


@pytest.mark.parametrize("query", NONSENSE, ids=lambda query: query[:24])
def test_nonsense_in_the_address_is_no_error(cast: Cast, olga: Client, query: str) -> None:
    assert olga.get(f"{LIST}{query}", follow=True).status_code in (200, 400)


@pytest.mark.parametrize("name", ["tool", "actor", "tenant", "outcome__exact", "age", "subject", "p"])
def test_a_character_no_column_holds_leads_to_the_whole_list(cast: Cast, olga: Client, name: str) -> None:
    answer = olga.get(f"{LIST}?{name}=a%00b")
    assert (answer.status_code, answer.headers["location"]) == (302, LIST)


@pytest.mark.parametrize("query", ["?reason__regex=(", "?actor__contains=x", "?preview__x=1"])
def test_the_address_can_ask_for_nothing_the_filters_do_not_offer(cast: Cast, olga: Client, query: str) -> None:
    assert olga.get(f"{LIST}{query}").status_code == 400


@pytest.mark.parametrize("pk", ["x", "0", "9" * 19, "9" * 5000, "%00"], ids=lambda pk: pk[:8])
def test_an_entry_that_cannot_be_is_not_there(cast: Cast, olga: Client, pk: str) -> None:
    assert olga.get(f"{LIST}{pk}/change/").status_code == 404


def test_the_way_back_from_an_entry_keeps_the_filters_and_so_do_the_links_between_entries(
    cast: Cast, olga: Client
) -> None:
    call = _write(cast.acme.pk, tool="a&b")
    _write(cast.acme.pk, tool="a&b", call_id=call, event="call.finished", outcome="ok")
    list_page = olga.get(f"{LIST}?tool=a%26b&age=day").content.decode()
    started, finished = entries(cast, cast.acme, call_id=call)
    link = re.search(rf'href="({LIST}{started.pk}/change/[^"]*)"', list_page)
    assert link
    page = olga.get(html.unescape(link[1])).content.decode()
    assert f'href="{LIST}?tool=a%26b&amp;age=day"' in page
    assert f"{LIST}{finished.pk}/change/?_changelist_filters=tool%3Da%2526b%26age%3Dday" in page
    hostile = olga.get(f"{LIST}{started.pk}/change/?_changelist_filters=%22%3E<script>//evil.example").content.decode()
    assert "<script>//evil" not in hostile
    assert f'href="{LIST}?' in hostile


def test_subjects_are_told_in_words(cast: Cast, olga: Client) -> None:
    assert subject_in_words("tools.Connection:2 Help desk") == "connection Help desk"
    assert subject_in_words("access.APIKey:7 laptop: a b") == "API key laptop: a b"
    assert subject_in_words("gone.Thing:2 Old name") == "thing Old name"
    assert subject_in_words("nothing of the kind") == "nothing of the kind"
    cast.tool(cast.acme, "echo")
    page = olga.get(LIST).content.decode()
    assert "tool echo" in page
    assert "tools.Tool:" not in page


def test_the_list_is_headed_ledger(olga: Client) -> None:
    page = olga.get(LIST).content.decode()
    assert re.search(r">\s*Ledger\s*</", page)
    assert "Entries" not in page


def test_an_entry_shows_its_fields_arguments_and_the_rest_of_the_call(cast: Cast, sign_in: SignIn) -> None:
    call = _write(cast.acme.pk, preview={"query": "<script>"}, client="Claude")
    _write(cast.acme.pk, call_id=call, event="call.finished", outcome="ok", duration_ms=3.0)
    started, finished = entries(cast, cast.acme, call_id=call)
    page = sign_in(cast.audrey).get(reverse("admin:audit_entry_change", args=[started.pk])).content.decode()
    assert "&lt;script&gt;" in page
    assert "Claude" in page
    assert reverse("admin:audit_entry_change", args=[finished.pk]) in page


def test_a_change_shows_before_and_after(cast: Cast, olga: Client) -> None:
    cast.tool(cast.acme, "echo")
    entry = entries(cast, cast.acme, reason="published")[0]
    page = olga.get(reverse("admin:audit_entry_change", args=[entry.pk])).content.decode()
    assert "manifest_hash" in page
    assert "What changed" in page


def test_nobody_adds_changes_or_deletes_entries(cast: Cast, sign_in: SignIn) -> None:
    _write(cast.acme.pk)
    entry = entries(cast, cast.acme)[0]
    for person in (cast.staff, cast.olga, cast.audrey):
        browser = sign_in(person)
        assert browser.get(reverse("admin:audit_entry_add")).status_code == 403
        assert browser.post(reverse("admin:audit_entry_change", args=[entry.pk]), {"actor": "x"}).status_code == 403
        assert browser.post(reverse("admin:audit_entry_delete", args=[entry.pk]), {"post": "yes"}).status_code == 403
        browser.post(LIST, {"action": "delete_selected", "_selected_action": [entry.pk], "post": "yes"})
    with cast.see(cast.acme):
        assert Entry.objects.filter(pk=entry.pk, actor=entry.actor).exists()
