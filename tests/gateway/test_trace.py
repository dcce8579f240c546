"""The trace context that a host sends is on both ledger entries of its call; anything else is dropped."""

from typing import cast as cast_to

import pytest

from gateway.visit import Visit
from tenants.caller import Caller
from tests.cast import Cast
from tests.gateway.conftest import Make
from tests.host import REVISIONS, Host
from tests.ledger import calls
from tools.catalog import Catalog
from tools.values import Origin

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
OTHER = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"


def traced(cast: Cast) -> list[str]:
    return [calls(cast, cast.acme, "echo", event)[-1].trace for event in ("call.started", "call.finished")]


def call(host: Host, meta: object, **headers: str) -> None:
    params = {"name": "echo", "arguments": {"text": "x"}, "_meta": meta}
    assert host.request("tools/call", params, **headers).result["isError"] is False


@pytest.mark.parametrize("revision", REVISIONS)
def test_it_is_taken_from_meta(cast: Cast, host: Make, revision: str) -> None:
    cast.tool(cast.acme, "echo")
    call(host(revision=revision), {"traceparent": PARENT})
    assert traced(cast) == [PARENT, PARENT]


@pytest.mark.parametrize("revision", REVISIONS)
def test_it_is_taken_from_the_header(cast: Cast, host: Make, revision: str) -> None:
    cast.tool(cast.acme, "echo")
    call(host(revision=revision), {}, traceparent=PARENT)
    assert traced(cast) == [PARENT, PARENT]


def origin(traceparent: object, tracestate: object) -> Origin:
    caller, offered = cast_to(Caller, None), cast_to(Catalog, None)  # neither is looked at

    async def notify(_: object) -> None: ...

    visit = Visit(caller=caller, catalog=offered, headers={}, address="", notify=notify, secret=lambda: None)
    return visit.origin({"traceparent": traceparent, "tracestate": tracestate}, None)


@pytest.mark.parametrize(
    ("parent", "state", "kept"),
    [
        (PARENT, "a=1,b=2", (PARENT, "a=1,b=2")),
        (PARENT, "a=1\r\nX-Evil: 1", (PARENT, "")),
        (PARENT, "x" * 513, (PARENT, "")),
        (PARENT, "", (PARENT, "")),
        (PARENT, 5, (PARENT, "")),
        ("nonsense", "a=1", ("", "")),
        (f"{PARENT}\r\nX-Evil: 1", "a=1", ("", "")),
    ],
)
def test_only_what_may_go_on_in_headers_is_kept(parent: object, state: object, kept: tuple[str, str]) -> None:
    made = origin(parent, state)
    assert (made.traceparent, made.tracestate) == kept


def test_meta_counts_before_the_header(cast: Cast, host: Make) -> None:
    cast.tool(cast.acme, "echo")
    call(host(), {"traceparent": PARENT}, traceparent=OTHER)
    assert traced(cast) == [PARENT, PARENT]


def test_a_refused_call_is_traced_too(cast: Cast, host: Make) -> None:
    cast.tool(cast.acme, "echo")
    host().call("echo", {"wrong": 1}, traceparent=PARENT)
    assert calls(cast, cast.acme, "echo", "call.refused")[-1].trace == PARENT


@pytest.mark.parametrize(
    "garbage",
    [
        "",
        "x",
        PARENT.upper(),
        PARENT + "-more",
        f" {PARENT}\n",
        PARENT.replace("0af7651916cd43dd8448eb211c80319c", "0" * 32),
        PARENT.replace("b7ad6b7169203331", "0" * 16),
        "ff" + PARENT[2:],
        "\0" + PARENT[1:],
        5,
        None,
        [PARENT],
        {"traceparent": PARENT},
        "0" * 10_000,
    ],
)
def test_garbage_is_dropped(cast: Cast, host: Make, garbage: object) -> None:
    cast.tool(cast.acme, "echo")
    call(host(), {"traceparent": garbage})
    assert traced(cast) == ["", ""]
    call(host(revision="2025-11-25"), {"traceparent": garbage})
    assert traced(cast) == ["", ""]


def test_garbage_in_the_header_is_dropped(cast: Cast, host: Make) -> None:
    cast.tool(cast.acme, "echo")
    call(host(), {}, traceparent="00-zz-zz-00")
    assert traced(cast) == ["", ""]


def test_garbage_in_meta_leaves_the_header_to_count(cast: Cast, host: Make) -> None:
    cast.tool(cast.acme, "echo")
    call(host(), {"traceparent": "x"}, traceparent=PARENT)
    assert traced(cast) == [PARENT, PARENT]
