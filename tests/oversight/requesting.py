"""Somebody who is refused a tool, asks for it and is granted it."""

import datetime
import html
import re
from typing import Any

from django.test import Client as Browser
from django.utils import timezone

from oversight.requests import answering
from policy.models import AccessRequest
from tenants.models import User
from tests.cast import Cast
from tests.host import Answer, Host
from tests.oversight.governed import browser, publish
from tests.policy.judging import rule
from tools import actions as tool_actions

NO = rule("No echo here", "deny", priority=150, what={"tools": ["echo"]}, message="Echoes are for the desk.")
WEEK = datetime.timedelta(days=7)


def said(answer: Answer) -> str:
    """The reason of a refusal; empty for a call that went through."""
    refusal = answer.result.get("_meta", {}).get("mcphub/refusal", {})
    return str(refusal.get("reason", ""))


def door(cast: Cast, tool: str = "echo") -> str:
    return f"/t/{cast.acme.slug}/ask?tool={tool}"


def text(reader: Browser, url: str, status: int = 200) -> str:
    """A page as people read it, without what is made anew each time."""
    answer = reader.get(url)
    assert answer.status_code == status
    return re.sub(r'value="\w{64}"', "", html.unescape(answer.text))


def refused(cast: Cast, hub: list[str]) -> Host:
    """Uma's, who is refused `echo`."""
    cast.tool(cast.acme, "echo")
    publish(cast, NO)
    return Host(hub[0], cast.acme.slug, cast.key(cast.uma)[1])


def asked(cast: Cast, why: str = "A customer waits", person: str = "uma", tool: str = "echo") -> AccessRequest:
    answer = browser(getattr(cast, person)).post(door(cast, tool), {"why": why})
    assert answer.status_code == 302, answer.text
    with cast.see(cast.acme):
        return AccessRequest.objects.select_related("tenant", "member__user").get(
            tenant=cast.acme, tool=tool, member__user=getattr(cast, person), state="open"
        )


def granted(cast: Cast, request: AccessRequest, actor: User | None = None, **given: Any) -> AccessRequest:
    with cast.see(cast.acme):
        return answering.grant(request, actor=actor or cast.adam, until=timezone.now() + WEEK, **given)


def change(cast: Cast) -> None:
    """`echo` is something else from now on."""
    with cast.see(cast.acme):
        tool = cast.acme.tools.get(name="echo")
        tool.description = "Does something else for tests. Use it in tests; changes nothing."
        tool.save()
        tool_actions.publish(tool, actor=cast.staff)


def state(cast: Cast, request: AccessRequest) -> str:
    with cast.see(cast.acme):
        request.refresh_from_db()
    return str(request.state)
