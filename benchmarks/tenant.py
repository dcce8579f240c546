"""The bench tenant: the twenty tools of the comparison, published, with a key and limits that are taken but not met.

    python -m benchmarks.tenant      prints {"url": ..., "api_key": ...}

Run it with DATABASE_URL set and TOOL_FUNCTIONS=benchmarks.functions, after `manage.py migrate`.
"""

import json
import os

import django
from django.db import transaction

SLUG = "bench"
PLENTY = 1_000_000


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mcphub.settings")
    django.setup()
    print(json.dumps(create()))


@transaction.atomic
def create() -> dict[str, str]:
    """Create the tenant and its key."""
    from django.conf import settings

    from access.actions import issue_key
    from policy.models import Limit, Per
    from tenants.actions import add_member, create_tenant
    from tenants.models import Role, Tenant, User
    from tools import functions
    from tools.actions import publish
    from tools.models import Tool

    user = User.objects.create_user("bench")
    tenant = create_tenant(Tenant(slug=SLUG, name="Bench"), actor="system")
    member = add_member(tenant, user, role=Role.OWNER, actor="system")
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
        )
        publish(tool, actor=user)
    _, secret = issue_key(member, name="bench", actor="system")
    return {"url": f"{settings.BASE_URL}/t/{SLUG}/mcp", "api_key": secret}


if __name__ == "__main__":
    main()
