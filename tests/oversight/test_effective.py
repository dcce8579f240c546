"""Effective access: the page and a real tools/list agree, and the page says why for every other tool."""

import html
import re
from itertools import product
from typing import Any

import pytest
from django.urls import reverse

from tenants.models import Role, User
from tests import tokens
from tests.access.test_outside import Elsewhere, elsewhere, trust
from tests.cast import Cast
from tests.gateway.following import lasting
from tests.host import Host
from tests.oversight.governed import browser, publish
from tests.policy.judging import rule
from tools.models import Connection, Tool

__all__ = ["elsewhere"]  # a fixture


@pytest.fixture
def shop(cast: Cast) -> Cast:
    """Acme with tools of every sort, and scopes that not every role may hold."""
    cast.scopes(cast.acme, {"read": "Read", "write": "Write", "close": "Close"}, write=["read"])
    cast.change_scope(cast.acme, "close", roles=[Role.ADMIN, Role.OWNER])
    cast.tool(cast.acme, "echo", scopes=["read"])
    cast.tool(cast.acme, "shout", scopes=["write"], read_only=False, destructive=True)
    cast.tool(cast.acme, "fail", scopes=["close"])
    cast.tool(cast.acme, "who_am_i", tags=["quiet"])
    cast.draft(cast.acme, "long_text")
    cast.tool(cast.acme, "sign_in", enabled=False)
    with cast.see(cast.acme):
        off = Connection.objects.create(tenant=cast.acme, name="Off", base_url="https://off.example")
        moved = Connection.objects.create(tenant=cast.acme, name="Moved", base_url="https://here.example")
    cast.tool(cast.acme, "block", connection=off)
    cast.tool(cast.acme, "linger", connection=moved)
    with cast.see(cast.acme):
        Connection.objects.filter(pk=off.pk).update(enabled=False)
        Connection.objects.filter(pk=moved.pk).update(base_url="https://there.example")
    return cast


def page(cast: Cast, person: str, way: str = "", reader: str = "adam") -> str:
    member = cast.member(cast.acme, getattr(cast, person))
    url = f"{reverse('admin:oversight_access')}?tenant={cast.acme.pk}&member={member.pk}&way={way}"
    answer = browser(getattr(cast, reader)).get(url)
    assert answer.status_code == 200
    return html.unescape(answer.text)


def sides(text: str) -> tuple[dict[str, str], dict[str, str]]:
    """What it says of each tool that is listed, and of each that is not."""
    listed, absent = text.split("not in it</h2>")
    return _rows(listed), _rows(absent)


def _rows(text: str) -> dict[str, str]:
    rows = re.findall(r'<td data-label="Tool"><code>([^<]+)</code></td>(.*?)</tr>', text, re.S)
    return {name: " ".join(re.sub(r"<[^>]*>", " ", rest).split()) for name, rest in rows}


RULES: dict[str, list[dict[str, Any]]] = {
    "none": [],
    "hidden": [rule("Unseen", "deny", secret=True, what={"tags": ["quiet"]})],
    "hidden from keys": [rule("Unseen", "deny", secret=True, who={"ways": ["key"]}, what={"tools": ["echo"]})],
    "hidden and allowed above": [
        rule("Unseen", "deny", secret=True),
        rule("Uma's", "allow", priority=200, who={"roles": ["user"]}),
    ],
    "hidden from an app": [rule("Unseen", "deny", secret=True, who={"clients": ["Claude Code"]})],
    "reviewed": [rule("Two", "review", what={"tools": ["echo"]})],
    "denied": [rule("No", "deny")],
}


WAYS = ["key", "narrow key", "app", "narrow app", "machine"]


@pytest.mark.parametrize("rules", RULES)
def test_the_page_lists_what_tools_list_lists(shop: Cast, hub: list[str], rules: str) -> None:
    publish(shop, *RULES[rules])
    for person, way in product(["uma", "adam"], WAYS):
        credential, secret = _let_in(shop, getattr(shop, person), way)
        host = Host(hub[0], shop.acme.slug, secret)
        listed, absent = sides(page(shop, person, credential))
        assert sorted(listed) == host.tools(), (person, way)
        with shop.see(shop.acme):
            everything = set(Tool.objects.filter(tenant=shop.acme).values_list("name", flat=True))
        assert everything <= {*listed, *absent}, (person, way)
        assert not set(listed) & set(absent), (person, way)
        for name, says in listed.items():
            if name not in ("echo", "who_am_i", "fail"):
                continue
            answer = host.call(name, {"text": "x"} if name == "echo" else {"how": "x"} if name == "fail" else {})
            refused = answer.status == 403 or "error" in answer.final or _denied(answer.result)
            assert refused == says.startswith(("insufficient scope", "refused")), (person, way, name, says)


def _let_in(cast: Cast, user: User, way: str) -> tuple[str, str]:
    """Somebody with a credential: as the page names it, and its secret."""
    if way.endswith("key"):
        key, secret = cast.key(user, scopes=["read"] if way == "narrow key" else None)
        return f"key:{key.pk}", secret
    if way.endswith("app"):
        scopes = ["read"] if way == "narrow app" else ["write", "read", "close"]
        consent = tokens.consent(cast, user, by=tokens.registered(), scopes=scopes)
        with cast.see(cast.acme):
            return f"app:{consent.pk}", tokens.token(consent, " ".join(scopes))
    machine, secret = tokens.machine(cast, user, "read write")
    machine.scopes = ["read", "write"]
    with cast.see(cast.acme):
        machine.save()
    return f"client:{machine.pk}", secret


@pytest.mark.parametrize("rules", ["none", "hidden from tokens of others"])
def test_so_it_does_for_a_token_of_the_outside_issuer(
    shop: Cast, hub: list[str], elsewhere: Elsewhere, rules: str
) -> None:
    trust(shop, elsewhere)
    unseen = rule("Unseen", "deny", secret=True, who={"ways": ["outside"]}, what={"tools": ["echo"]})
    publish(shop, *[] if rules == "none" else [unseen])
    host = Host(hub[0], shop.acme.slug)
    host.key = elsewhere.token(host, shop.uma, scope="read write close")
    shown = page(shop, "uma")
    assert f"Any token of {elsewhere.url} that lets them do everything" in shown
    assert "Any app they sign in with" not in shown, "the hub signs nobody in for an app now"
    listed, absent = sides(shown)
    assert sorted(listed) == host.tools()
    assert ("echo" in listed) == (rules == "none")
    assert ("Unseen" in absent.get("echo", "")) == (rules != "none")


def _denied(result: dict[str, Any]) -> bool:
    refusal = (result.get("_meta") or {}).get("mcphub/refusal") or {}
    return refusal.get("reason") == "denied"


def test_it_says_why_each_other_tool_is_absent(shop: Cast) -> None:
    publish(shop, *RULES["hidden"])
    _, absent = sides(page(shop, "uma"))
    assert absent == {
        "block": "Its connection Off is switched off.",
        "fail": "The role user cannot hold close.",
        "linger": "Its connection Moved leads elsewhere than when it was published. Look at it and publish it again.",
        "long_text": "It was never published.",
        "sign_in": "It is switched off.",
        "who_am_i": "A rule makes a secret of it. It is Unseen .",
    }


def test_it_says_what_becomes_of_a_call_and_by_which_rule(shop: Cast) -> None:
    publish(
        shop,
        rule("Blue is wrong", "deny", priority=300, what={"tools": ["echo"]}, if_="args.text == 'blue'"),
        rule("Look twice", "review", priority=200, what={"tools": ["who_am_i"]}),
    )
    key, _ = shop.key(shop.uma, scopes=["read"])
    listed, _ = sides(page(shop, "uma", f"key:{key.pk}"))
    assert listed["echo"].startswith(
        "depends What becomes of a call depends on its arguments. By the rule Blue is wrong ."
    )
    assert listed["shout"].startswith(
        "insufficient scope Listed, and a call is refused with 403: the credential lacks write."
    )
    assert listed["who_am_i"].startswith(
        "waits A call waits until a second person has approved it. By the rule Look twice ."
    )
    listed, _ = sides(page(shop, "uma"))
    assert listed["shout"].startswith("asks The person is asked before a call runs, as it is destructive")


def test_the_hubs_own_tools_are_named_where_they_are_listed(cast: Cast, hub: list[str]) -> None:
    lasting(cast, "shout")
    listed, _ = sides(page(cast, "uma"))
    assert "get_job_status" in listed
    assert sorted(listed) == Host(hub[0], cast.acme.slug, cast.key(cast.uma)[1]).tools()


def explained(cast: Cast, tool: str, arguments: str, person: str = "uma") -> str:
    member = cast.member(cast.acme, getattr(cast, person))
    given = {"tenant": str(cast.acme.pk), "member": str(member.pk), "tool": tool, "arguments": arguments}
    answer = browser(cast.adam).get(reverse("admin:oversight_access_tool"), {**given, "address": "10.0.0.1"})
    assert answer.status_code == 200
    return " ".join(re.sub(r"<[^>]*>", " ", html.unescape(answer.text)).split())


def test_one_tool_is_explained_rule_by_rule_for_arguments(shop: Cast) -> None:
    publish(
        shop,
        rule("Blue is wrong", "deny", priority=300, if_="args.text == 'blue'", message="Take red."),
        rule("From inside", "warn", priority=200, where=["10.0.0.0/8"]),
        rule("Never", "deny", priority=100, who={"roles": ["admin"]}),
    )
    said = explained(shop, "echo", '{"text": "blue"}')
    assert "Deny , by the rule “Blue is wrong”. Take red." in said
    assert "Blue is wrong Matches. Decides: deny." in said
    assert "From inside Not asked: 'Blue is wrong' had decided." in said
    said = explained(shop, "echo", '{"text": "red"}')
    assert "Warn: run it, and mark it , by the rule “From inside”." in said
    assert "Blue is wrong Does not match: args.text == 'blue'." in said


@pytest.mark.parametrize("arguments", ["{", "[]", "7", "[" * 30_000, "x" * 70_000])
def test_arguments_that_are_none_are_said_to_be_so(shop: Cast, arguments: str) -> None:
    assert re.search(r"This is not JSON|The arguments are an object|too long", explained(shop, "echo", arguments))


def test_a_revoked_key_is_not_offered_and_a_member_who_is_off_opens_nothing(shop: Cast) -> None:
    key, _ = shop.key(shop.uma)
    assert f"key:{key.pk}" in page(shop, "uma")
    with shop.see(shop.acme):
        type(key).objects.filter(pk=key.pk).update(revoked_at=key.created_at)
    assert f"key:{key.pk}" not in page(shop, "uma")
    with shop.see(shop.acme):
        member = shop.member(shop.acme, shop.uma)
        type(member).objects.filter(pk=member.pk).update(active=False)
    text = page(shop, "uma")
    assert "It opens nothing now" in text
    assert sides(text)[0] == {}


@pytest.mark.parametrize(
    ("person", "may"), [("olga", 1), ("adam", 1), ("audrey", 1), ("staff", 1), ("anna", 0), ("uma", 0), ("bob", 0)]
)
def test_who_may_look(shop: Cast, person: str, may: int) -> None:
    member = shop.member(shop.acme, shop.uma)
    url = f"{reverse('admin:oversight_access')}?tenant={shop.acme.pk}&member={member.pk}"
    assert (browser(getattr(shop, person)).get(url).status_code == 200) == bool(may)


def test_nobody_looks_at_another_tenants_member(shop: Cast) -> None:
    bob = shop.member(shop.beta, shop.bob)
    url = f"{reverse('admin:oversight_access')}?tenant={shop.acme.pk}&member={bob.pk}"
    assert browser(shop.adam).get(url).status_code == 404
