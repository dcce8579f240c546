"""Jobs as rows, for pages: in whatever state a test wants to see, out of the reach of workers."""

import datetime
from typing import Any

from django.utils import timezone

from jobs.models import ENDED, HELD, Job, State
from jobs.sealed import seal_arguments, seal_result
from lib.ids import uuid7
from tenants.models import Tenant, User
from tests.cast import Cast
from tools.models import Tool
from tools.values import Result


def slow_tool(cast: Cast, tenant: Tenant | None = None, name: str = "echo", **fields: Any) -> Tool:
    """A published tool that runs as a job."""
    return cast.tool(tenant or cast.acme, name, runs="background", **fields)


def made(
    cast: Cast,
    user: User,
    tool: Tool,
    state: State = State.RUNNING,
    *,
    result: Result | None = None,
    arguments: dict[str, Any] | None = None,
    **fields: Any,
) -> Job:
    """A job of this person. A waiting one is due in a day, so that no worker takes it."""
    now = timezone.now()
    ended = state in ENDED
    given: dict[str, Any] = {
        "id": uuid7(),
        "tenant": tool.tenant,
        "version": tool.live,
        "tool": tool.name,
        "username": user.username,
        "credential": "key:1",
        "via": "mcp",
        "state": state,
        "idempotent": tool.idempotent or tool.read_only,
        "arguments": seal_arguments(arguments or {"text": "hello"}),
        "preview": arguments or {"text": "hello"},
        "fingerprint": "0" * 32,
        "created_at": now - datetime.timedelta(seconds=40),
        "changed_at": now,
        "due_at": now + datetime.timedelta(days=1),
        "started_at": None if state in (State.QUEUED, State.EXPIRED) else now - datetime.timedelta(seconds=30),
        "ended_at": now if ended else None,
        "expires_at": now + datetime.timedelta(hours=1) if ended else None,
        "lease_until": now + datetime.timedelta(days=1) if state in HELD else None,
        "patience_until": now + datetime.timedelta(days=2),
        "keep": datetime.timedelta(hours=1),
        "result": seal_result(result) if result else None,
    }
    with cast.see(tool.tenant):
        member = cast.member(tool.tenant, user)
        return Job.objects.create(member=member, **(given | fields))
