"""The bench tenants: the twenty tools of the comparison, published, with a key, an access token and limits that are
taken but not met; and the same once more with rules, more limits and cleaning.

    python -m benchmarks.tenant      prints {"url": ..., "api_key": ..., "token": ..., "governed_url": ..., ...}

Run it with DATABASE_URL set and TOOL_FUNCTIONS=benchmarks.functions, after `manage.py migrate`.
"""

import datetime
import json
import os
import secrets
from typing import TYPE_CHECKING, Any

import django
from django.db import transaction

if TYPE_CHECKING:  # models are loaded when Django is set up
    from tenants.models import Member, Tenant, User

SLUG, GOVERNED = "bench", "governed"
PLENTY = 1_000_000
LONG = "benchmarks.long"
"""The module whose functions run as jobs."""


_PLAIN: dict[str, Any] = {"untrusted": False, "cleaning": {"secrets": False, "invisible": "off", "active": "off"}}
_GOVERNED: dict[str, Any] = {"untrusted": True, "cleaning": {"personal": ["email", "card"], "links": "mark"}}
"""What is taken out of results: next to nothing, and all of it."""


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mcphub.settings")
    django.setup()
    print(json.dumps(create()))


@transaction.atomic
def create() -> dict[str, str]:
    """Create the tenants, their keys and the token."""
    from django.conf import settings

    from access.actions import issue_key
    from tenants.models import User

    user = User.objects.create_user("bench")
    member = _member(user, SLUG)
    governed = _member(user, GOVERNED)
    _limit(member.tenant, 2)
    _limit(governed.tenant, 6)
    _publish_tools(member.tenant, user, **_PLAIN)
    _publish_tools(governed.tenant, user, **_GOVERNED)
    _publish_rules(governed.tenant, user)
    _, secret = issue_key(member, name="bench", actor="system")
    _, governed_secret = issue_key(governed, name="bench", actor="system")
    return {
        "url": f"{settings.BASE_URL}/t/{SLUG}/mcp",
        "api_key": secret,
        "token": _token(member),
        "governed_url": f"{settings.BASE_URL}/t/{GOVERNED}/mcp",
        "governed_key": governed_secret,
    }


def _member(user: "User", slug: str) -> "Member":
    from jobs.models import Allowance
    from tenants.actions import add_member, create_tenant
    from tenants.models import Role, Tenant

    tenant = create_tenant(Tenant(slug=slug, name=slug.capitalize(), link_hosts=["acme.example"]), actor="system")
    Allowance.objects.create(tenant=tenant, running=PLENTY, queued=PLENTY)
    return add_member(tenant, user, role=Role.OWNER, actor="system")


def _limit(tenant: "Tenant", many: int) -> None:
    """The first so many of limits that are taken and not met."""
    from policy.models import Counts, Limit, Per

    shared = [
        (Counts.CALLS, Per.TENANT),
        (Counts.CALLS, Per.CREDENTIAL),
        (Counts.CALLS, Per.MEMBER),
        (Counts.CALLS, Per.TOOL),
        (Counts.UNITS, Per.MEMBER),
        (Counts.UNITS, Per.TENANT),
    ]
    for counts, per in shared[:many]:
        seconds = 86400 if counts == Counts.UNITS else 1
        most = PLENTY * 100 if counts == Counts.UNITS else PLENTY
        Limit.objects.create(tenant=tenant, counts=counts, per=per, most=most, seconds=seconds)


def _publish_tools(tenant: "Tenant", user: "User", **fields: Any) -> None:
    from tools import functions
    from tools.actions import publish
    from tools.models import Runs, Tool

    for name, described in functions.load().items():
        tool = Tool.objects.create(
            tenant=tenant,
            name=name,
            description=described.description(),
            input_schema=described.input_schema(),
            output_schema=described.output_schema(),
            read_only=True,
            destructive=False,
            kind="function",
            config={"function": name},
            runs=Runs.BACKGROUND if described.call.__module__ == LONG else Runs.INLINE,
            replay_seconds=0,
            **fields,
        )
        publish(tool, actor=user)


def _publish_rules(tenant: "Tenant", user: "User") -> None:
    """Fifty rules, ten of them about the tool that is called, none of which matches on the day of the measurement.

    What went before is asked by none: that takes one more read a call, of those tenants alone that have such a rule.
    """
    from benchmarks.decide import LOOKS, usual
    from policy import actions

    later = (datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=3)).strftime("%a").lower()
    looks = {
        **LOOKS,
        0: {"if": "args.a < 0"},
        1: {"if": "args.b > 1000000 && args.a > args.b"},
        3: {"where": ["203.0.113.0/24"]},
        4: {"when": {"days": [later], "from": "09:00", "to": "17:00", "zone": "Europe/Berlin"}},
    }
    actions.replace_draft(tenant, json.dumps(usual(50, tool="add", looks=looks)), actor=user)
    actions.publish(tenant, actor=user, note="", tools=(), reviewed=None)


def _token(member: "Member") -> str:
    """An access token as the authorization server leaves it: a client, a person's consent, and a row with its digest.

    It lives a day, as nothing here refreshes it.
    """
    from django.utils import timezone

    from access.admit import TOKEN_PREFIX
    from access.models import AccessToken, Client, Consent, digest_of

    secret, now = TOKEN_PREFIX + secrets.token_urlsafe(32), timezone.now()
    client = Client.objects.create(
        name="bench",
        client_type=Client.CLIENT_PUBLIC,
        authorization_grant_type=Client.GRANT_AUTHORIZATION_CODE,
        redirect_uris="http://127.0.0.1/callback",
    )
    consent = Consent.objects.create(
        tenant=member.tenant, member=member, client=client, shown={}, shown_hash="", redirect_origin="", given_at=now
    )
    AccessToken.objects.create(
        tenant=member.tenant,
        member=member,
        user=member.user,
        consent=consent,
        application=client,
        token_checksum=digest_of(secret),
        expires=now + datetime.timedelta(days=1),
    )
    return secret


if __name__ == "__main__":
    main()
