"""Hooks: what a tenant's own systems are told when somebody asks for access."""

import asyncio
import json

import pytest

from jobs import actions, hooks
from jobs.models import Delivery
from tests.cast import Cast
from tests.database import apart
from tests.host import Host
from tests.jobs.receiver import Receiver, receiver
from tests.oversight.governed import browser
from tests.oversight.requesting import asked, change, door, granted, refused
from tests.waiting import until

SECRET = "Bearer " + "abcdefgh" + "12345678"


@pytest.fixture
def host(cast: Cast, hub: list[str]) -> Host:
    return refused(cast, hub)


def hooked(cast: Cast, url: str) -> str:
    """A hook of acme's; its secret."""
    with cast.see(cast.acme):
        return actions.add_hook(cast.acme, url, actor=cast.olga)[1]


async def told(listener: Receiver) -> None:
    """Whatever is due is sent, by this process or another."""
    await hooks.deliver_due()
    await asyncio.to_thread(until, lambda: listener.messages, 15)


async def test_hooks_are_told_who_asks_for_what_and_why(running: None, cast: Cast, host: Host) -> None:
    with receiver() as listener:
        secret = await asyncio.to_thread(apart, lambda: hooked(cast, listener.url))
        await asyncio.to_thread(apart, lambda: change(cast))
        request = await asyncio.to_thread(apart, lambda: asked(cast, f"A customer waits {SECRET}"))
        await told(listener)
    (message,) = listener.messages
    said, moment = json.loads(message.body), message.headers["webhook-timestamp"]
    created = said["data"]["request"]["created_at"]
    assert said == {
        "type": "access.requested",
        "timestamp": created,
        "data": {
            "tenant": cast.acme.slug,
            "request": {
                "id": request.pk,
                "tool": "echo",
                "version": 2,
                "username": cast.uma.username,
                "reason": "A customer waits [redacted]",
                "created_at": created,
                "url": said["data"]["request"]["url"],
            },
        },
    }
    assert said["data"]["request"]["url"].endswith(f"/admin/policy/accessrequest/{request.pk}/change/")
    signed = hooks.signature(secret, message.headers["webhook-id"], int(moment), message.body)
    assert message.headers["webhook-signature"] == signed


def test_each_hook_of_the_tenant_that_is_on_is_told_of_what_was_asked_and_of_nothing_else(
    cast: Cast, host: Host
) -> None:
    with cast.see(cast.acme):
        on, _ = actions.add_hook(cast.acme, "https://hooks.example.com/on", actor=cast.olga)
        off, _ = actions.add_hook(cast.acme, "https://hooks.example.com/off", actor=cast.olga)
        actions.change_hook(off, url=off.url, enabled=False, actor=cast.olga)
    with cast.see(cast.beta):
        actions.add_hook(cast.beta, "https://hooks.example.com/beta", actor=cast.bob)
    assert browser(cast.uma).post(door(cast), {"why": " "}).status_code == 400
    request = asked(cast)
    granted(cast, request)
    with cast.see():
        found = list(Delivery.objects.filter(tenant__in=[cast.acme, cast.beta]).values_list("hook", "request", "about"))
    assert found == [(on.pk, request.pk, "asked")]


def test_what_hooks_were_told_of_a_request_is_listed_and_leads_to_it(cast: Cast, host: Host) -> None:
    hooked(cast, "https://hooks.example.com/on")
    request = asked(cast)
    shown = browser(cast.olga).get("/admin/jobs/delivery/").content.decode()
    assert f'<a href="/admin/policy/accessrequest/{request.pk}/change/">Access to echo</a>' in shown
