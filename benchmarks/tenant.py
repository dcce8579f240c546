"""The bench tenant: the twenty tools of the comparison, published, with a key, an access token and limits that are
taken but not met.

    python -m benchmarks.tenant      prints {"url": ..., "api_key": ..., "token": ...}

Run it with DATABASE_URL set and TOOL_FUNCTIONS=benchmarks.functions, after `manage.py migrate`.
"""

import datetime
import json
import os
import secrets
from typing import TYPE_CHECKING

import django
from django.db import transaction

if TYPE_CHECKING:  # models are loaded when Django is set up
    from tenants.models import Member

SLUG = "bench"
PLENTY = 1_000_000
LONG = "benchmarks.long"
"""The module whose functions run as jobs."""


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mcphub.settings")
    django.setup()
    print(json.dumps(create()))


@transaction.atomic
def create() -> dict[str, str]:
    """Create the tenant, its key and its token."""
    from django.conf import settings

    from access.actions import issue_key
    from jobs.models import Allowance
    from policy.models import Limit, Per
    from tenants.actions import add_member, create_tenant
    from tenants.models import Role, Tenant, User
    from tools import functions
    from tools.actions import publish
    from tools.models import Runs, Tool

    user = User.objects.create_user("bench")
    tenant = create_tenant(Tenant(slug=SLUG, name="Bench"), actor="system")
    member = add_member(tenant, user, role=Role.OWNER, actor="system")
    Allowance.objects.create(tenant=tenant, running=PLENTY, queued=PLENTY)
    for per in (Per.TENANT, Per.CREDENTIAL):
        Limit.objects.create(tenant=tenant, per=per, calls=PLENTY, seconds=1)
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
        )
        publish(tool, actor=user)
    _, secret = issue_key(member, name="bench", actor="system")
    return {"url": f"{settings.BASE_URL}/t/{SLUG}/mcp", "api_key": secret, "token": _token(member)}


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
