"""tools/list: what is on it, in which order, and how it goes on beyond one page."""

from typing import Any

import pytest
from django.core import signing

from tests.cast import Cast
from tests.gateway.conftest import Make
from tests.host import MODERN, REVISIONS, Host
from tools.models import Tool, Version

EVERY = pytest.mark.parametrize("revision", REVISIONS)


@EVERY
def test_the_order_is_that_of_the_names_whenever_they_came(cast: Cast, host: Make, revision: str) -> None:
    names = ["zeta", "Omega", "beta", "alpha-2", "alpha", "a.b", "_x", "10", "9"]
    for name in names:
        cast.tool(cast.acme, name, config={"function": "echo"})
    for worker in (0, 1):
        assert host(worker=worker, revision=revision).tools() == sorted(names)


@EVERY
def test_schemas_go_out_as_they_were_written(cast: Cast, host: Make, revision: str) -> None:
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$defs": {"word": {"type": "string", "minLength": 1, "x-ours": [1, None, {"ü": "\u2028"}]}},
        "type": "object",
        "properties": {"zz": {"$ref": "#/$defs/word"}, "aa": {"type": ["integer", "null"], "default": None}},
        "required": ["zz"],
        "if": {"properties": {"aa": {"const": 1}}},
        "then": {"required": ["aa"]},
        "unevaluatedProperties": False,
        "x-anything": {"kept": True},
    }
    output = {"type": "object", "properties": {"text": {"type": "string", "description": "<b>&"}}, "title": "Echoed"}
    cast.tool(
        cast.acme, "echo", input_schema=schema, output_schema=output, title="Écho", icon="https://x.example/i.png"
    )
    tool = host(revision=revision).request("tools/list").result["tools"][0]
    assert tool["inputSchema"] == schema
    assert tool["name"] == "echo"
    if revision >= "2025-06-18":
        assert tool["outputSchema"] == output
        assert tool["title"] == "Écho"
    assert tool["annotations"]["readOnlyHint"] is True


@EVERY
def test_a_tool_beyond_the_keys_scopes_is_listed_while_the_role_reaches_it(
    cast: Cast, host: Make, revision: str
) -> None:
    cast.scopes(cast.acme, {"tickets.read": "Read", "ops": "Operate"})
    cast.change_scope(cast.acme, "ops", roles=["owner", "admin"])
    cast.tool(cast.acme, "echo", scopes=["tickets.read"])
    cast.tool(cast.acme, "shout", scopes=["ops"])
    assert host(scopes=[], revision=revision).tools() == ["echo"]
    assert host(cast.adam, scopes=[], revision=revision).tools() == ["echo", "shout"]


def many(cast: Cast, count: int) -> list[str]:
    """So many published tools, copied from one."""
    first = cast.tool(cast.acme, "echo")
    names = [f"echo_{number:04}" for number in range(count - 1)]
    with cast.see(cast.acme):
        live = first.live
        assert live is not None
        tools = Tool.objects.bulk_create([Tool(**columns(first, name=name, live_id=None)) for name in names])
        versions = [
            Version(**columns(live, name=tool.name, tool_id=tool.pk, manifest={**live.manifest, "name": tool.name}))
            for tool in tools
        ]
        for tool, version in zip(tools, Version.objects.bulk_create(versions), strict=True):
            tool.live = version
        Tool.objects.bulk_update(tools, ["live"])
    return ["echo", *names]


def columns(row: Tool | Version, **changed: Any) -> dict[str, Any]:
    """The columns of a row, but for its key and what is changed."""
    kept = {field.attname: getattr(row, field.attname) for field in row._meta.concrete_fields if field.name != "id"}
    return kept | changed


def pages(host: Host) -> list[list[str]]:
    """The names on each page, following the cursors."""
    found, cursor = [], None
    while True:
        result = host.request("tools/list", {"cursor": cursor} if cursor else {}).result
        found.append([tool["name"] for tool in result["tools"]])
        cursor = result.get("nextCursor")
        if cursor is None:
            return found


@pytest.mark.parametrize("count", [500, 501, 1003])
def test_beyond_five_hundred_tools_a_cursor_goes_on(cast: Cast, host: Make, count: int) -> None:
    names = many(cast, count)
    for revision in ("2025-06-18", MODERN):
        got = pages(host(revision=revision))
        assert [len(page) for page in got] == [500] * (count // 500) + ([count % 500] if count % 500 else [])
        assert [name for page in got for name in page] == names


def test_every_page_says_how_long_it_holds(cast: Cast, host: Make) -> None:
    many(cast, 501)
    asking = host()
    first = asking.request("tools/list").result
    second = asking.request("tools/list", {"cursor": first["nextCursor"]}).result
    for page in (first, second):
        assert (page["resultType"], page["cacheScope"]) == ("complete", "private")
        assert page["ttlMs"] >= 0
        assert page["_meta"]["io.modelcontextprotocol/serverInfo"]["title"] == "Acme"


def test_a_cursor_holds_on_any_worker_and_for_any_of_the_tenants_keys(cast: Cast, host: Make) -> None:
    many(cast, 501)
    cursor = host().request("tools/list").result["nextCursor"]
    other = host(cast.olga, worker=1, revision="2025-11-25")
    assert len(other.request("tools/list", {"cursor": cursor}).result["tools"]) == 1


def test_a_tool_that_vanished_does_not_upset_the_cursor_that_named_it(cast: Cast, host: Make) -> None:
    names = many(cast, 502)
    asking = host()
    cursor = asking.request("tools/list").result["nextCursor"]
    with cast.see(cast.acme):
        Tool.objects.filter(tenant=cast.acme, name=names[499]).update(enabled=False)
    rest = asking.request("tools/list", {"cursor": cursor}).result["tools"]
    assert [tool["name"] for tool in rest] == names[500:]


@EVERY
def test_a_cursor_of_another_tenant_is_refused(hub: list[str], cast: Cast, host: Make, revision: str) -> None:
    many(cast, 501)
    cursor = host(revision=revision).request("tools/list").result["nextCursor"]
    _, key = cast.key(cast.bob, cast.beta)
    cast.tool(cast.beta, "echo")
    answer = Host(hub[0], cast.beta.slug, key, revision).request("tools/list", {"cursor": cursor})
    assert answer.error["code"] == -32602
    assert answer.status == (400 if revision == MODERN else 200)


def test_a_cursor_that_was_changed_is_refused(cast: Cast, host: Make) -> None:
    many(cast, 501)
    asking = host()
    cursor = asking.request("tools/list").result["nextCursor"]
    swapped = "A" if cursor[0] != "A" else "B"
    for changed in (swapped + cursor[1:], cursor[:-1], cursor + "A", cursor.upper()):
        assert asking.request("tools/list", {"cursor": changed}).error["code"] == -32602


@pytest.mark.parametrize("held", ["text", 5, [], [1], {"a": 1}, ["x", "y", "z"], None])
def test_something_else_that_we_signed_is_no_cursor(cast: Cast, host: Make, held: object) -> None:
    for salt in ("gateway.lists", "something.else"):
        cursor = signing.dumps(held, salt=salt)
        assert host().request("tools/list", {"cursor": cursor}).error["code"] == -32602
