"""Replaying rules over what really came: which calls would go another way, and what could not be told."""

import re
from typing import Any

import orjson
import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.test import Client as Browser
from django.urls import reverse

from oversight import replay
from oversight.replay import Replay
from tests.cast import Cast
from tests.host import Host
from tests.oversight.governed import browser, draft, live, publish
from tests.policy.judging import rule
from tests.postgres import as_owner


@pytest.fixture
def host(cast: Cast, hub: list[str]) -> Host:
    """Uma's, where `echo` runs and `shout` is destructive."""
    cast.tool(cast.acme, "echo")
    cast.tool(cast.acme, "shout", read_only=False, destructive=True)
    return Host(hub[0], cast.acme.slug, cast.key(cast.uma)[1])


def replayed(cast: Cast, number: int | None = None, span: str = "week") -> Replay:
    with cast.see(cast.acme):
        found = replay.begin(cast.acme, span, number)
        replay.step(found, seconds=60)
    assert found.done
    return found


def ways(found: Replay) -> dict[tuple[str, str, str], int]:
    return dict(found.groups)


def entry(cast: Cast, **fields: Any) -> None:
    """A line of the ledger, written by hand."""
    usual = {
        "tenant_id": cast.acme.pk,
        "event": "call.started",
        "actor": cast.uma.username,
        "credential": "key:0",
        "client": "test host",
        "via": "http",
        "tool": "echo",
        "version": 1,
        "preview": {"text": "hello"},
        "digest": "d",
    }
    with as_owner() as conn:
        conn.execute("SELECT audit_append(%s::jsonb)", [orjson.dumps([usual | fields]).decode()])


BLUE = "args.text == 'blue'"


@pytest.mark.parametrize(
    ("was", "will", "group"),
    [
        ([], [rule("Not blue", "deny", if_=BLUE)], ("refused", "Not blue", "echo")),
        ([], [rule("Ask", "confirm", if_=BLUE)], ("asked", "Ask", "echo")),
        ([], [rule("Wait", "review", if_=BLUE)], ("asked", "Wait", "echo")),
        ([rule("Not blue", "deny", if_=BLUE)], [], ("freed", "no longer Not blue", "echo")),
        ([], [rule("Mark", "warn", if_=BLUE)], ("marked", "Mark", "echo")),
        (
            [],
            [rule("Green", "transform", if_=BLUE, transform=[{"set": "text", "to": "green"}])],
            ("reshaped", "Green", "echo"),
        ),
        ([], [rule("Only uma's", "deny", who={"roles": ["user"]}, if_=BLUE)], ("refused", "Only uma's", "echo")),
        ([], [rule("Her key", "deny", who={"clients": ["test host"]}, if_=BLUE)], ("refused", "Her key", "echo")),
        ([], [rule("By key", "deny", who={"ways": ["key"]}, if_=BLUE)], ("refused", "By key", "echo")),
        ([], [rule("Here", "deny", where=["127.0.0.0/8"], if_=BLUE)], ("refused", "Here", "echo")),
        ([], [rule("Not here", "deny", where=["10.0.0.0/8"], if_=BLUE)], None),
        ([], [rule("Admins", "deny", who={"roles": ["admin"]})], None),
        ([], [rule("Hidden", "deny", secret=True, what={"tools": ["shout"]})], None),
        ([], [rule("Off", "deny", enabled=False)], None),
    ],
)
def test_what_a_draft_would_change_for_a_call_that_came(
    cast: Cast, host: Host, was: list[dict[str, Any]], will: list[dict[str, Any]], group: tuple[str, str, str] | None
) -> None:
    if was:
        publish(cast, *was)
    assert "blue" in host.call("echo", {"text": "blue"}).text or was
    host.call("echo", {"text": "red"})
    draft(cast, *will)
    found = replayed(cast)
    assert (found.total, found.seen, found.judged) == (2, 2, 2)
    assert ways(found) == ({group: 1} if group else {})


def test_a_hidden_tool_would_be_refused(cast: Cast, host: Host) -> None:
    host.call("echo", {"text": "x"})
    draft(cast, rule("Hidden", "deny", secret=True, what={"tools": ["echo"]}))
    assert ways(replayed(cast)) == {("refused", "Hidden", "echo"): 1}


def test_who_called_a_hidden_tool_would_be_let_through_without_the_rule(cast: Cast, host: Host) -> None:
    publish(cast, rule("Hidden", "deny", secret=True, what={"tools": ["echo"]}))
    host.call("echo", {"text": "x"})
    host.call("nonsense")
    draft(cast)
    found = replayed(cast)
    assert ways(found) == {("freed", "no longer Hidden", "echo"): 1}
    assert found.unjudged == {"tool": 1}


def test_what_was_cut_or_hidden_is_not_guessed(cast: Cast, host: Host) -> None:
    host.call("echo", {"text": "x" * 300})
    host.call("echo", {"text": "short"})
    draft(cast, rule("Long", "deny", if_="size(args.text) > 250"))
    found = replayed(cast)
    assert ways(found) == {("untold", "Long", "echo"): 1}
    assert found.matrix == {("allow", "untold"): 1, ("allow", "allow"): 1}
    draft(cast, rule("All", "deny", if_="tool == 'echo'"))
    assert ways(replayed(cast)) == {("refused", "All", "echo"): 2}


def test_what_a_rule_had_changed_is_not_taken_for_what_was_sent(cast: Cast, host: Host) -> None:
    publish(cast, rule("Green", "transform", transform=[{"set": "text", "to": "green"}]))
    assert host.call("echo", {"text": "blue"}).result["structuredContent"] == {"text": "green"}
    draft(cast, rule("Not green", "deny", if_="args.text == 'green'"))
    assert ways(replayed(cast)) == {("untold", "Not green", "echo"): 1}


def test_calls_are_counted_again_in_the_order_in_which_they_came(cast: Cast, host: Host) -> None:
    for number in range(5):
        host.call("echo", {"text": str(number)})
    draft(cast, rule("Enough", "deny", before={"more_than": 2, "seconds": 3600}))
    found = replayed(cast)
    assert ways(found) == {("refused", "Enough", "echo"): 2}
    assert [change.entry for change in found.changes] == sorted(change.entry for change in found.changes)


def test_what_inspection_found_counts_again(cast: Cast, hub: list[str]) -> None:
    cast.tool(cast.acme, "echo", inspect=["sql"])
    host = Host(hub[0], cast.acme.slug, cast.key(cast.uma)[1])
    host.call("echo", {"text": "1'; DROP TABLE users; --"})
    host.call("echo", {"text": "hello"})
    draft(cast, rule("No SQL", "deny", found=["sql"]))
    assert ways(replayed(cast)) == {("refused", "No SQL", "echo"): 1}


def test_refusals_that_no_rule_made_are_counted_apart(cast: Cast, host: Host) -> None:
    host.call("echo", {"text": 7})
    entry(cast, event="call.refused", outcome="refused", reason="rate_limited", preview=None)
    entry(cast, actor="somebody who left")
    entry(cast, version=0)
    entry(cast, subject="preflight")
    entry(cast, subject="job 7")
    entry(cast, event="call.finished", outcome="ok")
    found = replayed(cast)
    assert found.unjudged == {"before": 1, "limit": 1, "member": 1, "tool": 1}
    assert (found.total, found.judged) == (4, 0)


def test_a_call_that_was_asked_about_and_came_again_counts_once(cast: Cast, host: Host) -> None:
    asked = {"tool": "shout", "preview": {"text": "x"}}
    entry(cast, event="call.asked", subject="confirmation 1", detail={"effect": "confirm", "rule": ""}, **asked)
    entry(cast, detail={"effect": "allow", "rule": "", "agreed": "confirmed"}, **asked)
    entry(cast, detail={"effect": "allow", "rule": "", "agreed": "confirmed"}, **asked)
    draft(cast, rule("Free", "allow", what={"traits": ["destructive"]}))
    found = replayed(cast)
    assert found.unjudged == {"answered": 1}
    assert ways(found) == {("freed", "Free", "shout"): 2}


def test_a_rule_that_loosens_counts_for_the_version_it_would_be_bound_to(cast: Cast, host: Host) -> None:
    entry(cast, tool="shout")
    draft(cast, rule("Free", "allow", what={"tools": ["shout"]}))
    assert ways(replayed(cast)) == {("freed", "Free", "shout"): 1}
    found = live_after_publishing_another(cast)
    assert ways(replayed(cast, number=found)) == {}


def live_after_publishing_another(cast: Cast) -> int:
    """A version of the same rules for a tool that has another manifest."""
    return publish(cast, rule("Free", "allow", what={"tools": ["shout"]}), pins={"shout": "another"}).number


def test_a_published_version_is_replayed_beside_the_live_one(cast: Cast, host: Host) -> None:
    publish(cast, rule("No", "deny"))
    publish(cast)
    host.call("echo", {"text": "x"})
    found = replayed(cast, number=1)
    assert (found.title, ways(found)) == ("Rules v1", {("refused", "No", "echo"): 1})
    assert ways(replayed(cast, number=live(cast).number)) == {}


def test_steps_come_to_the_same_as_one_go(cast: Cast, host: Host) -> None:
    for number in range(7):
        host.call("echo", {"text": str(number)})
    draft(
        cast,
        rule("Enough", "deny", priority=9, before={"more_than": 3, "seconds": 60}),
        rule("Two", "confirm", if_="args.text == '2'"),
    )
    whole = replayed(cast)
    with cast.see(cast.acme):
        token, steps = replay.keep(replay.begin(cast.acme, "week")), 0
        while not (found := kept(token)).done:
            replay.step(found, seconds=0)
            replay.keep(found, token)
            steps += 1
    assert steps == 8
    assert ways(found) == ways(whole) == {("refused", "Enough", "echo"): 3, ("asked", "Two", "echo"): 1}
    assert found.matrix == whole.matrix
    assert [one.entry for one in found.changes] == [one.entry for one in whole.changes]


def kept(token: str) -> Replay:
    found = replay.find(token)
    assert found is not None
    return found


def test_the_newest_calls_are_taken_where_there_are_too_many(
    cast: Cast, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(5):
        entry(cast, preview={"text": str(number)})
    draft(cast, rule("No", "deny", if_="args.text in ['0', '3']"))
    monkeypatch.setattr(replay, "MOST", 3)
    found = replayed(cast)
    assert (found.cut, found.total, ways(found)) == (True, 3, {("refused", "No", "echo"): 1})
    monkeypatch.setattr(replay, "MOST", 5)
    assert not replayed(cast).cut


def test_calls_before_the_span_are_not_in_it_but_were_counted(cast: Cast, host: Host) -> None:
    with as_owner() as conn:
        for minutes in (24 * 60 + 1, 24 * 60 - 1, 1):
            conn.execute(
                "INSERT INTO audit_entry (at, tenant_id, event, call_id, actor, credential, tool, version, preview)"
                " VALUES (clock_timestamp() - make_interval(mins => %s), %s, 'call.started', gen_random_uuid(), %s,"
                " 'key:0', 'echo', 1, '{}')",
                [minutes, cast.acme.pk, cast.uma.username],
            )
    draft(cast, rule("Once an hour", "deny", before={"more_than": 0, "seconds": 3600}))
    found = replayed(cast, span="day")
    assert (found.total, ways(found)) == (2, {("refused", "Once an hour", "echo"): 1})


# The pages


def begun(reader: Browser, cast: Cast, **chosen: str) -> str:
    url = f"{reverse('admin:oversight_replay')}?tenant={cast.acme.pk}"
    answer = reader.post(url, {"span": "week", "rules": "", **chosen})
    assert answer.status_code == 302
    return str(answer["Location"])


def test_the_page_goes_on_by_itself_and_says_which_calls(cast: Cast, host: Host) -> None:
    host.call("echo", {"text": "blue"})
    host.call("echo", {"text": "red"})
    draft(cast, rule("Not blue", "deny", if_=BLUE))
    adam = browser(cast.adam)
    page = begun(adam, cast)
    assert f'hx-get="{page}step/"' in adam.get(page).text
    part = adam.get(f"{page}step/").text
    assert "hx-get" not in part
    assert "Of 2 calls, the draft would refuse <strong>1</strong>. 1 goes as with the live rules." in part
    assert "Not blue" in part
    group = re.search(r'href="([^"]*/calls/[^"]*)"', part)
    assert group is not None
    calls = adam.get(group[1].replace("&amp;", "&")).text
    assert cast.uma.username in calls
    found = re.search(r'href="(/admin/audit/entry/\d+/change/)"', calls)
    assert found is not None
    assert "blue" in adam.get(found[1]).text
    assert "Not blue" in adam.get(page).text, "it can be left and come back to"


@pytest.mark.parametrize(
    ("person", "may"), [("olga", 1), ("adam", 1), ("audrey", 1), ("staff", 1), ("anna", 0), ("uma", 0), ("bob", 0)]
)
def test_who_may_replay(cast: Cast, host: Host, person: str, may: int) -> None:
    page = begun(browser(cast.adam), cast)
    reader = browser(getattr(cast, person))
    for url in (f"{reverse('admin:oversight_replay')}?tenant={cast.acme.pk}", page, f"{page}step/", f"{page}calls/?x"):
        status = reader.get(url).status_code
        assert (status in (200, 404) if url.endswith("?x") else status == 200) if may else status in (302, 403, 404)


def test_a_tenant_without_calls_and_a_replay_that_is_gone_say_so(cast: Cast) -> None:
    adam = browser(cast.adam)
    page = begun(adam, cast)
    assert "Nobody called a tool of Acme in the last week" in adam.get(f"{page}step/").text
    assert adam.get(reverse("admin:oversight_replay_one", args=["x" * 300])).status_code == 404


def test_the_command_prints_the_same(cast: Cast, host: Host, capsys: pytest.CaptureFixture[str]) -> None:
    host.call("echo", {"text": "blue"})
    draft(cast, rule("Not blue", "deny", if_=BLUE))
    call_command("replay", cast.acme.slug)
    said = capsys.readouterr().out
    assert "1 calls" in said
    assert "refused  1  echo: Not blue" in said
    with pytest.raises(CommandError, match="has no rules v9"):
        call_command("replay", cast.acme.slug, rules=9)
