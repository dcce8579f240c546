"""`manage.py demo`: the demo tenant and its admin; prints what `make run` puts on its card, as JSON."""

import json
import secrets
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser
from django.db import transaction
from django.utils import timezone

from access import actions as access_actions
from access.models import APIKey, digest_of
from mcphub import demo
from tenants import actions as tenant_actions
from tenants.models import Member, User

ADMIN = "admin"


class Command(BaseCommand):
    help = "Make sure the demo tenant and its admin exist, and print how to reach them."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--base-url", default=settings.BASE_URL)
        parser.add_argument("--helpdesk-url", required=True)

    @transaction.atomic
    def handle(self, *args: Any, **options: Any) -> None:
        admin, password = _admin()
        member = demo.ensure(admin, helpdesk_url=options["helpdesk_url"], helpdesk_token=settings.HELPDESK_TOKEN)
        card = {
            "admin_url": f"{options['base_url']}/admin/",
            "username": ADMIN,
            "password": password,
            "mcp_url": f"{options['base_url']}/t/{demo.SLUG}/mcp",
            "api_key": _key(member),
        }
        self.stdout.write(json.dumps(card))


def _admin() -> tuple[User, str | None]:
    """The platform's first admin; the password only when it was made just now."""
    if known := User.objects.filter(username=ADMIN).first():
        return known, None
    admin = User(username=ADMIN, is_superuser=True, is_staff=True, email="admin@localhost")
    password = secrets.token_urlsafe(12)
    admin.set_password(password)
    tenant_actions.save(admin, actor="system")
    _keep("admin-password", password)
    return admin, password


def _key(member: Member) -> str:
    """The demo's API key, kept readable only by this user so that every run can print it; a new one when it is dead."""
    kept = settings.DATA_DIR / "demo-api-key"
    if kept.is_file():
        secret = kept.read_text().strip()
        key = APIKey.objects.filter(member=member, digest=digest_of(secret)).first()
        if key is not None and key.state == "active":
            return secret
    _, secret = access_actions.issue_key(member, name=f"Demo, made {timezone.now():%Y-%m-%d}", actor="system")
    _keep("demo-api-key", secret)
    return secret


def _keep(name: str, secret: str) -> None:
    path: Path = settings.DATA_DIR / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    path.chmod(0o600)
    path.write_text(secret + "\n")
