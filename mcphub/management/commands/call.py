"""`manage.py call <tenant> <tool> '<json>' [--as <user>]`: one call through the same door as every other."""

import asyncio
from typing import Any

import orjson
import psycopg
from django.core.management.base import BaseCommand, CommandError, CommandParser
from psycopg_pool import PoolTimeout

from access.callers import caller_of
from audit.writer import LedgerUnavailable
from mcphub.lifespan import Unsafe, lifespan
from mcphub.management.tenant_command import member_of, tenant_of
from policy.values import Agreed, Refusal
from tenants.caller import Caller
from tenants.models import Member, Role, Stop
from tools import calls
from tools.catalog import catalog
from tools.values import ABSENT, Origin, Result, Text

_REVIEWED = Refusal(
    reason="review_needed",
    message="A rule says that a second person has to approve this call; make it from a host, where it can be held.",
)


class Command(BaseCommand):
    help = "Call a tool as a member: validated, decided, limited and recorded like a host's call."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("tenant", help="the tenant's slug")
        parser.add_argument("tool", help="the tool's name")
        parser.add_argument("arguments", nargs="?", default="{}", help="the arguments as a JSON object")
        parser.add_argument("--as", dest="username", help="user name of the member to act as; default: an owner")

    def handle(self, *args: Any, **options: Any) -> None:
        arguments = _arguments(options["arguments"])
        if Stop.objects.exists():
            raise CommandError("The hub is stopped by a kill switch; `manage.py kill everything --lift` ends that.")
        with tenant_of(options["tenant"]) as tenant:
            username = options["username"] or _owner(tenant.pk)
            caller = caller_of(member_of(tenant, username), credential="cli", client="manage.py")
            version = tenant.catalog_version
        try:
            ended = asyncio.run(_call(caller, version, options["tool"], arguments))
        except (LedgerUnavailable, Unsafe) as problem:
            raise CommandError(str(problem)) from None
        except (psycopg.OperationalError, PoolTimeout):
            raise CommandError("The database does not answer; nothing was run.") from None
        if isinstance(ended, Refusal):
            raise CommandError(f"refused ({ended.reason}): {ended.message}")
        self.stdout.write(_shown(ended))
        if ended.is_error:
            raise CommandError("the tool answered with an error")


def _arguments(text: str) -> dict[str, Any]:
    try:
        arguments = orjson.loads(text)  # as the endpoint reads them
    except (ValueError, UnicodeEncodeError) as problem:
        raise CommandError(f"The arguments are not JSON: {problem}") from None
    if not isinstance(arguments, dict):
        raise CommandError('The arguments must be a JSON object, like \'{"query": "printer"}\'.')
    return arguments


def _owner(tenant_id: int) -> str:
    owner = Member.objects.filter(tenant_id=tenant_id, role=Role.OWNER, active=True).select_related("user").first()
    if owner is None:
        raise CommandError("This tenant has no active owner; name a member with --as.")
    return owner.user.username


async def _call(caller: Caller, version: int, tool: str, arguments: dict[str, Any]) -> Result | Refusal:
    async with lifespan():
        offered = await catalog(caller.tenant_id, version)
        ended = await calls.run(
            caller,
            tool,
            arguments,
            catalog=offered,
            origin=Origin(via="cli"),
            agreed=Agreed(confirmed=True),  # by whoever runs the command
        )
        return await calls.refuse(ended.ready, _REVIEWED) if isinstance(ended, calls.Pending) else ended


def _shown(result: Result) -> str:
    if result.structured is not ABSENT and not result.is_error:
        return orjson.dumps(result.structured, option=orjson.OPT_INDENT_2).decode()
    return "\n".join(block.text if isinstance(block, Text) else repr(block) for block in result.content)
