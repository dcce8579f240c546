"""The demo tenant: a help desk's tools, so that the first thing a newcomer's host can do is something real."""

from dataclasses import dataclass, field
from typing import Any

from django.db import transaction

from lib import db
from policy import actions as policy_actions
from policy.models import Counts, Limit, Per
from tenants import actions as tenant_actions
from tenants import queries
from tenants.models import Member, Role, Tenant, User
from tools import actions as tool_actions
from tools import functions
from tools.models import Auth, Connection, Runs, Tool

SLUG = "demo"
CONNECTION = "Help desk"
INSTRUCTIONS = (
    "Tools of a small help desk. Find tickets with search_tickets, read one with get_ticket, and leave notes for "
    "colleagues with add_internal_comment; customers never see those notes. Use working_hours_between and "
    "reply_deadline for anything about response times instead of counting yourself. export_ticket_report counts all "
    "tickets; it takes about ten seconds and runs as a job."
)
SCOPES = {
    "tickets.read": "Search and read tickets and their comments",
    "tickets.write": "Write internal comments on tickets",
    "time.read": "Work out working hours and reply deadlines",
}
LIMITS: tuple[dict[str, Any], ...] = (
    {"per": Per.CREDENTIAL, "most": 1200, "seconds": 60},
    {"per": Per.TENANT, "most": 6000, "seconds": 60},
    {"counts": Counts.REPEATS, "per": Per.MEMBER, "most": 20, "seconds": 30},
)
RULES = """\
- name: Comments are confirmed
  priority: 100
  effect: confirm
  what: {tools: [add_internal_comment]}
  message: A note stays on the ticket under your name, where every colleague reads it.
"""
_STATUS = {"type": "string", "enum": ["open", "pending", "closed"]}
_NO_SUCH_TICKET = {"404": {"error": "There is no ticket with that number. Find the right one with search_tickets."}}
_TICKET_ID = {"type": "integer", "minimum": 1, "description": "The ticket's number, as search_tickets gives it."}


@dataclass(frozen=True, kw_only=True)
class DemoTool:
    """One tool of the demo tenant."""

    name: str
    title: str
    description: str
    scopes: list[str]
    kind: str
    config: dict[str, Any]
    input_schema: dict[str, Any] | None = None
    read_only: bool = True
    idempotent: bool = True
    runs: Runs = Runs.INLINE
    timeout: int = 20
    tags: list[str] = field(default_factory=list)


TOOLS = (
    DemoTool(
        name="search_tickets",
        title="Search tickets",
        description=(
            "Search help desk tickets by words in their subject and body, newest first. Use it to find tickets when "
            "you do not know the number; use get_ticket when you do. Changes nothing."
        ),
        scopes=["tickets.read"],
        kind="http",
        config={"path": "/tickets"},
        input_schema={
            "type": "object",
            "properties": {
                "query": {
                    "type": "string",
                    "minLength": 1,
                    "maxLength": 200,
                    "description": "Words to look for. Only tickets that contain all of them are found.",
                },
                "status": {**_STATUS, "description": "Only tickets in this state; leave it out for all."},
                "limit": {
                    "type": "integer",
                    "minimum": 1,
                    "maximum": 50,
                    "default": 10,
                    "description": "How many tickets to return at the most.",
                },
            },
            "required": ["query"],
            "additionalProperties": False,
        },
        tags=["tickets"],
    ),
    DemoTool(
        name="get_ticket",
        title="Read a ticket",
        description=(
            "Read one help desk ticket with its full text. Use it when you know the number; use search_tickets to "
            "find it. Changes nothing."
        ),
        scopes=["tickets.read"],
        kind="http",
        config={
            "path": "/tickets/{ticket_id}",
            "statuses": _NO_SUCH_TICKET,
        },
        input_schema={
            "type": "object",
            "properties": {"ticket_id": _TICKET_ID},
            "required": ["ticket_id"],
            "additionalProperties": False,
        },
        tags=["tickets"],
    ),
    DemoTool(
        name="add_internal_comment",
        title="Add an internal comment",
        description=(
            "Add a note to a ticket that only colleagues see; the customer is not told. Use it to record findings. "
            "Do not use it to answer a customer. Calling it twice adds two notes."
        ),
        scopes=["tickets.write"],
        kind="http",
        config={
            "method": "POST",
            "path": "/tickets/{ticket_id}/comments",
            "body": {"internal": True},
            "statuses": _NO_SUCH_TICKET,
        },
        input_schema={
            "type": "object",
            "properties": {
                "ticket_id": _TICKET_ID,
                "body": {
                    "type": "string",
                    "minLength": 1,
                    "maxLength": 5000,
                    "description": "The note, in plain text.",
                },
            },
            "required": ["ticket_id", "body"],
            "additionalProperties": False,
        },
        read_only=False,
        idempotent=False,
        tags=["tickets"],
    ),
    DemoTool(
        name="working_hours_between",
        title="Working hours between two moments",
        description=(
            "Count the working hours (Monday to Friday, 9 to 17 UTC) between two moments. Use it for anything about "
            "response times; do not count yourself. Changes nothing."
        ),
        scopes=["time.read"],
        kind="function",
        config={"function": "working_hours_between"},
        tags=["time"],
    ),
    DemoTool(
        name="reply_deadline",
        title="Reply deadline",
        description=(
            "Work out when the first reply to a ticket is due, from its opening time and priority. Use it before "
            "promising a time; not for tickets that were answered already. Changes nothing."
        ),
        scopes=["time.read"],
        kind="function",
        config={"function": "reply_deadline"},
        tags=["time"],
    ),
    DemoTool(
        name="export_ticket_report",
        title="Export a report of all tickets",
        description=(
            "Count all help desk tickets by their status, priority, tag or requester. Use it for questions about the "
            "whole desk, such as how many tickets are open; use search_tickets to find single tickets. It takes about "
            "ten seconds and runs as a job. Changes nothing."
        ),
        scopes=["tickets.read"],
        kind="http",
        config={
            "method": "POST",
            "path": "/reports",
            "asynchronous": {
                "poll": "/reports/{id}",
                "every": 0.5,
                "progress": "progress",
                "result": "{group_by: group_by, counts: result}",
            },
        },
        input_schema={
            "type": "object",
            "properties": {
                "group_by": {
                    "type": "string",
                    "enum": ["status", "priority", "tag", "requester"],
                    "default": "status",
                    "description": "What to count the tickets by.",
                }
            },
            "additionalProperties": False,
        },
        runs=Runs.BACKGROUND,
        timeout=120,
        tags=["tickets"],
    ),
)


@transaction.atomic
def ensure(owner: User, *, helpdesk_url: str, helpdesk_token: str) -> Member:
    """Create the demo tenant unless it is there, and point its connection at the running help desk.

    What people changed in it since stays changed. Returns the owner's membership.
    """
    tenant = _existing(owner) or tenant_actions.create_tenant(
        Tenant(slug=SLUG, name="Support", instructions=INSTRUCTIONS), actor="system"
    )
    member = Member.objects.filter(tenant=tenant, user=owner).first() or tenant_actions.add_member(
        tenant, owner, role=Role.OWNER, actor="system"
    )
    furnish(tenant, owner, helpdesk_url=helpdesk_url, helpdesk_token=helpdesk_token)
    return member


def furnish(tenant: Tenant, owner: User, *, helpdesk_url: str, helpdesk_token: str) -> None:
    """Give a tenant the demo's scopes, limits, connection, tools and rules, unless it has tools already."""
    connection = _connect(tenant, helpdesk_url, helpdesk_token, owner)
    if Tool.objects.filter(tenant=tenant).exists():
        return
    tenant_actions.define_scopes(tenant, SCOPES, actor="system", implies={"tickets.write": ["tickets.read"]})
    for limit in LIMITS:
        tenant_actions.save(Limit(tenant=tenant, **limit), actor="system")
    for tool in TOOLS:
        _publish(tenant, tool, connection, owner)
    policy_actions.replace_draft(tenant, RULES, actor=owner)
    policy_actions.publish(tenant, actor=owner, note="The demo's first rules", tools=())


def _existing(owner: User) -> Tenant | None:
    """The demo tenant, also one that was disabled since. Platform staff reaches it, whoever owns it now."""
    with db.tenant_scope(queries.tenants_reached_by(owner.pk)):
        tenant = Tenant.objects.filter(slug=SLUG).first()
    if tenant is not None:
        db.widen_scope(tenant.pk)
    return tenant


def _connect(tenant: Tenant, url: str, token: str, owner: User) -> Connection:
    connection = Connection.objects.filter(tenant=tenant, name=CONNECTION).first()
    if connection is None:
        connection = Connection(tenant=tenant, name=CONNECTION, auth=Auth.BEARER, allow_hosts=["127.0.0.1"])
    if connection.base_url != url:
        connection.base_url = url
        tool_actions.save_connection(connection, actor=owner, new_secret=token)
        tool_actions.follow(connection, actor=owner)
    return connection


def _publish(tenant: Tenant, given: DemoTool, connection: Connection, owner: User) -> None:
    described = functions.load().get(given.config.get("function", ""))
    tool = Tool(
        tenant=tenant,
        name=given.name,
        title=given.title,
        description=given.description,
        input_schema=given.input_schema or (described.input_schema() if described else None),
        output_schema=described.output_schema() if described else None,
        read_only=given.read_only,
        destructive=False,
        idempotent=given.idempotent,
        open_world=False,
        scopes=given.scopes,
        tags=given.tags,
        timeout=given.timeout,
        runs=given.runs,
        kind=given.kind,
        config=given.config,
        connection=connection if given.kind == "http" else None,
    )
    tenant_actions.save(tool, actor=owner.username)
    tool_actions.publish(tool, actor=owner)
